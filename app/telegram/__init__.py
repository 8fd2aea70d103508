"""Telegram: updates in, messages out, and a simulator of the Bot API."""

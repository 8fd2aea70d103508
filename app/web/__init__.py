"""The HTTP side: Telegram's webhook, health, metrics and the operator's routes."""

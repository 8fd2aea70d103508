"""Skill files: found, read, parsed, and checked for their authors."""

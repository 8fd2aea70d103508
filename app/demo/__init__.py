"""The demo: a recorded conversation, and the player that proves what it shows."""

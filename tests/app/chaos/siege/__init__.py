"""The siege of a plane: its schedule, its watching, its verdict."""

"""Cold starts: each role in a process of its own, at a distance from everything that it talks to."""

"""What is said: the frozen messages and errors that actors and callers exchange."""

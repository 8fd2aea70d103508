"""The pools of the plane without processes, on virtual time."""

"""A siege: the app as it is deployed, on a plane of its own, for real minutes, under seeded faults, with a verdict."""

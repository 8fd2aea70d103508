"""A seeded simulation of the whole system on virtual time, with faults injected and promises checked."""

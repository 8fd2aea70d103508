"""The stores: one port, several adapters."""

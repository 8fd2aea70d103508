"""Where a command works: a service in one process, a local control plane, or the account on Modal."""

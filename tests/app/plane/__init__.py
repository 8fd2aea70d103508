"""The local control plane, driven by Modal's own client."""

"""The app on a local control plane: deployed by Modal's own client, in real containers."""

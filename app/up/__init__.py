"""`firstlight up`: a local control plane with the app deployed to it, on a laptop and with no account."""

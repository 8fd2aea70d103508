"""The failure that everything beyond Modal's client shares; it stands apart, so that to catch it imports no client."""


class ModalRefused(Exception):
    """What was asked of Modal or of a plane did not happen: one line that says what to do."""

"""A meter for what is measured by the clock."""

from actors.stores import StoreMeter


class NoMeter(StoreMeter):
    """Counts nothing."""

    def read(self, documents: int) -> None:
        """Nothing."""

    def write(self, documents: int) -> None:
        """Nothing."""

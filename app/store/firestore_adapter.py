"""What the store ports' adapters over Firestore share: the database, the actor's meter, and their end."""

from actors.stores import StoreMeter
from app.store.firestore_client import FirestoreDatabase


class Adapter:
    """One actor's use of an open FirestoreDatabase."""

    def __init__(self, database: FirestoreDatabase, meter: StoreMeter) -> None:
        self._database, self._meter = database, meter
        database.join(self)

    async def close(self) -> None:
        """Leave the database; the last adapter on it closes the connection."""
        await self._database.leave(self)

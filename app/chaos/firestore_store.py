"""The store of a simulation in a Firestore in memory: the adapter of a service, one database for each container."""

import random
from collections.abc import Callable
from typing import Any, Final

import grpc
from google.cloud.firestore_v1 import types

from actors.stores import (
    SessionRecord,
    SessionStore,
    SkillStatsStore,
    StoreMeter,
    UpdateRecord,
    VersionConflict,
)
from actors.warm_ports import WarmStore
from app.chaos.container import Container
from app.chaos.faults import Faults
from app.chaos.firestore_model import FirestoreModel
from app.chaos.firestore_wire import FirestoreLine
from app.chaos.firestore_witness import CommitWitness
from app.chaos.ledger import Ledger
from app.chaos.watched_store import Witness
from app.store.firestore import FirestoreSessionStore
from app.store.firestore_client import FirestoreDatabase
from app.store.firestore_docs import read_session, session_changes, session_path, utc
from app.store.firestore_requests import fill_write
from app.store.firestore_skills import FirestoreSkillStatsStore
from app.store.firestore_values import micros
from app.store.firestore_warm import FirestoreWarmStore

PROJECT: Final = "simulation"
DATABASE: Final = f"projects/{PROJECT}/databases/(default)"
ROOT: Final = f"{DATABASE}/documents"

_Commit: Final[Any] = types.CommitRequest.pb()


class FirestoreWorldStore:
    """A WorldStore. What a container has sent goes on when it dies; what it would do with the answer does not."""

    shares_commits = True  # as far as the simulation has a say: the adapter divides them itself
    sessions_class: type[FirestoreSessionStore] = FirestoreSessionStore
    warm_class: type[FirestoreWarmStore] = FirestoreWarmStore

    def __init__(self, now: Callable[[], float], witness: Witness) -> None:
        self._now = now
        self._seen = CommitWitness(witness)
        self._model = FirestoreModel(now, self._seen)
        self._databases: dict[Container, FirestoreDatabase] = {}

    def line(self, faults: Faults, ledger: Ledger, dice: random.Random) -> FirestoreLine:
        """The way to it; made before any container's."""
        self._line = FirestoreLine(self, faults, ledger, dice, self._model)
        return self._line

    def sessions(self, container: Container, meter: StoreMeter) -> SessionStore:
        """The adapter of a shard's owner."""
        return self.sessions_class(self._of(container), meter, unix_s=container.clock.unix_s)

    def warm(self, container: Container, meter: StoreMeter) -> WarmStore:
        """The adapter with which it starts warm."""
        return self.warm_class(self._of(container), meter)

    def skills(self, container: Container, meter: StoreMeter) -> SkillStatsStore:
        """The adapter of a registry."""
        return FirestoreSkillStatsStore(self._of(container), meter, unix_s=container.clock.unix_s)

    def waiting(self) -> list[int]:
        """The chats with open updates."""
        return list(self._seen.open)

    def head(self, chat: int) -> UpdateRecord:
        """The oldest open update of a chat that has one."""
        return next(iter(self._seen.open[chat].values()))

    def session(self, chat: int) -> SessionRecord | None:
        """What is stored of the chat, a tombstone too."""
        path = session_path(chat)
        document = self._model.document(f"{ROOT}/{path}")
        return read_session(path, document) if document is not None else None

    def write_session(self, session: SessionRecord, operation: str) -> int:
        """Write it at its version, as another program does; raises VersionConflict."""
        request = _Commit(database=DATABASE)
        for change in session_changes(session, operation, utc(self._now())):
            fill_write(request.writes.add(), change, ROOT)
        try:
            written = self._model.commit(request)
        except grpc.aio.AioRpcError as error:
            raise VersionConflict("session") from error
        return micros(written.write_results[0].update_time)  # the session comes first

    def close(self) -> None:
        """There is nothing to leave behind."""

    def _of(self, container: Container) -> FirestoreDatabase:
        """The container's database, and what it knows of its connection; both end with the container."""
        database = self._databases.get(container)
        if database is None:
            database = self._databases[container] = FirestoreDatabase(PROJECT)
            database.connect(lambda: self._line.dial(container), container.chance.uniform)
            container.files.callback(self._databases.pop, container)
        return database

"""A store of sessions beside a plain model of it: what should be stored, and what a call may answer."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

import msgspec
import pytest
from hypothesis.stateful import RuleBasedStateMachine

from actors.stores import ChatState, LeaseRecord, SessionRecord, TurnWrite, UpdateRecord, VersionConflict
from contracts.turns import TurnState
from tests.app.store.backends import BACKENDS, Ground
from tests.app.store.records import session

T = TypeVar("T")
Version = Literal["right", "older", "newer"]

CHATS = (500, 501, -502)
OPEN: list[TurnState] = ["accepted", "committed"]
ENDED: list[TurnState] = ["answered", "ignored", "refused", "quarantined", "dead_lettered", "unknown"]


class Model:
    """What should be stored: updates and sessions in the order of their writing, and the operation of each."""

    def __init__(self) -> None:
        self.updates: dict[int, UpdateRecord] = {}
        self.sessions: dict[int, SessionRecord] = {}
        self.leases: dict[int, LeaseRecord] = {}
        self.operations: dict[str, str] = {}

    def mailbox(self, chat: int) -> list[UpdateRecord]:
        """The chat's open updates in arrival order."""
        return [each for each in self.updates.values() if each.chat == chat and each.open]

    def session_version(self, chat: int) -> int:
        """0 where there is none."""
        return self.sessions[chat].version if chat in self.sessions else 0

    def put_update(self, record: UpdateRecord, operation: str) -> None:
        """Write an update; one that has ended takes its lease along."""
        self.updates[record.update] = record
        self.operations[record.key] = operation
        held = self.leases.get(record.chat)
        if not record.open and held is not None and held.update_key == record.key:
            del self.leases[record.chat]

    def put_session(self, record: SessionRecord, operation: str) -> None:
        """Write a session: now it is the newest one. Its time, and maybe its revision, are yet to be seen."""
        self.sessions.pop(record.chat, None)
        self.sessions[record.chat] = msgspec.structs.replace(record, updated_at=0.0)
        self.operations[f"session {record.chat}"] = operation

    def moved(self, write: TurnWrite) -> set[str]:
        """Name what is at another version than the write says."""
        stored = self.updates.get(write.update.update)
        found = {"update"} if stored is None or stored.version != write.update.version else set[str]()
        if write.session is not None and self.session_version(write.session.chat) != write.session.version:
            found.add("session")
        return found


class ModelledStore(RuleBasedStateMachine):
    """A store, called on an event loop of the machine's own, beside the model."""

    def __init__(self, backend: str, emulator_host: Callable[[], str]) -> None:
        super().__init__()
        self.model, self.operations = Model(), 0
        self.revisions: dict[int, int] = {}
        self.outdated: dict[int, int] = {}
        self.turns_written: list[TurnWrite] = []
        self.sessions_written: list[tuple[SessionRecord, str]] = []
        self.folder, self.runner, self.opened = TemporaryDirectory(), asyncio.Runner(), AsyncExitStack()
        ground = Ground(Path(self.folder.name), emulator_host)
        self.backend = self.run(self.opened.enter_async_context(BACKENDS[backend](ground)))

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a call to its end."""
        return self.runner.run(call)

    def teardown(self) -> None:
        """Close the store and drop its data."""
        self.run(self.opened.aclose())
        self.runner.close()
        self.folder.cleanup()

    def operation(self) -> str:
        """A name that no other write has."""
        self.operations += 1
        return f"operation-{self.operations}"

    # ------------------------------------------------------------ helpers

    def same_chat(self, chat: int, state: ChatState) -> None:
        """A chat as it was read is the model's, whatever the age of its lease."""
        held = state.lease and msgspec.structs.replace(state.lease, age_s=0.0)
        expected = ChatState(
            session=self.model.sessions.get(chat),
            open_updates=tuple(self.model.mailbox(chat)),
            lease=self.model.leases.get(chat),
        )
        assert msgspec.structs.replace(state, lease=held) == expected

    def session(self, chat: int, body: bytes, version: Version, shard: int) -> SessionRecord:
        """A session over the right version or a wrong one."""
        right = self.model.session_version(chat)
        return session(chat, body=body, shard=shard, version=other(right, version))

    def put_session(self, record: SessionRecord, operation: str) -> None:
        """Note a session that was written: its revision is to be another one."""
        self.outdated[record.chat] = self.revisions.pop(record.chat, 0)
        self.model.put_session(record, operation)

    def saw_session(self, chat: int, read: SessionRecord | None) -> None:
        """Take over the store's time and revision of a session that was just written."""
        known = self.model.sessions.get(chat)
        if read is None or known is None or known.updated_at:
            return
        assert read.updated_at > 1_700_000_000
        self.saw_revision(chat, read.revision)
        self.model.sessions[chat] = msgspec.structs.replace(
            known, updated_at=read.updated_at, revision=read.revision
        )

    def saw_revision(self, chat: int, revision: int) -> None:
        """A session's revision changes with a write of it, else it is told alike everywhere; 0: there is none."""
        assert (revision == 0) == (chat not in self.model.sessions)
        if chat in self.model.sessions and chat not in self.revisions:
            assert revision != self.outdated[chat]
        assert self.revisions.setdefault(chat, revision) == revision

    def refused(self, call: Coroutine[Any, Any, object], moved: set[str]) -> None:
        """A conflict names what had moved; the invariants see that nothing was written."""
        with pytest.raises(VersionConflict) as conflict:
            self.run(call)
        assert conflict.value.what in moved


def other(right: int, version: Version) -> int:
    """The right version, or one beside it; 0 is that of what is absent."""
    return {"right": right, "older": max(0, right - 1) if right else 3, "newer": right + 1}[version]

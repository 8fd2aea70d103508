"""Every session store against a plain model: any order of calls, right and wrong ones, leaves both the same."""

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from actors.stores import TurnWrite, UpdateRecord
from contracts.turns import TurnState
from tests.app.store.conftest import MARKS
from tests.app.store.records import ended, lease, step, update
from tests.app.store.session_model import CHATS, ENDED, OPEN, ModelledStore, Version, other

SHARDS = (0, 1)
ABSENT = [msgspec.structs.replace(update(99), version=version) for version in (0, 5)]

A_CHAT = st.sampled_from(CHATS)
A_NUMBER = st.integers(1, 30)
A_SHARD = st.sampled_from(SHARDS)
A_BODY = st.binary(min_size=1, max_size=8)
A_SESSION_BODY = st.binary(max_size=8)  # the empty one is a tombstone
A_PLACE = st.integers(0, 9)
A_STATE = st.sampled_from([*OPEN, *OPEN, *ENDED])
A_WRONG: st.SearchStrategy[Version] = st.sampled_from(["right", "older", "newer"])
A_VERSION: st.SearchStrategy[Version] = st.sampled_from(["right", "right", "right", "older", "newer"])
A_LIMIT = st.integers(1, 5)


class StoreAgainstModel(ModelledStore):
    """All calls of the port, and what has to hold after each of them."""

    # ------------------------------------------------------------ writes

    @initialize()
    def some_wait(self) -> None:
        """Each chat begins with updates that wait, so that turns have something to write."""
        for number in range(1, 7):
            self.append(number, CHATS[number % len(CHATS)], "accepted", b"first")

    @rule(
        number=A_NUMBER,
        chat=A_CHAT,
        state=st.sampled_from(["accepted", "accepted", *ENDED[1:4]]),
        body=A_BODY,
    )
    def append(self, number: int, chat: int, state: TurnState, body: bytes) -> None:
        """A new update is created and counted; one that is there, in whatever chat and state, stays as it is."""
        record = update(number, chat, shard=chat % 2, body=body)
        record = record if state == "accepted" else ended(record, state, reason="so", body=body)
        appended = self.run(self.backend.sessions.append(record))
        assert appended.created == (number not in self.model.updates)
        if not appended.created:
            return
        assert appended.version > 0
        self.model.put_update(msgspec.structs.replace(record, version=appended.version), "")
        if record.open:
            assert appended.waiting == len(self.model.mailbox(chat))
            self.saw_revision(chat, appended.revision)

    @precondition(lambda self: bool(self.waiting()))
    @rule(
        place=A_PLACE,
        state=A_STATE,
        body=A_BODY,
        session_body=st.none() | A_SESSION_BODY,
        leased=st.booleans(),
    )
    def write_turn(
        self, place: int, state: TurnState, body: bytes, session_body: bytes | None, leased: bool
    ) -> None:
        """A step of a turn is written whole at the right versions."""
        stored = self.waiting()[place % len(self.waiting())]
        self.write(self.turn(stored, state, body, session_body, leased=leased))

    @precondition(lambda self: bool(self.model.updates))
    @rule(place=A_PLACE, state=A_STATE, wrong=A_WRONG, session_wrong=A_VERSION)
    def write_turn_wrong(self, place: int, state: TurnState, wrong: Version, session_wrong: Version) -> None:
        """A step at a wrong version of either document, or of an absent update, is not written at all."""
        updates = [*self.model.updates.values(), *ABSENT]
        stored = updates[place % len(updates)]
        stored = msgspec.structs.replace(stored, version=other(stored.version, wrong))
        write = self.turn(stored, state, b"wrong", b"wrong", session_wrong)
        if (moved := self.model.moved(write)) and (stored.open or "update" in moved):
            self.refused(self.backend.sessions.write_turn(write), moved)

    def turn(
        self,
        stored: UpdateRecord,
        state: TurnState,
        body: bytes,
        session_body: bytes | None,
        session_version: Version = "right",
        *,
        leased: bool = True,
    ) -> TurnWrite:
        """A step of a turn, with or without a session and a lease."""
        new = msgspec.structs.replace(stored, state=state, open=state in OPEN, reason="why", body=body)
        beside = None
        if session_body is not None:
            beside = self.session(stored.chat, session_body, session_version, shard=stored.chat % 2)
        held = lease(stored.update, owner=body.hex()) if leased else None
        return step(new, operation=self.operation(), session=beside, lease=held)

    def waiting(self) -> list[UpdateRecord]:
        """The open updates of all chats."""
        return [one for one in self.model.updates.values() if one.open]

    def write(self, write: TurnWrite) -> None:
        """Write a turn whose versions are right."""
        record, beside = write.update, write.session
        written = self.run(self.backend.sessions.write_turn(write))
        assert written.update_version > record.version
        self.turns_written.append(write)
        self.model.put_update(
            msgspec.structs.replace(record, version=written.update_version), write.operation
        )
        if record.open and write.lease is not None:
            self.model.leases[record.chat] = write.lease
        if beside is not None:
            assert written.session_version > beside.version
            new = msgspec.structs.replace(beside, version=written.session_version)
            self.put_session(new, write.operation)
        else:
            assert written.session_version == 0
        self.saw_revision(record.chat, written.revision)
        assert written.waiting == len(self.model.mailbox(record.chat))

    @precondition(lambda self: bool(self.turns_written))
    @rule(back=st.integers(0, 5))
    def repeat_turn(self, back: int) -> None:
        """A repeated step succeeds without a write while it is the update's last one, and is a conflict later."""
        write = self.turns_written[-1 - back % len(self.turns_written)]
        record = self.model.updates[write.update.update]
        if self.model.operations[record.key] != write.operation:
            self.refused(self.backend.sessions.write_turn(write), self.model.moved(write))
            return
        written = self.run(self.backend.sessions.write_turn(write))
        assert (written.update_version, written.waiting) == (
            record.version,
            len(self.model.mailbox(record.chat)),
        )
        newest = self.model.operations.get(f"session {record.chat}") == write.operation
        if write.session is None or newest:
            self.saw_revision(record.chat, written.revision)
        else:
            assert written.revision != self.revisions[record.chat]
        if write.session is not None:
            stored = self.model.session_version(record.chat)
            assert written.session_version == stored if newest else written.session_version < stored

    @rule(chat=A_CHAT, body=A_SESSION_BODY, version=A_VERSION, shard=A_SHARD)
    def write_session(self, chat: int, body: bytes, version: Version, shard: int) -> None:
        """A session, or its tombstone, is written at the right version, 0 for an absent one, else not at all."""
        new, operation = self.session(chat, body, version, shard), self.operation()
        if new.version != self.model.session_version(chat):
            self.refused(self.backend.sessions.write_session(new, operation), {"session"})
            return
        written = self.run(self.backend.sessions.write_session(new, operation))
        assert written > new.version
        self.sessions_written.append((new, operation))
        self.put_session(msgspec.structs.replace(new, version=written), operation)

    @precondition(lambda self: bool(self.sessions_written))
    @rule(back=st.integers(0, 3))
    def repeat_session(self, back: int) -> None:
        """A repeated write succeeds without a write while it is the session's last one, and is a conflict later."""
        record, operation = self.sessions_written[-1 - back % len(self.sessions_written)]
        if self.model.operations[f"session {record.chat}"] != operation:
            self.refused(self.backend.sessions.write_session(record, operation), {"session"})
            return
        version = self.run(self.backend.sessions.write_session(record, operation))
        assert version == self.model.session_version(record.chat)

    @rule(chat=A_CHAT, attempt=st.integers(1, 3))
    def write_lease(self, chat: int, attempt: int) -> None:
        """Whoever writes the lease of the first turn last has it."""
        box = self.model.mailbox(chat)
        if not box:
            return
        held = lease(box[0].update, attempt=attempt)
        self.run(self.backend.sessions.write_lease(chat, held))
        self.model.leases[chat] = held

    @precondition(lambda self: any(not one.open for one in self.model.updates.values()))
    @rule(place=A_PLACE)
    def write_lease_late(self, place: int) -> None:
        """The lease of a turn that has ended takes no other one's place."""
        ended = [one for one in self.model.updates.values() if not one.open]
        late = ended[place % len(ended)]
        self.run(self.backend.sessions.write_lease(late.chat, lease(late.update)))

    @rule(chat=A_CHAT)
    def give_up_lease(self, chat: int) -> None:
        """A lease given up is gone, and giving up none is no harm."""
        self.run(self.backend.sessions.write_lease(chat, None))
        self.model.leases.pop(chat, None)

    @rule(chat=A_CHAT)
    def erase_updates(self, chat: int) -> None:
        """The bodies of the chat's ended updates go, each with a new version; all else stays."""
        texts = [one for one in self.model.updates.values() if one.chat == chat and not one.open and one.body]
        assert self.run(self.backend.sessions.erase_updates(chat)) == len(texts)
        read = {one.update: one for one in self.run(self.backend.sessions.find_updates(ENDED, 100))}
        for one in texts:
            assert read[one.update].version > one.version
            erased = msgspec.structs.replace(one, body=b"", version=read[one.update].version)
            self.model.updates[one.update] = erased

    @rule()
    def reopen(self) -> None:
        """Another process finds all of it."""
        self.run(self.backend.reopen())

    # ------------------------------------------------------------ reads

    @rule(chat=A_CHAT)
    def read_chat(self, chat: int) -> None:
        """A chat alone is what it is among others."""
        self.same_chat(chat, self.run(self.backend.sessions.read_chat(chat)))

    @rule(chats=st.lists(A_CHAT, unique=True))
    def read_sessions(self, chats: list[int]) -> None:
        """Those that are there come, tombstones included, and no others."""
        batch = self.run(self.backend.sessions.read_sessions(chats))
        expected = {chat: self.model.sessions[chat] for chat in chats if chat in self.model.sessions}
        assert {one.chat: one for one in batch.sessions} == expected
        assert len(batch.sessions) == len(expected)

    @rule(shard=A_SHARD, limit=A_LIMIT)
    def recent_sessions(self, shard: int, limit: int) -> None:
        """The newest come first, of this shard alone, tombstones left out, the oldest cut by the limit."""
        found = self.run(self.backend.sessions.recent_sessions(shard, limit)).sessions
        newest = [one for one in reversed(self.model.sessions.values()) if one.shard == shard and one.body]
        assert list(found) == newest[:limit]

    @rule(shard=A_SHARD, limit=A_LIMIT)
    def open_updates(self, shard: int, limit: int) -> None:
        """The updates without an end come, oldest first, of this shard alone."""
        found = self.run(self.backend.sessions.open_updates(shard, limit))
        waiting = [one for one in self.model.updates.values() if one.shard == shard and one.open]
        assert list(found) == waiting[:limit]

    @rule(shard=A_SHARD, limit=A_LIMIT, place=A_PLACE)
    def open_updates_after(self, shard: int, limit: int, place: int) -> None:
        """Those behind an update come, whatever its state and shard."""
        updates = list(self.model.updates.values())
        at = place % len(updates)
        found = self.run(self.backend.sessions.open_updates(shard, limit, updates[at]))
        assert list(found) == [one for one in updates[at + 1 :] if one.shard == shard and one.open][:limit]

    @rule(states=st.lists(st.sampled_from([*OPEN, *ENDED]), unique=True), limit=A_LIMIT)
    def find_updates(self, states: list[TurnState], limit: int) -> None:
        """The updates in these states come, oldest first."""
        found = self.run(self.backend.sessions.find_updates(states, limit))
        assert list(found) == [one for one in self.model.updates.values() if one.state in states][:limit]

    # ------------------------------------------------------------ what always holds

    @invariant()
    def everything_is_as_written(self) -> None:
        """No call left anything else than what it should, and what was refused left nothing."""
        self.every_update_is_as_written()
        self.every_chat_is_as_written()

    def every_update_is_as_written(self) -> None:
        """Each update is there once, at the version of its last write, in the order of arrival."""
        found = self.run(self.backend.sessions.find_updates([*OPEN, *ENDED], 100))
        for one in found:
            known = self.model.updates[one.update]
            if not known.accepted_at:  # the store's time, seen here for the first time
                self.model.updates[one.update] = msgspec.structs.replace(known, accepted_at=one.accepted_at)
        assert list(found) == list(self.model.updates.values())
        assert all(one.accepted_at > 1_700_000_000 for one in found)

    def every_chat_is_as_written(self) -> None:
        """Session, mailbox in arrival order and lease are those of the model, of each chat."""
        states = self.run(self.backend.sessions.read_chats(CHATS))
        assert set(states) == set(CHATS)
        for chat, state in states.items():
            self.saw_session(chat, state.session)
            self.same_chat(chat, state)


EXAMPLES = {
    "memory": settings(max_examples=60, stateful_step_count=40, deadline=None),
    "sqlite": settings(max_examples=25, stateful_step_count=40, deadline=None),  # each write goes to a disk
    "modelled": settings(max_examples=8, stateful_step_count=40, deadline=None),
    "firestore": settings(max_examples=4, stateful_step_count=15, deadline=None),  # each call is a round trip
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, [])) for name in EXAMPLES])
def test_any_history_of_calls(name: str, request: pytest.FixtureRequest) -> None:
    """Whatever was called in whatever order, a store holds what the port's words say, and a conflict writes nothing."""

    def emulator_host() -> str:
        return str(request.getfixturevalue("emulator").host)

    def machine() -> StoreAgainstModel:
        return StoreAgainstModel(name, emulator_host)

    run_state_machine_as_test(machine, settings=EXAMPLES[name])  # type: ignore[arg-type]  # it calls it, no more

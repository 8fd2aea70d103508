"""What a shard holds of its sessions while readings of the store's changes come in."""

from collections import Counter

from actors.sessions import MAX_REVISIONS, ShardSessions
from actors.stores import SessionRecord
from actors.warm_ports import SessionChanges
from tests.actors.fakes import VirtualClock
from tests.actors.memory_database import MemoryDatabase
from tests.actors.memory_store import MemorySessionStore

CHAT = 500


def listing(version: int, body: bytes) -> SessionChanges:
    """Changes of the chat alone, up to this version of it."""
    record = SessionRecord(chat=CHAT, shard=0, body=body, version=version, revision=version)
    return SessionChanges(sessions=(record,), watermark=version)


def sessions_over(store: MemorySessionStore) -> ShardSessions:
    """A shard's sessions with a small L1."""
    counted = Counter[str]()
    return ShardSessions(
        0, store=store, clock=VirtualClock(), max_bytes=1_000_000, count=lambda what: counted.update([what])
    )


async def test_changes_that_come_late_bring_nothing_back() -> None:
    """Of two readings whose answers overtook one another, the newer one counts: a forgotten session stays away."""
    clock, store = VirtualClock(), MemorySessionStore(MemoryDatabase())
    sessions = sessions_over(store)
    earlier, later = listing(5, b"said"), listing(6, b"")
    sessions.heed(later)
    sessions.heed(earlier)
    taken = await sessions.take_in(earlier.sessions, clock.monotonic_s())
    held = await sessions.read(CHAT)
    assert ((0, 1), None, 1) == (taken, held.value, store.calls["read_sessions"])
    await sessions.close()


def test_what_has_changed_stays_bounded_while_no_image_can_be_written() -> None:
    """However many chats come and however often the writing of an image fails, only so many are remembered."""
    sessions = sessions_over(MemorySessionStore(MemoryDatabase()))
    for first in range(0, 3 * MAX_REVISIONS, MAX_REVISIONS):
        taken, sessions.changed = sessions.changed, set(range(first, first + MAX_REVISIONS - 1))
        sessions.still_changed(taken)
        assert len(sessions.changed) <= MAX_REVISIONS
    assert len(sessions.changed) == MAX_REVISIONS
    sessions.still_changed({0, -1})
    assert len(sessions.changed) == MAX_REVISIONS

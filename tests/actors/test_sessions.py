"""What a shard holds of its sessions while readings of the store's changes come in."""

from collections import Counter

from actors.sessions import ShardSessions
from actors.stores import SessionRecord
from actors.warm_ports import SessionChanges
from tests.actors.fakes import VirtualClock
from tests.actors.memory_store import MemoryDatabase, MemorySessionStore

CHAT = 500


def listing(version: int, body: bytes) -> SessionChanges:
    """Changes of the chat alone, up to this version of it."""
    record = SessionRecord(chat=CHAT, shard=0, body=body, version=version, revision=version)
    return SessionChanges(sessions=(record,), watermark=version)


async def test_changes_that_come_late_bring_nothing_back() -> None:
    """Of two readings whose answers overtook one another, the newer one counts: a forgotten session stays away."""
    clock, counted = VirtualClock(), Counter[str]()
    store = MemorySessionStore(MemoryDatabase())
    sessions = ShardSessions(
        0, store=store, clock=clock, max_bytes=1_000_000, count=lambda what: counted.update([what])
    )
    earlier, later = listing(5, b"said"), listing(6, b"")
    sessions.heed(later)
    sessions.heed(earlier)
    taken = await sessions.take_in(earlier.sessions, clock.monotonic_s())
    held = await sessions.read(CHAT)
    assert ((0, 1), None, 1) == (taken, held.value, store.calls["read_sessions"])
    await sessions.close()

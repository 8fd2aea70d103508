"""L1 against the store's truth: whatever happens during loads, no reader sees what is known to be outdated."""

import asyncio
from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.cache_entry import JITTER
from actors.cache_values import Versioned
from tests.actors.cache_kit import TTL_S, ManualClock, make_cache, room_for, settle


class Document:
    """The store's truth of one key, and what our own writes have made known to the cache."""

    def __init__(self) -> None:
        self.version = 0
        self.value: bytes | None = None
        self.known = 0  # a value below this version must not be seen any more
        self.absent_since_known = True  # whether the document was absent at any time since `known` was set

    def write(self, value: bytes | None) -> None:
        """Change the document; None deletes it."""
        self.version += 1
        self.value = value
        self.absent_since_known |= value is None

    def tell(self) -> None:
        """Make its present state the oldest that may be seen."""
        self.known = self.version
        self.absent_since_known = self.value is None

    def allows(self, seen: Versioned[bytes]) -> bool:
        """Say whether a reader may see this now."""
        return self.absent_since_known if seen.value is None else seen.version >= self.known


class Scene:
    """A cache over a store whose reads are answered late, with what was true when they were asked."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.cache = make_cache(self.clock, max_bytes=room_for(4, 8))
        self.documents = {1: Document(), 2: Document()}
        self.gates: list[asyncio.Future[None]] = []
        self.readers: list[tuple[int, asyncio.Task[Versioned[bytes]]]] = []
        self.reads = 0
        self.injected: Counter[str] = Counter()

    async def load(self, key: int) -> Versioned[bytes]:
        """Read the store; the answer comes when its gate opens. Absences carry no version."""
        document = self.documents[key]
        answer = Versioned(document.value, document.version if document.value is not None else 0)
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate
        return answer

    def read(self, key: int) -> None:
        """Start a reader."""
        self.reads += 1
        self.readers.append((key, asyncio.create_task(self.cache.get_or_load(key, self.load))))

    def write(self, key: int) -> None:
        """Write the document and the cache."""
        document = self.documents[key]
        document.write(b"v%d" % (document.version + 1))
        document.tell()
        self.cache.put(key, document.value or b"", document.version)

    def write_elsewhere(self, key: int) -> None:
        """Another container writes; this cache does not know."""
        document = self.documents[key]
        document.write(b"w%d" % (document.version + 1))

    def hear(self, key: int) -> None:
        """News of the present version arrives."""
        self.documents[key].tell()
        self.cache.invalidate(key, self.documents[key].version)

    def delete(self, key: int) -> None:
        """Delete the document and forget it here."""
        self.documents[key].write(None)
        self.documents[key].tell()
        self.cache.remove(key)

    def bury(self, key: int) -> None:
        """Delete the document and hold its tombstone."""
        self.documents[key].write(None)
        self.documents[key].tell()
        self.cache.put_absent(key, self.documents[key].version)

    def squeeze(self, key: int) -> None:
        """Evict everything."""
        for filler in range(100, 104):
            self.cache.put(filler, b"x" * 8, 1)

    def answer(self, key: int) -> None:
        """Let a read return, the oldest for key 1, else the newest."""
        gate = self._take_gate(key)
        if gate is not None:
            gate.set_result(None)

    def fail(self, key: int) -> None:
        """Let a read fail."""
        gate = self._take_gate(key)
        if gate is not None:
            gate.set_exception(ConnectionError("injected"))
            self.injected["failed load"] += 1

    def cancel(self, key: int) -> None:
        """A reader gives up."""
        if self.readers:
            self.readers[0][1].cancel()
            self.injected["cancelled reader"] += 1

    def wait(self, key: int) -> None:
        """All values become stale, the stale ones expire."""
        self.clock.now += TTL_S * (1 + JITTER)

    def _take_gate(self, key: int) -> asyncio.Future[None] | None:
        waiting = [gate for gate in self.gates if not gate.done()]
        return None if not waiting else waiting[0 if key == 1 else -1]

    def check(self) -> None:
        """Hold every reader that has its answer, and what the cache serves, against the store's truth."""
        for key, reader in [entry for entry in self.readers if entry[1].done()]:
            self.readers.remove((key, reader))
            if not reader.cancelled() and reader.exception() is None:
                assert self.documents[key].allows(reader.result())
        for key, document in self.documents.items():
            held = self.cache.peek(key)
            assert held is None or document.allows(held)

    async def finish(self) -> None:
        """Answer all that waits; every reader must end, and every read must have been counted once."""
        while any(not gate.done() for gate in self.gates):
            self.answer(1)
            await settle()
            self.check()
        assert self.readers == []
        stats = self.cache.stats()
        assert stats.hits + stats.stale_hits + stats.negative_hits + stats.misses == self.reads
        assert stats.loads == len(self.gates)
        assert await self.cache.close() == 0
        self.injected["overtaken load"] += stats.rejected
        self.injected["stale read"] += stats.stale_hits


Action = Callable[[Scene, int], None]

ACTIONS: list[Action] = [
    *(Scene.read, Scene.read, Scene.read, Scene.answer, Scene.answer),  # often, so that loads are under way
    *(Scene.write, Scene.write_elsewhere, Scene.hear, Scene.delete, Scene.bury),
    *(Scene.squeeze, Scene.fail, Scene.cancel, Scene.wait),
]


async def play(script: list[tuple[Action, int]]) -> Counter[str]:
    """Play the actions one after the other, check after each, and give what was injected."""
    scene = Scene()
    for action, key in script:
        action(scene, key)
        await settle()
        scene.check()
    await scene.finish()
    return scene.injected


def test_no_reader_sees_what_was_known_to_be_outdated() -> None:
    """Nothing older than our last write or news is given or held, in any order of reads and faults."""
    injected: Counter[str] = Counter()

    @settings(max_examples=600, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(1, 2)), min_size=5, max_size=40))
    def search(script: list[tuple[Action, int]]) -> None:
        injected.update(asyncio.run(play(script)))

    search()
    print(f"injected: {dict(injected)}")  # noqa: T201 - a harness that injects nothing is to be seen
    assert sorted(kind for kind, count in injected.items() if count) == sorted(
        ("failed load", "cancelled reader", "overtaken load", "stale read")
    )

"""The sweep of a deployed app: whom it asks, and whom it leaves asleep."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import pytest
from structlog.testing import capture_logs

from actors.meter import Meter
from actors.ports import Clock
from actors.stores import ChatState, LeaseRecord, StoreDown, Stray, UpdateRecord
from app.chaos.memory_database import MemoryDatabase
from app.chaos.memory_store import MemorySessionStore
from app.sweeper import CHATS_AT_ONCE, LOOKED_AT, STRAY_PAGES, STRAYS, STRAYS_EVERY, sweep_forever, sweep_open
from contracts.codec import encode
from contracts.sessions import TurnsStranded
from tests.actors.turns.test_sweeping import Direct, away, fleet
from tests.app.store.records import lease, step, update

SHARDS = 3


class Store(MemorySessionStore):
    """A store that may be away, and notes how many chats were read at once."""

    away = False

    def __init__(self, database: MemoryDatabase, meter: Meter) -> None:
        super().__init__(database, meter)
        self.waves: list[int] = []

    async def open_shards(self, limit: int) -> Sequence[int]:
        if self.away:
            raise StoreDown("away")
        return await super().open_shards(limit)

    async def strays(self, shards: int, limit: int, after: Stray | None = None) -> Sequence[Stray]:
        if self.away:
            raise StoreDown("away")
        return await super().strays(shards, limit, after)

    async def read_chats(self, chats: Sequence[int]) -> Mapping[int, ChatState]:
        self.waves.append(len(chats))
        return await super().read_chats(chats)


class Asked:
    """Shards that have nothing stranded, and note that they were asked."""

    def __init__(self) -> None:
        self.shards: list[int] = []

    def shard(self, number: int) -> Callable[[bytes], bytes]:
        """What one of them answers."""

        def answer(_: bytes) -> bytes:
            self.shards.append(number)
            return encode(TurnsStranded(chats=(number,)))

        return answer


@pytest.fixture
def store() -> Store:
    """An empty one."""
    return Store(MemoryDatabase(time.time), Meter())


async def swept(store: Store) -> tuple[list[int], int]:
    """Sweep once: which shards were asked, and how many chats were handed to the agents."""
    asked, agent = Asked(), Direct(away)
    count = await sweep_open(fleet(agent, *map(asked.shard, range(SHARDS))), store)
    assert count == len(agent.told)
    return sorted(asked.shards), count


async def append(store: Store, number: int, chat: int, shard: int) -> UpdateRecord:
    """An update that waits."""
    record = update(number, chat, shard=shard)
    return msgspec.structs.replace(record, version=(await store.append(record)).version)


async def test_a_shard_with_nothing_open_is_not_asked(store: Store) -> None:
    """To ask would wake its container, or keep it awake for ever."""
    assert ([], 0) == await swept(store)
    await append(store, 1, chat=500, shard=1)
    assert ([1], 1) == await swept(store)


@pytest.mark.parametrize("away", [True, False], ids=["the store is away", "much is open"])
async def test_where_it_can_not_tell_every_shard_is_asked(store: Store, away: bool) -> None:
    """A stranded turn goes on within its time all the same."""
    store.away = away
    for number in range(0 if away else LOOKED_AT):
        await append(store, number, chat=number, shard=0)
    with capture_logs() as logs:
        assert (list(range(SHARDS)), SHARDS) == await swept(store)
    assert away == ("sweep_failed" in {each["event"] for each in logs})


async def test_what_belongs_to_a_shard_that_is_no_more_is_handed_over(store: Store) -> None:
    """By its chat, whose shard is another one since the number of shards was lowered."""
    for number, chat, shard in ((1, 500, 7), (2, 501, 4), (3, 500, 7)):
        await append(store, number, chat, shard)
    assert ([], 2) == await swept(store)


async def test_a_turn_of_such_a_shard_that_somebody_works_is_left_alone(store: Store) -> None:
    """Its lease lives, in the store."""
    record = await append(store, 1, chat=500, shard=7)
    committed = msgspec.structs.replace(record, state="committed")
    await store.write_turn(step(committed, lease=lease(1)))
    assert ([], 0) == await swept(store)


async def test_chats_that_wait_do_not_hide_what_belongs_to_a_shard_that_is_no_more(store: Store) -> None:
    """However many they are."""
    for number in range(LOOKED_AT):
        await append(store, number, chat=number, shard=0)
    await append(store, 9_000, chat=9_000, shard=7)
    assert (list(range(SHARDS)), SHARDS + 1) == await swept(store)
    agent = Direct(away)
    with pytest.raises(asyncio.CancelledError):
        await sweep_forever(fleet(agent, *map(Asked().shard, range(SHARDS))), Rounds(1), store)
    assert SHARDS + 1 == len(agent.told)


async def test_strays_are_bounded_and_their_chats_read_in_waves(store: Store) -> None:
    """A store's port takes a few hundred chats at once."""
    for number in range(STRAYS + 5):
        await append(store, number, chat=number, shard=7)
    assert (list(range(SHARDS)), SHARDS + STRAYS) == await swept(store)
    assert [CHATS_AT_ONCE] * (STRAYS // CHATS_AT_ONCE) == store.waves


async def wait(store: Store, record: UpdateRecord, wait_s: float) -> None:
    """Hand its turn back, to be taken up so much later."""
    nobody = LeaseRecord(lease="gone", owner="", update_key=record.key, attempt=0, wait_s=wait_s)
    await store.write_lease(record.chat, nobody)


async def test_strays_that_wait_are_left_alone_and_hide_no_others(store: Store) -> None:
    """Telegram may ask for a long wait before each of a thousand chats; behind them stands one that is due."""
    for number in range(STRAYS):
        await wait(store, await append(store, number, chat=number, shard=7), 3_600.0)
    await append(store, 9_000, chat=9_000, shard=8)
    assert (list(range(SHARDS)), SHARDS + 1) == await swept(store)


async def test_a_stray_is_handed_over_when_its_wait_is_over(store: Store) -> None:
    """It was handed back, so that nobody has it, however young its wait is."""
    await wait(store, await append(store, 1, chat=500, shard=7), 0.001)
    await asyncio.sleep(0.002)
    assert ([], 1) == await swept(store)


async def test_a_look_for_strays_ends(store: Store) -> None:
    """I7: behind ten thousand that wait the next sweeps look, when fewer do."""
    for number in range(STRAYS * STRAY_PAGES):
        await wait(store, await append(store, number, chat=number, shard=7), 3_600.0)
    await append(store, 99_000, chat=99_000, shard=8)
    assert (list(range(SHARDS)), SHARDS) == await swept(store)


class Rounds(Clock):
    """A clock that stops the sweeper after so many sleeps."""

    def __init__(self, rounds: int) -> None:
        self.left = rounds

    def monotonic_s(self) -> float:
        return 0.0

    def unix_s(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.left -= 1
        if not self.left:
            raise asyncio.CancelledError


@pytest.mark.parametrize(("rounds", "looks"), [(1, 1), (STRAYS_EVERY, 1), (STRAYS_EVERY + 1, 2)])
async def test_in_one_process_every_shard_is_swept_and_strays_are_looked_for_each_minute(
    store: Store, rounds: int, looks: int
) -> None:
    """The first time at once: the number of shards changes with a restart."""
    await append(store, 1, chat=500, shard=7)
    asked, agent = Asked(), Direct(away)
    with pytest.raises(asyncio.CancelledError):
        await sweep_forever(fleet(agent, asked.shard(0)), Rounds(rounds), store)
    assert (rounds, rounds + looks) == (len(asked.shards), len(agent.told))


async def test_in_one_process_a_store_that_is_away_stops_no_sweep(store: Store) -> None:
    """It is back at the next look."""
    store.away = True
    asked = Asked()
    with pytest.raises(asyncio.CancelledError):
        await sweep_forever(fleet(Direct(away), asked.shard(0)), Rounds(2), store)
    assert [0, 0] == asked.shards

"""What every store promises who asks for the shards that have work, and for what belongs to none."""

import msgspec

from tests.app.store.backends import Backend
from tests.app.store.records import CHAT, ended, step, update


async def test_the_shards_of_open_updates_are_given_and_no_others(backend: Backend) -> None:
    """One entry for each update that has no end, up to the limit; nothing for a shard whose turns are over."""
    for number, shard in ((1, 0), (2, 3), (3, 3), (4, 1)):
        await backend.sessions.append(update(number, CHAT + shard, shard=shard))
    over = update(5, CHAT + 5, shard=5)
    stored = msgspec.structs.replace(over, version=(await backend.sessions.append(over)).version)
    await backend.sessions.write_turn(step(ended(stored)))
    await backend.sessions.append(ended(update(6, CHAT + 6, shard=6), "ignored"))
    assert [0, 1, 3, 3] == sorted(await backend.sessions.open_shards(10))
    assert 2 == len(await backend.sessions.open_shards(2))


async def test_a_look_for_work_where_there_is_none_is_one_read_of_nothing(backend: Backend) -> None:
    """It is made every few seconds for ever."""
    backend.meter.reads.clear()
    assert [] == list(await backend.sessions.open_shards(100))
    assert [0] == backend.meter.reads


async def test_the_chats_of_shards_that_are_no_more_are_given_and_no_others(backend: Backend) -> None:
    """One entry for each update that has no end, up to the limit, behind any number of others."""
    for number, shard in ((1, 0), (2, 3), (3, 3), (4, 2), (5, 9)):
        await backend.sessions.append(update(number, CHAT + shard, shard=shard))
    for number in range(100, 120):
        await backend.sessions.append(update(number, CHAT, shard=0))
    over = update(6, CHAT + 5, shard=5)
    stored = msgspec.structs.replace(over, version=(await backend.sessions.append(over)).version)
    await backend.sessions.write_turn(step(ended(stored)))
    await backend.sessions.append(ended(update(7, CHAT + 6, shard=6), "ignored"))
    assert [CHAT + 3, CHAT + 3, CHAT + 9] == [each.chat for each in await backend.sessions.strays(3, 3)]
    assert [2, 3] == sorted(each.update for each in await backend.sessions.strays(3, 2))
    assert [(CHAT + 9, 9)] == [(each.chat, each.shard) for each in await backend.sessions.strays(4, 10)]
    assert [] == list(await backend.sessions.strays(10, 10))


async def test_strays_are_given_page_by_page(backend: Backend) -> None:
    """Each once, by shard, whatever ids they have; also behind one that has ended since."""
    for number, shard in ((9, 4), (10, 4), (100, 3), (-1, 4), (2, 3), (1, 5)):
        await backend.sessions.append(update(number, CHAT + abs(number), shard=shard))
    first = await backend.sessions.strays(3, 4)
    ends = update(first[-1].update, first[-1].chat, shard=first[-1].shard)
    (stored,) = (await backend.sessions.read_chat(ends.chat)).open_updates
    await backend.sessions.write_turn(step(ended(stored)))
    rest = await backend.sessions.strays(3, 4, first[-1])
    assert [3, 3, 4, 4] == [each.shard for each in first]
    assert [4, 5] == [each.shard for each in rest]
    assert {-1, 1, 2, 9, 10, 100} == {each.update for each in (*first, *rest)}
    assert [] == list(await backend.sessions.strays(3, 4, rest[-1]))

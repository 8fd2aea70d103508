"""What every store promises of updates that are appended as a group."""

import asyncio

from actors.stores import Appended, UpdateRecord
from tests.app.store.backends import Backend
from tests.app.store.records import CHAT, ended, session, update


async def appended(backend: Backend, *records: UpdateRecord) -> list[Appended]:
    """Append the group, all of which the store takes."""
    outcomes = await backend.sessions.append_all(records)
    assert len(records) == len(outcomes)
    return [outcome for outcome in outcomes if isinstance(outcome, Appended)]


async def waiting(backend: Backend, chat: int = CHAT) -> list[int]:
    """The chat's open updates, by number."""
    return [record.update for record in (await backend.sessions.read_chat(chat)).open_updates]


async def test_a_group_is_appended_in_its_order(backend: Backend) -> None:
    """In each chat the updates wait as they stood in the group, and each is told how many do."""
    records = [update(number, chat=CHAT + number % 2) for number in (9, 4, 7, 2, 1)]
    outcomes = await appended(backend, *records)
    assert [(True, 1), (True, 1), (True, 2), (True, 2), (True, 3)] == [
        (one.created, one.waiting) for one in outcomes
    ]
    assert (await waiting(backend, CHAT + 1), await waiting(backend)) == ([9, 7, 1], [4, 2])


async def test_a_group_tells_what_a_single_append_does(backend: Backend) -> None:
    """Version, waiting and revision are those of the stored updates."""
    await backend.sessions.write_session(session(), "first")
    alone = await backend.sessions.append(update(1))
    (outcome,) = await appended(backend, update(2))
    stored = (await backend.sessions.read_chat(CHAT)).open_updates
    assert (outcome.version, outcome.waiting) == (stored[1].version, 2)
    assert (outcome.revision, outcome.version > alone.version) == (alone.revision, True)


async def test_equal_updates_in_a_group(backend: Backend) -> None:
    """Of several that are one, the first is new."""
    twin = update(1, body=b"other")
    outcomes = await appended(backend, update(1), update(2), twin, update(1))
    assert [True, True, False, False] == [one.created for one in outcomes]
    stored = (await backend.sessions.read_chat(CHAT)).open_updates
    assert [(1, b"turn"), (2, b"turn")] == [(one.update, one.body) for one in stored]


async def test_an_update_that_was_there_spoils_no_other(backend: Backend) -> None:
    """Its neighbours are new, before and behind it."""
    await backend.sessions.append(update(2))
    outcomes = await appended(backend, update(1), update(2), update(3))
    assert [True, False, True] == [one.created for one in outcomes]
    assert [2, 1, 3] == await waiting(backend)


async def test_updates_that_wait_for_nothing_in_a_group(backend: Backend) -> None:
    """What comes in ended is kept and not counted."""
    outcomes = await appended(backend, ended(update(1), "ignored"), update(2), ended(update(3), "refused"))
    assert [(True, 0), (True, 1), (True, 0)] == [(one.created, one.waiting) for one in outcomes]
    assert [2] == await waiting(backend)


async def test_groups_at_once(backend: Backend) -> None:
    """Nothing is lost or doubled between groups that hold the same updates."""
    groups = [[update(number, chat=CHAT + number % 5) for number in range(10)] for _ in range(2)]
    outcomes = await asyncio.gather(*(appended(backend, *group) for group in groups))
    assert 10 == sum(one.created for group in outcomes for one in group)
    kept = [number for chat in range(CHAT, CHAT + 5) for number in await waiting(backend, chat)]
    assert list(range(10)) == sorted(kept)


async def test_a_group_is_counted_by_its_new_updates(backend: Backend) -> None:
    """The meter hears of as many documents as were created."""
    await backend.sessions.append(update(1))
    backend.meter.writes.clear()
    await appended(backend, update(1), ended(update(2)), ended(update(3)))
    assert 2 == sum(backend.meter.writes)

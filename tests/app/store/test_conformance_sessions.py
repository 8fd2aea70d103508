"""What every store promises of sessions, and what its calls cost."""

import asyncio

import pytest

from actors.stores import VersionConflict
from tests.app.store.backends import Backend
from tests.app.store.conformance_kit import assert_one_won, stored
from tests.app.store.records import CHAT, lease, session, step, update

# ---------------------------------------------------------------- sessions


async def test_session_versions_grow(backend: Backend) -> None:
    """Each write gives a higher version and a time that does not go back."""
    versions, times = [0], [0.0]
    for number in range(3):
        new = session(version=versions[-1], body=b"%d" % number)
        versions.append(await backend.sessions.write_session(new, f"write-{number}"))
        (read,) = (await backend.sessions.read_sessions([CHAT])).sessions
        assert (b"%d" % number, versions[-1]) == (read.body, read.version)
        times.append(read.updated_at)
    assert sorted(set(versions)) == versions
    assert sorted(times) == times
    assert times[1] > 1_700_000_000


@pytest.mark.parametrize("offset", [-1, 1])
async def test_a_session_at_another_version_is_a_conflict(backend: Backend, offset: int) -> None:
    """Neither an older nor a made-up version writes."""
    version = await backend.sessions.write_session(session(), "write")
    with pytest.raises(VersionConflict) as conflict:
        await backend.sessions.write_session(session(version=version + offset, body=b"no"), "late")
    assert conflict.value.what == "session"
    (read,) = (await backend.sessions.read_sessions([CHAT])).sessions
    assert (b"session", version) == (read.body, read.version)


async def test_a_session_that_is_not_there_is_a_conflict(backend: Backend) -> None:
    """A version other than 0 never creates."""
    with pytest.raises(VersionConflict):
        await backend.sessions.write_session(session(version=5), "write")
    assert (await backend.sessions.read_sessions([CHAT])).sessions == ()


async def test_a_repeated_session_write_gives_the_current_version(backend: Backend) -> None:
    """After a lost reply the same operation succeeds, although the version has moved: by itself."""
    first = await backend.sessions.write_session(session(), "once")
    assert first == await backend.sessions.write_session(session(), "once")
    (read,) = (await backend.sessions.read_sessions([CHAT])).sessions
    assert first == read.version


async def test_one_of_many_session_writers_wins(backend: Backend) -> None:
    """Of twenty compare-and-sets on one version exactly one succeeds."""
    version = await backend.sessions.write_session(session(), "write")
    writes = (
        backend.sessions.write_session(session(version=version, body=b"%d" % n), f"writer-{n}")
        for n in range(20)
    )
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert_one_won(outcomes, "session")
    (read,) = (await backend.sessions.read_sessions([CHAT])).sessions
    assert outcomes[int(read.body)] == read.version


async def test_many_sessions_in_one_read(backend: Backend) -> None:
    """More chats than any store takes in one request are one wave of a few calls; absent ones are left out."""
    chats = [*range(-300, 0), *range(2**53, 2**53 + 300)]
    present = chats[::7]
    await asyncio.gather(*(backend.sessions.write_session(session(chat), "write") for chat in present))
    backend.meter.reads.clear()
    batch = await backend.sessions.read_sessions(chats)
    assert sorted(present) == sorted(one.chat for one in batch.sessions)
    assert {b"session"} == {one.body for one in batch.sessions}
    assert (sum(backend.meter.reads), batch.set_aside) == (len(present), ())
    assert len(backend.meter.reads) <= 3  # a remote store reads 250 documents a call


async def test_no_chats(backend: Backend) -> None:
    """Reading nothing gives nothing."""
    assert (await backend.sessions.read_sessions([])).sessions == ()


async def test_recent_sessions_newest_first(backend: Backend) -> None:
    """The order is that of the last write, the limit cuts the oldest, other shards stay away."""
    versions = {chat: await backend.sessions.write_session(session(chat), "write") for chat in (1, 2, 3, 4)}
    await backend.sessions.write_session(session(9, shard=1), "write")
    await backend.sessions.write_session(session(2, version=versions[2], body=b"newer"), "write again")
    recent = (await backend.sessions.recent_sessions(0, 3)).sessions
    assert [one.chat for one in recent] == [2, 4, 3]
    assert recent[0].body == b"newer"
    times = [one.updated_at for one in recent]
    assert sorted(times, reverse=True) == times
    assert [one.chat for one in (await backend.sessions.recent_sessions(1, 3)).sessions] == [9]


async def test_a_tombstone_keeps_its_version_and_is_not_recent(backend: Backend) -> None:
    """A forgotten session is not warmed, and its version still guards the next write."""
    version = await backend.sessions.write_session(session(), "write")
    buried = await backend.sessions.write_session(session(version=version, body=b""), "forget")
    assert (await backend.sessions.recent_sessions(0, 10)).sessions == ()
    read = (await backend.sessions.read_chat(CHAT)).session
    assert read is not None
    assert (b"", buried) == (read.body, read.version)
    with pytest.raises(VersionConflict):
        await backend.sessions.write_session(session(), "as if new")
    again = await backend.sessions.write_session(session(version=buried), "start again")
    assert buried < again
    assert [one.chat for one in (await backend.sessions.recent_sessions(0, 10)).sessions] == [CHAT]


async def test_a_session_moves_to_another_shard(backend: Backend) -> None:
    """The shard is that of the last write."""
    version = await backend.sessions.write_session(session(), "write")
    await backend.sessions.write_session(session(version=version, shard=1), "move")
    assert (await backend.sessions.recent_sessions(0, 10)).sessions == ()
    assert [one.chat for one in (await backend.sessions.recent_sessions(1, 10)).sessions] == [CHAT]


# ---------------------------------------------------------------- costs and ends


async def test_meter_counts_calls(backend: Backend) -> None:
    """Each call of the port is metered as the calls that it made: one, or two for a chat where updates wait."""
    record = await stored(backend, update(1))
    await backend.sessions.write_lease(CHAT, lease(1))
    await backend.sessions.write_turn(step(record, session=session()))
    await backend.sessions.write_session(session(CHAT + 1), "write")
    assert (len(backend.meter.writes), len(backend.meter.reads)) == (4, 0)
    assert min(backend.meter.writes) > 0
    await backend.sessions.read_chat(CHAT)
    await backend.sessions.recent_sessions(0, 10)
    await backend.sessions.open_updates(0, 10)
    await backend.sessions.read_sessions([CHAT, CHAT + 1, CHAT + 2])
    assert len(backend.meter.writes) == 4
    assert 4 <= len(backend.meter.reads) <= 5
    assert backend.meter.reads[-3:] == [2, 1, 2]


async def test_close_twice(backend: Backend) -> None:
    """Closing a store again does nothing."""
    await backend.sessions.close()
    await backend.sessions.close()

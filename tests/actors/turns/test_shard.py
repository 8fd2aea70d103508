"""The session shard as an actor: warming, statistics, first request, and what it says to frames it can't read."""

import asyncio

import msgspec

from actors.stores import SessionRecord
from contracts.codec import read_session_reply
from contracts.faults import BadRequest, Internal, StoreUnavailable, Unsupported
from contracts.sessions import ClaimTurn, LoadSession, PatchSession, SessionLoaded, SessionPatch
from contracts.skills import SetAside
from tests.actors.turn_kit import CHAT, World


async def test_after_a_restart_the_recent_sessions_are_served_without_a_read(world: World) -> None:
    """The promise: warm, and the first request finds everything."""
    for chat in range(50):
        await world.ask(PatchSession(chat=chat, patch=SessionPatch(mode="brief")))
    fresh = await world.boot()
    for chat in range(50):
        loaded = await world.ask(LoadSession(chat=chat))
        assert isinstance(loaded, SessionLoaded)
        assert loaded.session.mode == "brief"
    stats = await world.shard.stats()
    assert (stats.store_reads.calls, stats.hits, stats.misses) == (0, 50, 0)
    assert stats.first_request is not None
    assert stats.first_request.store_reads == 0
    assert (fresh.store.calls["recent_sessions"], stats.background_reads.calls) == (1, 3)


async def test_the_first_request_tells_what_it_cost(world: World) -> None:
    """A chat that was not warmed costs one read, and sweeps are not taken for requests."""
    await world.sweep()
    assert (await world.shard.stats()).first_request is None
    await world.ask(LoadSession(chat=9))
    await world.ask(LoadSession(chat=10))
    first = (await world.shard.stats()).first_request
    assert first is not None
    assert first.store_reads == 1


async def test_readers_of_one_cold_session_cause_one_read(world: World) -> None:
    """F1, through the actor."""
    await asyncio.gather(*(world.ask(LoadSession(chat=CHAT)) for _ in range(100)))
    assert world.now.store.calls["read_sessions"] == 1


async def test_poison_is_reported_and_the_rest_is_warm(world: World) -> None:
    """C8: a document that can't be read makes the report partial, by name, and spoils no other."""
    await world.ask(PatchSession(chat=1, patch=SessionPatch(mode="brief")))
    world.database.poison[2] = SetAside(file="telegram_sessions/2", reason="wrong type")
    fresh = await world.boot()
    report = fresh.shard.warmer.last
    assert report is not None
    assert (report.status, report.requested, report.loaded, report.failed) == ("partial", 2, 1, 1)
    assert report.errors == ("telegram_sessions/2: wrong type",)
    assert (await world.shard.stats()).degraded == "telegram_sessions/2: wrong type"


async def test_a_store_that_is_away_at_the_start(world: World) -> None:
    """D2: cold, degraded, serving on demand; warm by itself when the store is back."""
    await world.ask(PatchSession(chat=1, patch=SessionPatch(mode="brief")))
    fresh = world.make()
    fresh.store.down = True
    await fresh.shard.start()
    assert fresh.shard.warmer.last is not None
    assert (fresh.shard.warmer.last.status, fresh.shard.warmer.last.requested) == ("cold", 0)
    fresh.store.down = False
    await asyncio.sleep(5.0)
    assert (fresh.shard.warmer.last.status, fresh.shard.warmer.last.loaded) == ("warm", 1)


async def test_what_was_written_is_not_overwritten_by_a_warm(world: World) -> None:
    """I6: a pass that read before the write and publishes after it changes nothing."""
    await world.ask(PatchSession(chat=1, patch=SessionPatch(mode="brief")))
    stale = world.database.sessions[1]
    await world.ask(PatchSession(chat=1, patch=SessionPatch(mode="detailed")))
    world.database.sessions[1] = stale
    await world.shard.warm(force=True)
    loaded = await world.ask(LoadSession(chat=1))
    assert isinstance(loaded, SessionLoaded)
    assert loaded.session.mode == "detailed"


async def test_sessions_of_another_shard_are_not_warmed(world: World) -> None:
    """A shard's slice is its own."""
    world.database.put_session(SessionRecord(chat=3, shard=1, body=b"x"), "op", world.database.next_version())
    fresh = await world.boot()
    assert fresh.shard.warmer.last is not None
    assert (fresh.shard.warmer.last.status, fresh.shard.warmer.last.requested) == ("warm", 0)


async def test_unreadable_frames_are_answered(world: World) -> None:
    """E1, D9: an unknown tag and hostile bytes are faults, and the shard goes on."""
    unknown = msgspec.msgpack.encode({"type": "turn.dance", "chat": 1})
    frames = [
        unknown,
        b"",
        b"\xc1",
        b"\x81" * 100_000,
        msgspec.msgpack.encode({"type": "turn.claim", "chat": "x"}),
    ]
    kinds = [type(read_session_reply(await world.now.shard.ask(frame))) for frame in frames]
    assert kinds == [Unsupported, BadRequest, BadRequest, BadRequest, BadRequest]
    assert world.counted()["unreadable"] == 5


async def test_a_defect_is_an_answer(world: World) -> None:
    """A bug in one request is told as such, and the next one is served."""

    def broken(_: str) -> None:
        raise ZeroDivisionError

    world.now.store.chaos = broken
    assert isinstance(await world.ask(LoadSession(chat=1)), Internal)
    world.now.store.chaos = lambda _: None
    assert isinstance(await world.ask(LoadSession(chat=1)), SessionLoaded)


async def test_a_session_that_is_written_during_each_of_its_loads_is_asked_for_again(world: World) -> None:
    """A load that writes overtake again and again is no defect: the caller may ask again."""
    world.now.store.latency_s = 1.0

    async def disturb() -> None:
        for _ in range(5):
            await asyncio.sleep(0.9)
            world.now.shard.sessions.unlearn(CHAT)

    disturbing = asyncio.create_task(disturb())
    assert isinstance(await world.ask(LoadSession(chat=CHAT)), StoreUnavailable)
    await disturbing


async def test_stop_is_idempotent_and_ends_what_would_go_on(world: World) -> None:
    """A degraded shard that is about to warm again stops at once."""
    fresh = world.make()
    fresh.store.down = True
    await fresh.shard.start()
    await asyncio.sleep(30.0)
    started = asyncio.get_running_loop().time()
    await fresh.shard.stop()
    await fresh.shard.stop()
    assert await fresh.shard_background.drain(60.0) == 0
    assert asyncio.get_running_loop().time() == started


async def test_a_claim_on_a_container_without_store_is_told_so(world: World) -> None:
    """I5: an unreachable mailbox is not an empty one."""
    await world.accept(1)
    fresh = await world.boot()
    fresh.store.down = True
    assert isinstance(await world.ask(ClaimTurn(chat=CHAT, owner="one")), StoreUnavailable)

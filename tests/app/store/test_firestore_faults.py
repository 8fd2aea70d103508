"""The Firestore store behind a connection that delays, hangs, refuses, cuts and loses replies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest

from actors.stores import Appended, SessionRecord, StoreDenied, StoreDown, TurnWrite, VersionConflict
from actors.warm_ports import StoredImage
from app.store.firestore import FirestoreSessionStore
from app.store.firestore_attempts import Limits, again_after
from app.store.firestore_errors import Exhausted, NotOpen
from tests.app.store.firestore_rig import HUNG, SWIFT, TWICE, Rig, accepted, opened, run, shipped_indexes
from tests.faultproxy import Fault, FaultProxy

Call = Callable[[Rig], Awaitable[object]]

CALLS: dict[str, Call] = {
    "append": lambda rig: rig.sessions.append(accepted(1)),
    "read_chat": lambda rig: rig.sessions.read_chat(7),
    "read_sessions": lambda rig: rig.sessions.read_sessions(range(600)),
    "write_session": lambda rig: rig.sessions.write_session(SessionRecord(chat=7, shard=0, body=b"s"), "op"),
    "write_lease": lambda rig: rig.sessions.write_lease(7, None),
    "recent_sessions": lambda rig: rig.sessions.recent_sessions(0, 5),
    "open_updates": lambda rig: rig.sessions.open_updates(0, 5),
    "strays": lambda rig: rig.sessions.strays(1, 5),
    "find_updates": lambda rig: rig.sessions.find_updates(["answered"], 5),
    "erase_updates": lambda rig: rig.sessions.erase_updates(7),
    "read_stats": lambda rig: rig.skills.read_stats(["a", "b"]),
    "record_run": lambda rig: rig.skills.record_run(run("r")),
    "read_image": lambda rig: rig.warm.read_image("SessionCacheActor:0"),
    "write_image": lambda rig: rig.warm.write_image("SessionCacheActor:0", StoredImage(manifest=b"m")),
    "changed_sessions": lambda rig: rig.warm.changed_sessions(0, 0, 5),
}
EVERY_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
PORT_ERRORS = (StoreDown, StoreDenied, VersionConflict)


@pytest.fixture
async def rig(proxy: FaultProxy, project: str) -> AsyncIterator[Rig]:
    """The stores behind the proxy, with the deadlines that they have in service."""
    async with opened(project, proxy.host) as rig:
        yield rig


@pytest.fixture
async def swift(proxy: FaultProxy, project: str) -> AsyncIterator[Rig]:
    """The same with short attempts, for servers that hang once or twice."""
    async with opened(project, proxy.host, SWIFT) as rig:
        yield rig


@pytest.fixture
async def twice(proxy: FaultProxy, project: str) -> AsyncIterator[Rig]:
    """The same with two attempts, for servers that refuse for ever."""
    async with opened(project, proxy.host, TWICE) as rig:
        yield rig


@EVERY_CALL
async def test_a_hung_server_is_bounded_by_our_deadline(proxy: FaultProxy, project: str, call: Call) -> None:
    """Every call ends as StoreDown within its budget when the server never answers."""
    proxy.inject(Fault("hang", times=100))
    async with opened(project, proxy.host, HUNG) as rig, asyncio.timeout(HUNG.budget_s + 5):
        with pytest.raises(StoreDown):
            await call(rig)


@EVERY_CALL
async def test_unavailable_is_tried_again(rig: Rig, proxy: FaultProxy, call: Call) -> None:
    """A server that is away twice costs two more attempts and no error."""
    proxy.inject(Fault("refuse", times=2))
    await call(rig)
    assert proxy.injected["refuse"] == 2


@EVERY_CALL
async def test_permission_denied_is_not_tried_again(rig: Rig, proxy: FaultProxy, call: Call) -> None:
    """A refusal that only an operator can change is StoreDenied, and no attempt follows it."""
    proxy.inject(Fault("refuse", times=100, status=grpc.StatusCode.PERMISSION_DENIED))
    with pytest.raises(StoreDenied):
        await call(rig)
    assert proxy.calls.total() <= 3  # 600 sessions are three chunks, side by side


@pytest.mark.parametrize("status", list(grpc.StatusCode)[1:], ids=lambda status: status.name)
async def test_no_status_comes_out_as_googles_exception(
    twice: Rig, proxy: FaultProxy, status: grpc.StatusCode
) -> None:
    """Whatever a server says, each call ends in an outcome or in one of the port's three errors."""
    proxy.inject(Fault("refuse", times=10_000, status=status))
    outcomes = await asyncio.gather(*(call(twice) for call in CALLS.values()), return_exceptions=True)
    raised = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert [error for error in raised if not isinstance(error, PORT_ERRORS)] == []


async def test_a_quota_is_waited_for(twice: Rig, proxy: FaultProxy) -> None:
    """RESOURCE_EXHAUSTED is tried again."""
    proxy.inject(Fault("refuse", times=1, status=grpc.StatusCode.RESOURCE_EXHAUSTED))
    await twice.sessions.read_chat(7)
    assert proxy.calls["BatchGetDocuments"] == 2


@pytest.mark.parametrize(
    ("error", "least_s", "most_s"),
    [(Exhausted("over quota"), 1.0, 2.0), (StoreDown("contended"), 0.0, 1.0), (NotOpen("closed"), 0.0, 0.0)],
)
def test_a_quota_is_backed_off_from_for_longer(error: StoreDown, least_s: float, most_s: float) -> None:
    """A second or two, where whatever else failed is tried again in its usual pace, or not at all (C5)."""
    assert all(least_s <= again_after(error, Limits()) <= most_s for _ in range(100))


async def test_a_stream_cut_midway_is_read_again_whole(rig: Rig, proxy: FaultProxy) -> None:
    """What came before the cut is thrown away: all sessions come, each once."""
    for chat in range(5):
        await rig.sessions.write_session(SessionRecord(chat=chat, shard=0, body=b"s"), "op")
    proxy.inject(Fault("cut", "BatchGetDocuments", after=2), Fault("cut", "RunQuery", after=2))
    read = await rig.sessions.read_sessions(range(5))
    recent = await rig.sessions.recent_sessions(0, 5)
    assert sorted(each.chat for each in read.sessions) == [0, 1, 2, 3, 4]
    assert [each.chat for each in recent.sessions] == [4, 3, 2, 1, 0]
    assert proxy.injected["cut"] == 2


async def test_an_append_whose_reply_is_lost_was_created_once(rig: Rig, proxy: FaultProxy) -> None:
    """The repeated commit finds its own update, and says created with the right count."""
    proxy.inject(Fault("lose_reply", "Commit"))
    appended = await rig.sessions.append(accepted(1))
    state = await rig.sessions.read_chat(7)
    assert (appended.created, appended.waiting) == (True, 1)
    assert [each.version for each in state.open_updates] == [appended.version]


async def test_an_append_that_never_heard_back_is_a_duplicate_when_it_comes_again(
    twice: Rig, proxy: FaultProxy
) -> None:
    """After StoreDown the caller may say it again: it is there once."""
    proxy.inject(Fault("lose_reply", "Commit"), Fault("refuse", times=100))
    with pytest.raises(StoreDown):
        await twice.sessions.append(accepted(1))
    proxy.heal()
    again = await twice.sessions.append(accepted(1))
    state = await twice.sessions.read_chat(7)
    assert (again.created, len(state.open_updates)) == (False, 1)


async def test_an_append_that_is_unsure_knows_another_ones_update(rig: Rig, proxy: FaultProxy) -> None:
    """After an attempt without an answer, an update that somebody else had created is still a duplicate."""
    await rig.sessions.append(accepted(1))
    proxy.inject(Fault("refuse", "Commit"))
    assert not (await rig.sessions.append(accepted(1))).created


async def test_a_repeated_turn_does_not_claim_a_session_that_has_moved_on(rig: Rig) -> None:
    """The version that a late repetition reports is its own, so the next compare-and-set on it conflicts."""
    appended = await rig.sessions.append(accepted(1))
    step = accepted(1, state="committed", version=appended.version)
    write = TurnWrite(operation="op", update=step, session=SessionRecord(chat=7, shard=0, body=b"s"))
    first = await rig.sessions.write_turn(write)
    newer = SessionRecord(chat=7, shard=0, body=b"newer", version=first.session_version)
    moved_to = await rig.sessions.write_session(newer, "other")
    again = await rig.sessions.write_turn(write)
    assert again.update_version == first.update_version
    assert again.session_version < moved_to


async def test_a_turn_whose_reply_is_lost_is_written_once(rig: Rig, proxy: FaultProxy) -> None:
    """The repeated commit fails its precondition on its own work, and reports that work."""
    appended = await rig.sessions.append(accepted(1))
    proxy.inject(Fault("lose_reply", "Commit"))
    session = SessionRecord(chat=7, shard=0, body=b"s")
    ended = accepted(1, state="answered", open=False, version=appended.version)
    written = await rig.sessions.write_turn(TurnWrite(operation="op", update=ended, session=session))
    stored = (await rig.sessions.read_chat(7)).session
    assert stored is not None
    assert (written.session_version, written.waiting) == (stored.version, 0)


async def test_runs_whose_replies_are_lost_count_once(rig: Rig, proxy: FaultProxy) -> None:
    """Increments are exact although every commit is sent twice."""
    for number in range(5):
        proxy.inject(Fault("lose_reply", "Commit"))
        await rig.skills.record_run(run(str(number)))
    stats = (await rig.skills.read_stats(["s"])).stats["s"]
    assert (stats.run_count, stats.total_duration_ms) == (5, 50.0)
    assert proxy.injected["lose_reply"] == 5


async def test_a_session_write_whose_reply_is_lost_succeeds(rig: Rig, proxy: FaultProxy) -> None:
    """The version is the stored one."""
    proxy.inject(Fault("lose_reply", "Commit"))
    version = await rig.sessions.write_session(SessionRecord(chat=7, shard=0, body=b"s"), "op")
    assert [each.version for each in (await rig.sessions.read_sessions([7])).sessions] == [version]


async def test_contention_is_tried_again(rig: Rig, proxy: FaultProxy) -> None:
    """ABORTED means that another transaction was faster: the same commit goes out again."""
    proxy.inject(Fault("refuse", "Commit", times=3, status=grpc.StatusCode.ABORTED))
    assert (await rig.sessions.append(accepted(1))).created
    assert proxy.calls["Commit"] == 4


async def test_two_deadlines_in_a_row_replace_the_connection(swift: Rig, proxy: FaultProxy) -> None:
    """A connection that swallows calls is given up within one call's budget."""
    proxy.inject(Fault("hang", times=2))
    await swift.sessions.read_chat(7)
    assert swift.database.connections_replaced == 1


async def test_one_deadline_keeps_the_connection(swift: Rig, proxy: FaultProxy) -> None:
    """One slow call is no reason to connect anew."""
    proxy.inject(Fault("hang", times=1))
    await swift.sessions.read_chat(7)
    assert swift.database.connections_replaced == 0


async def test_calls_that_time_out_together_replace_the_connection_once(
    swift: Rig, proxy: FaultProxy
) -> None:
    """Deadlines on a line that is already replaced do not count against the new one."""
    await swift.sessions.read_chat(7)  # the line is open: none of the twenty spends its deadline on it
    proxy.inject(Fault("hang", times=20))
    await asyncio.gather(*(swift.sessions.read_chat(chat) for chat in range(20)))
    assert swift.database.connections_replaced == 1


async def test_after_an_outage_the_store_works_again(proxy: FaultProxy, rig: Rig, twice: Rig) -> None:
    """While nothing listens calls are StoreDown; when it listens again they succeed."""
    await rig.sessions.append(accepted(1))
    await proxy.stop()
    proxy.injected["outage"] += 1
    with pytest.raises(StoreDown):
        await twice.sessions.append(accepted(2))
    await proxy.start()
    async with asyncio.timeout(15):
        assert (await rig.sessions.append(accepted(3))).waiting == 2


async def test_a_call_during_close_ends_in_store_down(rig: Rig, proxy: FaultProxy) -> None:
    """Closing the connection never looks like a cancellation of the caller."""
    proxy.inject(Fault("hang", times=100))
    call = asyncio.create_task(rig.sessions.read_chat(7))
    await asyncio.wait_for(proxy.hanging.wait(), 5)
    await rig.database.close()
    with pytest.raises(StoreDown):
        await call


async def test_a_cancelled_caller_is_cancelled(rig: Rig, proxy: FaultProxy) -> None:
    """A cancellation from outside is not taken for a failure of the store, and nothing is tried again."""
    proxy.inject(Fault("hang", times=100))
    call = asyncio.create_task(rig.sessions.append(accepted(1)))
    await asyncio.wait_for(proxy.hanging.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert proxy.calls.total() == 1


async def test_a_missing_index_is_named_and_done_without(rig: Rig, proxy: FaultProxy) -> None:
    """Each query falls back to a plan that needs no composite index, and the index is on record."""
    for chat in range(3):
        await rig.sessions.write_session(SessionRecord(chat=chat, shard=chat % 2, body=b"s"), "op")
        await rig.sessions.append(accepted(chat, chat=chat))
    proxy.inject(no_index())
    recent = await rig.sessions.recent_sessions(0, 5)
    proxy.inject(no_index())
    waiting = await rig.sessions.open_updates(0, 5)
    proxy.inject(no_index())
    found = await rig.sessions.find_updates(["accepted"], 5)
    proxy.inject(no_index())
    changes = await rig.warm.changed_sessions(0, 0, 5)
    await rig.sessions.append(accepted(9, chat=9, shard=1))
    proxy.inject(no_index())
    strays = await rig.sessions.strays(1, 5)
    assert [each.chat for each in recent.sessions] == [2, 0]
    assert [each.update for each in waiting] == [0, 1, 2]
    assert [each.update for each in found] == [0, 1, 2]
    assert [each.chat for each in changes.sessions] == [2, 0]
    assert [each.chat for each in strays] == [9]
    assert rig.database.missing_indexes == shipped_indexes()


def no_index() -> Fault:
    """Firestore's own words; the emulator never asks for an index."""
    detail = "The query requires an index. You can create it here: https://example.invalid"
    return Fault("refuse", "RunQuery", status=grpc.StatusCode.FAILED_PRECONDITION, detail=detail)


async def test_an_update_that_hangs_holds_its_group_only_briefly(rig: Rig, proxy: FaultProxy) -> None:
    """The others are answered while the gateway still waits; what had no answer may have happened."""
    sessions = FirestoreSessionStore(rig.database, rig.meter, together_s=0.5)
    await sessions.append(accepted(9, chat=9))  # so that the emulator is awake
    proxy.inject(Fault("hang", "Commit"))
    async with asyncio.timeout(2.5):  # far below an attempt's own deadline
        outcomes = await sessions.append_all([accepted(number, chat=number) for number in range(3)])
    assert [StoreDown, Appended, Appended] == sorted(map(type, outcomes), key=lambda kind: kind is Appended)
    await sessions.close()

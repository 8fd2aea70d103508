"""What stands in the database: seen by Google's own client, and with documents in it that nobody should write."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud.firestore import SERVER_TIMESTAMP, AsyncClient

from actors.stores import LeaseRecord, SessionRecord, StoreDenied, TurnWrite, VersionConflict
from app.store.firestore import FirestoreSessionStore
from app.store.firestore_answers import Found
from app.store.firestore_docs import TOMBSTONE_KEPT, UPDATE_KEPT
from tests.app.store.firestore_rig import Rig, accepted, opened
from tests.emulator import Emulator


async def stored(google: AsyncClient, path: str) -> dict[str, Any]:
    """Give a document as Google's client reads it."""
    return (await google.document(path).get()).to_dict() or {}


# ---------------------------------------------------------------- shape


async def test_an_accepted_update_as_others_see_it(rig: Rig, google: AsyncClient) -> None:
    """An open update never expires, and its ticket stands in the chat's mailbox."""
    await rig.sessions.append(accepted(1, chat=-100123, shard=3, reason="why"))
    document = await stored(google, "updates/1:1")
    time, operation = document.pop("accepted_at"), document.pop("op")
    assert document == {
        "chat": -100123,
        "shard": 3,
        "state": "accepted",
        "open": True,
        "reason": "why",
        "body": b"body",
        "erased": False,
    }
    assert (type(time).__name__, len(operation)) == ("DatetimeWithNanoseconds", 24)
    assert await stored(google, "mailboxes/-100123") == {"tickets": ["1:1"], "waiting": 1, "revision": 0}


async def test_an_ended_update_expires(rig: Rig, google: AsyncClient) -> None:
    """The TTL policy finds `expires_at` on ended updates; the mailbox is empty again, without a lease."""
    appended = await rig.sessions.append(accepted(1))
    await rig.sessions.write_lease(7, LeaseRecord(lease="l", owner="o", update_key="1:1"))
    ended = accepted(1, state="answered", open=False, version=appended.version)
    await rig.sessions.write_turn(TurnWrite(operation="op", update=ended))
    document = await stored(google, "updates/1:1")
    left = document["expires_at"] - document["ended_at"] - UPDATE_KEPT
    assert abs(left) < timedelta(minutes=1)
    assert await stored(google, "mailboxes/7") == {
        "tickets": [],
        "waiting": 0,
        "revision": 0,
        "leases": {},
    }


async def test_a_forgotten_session_leaves_an_expiring_tombstone(rig: Rig, google: AsyncClient) -> None:
    """The texts are gone, the fact stays for as long as a warm image can be old; a new session clears it."""
    first = await rig.sessions.write_session(SessionRecord(chat=7, shard=0, body=b"s"), "one")
    second = await rig.sessions.write_session(SessionRecord(chat=7, shard=0, version=first), "two")
    tombstone = await stored(google, "telegram_sessions/7")
    await rig.sessions.write_session(SessionRecord(chat=7, shard=0, body=b"s", version=second), "three")
    again = await stored(google, "telegram_sessions/7")
    assert (tombstone["deleted"], tombstone["body"]) == (True, b"")
    assert abs(tombstone["expires_at"] - tombstone["updated_at"] - TOMBSTONE_KEPT) < timedelta(minutes=1)
    assert (again["deleted"], "expires_at" in again) == (False, False)


async def test_fields_of_others_survive_our_writes(rig: Rig, google: AsyncClient) -> None:
    """A write merges what is ours: an older system's fields stay where they are."""
    await google.document("telegram_sessions/7").set({"legacy": {"a": [1]}, "shard": 0})
    version = (await rig.sessions.read_sessions([7])).sessions[0].version
    await rig.sessions.write_session(SessionRecord(chat=7, shard=0, body=b"s", version=version), "op")
    assert (await stored(google, "telegram_sessions/7"))["legacy"] == {"a": [1]}


async def test_expired_updates_are_left_out_before_they_are_deleted(rig: Rig, google: AsyncClient) -> None:
    """Firestore deletes up to a day late, so reading does not wait for it."""
    for number in (1, 2):
        await rig.sessions.append(accepted(number, state="unknown", open=False))
    await google.document("updates/1:1").update({"expires_at": datetime.now(UTC) - timedelta(seconds=5)})
    found = await rig.sessions.find_updates(["unknown"], 10)
    assert [record.update for record in found] == [2]


async def test_erasing_goes_on_beyond_one_commit(rig: Rig) -> None:
    """More ended updates than a commit takes are emptied all, once; open ones keep their text."""
    await asyncio.gather(
        *(rig.sessions.append(accepted(number, state="ignored", open=False)) for number in range(520)),
        rig.sessions.append(accepted(1000)),
    )
    assert (await rig.sessions.erase_updates(7), await rig.sessions.erase_updates(7)) == (520, 0)
    assert [record.body for record in (await rig.sessions.read_chat(7)).open_updates] == [b"body"]


async def test_a_session_over_the_limit_is_denied_and_takes_nothing_with_it(rig: Rig) -> None:
    """Firestore takes 1 MiB a document: the whole commit is refused, as nothing that asking again can help."""
    appended = await rig.sessions.append(accepted(1))
    step = accepted(1, state="committed", version=appended.version)
    huge = SessionRecord(chat=7, shard=0, body=bytes(1_100_000))
    with pytest.raises(StoreDenied):
        await rig.sessions.write_turn(TurnWrite(operation="op", update=step, session=huge))
    state = await rig.sessions.read_chat(7)
    assert (state.session, [record.state for record in state.open_updates]) == (None, ["accepted"])


async def test_a_number_beyond_64_bits_is_denied(rig: Rig) -> None:
    """Firestore has no such number; nothing of Google's or of protobuf's comes out."""
    with pytest.raises(StoreDenied):
        await rig.sessions.append(accepted(1, chat=2**63))


# ---------------------------------------------------------------- two containers


async def test_the_same_update_on_two_containers_at_once(emulator: Emulator, project: str) -> None:
    """Of ten appends of one update on two connections, one created it, and one ticket waits."""
    async with opened(project, emulator.host) as one, opened(project, emulator.host) as two:
        rigs = [one, two] * 5
        appended = await asyncio.gather(*(rig.sessions.append(accepted(1)) for rig in rigs))
        state = await two.sessions.read_chat(7)
    assert sorted(each.created for each in appended) == [False] * 9 + [True]
    assert [record.update for record in state.open_updates] == [1]


async def test_two_containers_that_own_one_shard(emulator: Emulator, project: str) -> None:
    """Each applies its changes to what it last read: versions decide, and no change is lost."""
    async with opened(project, emulator.host) as one, opened(project, emulator.host) as two:
        await asyncio.gather(*(add_letter(rig, letter) for rig, letter in [(one, b"a"), (two, b"b")] * 5))
        (session,) = (await one.sessions.read_sessions([7])).sessions
    assert bytes(sorted(session.body)) == b"aaaaabbbbb"


class Interrupted(FirestoreSessionStore):
    """A store that is overtaken by another container's commit once, between the two waves of a reading."""

    overtaken: Callable[[], Awaitable[object]] | None = None

    async def _get(self, paths: Sequence[str]) -> Found:
        found = await super()._get(paths)
        overtaken, self.overtaken = self.overtaken, None
        if overtaken is not None:
            await overtaken()
        return found


async def test_a_chat_is_read_at_one_moment(rig: Rig) -> None:
    """I2: a turn that was committed between the waves comes with the lease that was written with it."""
    appended = await rig.sessions.append(accepted(1))
    held = LeaseRecord(lease="l", owner="o", update_key="1:1")
    step = accepted(1, state="committed", version=appended.version)
    write = TurnWrite(operation="op", update=step, lease=held)
    store = Interrupted(rig.database, rig.meter)
    store.overtaken = lambda: rig.sessions.write_turn(write)
    state = await store.read_chat(7)
    assert [record.state for record in state.open_updates] == ["committed"]
    assert state.lease is not None
    assert state.lease.lease == "l"


async def add_letter(rig: Rig, letter: bytes) -> None:
    """Append a letter to the session by compare-and-set, reading again after each conflict."""
    for attempt in range(100):
        found = (await rig.sessions.read_sessions([7])).sessions
        known = found[0] if found else SessionRecord(chat=7, shard=0)
        record = SessionRecord(chat=7, shard=0, body=known.body + letter, version=known.version)
        try:
            await rig.sessions.write_session(record, f"{letter!r}{id(record)}{attempt}")
        except VersionConflict:
            continue
        return
    raise AssertionError("a hundred conflicts in a row")


# ---------------------------------------------------------------- poison


def session_fields(**changes: Any) -> dict[str, Any]:
    """Give the fields of a sound session, with changes; a change to `...` leaves the field out."""
    sound = {"shard": 0, "deleted": False, "body": b"s", "op": "x", "updated_at": SERVER_TIMESTAMP}
    return {name: value for name, value in (sound | changes).items() if value is not ...}


def deep(levels: int) -> dict[str, Any]:
    """Give a map nested that deep; Firestore allows 20."""
    return {"a": deep(levels - 1)} if levels else {}


POISON_SESSIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "body is text": ("1", session_fields(body="text")),
    "body is missing": ("2", session_fields(body=...)),
    "body is empty": ("3", session_fields(body=b"")),
    "body is deep": ("4", session_fields(body=deep(18))),
    "updated_at is text": ("5", session_fields(updated_at="2026-01-01T00:00:00Z")),
    "updated_at is a number": ("6", session_fields(updated_at=2**63 - 1)),
    "updated_at is null": ("7", session_fields(updated_at=None)),
    "id is a word": ("word", session_fields()),
    "id has a NUL": ("8\x00", session_fields()),
    "id is beyond 64 bits": (str(2**63), session_fields()),
    "id is another spelling": ("+9", session_fields()),
    "id is in other digits": ("٣", session_fields()),
}


async def test_poison_sessions_are_set_aside_one_by_one(rig: Rig, google: AsyncClient) -> None:
    """Warming loads every sound session and tells of every other one, whatever is wrong with it."""
    for name, fields in POISON_SESSIONS.values():
        await google.collection("telegram_sessions").document(name).set(fields)
    await rig.sessions.write_session(SessionRecord(chat=100, shard=0, body=b"s"), "op")
    batch = await rig.sessions.recent_sessions(0, 50)
    assert [session.chat for session in batch.sessions] == [100]
    expected = sorted(f"telegram_sessions/{name}" for name, _ in POISON_SESSIONS.values())
    assert sorted(each.file for each in batch.set_aside) == expected


async def test_poison_does_not_crowd_out_what_is_sound(rig: Rig, google: AsyncClient) -> None:
    """Text sorts above every time: a limit's worth of such documents still leaves the sound ones."""
    for chat in range(5):
        fields = session_fields(updated_at=f"2026-{chat}")
        await google.document(f"telegram_sessions/{chat}").set(fields)
    await rig.sessions.write_session(SessionRecord(chat=100, shard=0, body=b"s"), "op")
    batch = await rig.sessions.recent_sessions(0, 5)
    assert ([session.chat for session in batch.sessions], len(batch.set_aside)) == ([100], 5)


@pytest.mark.parametrize("changes", [{"body": "text"}, {"shard": "0"}, {"deleted": 1}, {"updated_at": "now"}])
async def test_a_poison_session_can_be_replaced(
    rig: Rig, google: AsyncClient, changes: dict[str, Any]
) -> None:
    """A chat is not stuck on a document that nobody can read: it comes as empty, at its version."""
    await google.document("telegram_sessions/7").set(session_fields(**changes))
    state = await rig.sessions.read_chat(7)
    (read,) = (await rig.sessions.read_sessions([7])).sessions
    assert state.session is not None
    assert (state.session, state.session.body, len(state.set_aside)) == (read, b"", 1)
    fresh = SessionRecord(chat=7, shard=0, body=b"s", version=read.version)
    await rig.sessions.write_session(fresh, "op")
    assert [each.body for each in (await rig.sessions.read_sessions([7])).sessions] == [b"s"]


@pytest.mark.parametrize(
    "leases",
    [
        "text",
        {"1:1": "text"},
        {"1:1": {}},
        {"1:1": {"lease": "l", "owner": "o", "attempt": 1, "renewed_at": 5}},
    ],
)
async def test_a_poison_lease_holds_nobody_up(rig: Rig, google: AsyncClient, leases: Any) -> None:
    """A lease that can't be read is no lease, and is told."""
    await rig.sessions.append(accepted(1))
    await google.document("mailboxes/7").update({"leases": leases})
    state = await rig.sessions.read_chat(7)
    assert (state.lease, [each.file for each in state.set_aside]) == (None, ["mailboxes/7"])
    assert len(state.open_updates) == 1


async def test_poison_updates_do_not_hide_the_others(rig: Rig, google: AsyncClient) -> None:
    """Of a mailbox with a lost, a broken and a sound update, the sound one is served, the others are told."""
    for number in (1, 2, 3):
        await rig.sessions.append(accepted(number))
    await google.document("updates/1:1").delete()
    await google.document("updates/1:2").update({"state": "no such state"})
    state = await rig.sessions.read_chat(7)
    assert [record.update for record in state.open_updates] == [3]
    assert sorted(each.file for each in state.set_aside) == ["updates/1:1", "updates/1:2"]
    assert [record.update for record in await rig.sessions.open_updates(0, 10)] == [3]


async def test_poison_tickets_do_not_stop_appends(rig: Rig, google: AsyncClient) -> None:
    """A mailbox whose tickets are no list takes the next update, and counts from it."""
    await google.document("mailboxes/7").set({"tickets": "text", "waiting": "many"})
    appended = await rig.sessions.append(accepted(1))
    state = await rig.sessions.read_chat(7)
    assert (appended.created, appended.waiting) == (True, 1)
    assert [record.update for record in state.open_updates] == [1]


@pytest.mark.parametrize("odd", [3, {"a": "1:1"}, "", "1:01", "a/1:1", "__x__"])
async def test_a_poison_ticket_hides_no_other(rig: Rig, google: AsyncClient, odd: Any) -> None:
    """What is no update's key is told and left out, and the chat's updates and its lease are read."""
    await rig.sessions.append(accepted(1))
    await rig.sessions.write_lease(7, LeaseRecord(lease="l", owner="o", update_key="1:1"))
    await google.document("mailboxes/7").update({"tickets": [odd, "1:1"]})
    state = await rig.sessions.read_chat(7)
    assert ["1:1"] == [record.key for record in state.open_updates]
    assert ["mailboxes/7"] == [each.file for each in state.set_aside]
    assert state.lease is not None


@pytest.mark.parametrize("reason", ["\x00", "\ud800", "\U0001f600" * 100])
async def test_any_text_can_be_a_reason(rig: Rig, reason: str) -> None:
    """What UTF-8 can't say becomes a question mark; nothing fails."""
    await rig.sessions.append(accepted(1, state="refused", open=False, reason=reason))
    (found,) = await rig.sessions.find_updates(["refused"], 1)
    assert found.reason == reason.encode("utf-8", "replace").decode()

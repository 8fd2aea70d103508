"""What every store promises where two containers own one chat: the lease in the turn's commit, and revisions."""

import msgspec

from tests.app.store.backends import Backend
from tests.app.store.conformance_kit import stored
from tests.app.store.records import CHAT, ended, lease, session, step, update


async def test_a_step_renews_the_lease(backend: Backend) -> None:
    """A turn that is written with its lease is never in the store without it."""
    record = await stored(backend, update(1))
    await backend.sessions.write_turn(step(record, lease=lease(1, owner="me", attempt=2)))
    found = (await backend.sessions.read_chat(CHAT)).lease
    assert found is not None
    assert (found.lease, found.owner, found.update_key, found.attempt) == ("lease-1", "me", "7:1", 2)
    assert 0.0 <= found.age_s < 10.0


async def test_a_step_without_a_lease_leaves_the_stored_one(backend: Backend) -> None:
    """None says nothing of the lease."""
    record = await stored(backend, update(1))
    await backend.sessions.write_lease(CHAT, lease(1))
    await backend.sessions.write_turn(step(record))
    found = (await backend.sessions.read_chat(CHAT)).lease
    assert found is not None
    assert found.lease == "lease-1"


async def test_an_end_leaves_the_lease_of_another_turn(backend: Backend) -> None:
    """Whoever took up the chat's next turn meanwhile still has it."""
    record, _ = await stored(backend, update(1)), await stored(backend, update(2))
    await backend.sessions.write_lease(CHAT, lease(2))
    await backend.sessions.write_turn(step(ended(record)))
    found = (await backend.sessions.read_chat(CHAT)).lease
    assert found is not None
    assert (found.lease, found.update_key) == ("lease-2", "7:2")


async def test_a_late_lease_takes_no_other_turns_place(backend: Backend) -> None:
    """It is written beside the work: when it comes, its turn may have ended and the next one be under way."""
    first, second = await stored(backend, update(1)), await stored(backend, update(2))
    await backend.sessions.write_turn(step(ended(first)))
    await backend.sessions.write_turn(step(second, lease=lease(2)))
    await backend.sessions.write_lease(CHAT, lease(1))
    found = (await backend.sessions.read_chat(CHAT)).lease
    assert found is not None
    assert found.lease == "lease-2"


async def test_a_turn_repeated_after_its_texts_were_erased_tells_the_session(backend: Backend) -> None:
    """The update's version has moved with the erasing, the session's has not."""
    record = await stored(backend, update(1))
    write = step(ended(record), session=session())
    first = await backend.sessions.write_turn(write)
    await backend.sessions.erase_updates(CHAT)
    again = await backend.sessions.write_turn(write)
    assert again.update_version > first.update_version
    assert (again.session_version, again.revision) == (first.session_version, first.revision)


async def test_an_end_drops_the_lease_that_it_names(backend: Backend) -> None:
    """The end of a turn leaves no lease behind, whatever the write says."""
    record = await stored(backend, update(1))
    await backend.sessions.write_turn(step(ended(record), lease=lease(1)))
    assert (await backend.sessions.read_chat(CHAT)).lease is None


async def test_a_chat_without_a_session_has_revision_0(backend: Backend) -> None:
    """Nothing was written yet, and nothing can be outdated."""
    appended = await backend.sessions.append(update(1))
    record = msgspec.structs.replace(update(1), version=appended.version)
    written = await backend.sessions.write_turn(step(record))
    assert (appended.revision, written.revision) == (0, 0)


async def test_everyone_tells_the_same_revision(backend: Backend) -> None:
    """Writer, append, later step, session and list of sessions agree, so that no read is needed to compare."""
    first = await stored(backend, update(1))
    written = await backend.sessions.write_turn(step(ended(first), session=session()))
    appended = await backend.sessions.append(update(2))
    second = msgspec.structs.replace(update(2), version=appended.version)
    later = await backend.sessions.write_turn(step(ended(second)))
    state = await backend.sessions.read_chat(CHAT)
    (one,) = (await backend.sessions.read_sessions((CHAT,))).sessions
    (recent,) = (await backend.sessions.recent_sessions(0, 5)).sessions
    assert state.session is not None
    told = {appended.revision, later.revision, state.session.revision, one.revision, recent.revision}
    assert told == {written.revision}
    assert written.revision > 0


async def test_each_write_of_a_session_gives_another_revision(backend: Backend) -> None:
    """A turn's write, an admin's and a tombstone are all seen by the next append."""
    first = await stored(backend, update(1))
    turn = await backend.sessions.write_turn(step(ended(first), session=session()))
    told, version = [turn.revision], turn.session_version
    for number, body in ((2, b"changed"), (3, b"")):
        changed = session(version=version, body=body)
        version = await backend.sessions.write_session(changed, f"admin {number}")
        told.append((await backend.sessions.append(update(number))).revision)
    assert len(set(told)) == 3


async def test_a_repeated_write_tells_its_revision_again(backend: Backend) -> None:
    """A turn whose reply was lost is told what the session's revision is, and that it had been written."""
    record = await stored(backend, update(1))
    write = step(ended(record), session=session())
    first = await backend.sessions.write_turn(write)
    again = await backend.sessions.write_turn(write)
    assert (first.repeated, again) == (False, msgspec.structs.replace(first, repeated=True))

"""What the tests of every store share: updates as they are stored, and outcomes of a race."""

from collections.abc import Sequence

import msgspec

from actors.stores import ChatState, StoreError, UpdateRecord, VersionConflict
from tests.app.store.backends import Backend

EVERY_BYTE = bytes(range(256))


async def stored(backend: Backend, record: UpdateRecord) -> UpdateRecord:
    """Append the update and give it as the store has it."""
    appended = await backend.sessions.append(record)
    return msgspec.structs.replace(record, version=appended.version)


def numbers(chat: ChatState) -> list[int]:
    """The chat's open updates, by number."""
    return [record.update for record in chat.open_updates]


def assert_one_won(outcomes: Sequence[object], what: str) -> None:
    """Exactly one outcome is a success; every other is a conflict, or a store that asks to try again."""
    lost = [outcome for outcome in outcomes if isinstance(outcome, StoreError)]
    assert len(outcomes) - 1 == len(lost)
    assert {what} == {one.what for one in lost if isinstance(one, VersionConflict)}

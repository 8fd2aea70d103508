"""A turn that is written and taken back in one commit, so that the first real ones find all ready.

A third of what the first turn's commits cost, and half of the time of the first one, was the compiling of statements,
the reading of pages, and the beginning of the log, whose header is synced apart.
"""

from typing import Final

import msgspec

from actors.stores import LeaseRecord, SessionRecord, SkillRun, TurnWrite, UpdateRecord
from app.store.sqlite_appends import append
from app.store.sqlite_changes import count_run, write_turn
from app.store.sqlite_writer import Commit

_NOBODY: Final = -(1 << 60)  # no chat, bot or update of Telegram's
_UPDATE: Final = UpdateRecord(
    bot=_NOBODY, update=_NOBODY, chat=_NOBODY, shard=0, state="accepted", open=True, body=b"rehearsal"
)
_LEASE: Final = LeaseRecord(lease="rehearsal", owner="rehearsal", update_key=_UPDATE.key)
_SESSION: Final = SessionRecord(chat=_NOBODY, shard=0, body=b"rehearsal")
_RUN: Final = SkillRun(skill="", run="rehearsal", succeeded=True, duration_ms=0.0)  # every skill has a name


def rehearse(commit: Commit) -> None:
    """A change after which the file is as before, but for the number of the newest write, which is a real commit's."""
    commit.connection.execute("SAVEPOINT rehearsal")
    try:
        _write_turn(commit)
    finally:
        commit.connection.execute("ROLLBACK TO rehearsal")
        commit.connection.execute("RELEASE rehearsal")


def _write_turn(commit: Commit) -> None:
    """From the update's acceptance to its end, as the SessionCacheActor and the registry write them."""
    (appended,) = append(commit.connection, (_UPDATE,), commit.now, commit.expires_at)
    accepted = msgspec.structs.replace(_UPDATE, version=appended.version)
    first = TurnWrite(operation="commit", update=accepted, session=_SESSION, lease=_LEASE)
    committed = write_turn(commit, first)
    count_run(commit, _RUN)
    answered = msgspec.structs.replace(
        accepted, state="answered", open=False, version=committed.update_version
    )
    write_turn(commit, TurnWrite(operation="end", update=answered))

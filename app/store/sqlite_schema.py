"""Opens a SQLite file as a Firstlight store: its folder, its settings, its tables and their version."""

import errno
import os
import sqlite3
import stat
import time
from pathlib import Path
from typing import Final

from actors.stores import StoreDenied
from app.store.sqlite_errors import is_passing, translated

APPLICATION_ID: Final = 0x46_4C_49_54
"""`FLIT`, in the file's header, so that another program's database is never mistaken for ours."""

BUSY_TIMEOUT_S: Final = 5.0
"""How long a call waits for other processes' transactions, which take milliseconds each."""

_SWITCH_PAUSE_S: Final = 0.005  # the other process needs about a millisecond

_VERSION_1: Final = """
-- One row: the number of the newest write. Every write takes the next one as its version, so versions of
-- all documents stand in one order and "changed since" is a range of it.
CREATE TABLE sequence (value INTEGER NOT NULL);
INSERT INTO sequence VALUES (0);

-- `seq` is the order of durable acceptance. `operation` names the newest write of the row.
CREATE TABLE updates (
    seq INTEGER PRIMARY KEY, bot INTEGER, "update" INTEGER, chat INTEGER, shard INTEGER, state TEXT,
    open INTEGER, reason TEXT, version INTEGER, accepted_at REAL, operation TEXT, expires_at REAL, body BLOB
);
CREATE UNIQUE INDEX updates_by_id ON updates (bot, "update");
-- Mailboxes are this index: a chat's open updates in order, and its ended ones for `erase_updates`.
CREATE INDEX updates_by_chat ON updates (open, chat);
CREATE INDEX updates_by_expiry ON updates (expires_at) WHERE expires_at IS NOT NULL;

-- An empty body is a tombstone; only tombstones expire.
CREATE TABLE sessions (
    chat INTEGER PRIMARY KEY, shard INTEGER, version INTEGER, updated_at REAL, operation TEXT,
    expires_at REAL, body BLOB
);
CREATE INDEX sessions_by_change ON sessions (shard, version);
CREATE INDEX sessions_by_expiry ON sessions (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE leases (
    chat INTEGER PRIMARY KEY, lease TEXT, owner TEXT, update_key TEXT, attempt INTEGER, renewed_at REAL
);

CREATE TABLE skills (
    name TEXT PRIMARY KEY, run_count INTEGER NOT NULL, success_count INTEGER NOT NULL,
    total_duration_ms REAL NOT NULL, last_run_at REAL NOT NULL
) WITHOUT ROWID;
-- Counted runs, so that one reported again counts once.
CREATE TABLE skill_runs (
    skill TEXT, run TEXT, expires_at REAL NOT NULL, PRIMARY KEY (skill, run)
) WITHOUT ROWID;
CREATE INDEX skill_runs_by_expiry ON skill_runs (expires_at);
"""

_VERSION_2: Final = """
-- The warm image of `{actor}:{shard}`: its manifest, and how many blobs it has.
CREATE TABLE warm_images (
    name TEXT PRIMARY KEY, version INTEGER, operation TEXT, blobs INTEGER, manifest BLOB
);
CREATE TABLE warm_blobs (name TEXT, slot INTEGER, body BLOB, PRIMARY KEY (name, slot));
"""

_STEPS: Final = (_VERSION_1, _VERSION_2)

_ADDITIONS: Final = {
    "waits": """
-- For `wait_s` from `told_at` on nothing may be sent to the chat, as long as this turn is open.
CREATE TABLE IF NOT EXISTS waits (
    chat INTEGER PRIMARY KEY, update_key TEXT NOT NULL, wait_s REAL NOT NULL, told_at REAL NOT NULL
);
""",
    "warm_pieces": """
-- Parts of the images' manifests (slot -1) and blobs, each of the write that `warm_images` names or of one under way.
CREATE TABLE IF NOT EXISTS warm_pieces (
    name TEXT, operation TEXT, slot INTEGER, part INTEGER, version INTEGER, body BLOB,
    PRIMARY KEY (name, operation, slot, part)
);
""",
}
"""Tables that a program which does not know them may leave alone. They raise no version, as a deploy's old processes
work on the file beside its new ones; those also write `leases` by position, so that it keeps its columns."""

SCHEMA_VERSION: Final = len(_STEPS)
"""Version of the tables, kept in the file's `user_version`: how many of the steps the file has gone."""


def connect(path: Path, *, durable: bool, deadline_s: float) -> sqlite3.Connection:
    """Open the file, make its tables or bring them up to date, and give it without implicit transactions.

    Blocks for up to `deadline_s` or BUSY_TIMEOUT_S, whichever is shorter. `durable` syncs at every commit.
    Raises StoreDown, or StoreDenied in one line that names the path.
    """
    try:
        _check(path, os.R_OK | os.W_OK)
        return _open(path, durable, min(deadline_s, BUSY_TIMEOUT_S))
    except (OSError, ValueError, sqlite3.Error) as error:
        raise translated(error, str(path)) from error


def look(path: Path, *, deadline_s: float) -> sqlite3.Connection:
    """Open the file for reading alone, which changes nothing in it: no table is made or brought up to date.

    Blocks and raises as `connect` does; StoreDenied also for a file that lacks tables of this version.
    """
    try:
        _check(path, os.R_OK)
        return _look(path, min(deadline_s, BUSY_TIMEOUT_S))
    except (OSError, ValueError, sqlite3.Error) as error:
        raise translated(error, str(path)) from error


def _check(path: Path, access: int) -> None:
    """Fail in the system's own words, because SQLite's are `unable to open database file` for all of these.

    Looks and does not open: closing a file drops every lock that this process's connections hold on it,
    which corrupts databases (sqlite.org/howtocorrupt.html, 2.2).
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISDIR(path.parent.stat().st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file")
    if not os.access(path if path.exists() else path.parent, access):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _open(path: Path, durable: bool, busy_s: float) -> sqlite3.Connection:
    connection = _connection(path, "rwc", busy_s)
    try:
        if (
            path.stat().st_size == 0
        ):  # new: nobody else reads people's messages; the log takes the file's mode
            path.chmod(0o600)
        _set_up(connection, path, durable, busy_s)
    except BaseException:
        connection.close()
        raise
    return connection


def _look(path: Path, busy_s: float) -> sqlite3.Connection:
    connection = _connection(path, "ro", busy_s)
    try:
        if not _is_complete(connection, path):
            raise StoreDenied(
                f"sqlite {path}: lacks tables of this version: start the service once, which makes them"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _connection(path: Path, mode: str, busy_s: float) -> sqlite3.Connection:
    """Open in a mode of SQLite's URIs: `ro`, or `rwc`, which makes the file."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=busy_s,
        isolation_level=None,
        check_same_thread=False,  # used by one thread, closed by whoever ends it
    )
    connection.text_factory = _text
    return connection


def _set_up(connection: sqlite3.Connection, path: Path, durable: bool, busy_s: float) -> None:
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    connection.execute("PRAGMA journal_size_limit = 67108864")  # a long reader may grow the log: give it back
    is_complete = _is_complete(connection, path)
    _switch_to_wal(connection, path, busy_s)
    if not is_complete:
        _upgrade(connection, path)


def _is_complete(connection: sqlite3.Connection, path: Path) -> bool:
    connection.execute("BEGIN")  # one snapshot, or another process makes the tables between two looks
    is_complete = _found(connection, path) == SCHEMA_VERSION and _has_additions(connection)
    connection.execute("COMMIT")
    return is_complete


def _switch_to_wal(connection: sqlite3.Connection, path: Path, busy_s: float) -> None:
    """Switch a new file to its write-ahead log, which SQLite refuses at once while another process does it."""
    end = time.monotonic() + busy_s
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if not is_passing(error) or time.monotonic() > end:
                raise
            time.sleep(_SWITCH_PAUSE_S)
        else:
            break
    if mode != "wal":
        raise StoreDenied(f"sqlite {path}: its file system has no write-ahead log; use a local disk")


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Go the steps that the file lacks, all of them for a new one, and make the tables that raise no version."""
    connection.execute("BEGIN IMMEDIATE")  # one process goes them, the others find them gone
    try:
        for step in (*_STEPS[_found(connection, path) :], *_ADDITIONS.values()):
            for statement in _statements(step):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _found(connection: sqlite3.Connection, path: Path) -> int:
    """Give the version of our tables, 0 for none; raises StoreDenied for somebody else's, or newer ones."""
    if not _number(connection, "SELECT count(*) FROM sqlite_master"):
        return 0
    version = _number(connection, "PRAGMA user_version")
    if _number(connection, "PRAGMA application_id") != APPLICATION_ID:
        raise StoreDenied(f"sqlite {path}: the database of another program")
    if not 1 <= version <= SCHEMA_VERSION:
        raise StoreDenied(
            f"sqlite {path}: schema {version}, and this version knows {SCHEMA_VERSION}: upgrade"
        )
    return version


def _has_additions(connection: sqlite3.Connection) -> bool:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return _ADDITIONS.keys() <= tables


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _statements(script: str) -> list[str]:
    """Split the script; `executescript` would commit before it begins."""
    lines = [line for line in script.splitlines() if not line.startswith("--")]
    return [statement for statement in "\n".join(lines).split(";") if statement.strip()]


def _text(raw: bytes) -> str | bytes:
    """Give TEXT that is no UTF-8 as bytes: a wrong type sets aside one row, an error would lose them all."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw

"""Appends many updates in one statement, which is a whole transaction that runs without the interpreter's lock."""

import sqlite3
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Final

import msgspec

from actors.stores import Appended, UpdateRecord

APPENDS_MOST: Final = 512  # in one statement; some 5,000 values, of the 32,766 that SQLite takes

SESSION_VERSION: Final = "CASE WHEN typeof(version) = 'integer' THEN version ELSE 0 END"
"""A session's version, 0 where a hand or a fault has spoilt it, so that the next write replaces the row."""

_SET_UP: Final = (
    "PRAGMA temp_store = MEMORY",
    "CREATE TEMP TABLE appended (seq INTEGER PRIMARY KEY, bot, number, waiting, revision)",
    f"""
    CREATE TEMP TRIGGER append AFTER INSERT ON main.updates BEGIN
        UPDATE sequence SET value = new.seq;
        DELETE FROM appended WHERE seq <= new.seq - {APPENDS_MOST};
        INSERT INTO appended VALUES (
            new.seq, new.bot, new."update",
            (SELECT count(*) FROM updates WHERE new.open AND open = 1 AND chat = new.chat AND seq <= new.seq),
            coalesce((SELECT {SESSION_VERSION} FROM sessions WHERE chat = new.chat), 0)
        );
    END
    """,  # noqa: S608 made of nothing but the text above
)
"""Makes each update that is new tell, inside its own transaction, what its caller is to know."""

_INSERTS: Final = {
    rows: f"""
    INSERT INTO updates (seq, version, accepted_at, expires_at, operation,
                         bot, "update", chat, shard, state, open, reason, body)
    SELECT number, number, ?, CASE WHEN column7 THEN NULL ELSE ? END, '',
           column2, column3, column4, column5, column6, column7, column8, column9
    FROM (SELECT (SELECT value FROM sequence) + column1 AS number, *
          FROM (VALUES {", ".join(f"({row}, {', '.join('?' * 10)})" for row in range(1, rows + 1))}))
    WHERE column2 IS NOT NULL ON CONFLICT (bot, "update") DO NOTHING
    """  # noqa: S608 made of nothing but the text above
    for rows in (1, 2, 4, 8, 16, 32, 64, 128, 256, APPENDS_MOST)
}
"""Inserts the updates that are new, numbered in their order from the sequence on.

A row is an UpdateRecord, field by field; rows of nothing fill a statement up.
"""

_TOLD: Final = (
    "SELECT json_group_array(json_array(seq, bot, number, waiting, revision)) FROM appended WHERE seq > ?"
)
"""One row, as each row that SQLite gives hands the interpreter's lock over and has to wait for it."""

_read_told: Final = msgspec.json.Decoder(list[tuple[int, int, int, int, int]]).decode
_DUPLICATE: Final = Appended(created=False)


class Appends:
    """Appends by one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection, self._told = connection, 0
        for statement in _SET_UP:
            connection.execute(statement)

    def insert(self, records: Sequence[UpdateRecord], now: float, expires_at: float) -> None:
        """Insert up to APPENDS_MOST updates, those that are there already excepted; on its own a transaction."""
        insert(self.connection, records, now, expires_at)

    def outcomes(self, records: Sequence[UpdateRecord]) -> list[Appended]:
        """Give what became of each of the updates that were inserted last; of two that are one, the first is new."""
        created: dict[tuple[int, int], Appended] = {}
        for version, bot, update, waiting, revision in told(self.connection, self._told):
            created[bot, update] = Appended(created=True, version=version, waiting=waiting, revision=revision)
            self._told = version
        return [created.pop((record.bot, record.update), _DUPLICATE) for record in records]

    def rolled_back(self) -> None:
        """Forget what was told of a transaction that did not happen: its numbers are given once more."""
        ((newest,),) = self.connection.execute("SELECT coalesce(max(seq), 0) FROM appended").fetchall()
        self._told = min(self._told, newest)


def insert(
    connection: sqlite3.Connection, records: Sequence[UpdateRecord], now: float, expires_at: float
) -> None:
    """What `Appends.insert` does, by the connection of some Appends, which is not told of it."""
    rows = 1 << (len(records) - 1).bit_length()
    values = chain.from_iterable(map(msgspec.structs.astuple, records))
    filling = repeat(None, 10 * (rows - len(records)))
    connection.execute(_INSERTS[rows], (now, expires_at, *values, *filling))


def told(connection: sqlite3.Connection, after: int) -> list[tuple[int, int, int, int, int]]:
    """Version, bot, update, waiting, and the session's revision, of each new update inserted after that version."""
    ((rows,),) = connection.execute(_TOLD, (after,)).fetchall()
    return _read_told(rows)

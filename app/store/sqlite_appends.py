"""Appends many updates in one statement, which is a whole transaction that runs without the interpreter's lock."""

import sqlite3
from collections.abc import Sequence
from itertools import repeat
from typing import Final

import msgspec

from actors.stores import Appended, UpdateRecord

APPENDS_MOST: Final = 512  # in one statement; some 4,000 values, of the 32,766 that SQLite takes

SESSION_VERSION: Final = "CASE WHEN typeof(version) = 'integer' THEN version ELSE 0 END"
"""A session's version, 0 where a hand or a fault has spoilt it, so that the next write replaces the row."""

_NUMBERS: Final = 2**53  # more than are ever given
_NEWEST: Final = f"coalesce((SELECT max(seq) FROM updates WHERE seq < {_NUMBERS}), 0)"  # noqa: S608 a number of ours
"""The newest update's number, also of one that a hand has put behind the sequence; what it put beyond all is let be."""

_PREPARATIONS: Final = (
    "PRAGMA temp_store = MEMORY",
    "CREATE TEMP TABLE told (answer)",
    "INSERT INTO told VALUES ('')",
    f"""
    CREATE TEMP TRIGGER tell BEFORE INSERT ON main.updates WHEN new.bot IS NULL BEGIN
        UPDATE told SET answer = (
            SELECT json_array(new.version, (
                SELECT json_group_array(json_array(
                    seq,
                    (SELECT count(*) FROM updates AS waiting
                     WHERE appended.open AND open = 1 AND chat = appended.chat AND seq <= appended.seq),
                    coalesce((SELECT {SESSION_VERSION} FROM sessions WHERE chat = appended.chat), 0)
                )) FROM updates AS appended WHERE seq > new.version AND seq < {_NUMBERS}
            ))
        );
        UPDATE sequence SET value = max(value, {_NEWEST});
        SELECT RAISE(IGNORE);
    END
    """,  # noqa: S608 made of nothing but the text above
)
"""Make the row without a bot that ends each statement tell, in its stead, of those before it that are new.

It does so inside their transaction, for all of them together. One answer, as each row that SQLite gives hands the
interpreter's lock over and has to wait for it.
"""

_INSERTS: Final = {
    rows: f"""
    INSERT INTO updates (seq, version, accepted_at, expires_at, operation,
                         bot, "update", chat, shard, state, open, reason, body)
    SELECT number, number, ?2, CASE WHEN column7 THEN NULL ELSE ?3 END, '',
           column2, column3, column4, column5, column6, column7, column8, column9
    FROM (SELECT (SELECT max(value, {_NEWEST}) FROM sequence) + column1 AS number, *
          FROM (VALUES {", ".join(f"({row}, {', '.join('?' * 8)})" for row in range(1, rows + 1))},
                       (0, NULL, 0, 0, 0, '', 0, '', '')))
    WHERE column1 <= ?1 ON CONFLICT (bot, "update") DO NOTHING
    """  # noqa: S608 made of nothing but the text above
    for rows in (1, 2, 4, 8, 16, 32, 64, 128, 256, APPENDS_MOST)
}
"""Insert the first so many of these updates, where they are new, numbered in their order from the sequence on."""

_read_told: Final = msgspec.json.Decoder(tuple[int, list[tuple[int, int, int]]]).decode
_DUPLICATE: Final = Appended(created=False)


def prepare(connection: sqlite3.Connection) -> None:
    """Make a connection ready for `append`; it writes nothing to the file."""
    for statement in _PREPARATIONS:
        connection.execute(statement)


def append(
    connection: sqlite3.Connection, records: Sequence[UpdateRecord], now: float, expires_at: float
) -> list[Appended]:
    """Insert up to APPENDS_MOST updates, in a transaction of their own if none is open; what became of each.

    Those that are there already stay; of two that are one, the first is new.
    """
    rows = 1 << (len(records) - 1).bit_length()
    values: list[object] = [len(records), now, expires_at]
    for each in records:  # types that sqlite3 binds as they are: it looks for adapters of bool, bytes, None
        values += (each.bot, each.update, each.chat, each.shard, each.state, int(each.open), each.reason)
        values.append(bytearray(each.body))
    values += repeat(0, 8 * (rows - len(records)))
    connection.execute(_INSERTS[rows], values)
    return _outcomes(connection, len(records))


def _outcomes(connection: sqlite3.Connection, many: int) -> list[Appended]:
    ((answer,),) = connection.execute("SELECT answer FROM told").fetchall()
    before, appended = _read_told(answer)
    outcomes = [_DUPLICATE] * many
    for seq, waiting, revision in appended:
        outcomes[seq - before - 1] = Appended(created=True, version=seq, waiting=waiting, revision=revision)
    return outcomes

"""A group of updates is appended by one statement, and each is told what it would be told alone."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from actors.stores import Appended, UpdateRecord
from app.store.sqlite_appends import APPENDS_MOST, append, prepare
from app.store.sqlite_schema import connect
from tests.app.store.records import update

NOW, LATER = 1_767_225_600.0, 1_767_830_400.0


Appending = Callable[..., list[Appended]]


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """A writer's connection to a new file."""
    with closing(connect(path, durable=True, deadline_s=5.0)) as connection:
        prepare(connection)
        yield connection


@pytest.fixture
def appending(connection: sqlite3.Connection) -> Appending:
    """Appends updates together."""

    def appending(*records: UpdateRecord) -> list[Appended]:
        return append(connection, records, NOW, LATER)

    return appending


@pytest.mark.parametrize("many", [1, 2, 3, 64, 65, 257, APPENDS_MOST])
def test_a_group_is_a_transaction_without_a_begin(appending: Appending, path: Path, many: int) -> None:
    """When the statement returns, every other connection has the updates; all have a version, in their order."""
    records = [update(number, chat=number) for number in range(1, many + 1)]
    told = appending(*records)
    with closing(sqlite3.connect(path)) as other:
        ((stored,),) = other.execute("SELECT count(*) FROM updates")
    outcomes = [Appended(created=True, version=number, waiting=1) for number in range(1, many + 1)]
    assert (many, outcomes) == (stored, told)


def test_each_counts_those_before_it(appending: Appending) -> None:
    """Updates of one chat in one group count up as if they had come one after another."""
    outcomes = appending(update(1), update(2), update(3, chat=9), update(4))
    assert [1, 2, 1, 3] == [outcome.waiting for outcome in outcomes]


def test_the_same_update_twice_in_a_group_is_new_once(appending: Appending) -> None:
    """Of two deliveries in one group the first is new; in the next group none is."""
    first = appending(update(1), update(2), update(1))
    second = appending(update(2), update(3))
    assert [True, True, False] == [outcome.created for outcome in first]
    assert [Appended(created=False), True] == [second[0], second[1].created]


def test_a_group_that_fails_leaves_nothing_behind(appending: Appending) -> None:
    """What can't be bound spoils the statement as a whole, and the next group is told nothing of it."""
    with pytest.raises(OverflowError):
        appending(update(1), update(2**63))
    assert [Appended(created=True, version=1, waiting=1)] == appending(update(1))


def test_numbers_of_updates_follow_those_of_other_writes(
    appending: Appending, connection: sqlite3.Connection
) -> None:
    """All writes share one sequence: what is appended takes the next numbers, and a duplicate takes none."""
    appending(update(1), update(2))
    connection.execute("UPDATE sequence SET value = 7")
    outcomes = appending(update(2), update(3), update(4))
    assert [0, 9, 10] == [outcome.version for outcome in outcomes]
    connection.execute("UPDATE sequence SET value = 20")
    appending(update(4))
    assert [(20,)] == connection.execute("SELECT value FROM sequence").fetchall()


@pytest.mark.parametrize("seq", [2, 3, 700, 2**62, 2**63 - 1])
def test_a_row_that_a_hand_has_numbered_stops_nobody(
    appending: Appending, connection: sqlite3.Connection, seq: int
) -> None:
    """C8: it is among or beyond the numbers to come, and yet each update is new, counted, and behind the others."""
    appending(update(1))
    connection.execute(
        """INSERT INTO updates (seq, bot, "update", chat) VALUES (?, 'none', 'none', 500)""", (seq,)
    )
    told = [*appending(update(2), update(1), update(3)), *appending(update(3), update(4))]
    versions = [outcome.version for outcome in told if outcome.created]
    assert [True, False, True, False, True] == [outcome.created for outcome in told]
    assert [2, 3, 4] == [outcome.waiting for outcome in told if outcome.created]
    assert sorted(set(versions)) == versions

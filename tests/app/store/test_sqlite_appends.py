"""A group of updates is appended by one statement, and each is told what it would be told alone."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from actors.stores import Appended, UpdateRecord
from app.store.sqlite_appends import APPENDS_MOST, Appends
from app.store.sqlite_schema import connect
from tests.app.store.records import update

NOW, LATER = 1_767_225_600.0, 1_767_830_400.0


@pytest.fixture
def appends(path: Path) -> Appends:
    """Appends to a new file."""
    return Appends(connect(path, durable=True, deadline_s=5.0))


def append(appends: Appends, *records: UpdateRecord) -> list[Appended]:
    """Append them together."""
    appends.insert(records, NOW, LATER)
    return appends.outcomes(records)


@pytest.mark.parametrize("many", [1, 2, 3, 64, 65, 257, APPENDS_MOST])
def test_a_group_is_a_transaction_without_a_begin(appends: Appends, path: Path, many: int) -> None:
    """When the statement returns, every other connection has the updates; all have a version, in their order."""
    records = [update(number, chat=number) for number in range(1, many + 1)]
    appends.insert(records, NOW, LATER)
    with closing(sqlite3.connect(path)) as other:
        ((stored,),) = other.execute("SELECT count(*) FROM updates")
    outcomes = [Appended(created=True, version=number, waiting=1) for number in range(1, many + 1)]
    assert (many, outcomes) == (stored, appends.outcomes(records))


def test_each_counts_those_before_it(appends: Appends) -> None:
    """Updates of one chat in one group count up as if they had come one after another."""
    outcomes = append(appends, update(1), update(2), update(3, chat=9), update(4))
    assert [1, 2, 1, 3] == [outcome.waiting for outcome in outcomes]


def test_the_same_update_twice_in_a_group_is_new_once(appends: Appends) -> None:
    """Of two deliveries in one group the first is new; in the next group none is."""
    first = append(appends, update(1), update(2), update(1))
    second = append(appends, update(2), update(3))
    assert [True, True, False] == [outcome.created for outcome in first]
    assert [Appended(created=False), True] == [second[0], second[1].created]


def test_a_group_that_fails_leaves_nothing_behind(appends: Appends) -> None:
    """What can't be bound spoils the statement as a whole, and the next group is told nothing of it."""
    with pytest.raises(OverflowError):
        append(appends, update(1), update(2**63))
    assert [Appended(created=True, version=1, waiting=1)] == append(appends, update(1))


def test_what_is_told_is_bounded(appends: Appends) -> None:
    """The table of what was appended holds the newest only, however long the writer lives."""
    for group in range(6):
        append(appends, *(update(group * 200 + number, chat=number) for number in range(200)))
    ((held,),) = appends.connection.execute("SELECT count(*) FROM appended")
    assert APPENDS_MOST == held

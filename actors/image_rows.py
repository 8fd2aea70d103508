"""Picks which of the sessions in L1 go into an image: the hottest, of those it may vouch for."""

import asyncio
from heapq import merge
from typing import Final

from actors.image import RAW_MOST, Row
from actors.sessions import SLICE, ShardSessions
from actors.warm_ports import BLOBS_MOST

RAW_ROOM: Final = BLOBS_MOST * RAW_MOST  # how much of it fits, packing tells


async def hottest(sessions: ShardSessions, since: float) -> list[Row]:
    """The sessions read at `since` or later that an image may have room for, by their scores, in slices of work."""
    rows, room = list[Row](), RAW_ROOM
    chats = merge(*await _sorted(sessions), key=sessions.scores.get, reverse=True)
    for number, chat in enumerate(chats):
        if number % SLICE == 0:
            await asyncio.sleep(0)
        row = _row(sessions, chat, since)
        if row is None:
            continue
        room -= row.room()
        if room < 0:
            break
        rows.append(row)
    return rows


async def _sorted(sessions: ShardSessions) -> list[list[int]]:
    """The chats of L1 in runs, each sorted: to sort all of them at once would take tens of milliseconds."""
    chats, runs = sessions.chats(), list[list[int]]()
    for first in range(0, len(chats), 4 * SLICE):
        part = chats[first : first + 4 * SLICE]
        runs.append(sorted(part, key=sessions.scores.get, reverse=True))
        await asyncio.sleep(0)
    return runs


def _row(sessions: ShardSessions, chat: int, since: float) -> Row | None:
    held = sessions.held_since(chat, since)
    if held is None:
        return None
    return Row(chat, held.version, held.revision, sessions.scores.get(chat), held.body)

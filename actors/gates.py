"""One gate a chat: an append, a write or a reading of its mailbox runs at a time, so that none sees half of another."""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable
from typing import Final, Self

from actors.stores import StoreDown

GATE_WAIT_S: Final = 8.0  # a holder's store call ends by its own deadline; callers give up after 10 s anyway

_Place = asyncio.Future[None]
"""Somebody's place in the queue before a gate; done when it is let in."""


class MailboxBusy(StoreDown):
    """The chat's mailbox was held by a slow store call for too long; nothing was asked of the store."""

    def __init__(self, waited_s: float) -> None:
        super().__init__(f"the chat's mailbox was busy for {waited_s:g} s")


class Gates:
    """The gates of a shard's chats; who finds one shut waits in the order of arrival."""

    def __init__(self) -> None:
        self._shut: dict[int, deque[_Place] | None] = {}  # None: nobody has waited yet

    def __len__(self) -> int:
        """Count the chats in which somebody works."""
        return len(self._shut)

    def is_shut(self, chat: int) -> bool:
        """Whether somebody works in the chat, so that one who comes now has to wait."""
        return chat in self._shut

    def passage(self, chat: int) -> "Passage":
        """Pass one gate: with `async with`, which raises MailboxBusy when it took too long to get there."""
        return Passage(self, chat)

    def convoy(self, chats: Iterable[int]) -> "Convoy":
        """Pass many gates together: with `with`, which takes those that are open and a place before each other."""
        return Convoy(self, dict.fromkeys(chats))

    def convoy_where_open(self, chats: Iterable[int]) -> "Convoy":
        """Pass only those of the gates that are open now."""
        return self.convoy(chat for chat in chats if chat not in self._shut)

    # ------------------------------------------------------------ for passages

    def arrive(self, chat: int) -> _Place | None:
        """Shut an open gate behind oneself: None. Else take a place in its queue."""
        if chat not in self._shut:
            self._shut[chat] = None
            return None
        place = asyncio.get_running_loop().create_future()
        queue = self._shut[chat] = self._shut[chat] or deque()
        queue.append(place)
        return place

    def leave(self, chat: int, place: _Place | None) -> None:
        """Let the next one in; from the queue, give the place up."""
        if place is not None and (not place.done() or place.cancelled()):
            place.cancel()
            return
        queue = self._shut[chat]
        while queue:
            following = queue.popleft()
            if not following.done():
                following.set_result(None)
                return
        del self._shut[chat]


class Passage:
    """One passage through a chat's gate. No generator and no lock, because every accepted update makes one."""

    __slots__ = ("_chat", "_gates")

    def __init__(self, gates: Gates, chat: int) -> None:
        self._gates, self._chat = gates, chat

    async def __aenter__(self) -> None:
        place = self._gates.arrive(self._chat)
        if place is None:
            return
        try:
            async with asyncio.timeout(GATE_WAIT_S):
                await place
        except TimeoutError:
            self._gates.leave(self._chat, place)
            raise MailboxBusy(GATE_WAIT_S) from None
        except BaseException:  # a caller that was cancelled while it waited, perhaps as its turn came
            self._gates.leave(self._chat, place)
            raise

    async def __aexit__(self, *_error: object) -> None:
        self._gates.leave(self._chat, None)


class Convoy:
    """Passages through many gates that were begun at one moment.

    So of two convoys one is behind the other before every gate, and they can't wait for one another.
    """

    __slots__ = ("_chats", "_gates", "_places")

    def __init__(self, gates: Gates, chats: Iterable[int]) -> None:
        self._gates, self._chats = gates, chats
        self._places: dict[int, _Place | None] = {}

    def __enter__(self) -> Self:
        for chat in self._chats:
            self._places[chat] = self._gates.arrive(chat)
        return self

    def __exit__(self, *_error: object) -> None:
        self.leave(tuple(self._places))

    def inside(self) -> tuple[int, ...]:
        """The chats whose gates it has passed, and not left."""
        return tuple(chat for chat, place in self._places.items() if place is None or place.done())

    def leave(self, chats: Collection[int]) -> None:
        """Leave these chats, or the queues before their gates."""
        for chat in chats:
            self._gates.leave(chat, self._places.pop(chat))

    async def wait(self, most_s: float) -> None:
        """Wait until it is inside everywhere, or so many seconds have passed."""
        waiting = [place for place in self._places.values() if place is not None and not place.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=most_s)

"""The people, chats and messages of the simulated Telegram, bounded in number, with word of every change."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import msgspec

from actors.ports import Clock

ChatType = Literal["private", "group", "supergroup"]
TYPING_SHOWS_S = 5.0
Json = dict[str, Any]
"""A JSON object of the Bot API, where its fields are carried rather than looked into."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message; `user` is 0 for the bot's, `date` in Unix seconds, offsets of entities in UTF-16 units.

    `thread` is the forum topic that it stands in, 0 outside of one.
    """

    message_id: int
    chat: int
    user: int
    date: int
    text: str
    entities: tuple[Json, ...] = ()
    markup: Json | None = None
    caption: bool = False
    reply_to: int = 0
    thread: int = 0
    edited: bool = False

    @property
    def by_bot(self) -> bool:
        return self.user == 0


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person sees happen: a new chat, a message, an edit, the bot typing, a toast after a button."""

    kind: Literal["chat", "message", "edit", "typing", "toast"]
    chat: int
    message: Message | None = None
    text: str = ""


class Chat(msgspec.Struct, eq=False):
    """One chat, its last messages, and what the bot did in it."""

    chat_id: int
    type: ChatType
    title: str
    messages: deque[Message]
    user: int
    blocked: bool = False
    migrated_to: int = 0
    typing_actions: int = 0
    typing_until_s: float = 0.0
    replies: int = 0
    topics: set[int] = msgspec.field(default_factory=set)

    def find(self, message_id: int) -> Message | None:
        return next((each for each in reversed(self.messages) if each.message_id == message_id), None)


class World:
    """All chats. Message ids are given from one counter, as in a Telegram account."""

    def __init__(self, clock: Clock, *, max_chats: int = 10_000, max_messages: int = 1_000) -> None:
        self.chats: dict[int, Chat] = {}
        self._clock = clock
        self._max_chats, self._max_messages = max_chats, max_messages
        self._next_message = 1
        self._listeners: set[asyncio.Queue[Change | None]] = set()

    def chat(self, chat_id: int, chat_type: ChatType = "private", user: int = 0) -> Chat:
        """Give a chat, opened if it is not there; raises OverflowError when there are too many."""
        if chat_id not in self.chats:
            if len(self.chats) >= self._max_chats:
                raise OverflowError(f"{self._max_chats} chats are open")
            self.chats[chat_id] = self._opened(chat_id, chat_type, user or abs(chat_id))
            self.tell(Change(kind="chat", chat=chat_id))
        return self.chats[chat_id]

    def add(
        self,
        chat: Chat,
        text: str,
        *,
        user: int = 0,
        entities: tuple[Json, ...] = (),
        markup: Json | None = None,
        caption: bool = False,
        reply_to: int = 0,
        thread: int = 0,
    ) -> Message:
        """Append a message; the bot's ends its typing."""
        message = Message(
            message_id=self._next_message,
            chat=chat.chat_id,
            user=user,
            date=int(self._clock.unix_s()),
            text=text,
            entities=entities,
            markup=markup,
            caption=caption,
            reply_to=reply_to,
            thread=thread,
        )
        self._next_message += 1
        chat.messages.append(message)
        if message.by_bot:
            chat.replies += 1
            chat.typing_until_s = 0.0
        self.tell(Change(kind="message", chat=chat.chat_id, message=message))
        return message

    def replace(self, chat: Chat, edited: Message) -> None:
        """Put an edited message in the place of the one with its id."""
        place = next(i for i, each in enumerate(chat.messages) if each.message_id == edited.message_id)
        chat.messages[place] = edited
        self.tell(Change(kind="edit", chat=chat.chat_id, message=edited))

    def type_in(self, chat: Chat) -> None:
        """Show that the bot types, for 5 s."""
        chat.typing_actions += 1
        chat.typing_until_s = self._clock.monotonic_s() + TYPING_SHOWS_S
        self.tell(Change(kind="typing", chat=chat.chat_id))

    def tell(self, change: Change) -> None:
        """Hand a change to all listeners; one that fell behind gets None instead and must look anew."""
        for listener in list(self._listeners):
            if listener.full():
                self._listeners.discard(listener)
                listener.get_nowait()  # the oldest makes room
                listener.put_nowait(None)
            else:
                listener.put_nowait(change)

    @contextmanager
    def listening(self, capacity: int = 1_000) -> Iterator[asyncio.Queue[Change | None]]:
        """All changes from now on, in order, while the context lasts; None ends them early (see `tell`)."""
        listener: asyncio.Queue[Change | None] = asyncio.Queue(capacity)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def _opened(self, chat_id: int, chat_type: ChatType, user: int) -> Chat:
        title = f"User {user}" if chat_type == "private" else f"Group {abs(chat_id)}"
        return Chat(chat_id, chat_type, title, deque(maxlen=self._max_messages), user)

"""The simulated Telegram without its wire: what people do and see, and the bot's API as plain calls."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from actors.ports import Chance, Clock
from app.telegram.simulator_checks import utf16
from app.telegram.simulator_delivery import (
    CALLBACK_LIFETIME_S,
    INLINE_LIFETIME_S,
    MESSAGE_LIFETIME_S,
    DeliveryQueue,
)
from app.telegram.simulator_faults import FaultScript
from app.telegram.simulator_methods import BotApi, Connector, chat_json, person
from app.telegram.simulator_world import Chat, ChatType, Json, Message, World

MAX_TOPICS = 1_000  # of a chat


class Button(msgspec.Struct, frozen=True):
    """A button under a message, as a person sees it."""

    chat: int
    message_id: int
    text: str
    data: str


class Said(msgspec.Struct, frozen=True):
    """What a person did: its message, and the update that tells the bot (0: the bot is not told)."""

    update_id: int
    message_id: int


class People:
    """All chats and the bot in them; `connect` gives the way to a webhook, for updates pushed to it.

    `clock` and `chance` drive redelivery, expiry and ids, so that tests scale time and simulations own it.
    """

    def __init__(
        self,
        bot: Json,
        connect: Connector,
        clock: Clock,
        chance: Chance,
        *,
        first_update_id: int = 1,
        max_chats: int = 10_000,
        max_messages: int = 1_000,
    ) -> None:
        self.clock = clock
        self.faults = FaultScript()
        self.world = World(clock, max_chats=max_chats, max_messages=max_messages)
        self.updates = DeliveryQueue(clock, chance, self.faults, first_update_id=first_update_id)
        self.api = BotApi(bot, self.world, self.updates, clock, connect)
        self._chance = chance

    def say(
        self,
        chat: int,
        text: str,
        *,
        user: int | None = None,
        chat_type: ChatType = "private",
        caption: bool = False,
        reply_to: int = 0,
        thread: int = 0,
    ) -> Said:
        """A person writes; `caption` puts the text under a photo, `thread` is a topic. Opens the chat if it is new.

        Raises OverflowError when too many chats are open or too many updates wait.
        """
        place = self.world.chat(chat, chat_type, user or 0)
        message = self.world.add(
            place,
            text,
            user=place.user if user is None else user,
            entities=self._marked(text),
            caption=caption,
            reply_to=reply_to,
            thread=thread,
        )
        return Said(self._tell_bot("message", self.api.as_json(message), place), message.message_id)

    def edit(self, chat: int, message_id: int, text: str) -> Said:
        """A person edits an own message; raises KeyError if it is not there."""
        place = self.world.chats[chat]
        old = place.find(message_id)
        if old is None or old.by_bot:
            raise KeyError(f"nobody wrote message {message_id} in chat {chat}")
        new = msgspec.structs.replace(old, text=text, entities=self._marked(text), edited=True)
        self.world.replace(place, new)
        return Said(self._tell_bot("edited_message", self.api.as_json(new), place), message_id)

    def buttons(self, chat: int) -> Sequence[Button]:
        """The buttons under the bot's last message."""
        last = next(reversed(self.replies(chat)), None)
        rows = last.markup["inline_keyboard"] if last and last.markup else []
        return [
            Button(chat, last.message_id, each["text"], each["callback_data"])
            for row in rows
            for each in row
            if last and "callback_data" in each
        ]

    def press(self, button: Button, *, user: int | None = None) -> Said:
        """A person presses a button; raises KeyError if its message is not there."""
        place = self.world.chats[button.chat]
        message = place.find(button.message_id)
        if message is None:
            raise KeyError(f"no message {button.message_id} in chat {button.chat}")
        query_id = self._chance.token()
        too_old_at_s = self.clock.monotonic_s() + CALLBACK_LIFETIME_S
        self._remember_query(query_id, button.chat, too_old_at_s)
        query = {
            "id": query_id,
            "from": person(user or place.user),
            "message": self.api.as_json(message),
            "chat_instance": str(button.chat),
            "data": button.data,
        }
        return Said(self._tell_bot("callback_query", query, place), button.message_id)

    def raw_update(self, body: Json) -> int:
        """Queue an update as it stands, under the next id unless it brings `update_id`; gives the id."""
        kind = next((each for each in body if each != "update_id"), "")
        update_id = self.updates.push(body, _lane(kind, body.get(kind)), _lifetime_s(kind))
        return int(body.get("update_id", update_id))

    def open_chat(self, chat_type: ChatType = "private", chat: int | None = None) -> Chat:
        """Open a chat in which nobody has written yet; without an id the next free one."""
        if chat is None:
            step = 1 if chat_type == "private" else -1
            chat = 1001 * step
            while chat in self.world.chats:
                chat += step
        return self.world.chat(chat, chat_type)

    def open_topic(self, chat: int) -> int:
        """A person opens a forum topic in a supergroup; gives its thread. Raises OverflowError beyond MAX_TOPICS."""
        place = self.world.chat(chat, "supergroup")
        if len(place.topics) >= MAX_TOPICS:
            raise OverflowError(f"{MAX_TOPICS} topics are open in chat {chat}")
        thread = self.world.add(place, "", user=place.user).message_id
        place.topics.add(thread)
        return thread

    def delete_topic(self, chat: int, thread: int) -> None:
        """A person deletes a topic: nothing can be sent there any more."""
        self.world.chats[chat].topics.discard(thread)

    def block(self, chat: int, *, blocked: bool = True) -> None:
        """A person blocks the bot (in a group: throws it out), or takes that back."""
        place = self.world.chats[chat]
        before, now = ("member", "kicked") if blocked else ("kicked", "member")
        place.blocked = blocked
        change = {"chat": chat_json(place), "from": person(place.user), "date": int(self.clock.unix_s())}
        change["old_chat_member"] = {"user": self.api.bot, "status": before}
        change["new_chat_member"] = {"user": self.api.bot, "status": now}
        self._tell_bot("my_chat_member", change, place)

    def migrate(self, group: int, supergroup: int) -> Said:
        """A group becomes a supergroup with a new id; sending to the old one is refused from now on."""
        old, new = self.world.chats[group], self.world.chat(supergroup, "supergroup")
        old.migrated_to = supergroup
        farewell = self.api.as_json(self.world.add(old, "", user=old.user))
        greeting = self.api.as_json(self.world.add(new, "", user=old.user))
        del farewell["text"], greeting["text"]
        self._tell_bot("message", farewell | {"migrate_to_chat_id": supergroup}, old)
        update_id = self._tell_bot("message", greeting | {"migrate_from_chat_id": group}, new)
        return Said(update_id, greeting["message_id"])

    def transcript(self, chat: int) -> Sequence[Message]:
        """All messages of a chat that are still kept, oldest first."""
        return list(self.world.chats[chat].messages) if chat in self.world.chats else []

    def replies(self, chat: int) -> Sequence[Message]:
        """The bot's messages of a chat that are still kept, oldest first."""
        return [each for each in self.transcript(chat) if each.by_bot]

    def typing(self, chat: int) -> bool:
        """Whether "typing" shows now."""
        place = self.world.chats.get(chat)
        return place is not None and self.clock.monotonic_s() < place.typing_until_s

    async def wait_for_reply(self, chat: int, count: int = 1, deadline_s: float = 10.0) -> Sequence[Message]:
        """Wait until the bot has sent `count` messages to the chat in all, and give those kept.

        Raises TimeoutError after `deadline_s` real seconds.
        """
        async with asyncio.timeout(deadline_s):
            with self.world.listening() as changes:
                while chat not in self.world.chats or self.world.chats[chat].replies < count:
                    if await changes.get() is None:
                        return await self.wait_for_reply(chat, count, deadline_s)  # fell behind: look anew
        return self.replies(chat)

    def _tell_bot(self, kind: str, content: Json, place: Chat) -> int:
        if not self.api.wants(kind):
            return 0
        if place.blocked and kind != "my_chat_member":
            return 0  # who has blocked the bot does not reach it
        return self.updates.push({kind: content}, _lane(kind, content), _lifetime_s(kind))

    def _marked(self, text: str) -> tuple[Json, ...]:
        """Commands and mentions, as Telegram's apps mark them."""
        found = re.finditer(r"(?<!\S)(/[A-Za-z0-9_]{1,32}(?:@\w+)?|@\w{3,32})(?!\w)", text)
        return tuple(
            {
                "type": "bot_command" if match.group().startswith("/") else "mention",
                "offset": utf16(text[: match.start()]),
                "length": utf16(match.group()),
            }
            for match in found
        )

    def _remember_query(self, query_id: str, chat: int, too_old_at_s: float) -> None:
        known, now = self.api.callbacks, self.clock.monotonic_s()
        for each in [each for each, (_, too_old_s) in known.items() if too_old_s < now]:
            del known[each]
        known[query_id] = (chat, too_old_at_s)


def _lane(kind: str, content: Any) -> str:
    """Messages queue by chat, callback queries by user, the rest by nothing (tdlib/telegram-bot-api)."""
    if not isinstance(content, dict):
        return ""
    owner = content.get("from" if kind == "callback_query" else "chat")
    name = "user" if kind == "callback_query" else "chat"
    return f"{name}:{owner['id']}" if isinstance(owner, dict) and "id" in owner else ""


def _lifetime_s(kind: str) -> float:
    """How long Telegram keeps an update of this kind."""
    match kind:
        case "callback_query":
            return CALLBACK_LIFETIME_S
        case "inline_query":
            return INLINE_LIFETIME_S
        case _:
            return MESSAGE_LIFETIME_S

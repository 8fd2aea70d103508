"""The Bot API methods that a chat agent uses, over the simulated world: what they check, do and answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from actors.ports import Clock
from app.telegram.simulator_checks import (
    ApiError,
    bad_request,
    checked_action,
    checked_commands,
    checked_markup,
    checked_secret,
    checked_text,
    checked_webhook_url,
)
from app.telegram.simulator_delivery import Deliver, DeliveryQueue
from app.telegram.simulator_world import Change, Chat, Json, Message, World

UNASKED_KINDS = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
"""Updates that come only when `allowed_updates` names them (Bot API setWebhook)."""
MAX_POLL_S = 50.0
NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)
OTHER_POLL = (
    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
)
WEBHOOK_ACTIVE = (
    "Conflict: can't use getUpdates method while webhook is active; "
    "use deleteWebhook to delete the webhook first"
)


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where updates go; an empty `allowed_updates` means all but a few."""

    url: str
    secret_token: str = ""
    max_connections: int = 40
    allowed_updates: tuple[str, ...] = ()


class Connector(Protocol):
    """Gives the way to a webhook."""

    def __call__(self, webhook: Webhook) -> Deliver:
        """A `deliver` for this webhook."""


class Arguments:
    """A call's arguments: values of JSON, or the strings that a form carries, JSON inside where it nests."""

    def __init__(self, values: Json) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """A string, empty if absent."""
        value = self._values.get(name)
        return "" if value is None else str(value)

    def integer(self, name: str, default: int = 0) -> int:
        """A whole number; raises ApiError for something else."""
        value = self.text(name) or str(default)
        if not value.lstrip("-").isdecimal() or len(value) > 20:
            raise bad_request(f"invalid {name} specified")
        return int(value)

    def flag(self, name: str) -> bool:
        """True for `true` and `1` in any case."""
        return self.text(name).lower() in ("true", "1", "yes")

    def nested(self, name: str) -> Any:
        """An array or object; raises ApiError if it is no JSON."""
        value = self._values.get(name)
        if not isinstance(value, str) or not value:
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise bad_request(f"can't parse {name} JSON object") from None

    def chat(self) -> int | None:
        """The chat, None if there is none or it is a name."""
        value = self.text("chat_id")
        return int(value) if value.lstrip("-").isdecimal() and len(value) <= 20 else None


class BotApi:
    """One bot's methods, by name in any case as in the Bot API: `await call("sendMessage", {...})`."""

    def __init__(
        self, bot: Json, world: World, updates: DeliveryQueue, clock: Clock, connect: Connector
    ) -> None:
        self.bot = bot
        self.webhook: Webhook | None = None
        self.allowed_updates: tuple[str, ...] = ()
        self.commands: list[Json] = []
        self.callbacks: dict[str, tuple[int, float]] = {}  # id -> chat, when it becomes too old
        self._world, self._updates, self._clock, self._connect = world, updates, clock, connect
        self._poll: asyncio.Future[str] | None = None
        self._methods: dict[str, Callable[[Arguments], Awaitable[object]]] = {
            name.lower(): method
            for name, method in {
                "getMe": self._get_me,
                "sendMessage": self._send_message,
                "editMessageText": self._edit_message_text,
                "sendChatAction": self._send_chat_action,
                "answerCallbackQuery": self._answer_callback_query,
                "setWebhook": self._set_webhook,
                "getWebhookInfo": self._get_webhook_info,
                "deleteWebhook": self._delete_webhook,
                "getUpdates": self._get_updates,
                "setMyCommands": self._set_my_commands,
                "getMyCommands": self._get_my_commands,
            }.items()
        }

    async def call(self, method: str, values: Json) -> object:
        """The `result` of a call; raises ApiError."""
        handler = self._methods.get(method.lower())
        if handler is None:
            raise ApiError(404, "Not Found: method not found")
        return await handler(Arguments(values))

    @property
    def polling(self) -> bool:
        """Whether a `getUpdates` waits now."""
        return self._poll is not None

    def wants(self, kind: str) -> bool:
        """Whether updates of this kind are to be queued."""
        return kind in self.allowed_updates if self.allowed_updates else kind not in UNASKED_KINDS

    def as_json(self, message: Message) -> Json:
        """A Bot API `Message`."""
        chat = self._world.chats[message.chat]
        said: Json = {
            "message_id": message.message_id,
            "from": self.bot if message.by_bot else person(message.user),
            "chat": chat_json(chat),
            "date": message.date,
        }
        text, entities = ("caption", "caption_entities") if message.caption else ("text", "entities")
        said |= {text: message.text} | ({entities: list(message.entities)} if message.entities else {})
        if message.thread:
            said |= {"message_thread_id": message.thread, "is_topic_message": True}
        if message.edited:
            said["edit_date"] = int(self._clock.unix_s())
        if message.markup:
            said["reply_markup"] = message.markup
        if message.reply_to and (replied := chat.find(message.reply_to)):
            said["reply_to_message"] = self.as_json(msgspec.structs.replace(replied, reply_to=0))
        return said

    async def _get_me(self, _: Arguments) -> object:
        return self.bot | {"can_join_groups": True, "can_read_all_group_messages": True}

    async def _send_message(self, arguments: Arguments) -> object:
        chat = self._writable(arguments)
        text, entities = _formatted(arguments)
        markup = checked_markup(arguments.nested("reply_markup"))
        reply_to = int((arguments.nested("reply_parameters") or {}).get("message_id", 0))
        thread = _topic(chat, arguments)
        return self.as_json(
            self._world.add(chat, text, entities=entities, markup=markup, reply_to=reply_to, thread=thread)
        )

    async def _edit_message_text(self, arguments: Arguments) -> object:
        chat = self._writable(arguments)
        old = chat.find(arguments.integer("message_id"))
        if old is None:
            raise bad_request("message to edit not found")
        if not old.by_bot:
            raise bad_request("message can't be edited")
        text, entities = _formatted(arguments)
        markup = checked_markup(arguments.nested("reply_markup"))
        if (text, entities, markup) == (old.text, old.entities, old.markup):
            raise bad_request(NOT_MODIFIED)
        new = msgspec.structs.replace(old, text=text, entities=entities, markup=markup, edited=True)
        self._world.replace(chat, new)
        return self.as_json(new)

    async def _send_chat_action(self, arguments: Arguments) -> object:
        chat = self._writable(arguments)
        checked_action(arguments.text("action"))
        _topic(chat, arguments)
        self._world.type_in(chat)
        return True

    async def _answer_callback_query(self, arguments: Arguments) -> object:
        chat, too_old_at_s = self.callbacks.get(arguments.text("callback_query_id"), (0, 0.0))
        if self._clock.monotonic_s() > too_old_at_s or not chat:
            raise bad_request("query is too old and response timeout expired or query ID is invalid")
        text = arguments.text("text")
        if len(text) > 200:
            raise bad_request("MESSAGE_TOO_LONG")
        self._world.tell(Change(kind="toast", chat=chat, text=text))
        return True

    async def _set_webhook(self, arguments: Arguments) -> object:
        if not arguments.text("url"):
            return await self._delete_webhook(arguments)
        webhook = Webhook(
            url=checked_webhook_url(arguments.text("url")),
            secret_token=checked_secret(arguments.text("secret_token")),
            max_connections=max(1, min(100, arguments.integer("max_connections", 40))),
            allowed_updates=tuple(arguments.nested("allowed_updates") or ()),
        )
        self._end_poll("Conflict: terminated by setWebhook request")
        await self._delete_webhook(arguments)
        self.webhook, self.allowed_updates = webhook, webhook.allowed_updates
        self._updates.connect(self._connect(webhook), webhook.max_connections)
        return True

    async def _delete_webhook(self, arguments: Arguments) -> object:
        await self._updates.disconnect()
        self.webhook = None
        if arguments.flag("drop_pending_updates"):
            self._updates.clear()
        return True

    async def _get_webhook_info(self, _: Arguments) -> object:
        info: Json = {
            "url": self.webhook.url if self.webhook else "",
            "has_custom_certificate": False,
            "pending_update_count": self._updates.pending(),
        }
        if self.webhook:
            info |= {"max_connections": self.webhook.max_connections, "ip_address": "127.0.0.1"}
        if self._updates.last_error:
            info |= {
                "last_error_date": int(self._updates.last_error_at_s),
                "last_error_message": self._updates.last_error,
            }
        return info | ({"allowed_updates": list(self.allowed_updates)} if self.allowed_updates else {})

    async def _get_updates(self, arguments: Arguments) -> object:
        if self.webhook is not None:
            raise ApiError(409, WEBHOOK_ACTIVE)
        self._end_poll(OTHER_POLL)  # there may be only one
        if (allowed := arguments.nested("allowed_updates")) is not None:
            self.allowed_updates = tuple(allowed)
        if offset := arguments.integer("offset"):
            self._updates.confirm(offset)
        limit = max(1, min(100, arguments.integer("limit", 100)))
        timeout_s = max(0.0, min(MAX_POLL_S, arguments.integer("timeout")))
        ended = self._poll = asyncio.get_running_loop().create_future()
        try:
            return await self._arrived(limit, timeout_s, ended)
        finally:
            if self._poll is ended:
                self._poll = None

    async def _arrived(self, limit: int, timeout_s: float, ended: asyncio.Future[str]) -> list[object]:
        gives_up_at_s = self._clock.monotonic_s() + timeout_s
        while not (found := self._updates.peek(limit)):
            if ended.done():
                raise ApiError(409, ended.result())
            left_s = gives_up_at_s - self._clock.monotonic_s()
            if left_s <= 0:
                break
            await _first(self._updates.arrival(), self._clock.sleep(left_s), asyncio.shield(ended))
        return [json.loads(each) for each in found]

    def _end_poll(self, words: str) -> None:
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(words)

    async def _set_my_commands(self, arguments: Arguments) -> object:
        self.commands = checked_commands(arguments.nested("commands"))
        return True

    async def _get_my_commands(self, _: Arguments) -> object:
        return self.commands

    def _writable(self, arguments: Arguments) -> Chat:
        if not arguments.text("chat_id"):
            raise bad_request("chat_id is empty")
        chat_id = arguments.chat()
        chat = None if chat_id is None else self._world.chats.get(chat_id)
        if chat is None:
            raise bad_request("chat not found")
        if chat.migrated_to:
            words = "Bad Request: group chat was upgraded to a supergroup chat"
            raise ApiError(400, words, migrate_to_chat_id=chat.migrated_to)
        if chat.blocked:
            how = "blocked by the user" if chat.type == "private" else f"kicked from the {chat.type} chat"
            raise ApiError(403, f"Forbidden: bot was {how}")
        return chat


def person(user: int) -> Json:
    """A Bot API `User`."""
    return {"id": user, "is_bot": False, "first_name": f"User {user}", "language_code": "en"}


def chat_json(chat: Chat) -> Json:
    """A Bot API `Chat`."""
    name = "first_name" if chat.type == "private" else "title"
    forum = {"is_forum": True} if chat.topics else {}
    return {"id": chat.chat_id, "type": chat.type, name: chat.title} | forum


def _topic(chat: Chat, arguments: Arguments) -> int:
    thread = arguments.integer("message_thread_id")
    if thread and thread not in chat.topics:
        raise bad_request("message thread not found")
    return thread


def _formatted(arguments: Arguments) -> tuple[str, tuple[Json, ...]]:
    if arguments.text("parse_mode"):
        raise bad_request("can't parse entities: the simulator reads no parse_mode; send entities instead")
    return checked_text(arguments.text("text"), arguments.nested("entities"))


async def _first(*waiting: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(each) for each in waiting]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

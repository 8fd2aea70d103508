"""A container's way to the simulated Telegram: takes time, and fails as the internet and the Bot API do."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from actors.delivery import RETRY_LATEST_S
from actors.ports import MaybeSent, NotSent, Telegram, TelegramError
from app.chaos.container import Container
from app.chaos.faults import Faults
from app.chaos.ledger import Ledger
from app.chaos.trace import Trace
from app.telegram.answers import Reply, result_of
from app.telegram.simulator_checks import ApiError
from app.telegram.simulator_people import People
from contracts.turns import Button, Entity

CALL_S: Final = 15.0  # app.telegram.client.Deadlines.call_s
LONG_S: Final = 90.0  # the longest `retry_after` that is injected
TOLD: Final = ("telegram_429_short", "telegram_429_long", "telegram_429_bare")
PAGE: Final = b"<html>"
WAY_S: Final = (0.02, 0.12)  # one way to Telegram


class Wire:
    """Carries calls to the Bot API of these people, of any container."""

    def __init__(
        self, people: People, faults: Faults, ledger: Ledger, trace: Trace, dice: random.Random
    ) -> None:
        self._people, self._faults, self._ledger = people, faults, ledger
        self._trace, self._dice = trace, dice
        self._poisoned: dict[int, float] = {}

    def poison(self, chat: int, seconds: float, now: float) -> None:
        """Have every message to this chat fail for so long."""
        self._poisoned[chat] = now + seconds

    def heal(self) -> None:
        """Have none fail so any more."""
        self._poisoned.clear()

    async def call(self, container: Container, method: str, values: dict[str, Any]) -> None:
        """A call that may fail without harm; raises TelegramError."""
        try:
            reply = await container.reach(self._plain(method, values), CALL_S)
        except TimeoutError:
            raise MaybeSent(f"{method}: deadline") from None
        _result(method, reply)

    async def send(self, container: Container, values: dict[str, Any]) -> int:
        """`sendMessage`, with the faults that this run has; gives the message id."""
        chat, text, now = values["chat_id"], values["text"], container.loop.time()
        fault = "poisoned" if now < self._poisoned.get(chat, 0.0) else self._draw(values)
        if fault:
            self._trace.note(fault, chat)
            later_s = RETRY_LATEST_S if fault == "poisoned" else 0.0
            self._trouble(chat, now + 2 * CALL_S + later_s, told=fault in TOLD)
        self._ledger.begun(chat, text)
        try:
            reply = await container.reach(self._carry(container, fault, values), CALL_S)
        except (asyncio.CancelledError, MaybeSent):
            self._ledger.doubt(text)
            raise
        except TimeoutError:
            self._ledger.doubt(text)
            raise MaybeSent("sendMessage: no answer") from None
        return self._message(chat, text, reply, container)

    def _message(self, chat: int, text: str, reply: Reply, container: Container) -> int:
        try:
            message: dict[str, Any] = msgspec.json.decode(_result("sendMessage", reply))
        except NotSent as error:
            self._ledger.told(chat, text, error.retry_after_s, lambda: container.alive)
            raise
        except MaybeSent:
            self._ledger.doubt(text)
            raise
        return int(message["message_id"])

    def _draw(self, values: dict[str, Any]) -> str:
        fault = self._faults.draw("send")
        if fault == "telegram_entities" and not values["entities"]:
            return self._faults.not_applicable(fault)
        return fault

    async def _carry(self, container: Container, fault: str, values: dict[str, Any]) -> Reply:
        await asyncio.sleep(self._dice.uniform(*WAY_S))
        match fault:
            case "telegram_429_short":
                return _refusal(429, "Too Many Requests", retry_after=self._dice.randint(1, 4))
            case "telegram_429_long":
                wait_s = self._dice.randint(20, int(LONG_S))
                self._trouble(values["chat_id"], container.loop.time() + wait_s, told=True)
                return _refusal(429, "Too Many Requests", retry_after=wait_s)
            case "telegram_429_bare":
                return _refusal(429, "Too Many Requests")
            case "telegram_5xx" | "poisoned":
                return _refusal(self._dice.choice((500, 502, 503)), "Internal Server Error")
            case "telegram_page" if self._dice.random() < 0.5:
                return Reply(self._dice.choice((500, 502, 503, 504)), PAGE)
            case "telegram_reset_before":
                raise NotSent("connection reset")
            case "telegram_hang":
                await asyncio.sleep(CALL_S)
            case "telegram_forbidden":
                return _refusal(403, "Forbidden: bot was blocked by the user")
            case "telegram_entities":
                return _refusal(400, "Bad Request: can't parse entities")
            case "telegram_killed_before":
                container.kill()
            case "telegram_late":
                await asyncio.sleep(CALL_S + self._dice.uniform(0.0, 30.0))
        if fault in ("telegram_hang", "telegram_killed_before"):
            raise NotSent("never left")
        return await self._apply(container, fault, values)

    async def _apply(self, container: Container, fault: str, values: dict[str, Any]) -> Reply:
        if not container.alive:
            self._ledger.doubt(values["text"])
            if self._dice.random() < 0.5:
                raise NotSent("its sender died before the request was written")
        reply = await self._plain("sendMessage", values)
        if reply.status == 200:
            self._trace.note("shown", values["chat_id"], values["text"][:16])
            self._ledger.shown(values["chat_id"], values["text"])
        if fault == "telegram_killed_after":
            container.kill()
        if fault == "telegram_page":
            return Reply(504, PAGE)  # any other page means that nothing was passed on
        if fault == "telegram_reset_after":
            raise MaybeSent("sendMessage: connection reset")
        await asyncio.sleep(2 * CALL_S if fault == "telegram_hang_after" else self._dice.uniform(*WAY_S))
        return reply

    def _trouble(self, chat: int, until_s: float, *, told: bool) -> None:
        """The chat may stand still, and the group that it was: the group's last answer goes to its supergroup."""
        groups = (id_ for id_, known in self._people.world.chats.items() if known.migrated_to == chat)
        for each in (chat, *groups):
            self._ledger.trouble(f"chat:{each}", until_s, told=told)

    async def _plain(self, method: str, values: dict[str, Any]) -> Reply:
        try:
            result = await self._people.api.call(method, values)
        except ApiError as error:
            return _refusal(error.code, error.description, **error.parameters)
        return Reply(200, msgspec.json.encode({"ok": True, "result": result}))


class ChaosTelegram(Telegram):
    """The port Telegram of one container, and what the intake needs of a client."""

    def __init__(self, wire: Wire, container: Container) -> None:
        self._wire, self._container = wire, container

    async def connect(self) -> None:
        """`getMe`."""
        await self._wire.call(self._container, "getMe", {})

    async def send_message(
        self,
        chat: int,
        text: str,
        entities: Sequence[Entity] = (),
        buttons: Sequence[Button] = (),
        *,
        thread: int = 0,
    ) -> int:
        """`sendMessage`."""
        values: dict[str, Any] = {
            "chat_id": chat,
            "text": text,
            "entities": list(map(msgspec.to_builtins, entities)),
        }
        if buttons:
            rows = [[{"text": button.text, "callback_data": button.data}] for button in buttons]
            values["reply_markup"] = {"inline_keyboard": rows}
        return await self._wire.send(self._container, values | _topic(thread))

    async def send_typing(self, chat: int, *, thread: int = 0) -> None:
        """`sendChatAction`."""
        values = {"chat_id": chat, "action": "typing"} | _topic(thread)
        await self._wire.call(self._container, "sendChatAction", values)

    async def answer_callback_query(self, query: str) -> bool:
        """`answerCallbackQuery`."""
        await self._wire.call(self._container, "answerCallbackQuery", {"callback_query_id": query})
        return True

    async def close(self) -> None:
        """There is nothing to give back."""


def _topic(thread: int) -> dict[str, int]:
    return {"message_thread_id": thread} if thread else {}


def _refusal(code: int, words: str, **parameters: int) -> Reply:
    answer = {"ok": False, "error_code": code, "description": words, "parameters": parameters}
    return Reply(code, msgspec.json.encode(answer))


def _result(method: str, reply: Reply) -> msgspec.Raw:
    result = result_of(method, reply, "no-secret")
    if isinstance(result, TelegramError):
        raise result
    return result

"""Calls the Bot API: each call typed, bounded by a deadline, and honest about what may have happened."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
import stamina

from actors.ports import CallRefused, MaybeSent, NotSent, TelegramError, TextRefused
from app.telegram import methods
from app.telegram.addressing import BotIdentity
from app.telegram.answers import Reply, result_of
from app.telegram.exchange import Exchange
from app.telegram.kinds import ALLOWED_UPDATES
from contracts.codec import UNREADABLE
from contracts.turns import Button, Entity

T = TypeVar("T")

_ANSWER_BYTES: Final = 1 << 20  # a message is about 20 kB at most
_UPDATES_BYTES: Final = 32 << 20  # 100 updates with long quotes
_ATTEMPTS: Final = 3
_PATIENCE_S: Final = 30.0  # no attempt of a call that may be repeated begins later
_RETRY_AFTER_S: Final = 5.0  # a longer wait is for the caller to decide


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds; each but the first bounds a whole call."""

    connect_s: float = 5.0  # DNS, TCP and TLS take 0.2 s even from far away; also waits for a free connection
    call_s: float = 15.0  # Telegram answers within 1 s, setWebhook within some
    probe_s: float = 5.0  # getMe: it tells whether Telegram is there
    typing_s: float = 4.0  # the sign itself shows for 5 s


class TelegramClient:
    """The Bot API of one bot; implements the port `Telegram`.

    Belongs to the event loop of its first call; a call after `close` opens anew. Every call raises
    TelegramError, in whose text, cause and context the token never stands.
    """

    def __init__(
        self, token: str, base_url: str = "https://api.telegram.org", deadlines: Deadlines | None = None
    ) -> None:
        """Raises ValueError for a token without an id or a URL without a host, repeating neither."""
        self.identity = BotIdentity.of_token(token)  # with its username once `getMe` was answered
        self._token = token
        self._deadlines = deadlines or Deadlines()
        self._exchange = Exchange(base_url, token, self._deadlines.connect_s)
        self._patiently = stamina.AsyncRetryingCaller(
            attempts=_ATTEMPTS, timeout=_PATIENCE_S, wait_initial=0.1, wait_max=2.0, wait_jitter=0.2
        ).on(_worth_repeating)

    async def connect(self) -> None:
        """Open a connection, prove the token (`getMe`) and learn the username."""
        await self.get_me()

    async def close(self) -> None:
        """Give connections back; idempotent."""
        await self._exchange.close()

    # ------------------------------------------------------------ what a turn says; never repeated here

    async def send_message(
        self,
        chat: int,
        text: str,
        entities: Sequence[Entity] = (),
        buttons: Sequence[Button] = (),
        *,
        thread: int = 0,
    ) -> int:
        """Send one message (`sendMessage`), one button a row, into a forum topic or none (0); gives its message id."""
        params = methods.SendMessage(
            chat_id=chat,
            text=text,
            entities=tuple(entities),
            reply_markup=methods.Keyboard.of(tuple(buttons)),
            message_thread_id=thread or msgspec.UNSET,
        )
        return (await self._call("sendMessage", params, methods.read_sent)).message_id

    async def send_typing(self, chat: int, *, thread: int = 0) -> None:
        """Show that an answer is being written (`sendChatAction`); not repeated, as it would come too late."""
        params = methods.SendChatAction(chat, message_thread_id=thread or msgspec.UNSET)
        await self._call("sendChatAction", params, methods.read_done, budget_s=self._deadlines.typing_s)

    async def get_updates(
        self, offset: int, wait_s: int = 25, limit: int = 100
    ) -> tuple[methods.Polled, ...]:
        """Wait up to `wait_s` for updates from `offset` on (`getUpdates`); asking confirms all below it."""
        params = methods.GetUpdates(
            offset=offset, timeout=wait_s, limit=limit, allowed_updates=ALLOWED_UPDATES
        )
        budget_s = wait_s + self._deadlines.call_s
        return await self._call("getUpdates", params, methods.read_polled, budget_s, _UPDATES_BYTES)

    # ------------------------------------------------------------ what may be said twice: repeated if that can help

    async def get_me(self) -> BotIdentity:
        """Give our id and username (`getMe`), and keep them as `identity`."""
        budget_s = self._deadlines.probe_s
        me = await self._patiently(lambda: self._call("getMe", None, methods.read_me, budget_s))
        self.identity = BotIdentity(me.id, me.username)
        return self.identity

    async def answer_callback_query(self, query: str, text: str = "") -> bool:
        """Stop a button's spinner (`answerCallbackQuery`); False when it is too old (150 s) or unknown."""
        try:
            await self._do("answerCallbackQuery", methods.AnswerCallbackQuery(query, text))
        except CallRefused as refusal:
            if not _is_too_old(refusal):
                raise
            return False
        return True

    async def set_webhook(
        self, url: str, secret: str, *, max_connections: int = 40, drop_pending: bool = False
    ) -> None:
        """Have updates posted to `url` with `secret` in a header (`setWebhook`), over 1 to 100 connections."""
        params = methods.SetWebhook(
            url=url,
            secret_token=secret,
            max_connections=max_connections,
            drop_pending_updates=drop_pending,
            allowed_updates=ALLOWED_UPDATES,
        )
        await self._do("setWebhook", params)

    async def delete_webhook(self, *, drop_pending: bool = False) -> None:
        """Stop the posting of updates (`deleteWebhook`), so that they can be polled for."""
        await self._do("deleteWebhook", methods.DeleteWebhook(drop_pending))

    async def get_webhook_info(self) -> methods.WebhookInfo:
        """Tell what is set, what waits and what failed last (`getWebhookInfo`)."""
        return await self._patiently(lambda: self._call("getWebhookInfo", None, methods.read_webhook_info))

    async def set_my_commands(self, commands: Sequence[methods.BotCommand]) -> None:
        """Fill the menu of commands (`setMyCommands`)."""
        await self._do("setMyCommands", methods.SetMyCommands(tuple(commands)))

    # ------------------------------------------------------------ one call

    async def _do(self, method: str, params: msgspec.Struct) -> None:
        await self._patiently(lambda: self._call(method, params, methods.read_done))

    async def _call(
        self,
        method: str,
        params: msgspec.Struct | None,
        read: Callable[[msgspec.Raw], T],
        budget_s: float = 0.0,
        limit: int = _ANSWER_BYTES,
    ) -> T:
        body = _encode(method, params)
        outcome = await self._exchange.post(method, body, budget_s or self._deadlines.call_s, limit)
        result = result_of(method, outcome, self._token) if isinstance(outcome, Reply) else outcome
        if isinstance(result, TelegramError):
            raise result  # here, outside of every `except`, so that no context holds the URL with the token
        return _understand(method, result, read)


def _encode(method: str, params: msgspec.Struct | None) -> bytes:
    try:
        return methods.encode(params)
    except UnicodeEncodeError:
        raise TextRefused(f"{method}: the text has half a surrogate pair in it") from None


def _understand(method: str, result: msgspec.Raw, read: Callable[[msgspec.Raw], T]) -> T:
    try:
        return read(result)
    except UNREADABLE:
        raise MaybeSent(f"{method}: answered ok, with an unreadable result") from None


def _worth_repeating(error: Exception) -> bool | float:
    """Judge a call whose repetition does no harm: a short `retry_after` is waited for, a long one is not."""
    match error:
        case NotSent(retry_after_s=wait_s) if wait_s:
            return wait_s if wait_s <= _RETRY_AFTER_S else False
        case NotSent() | MaybeSent():
            return True
        case _:
            return False


def _is_too_old(refusal: CallRefused) -> bool:
    words = str(refusal).lower()
    return "query is too old" in words or "query id is invalid" in words or "query_id_invalid" in words

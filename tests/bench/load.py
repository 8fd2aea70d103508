"""The load of the acceptance benchmark: connections that each send a Telegram update, wait for the answer, and go on.

A program of its own, so that its cost is not the server's: `python -m tests.bench.load '{...}'` prints an Outcome.
It speaks just enough HTTP for answers that tell their length, which is what a webhook gives.
"""

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Iterator
from time import perf_counter
from typing import Final, cast

import msgspec
import uvloop

TEXT = "How do I find the cause of an error that only shows in production, and what do I look at first?"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to send; updates are numbered from `first` and go round `chats` private chats."""

    port: int
    secret: str
    requests: int
    first: int = 1
    connections: int = 64
    chats: int = 10_000


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; `refused` counts answers other than 200."""

    seconds: float
    refused: int
    p50_ms: float
    p99_ms: float


class Connection(asyncio.Protocol):
    """One connection, kept alive: a request, its answer, the next request."""

    def __init__(self, requests: Iterator[bytes], statuses: Counter[bytes], spent_s: list[float]) -> None:
        self._requests, self._statuses, self._spent_s = requests, statuses, spent_s
        self._answer, self._sent_at = b"", 0.0
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take the answer, and send the next request when it is whole."""
        self._answer += data
        if _is_whole(self._answer):
            self._spent_s.append(perf_counter() - self._sent_at)
            self._statuses[self._answer[9:12]] += 1
            self._answer = b""
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """End; a cut connection is seen in the count of answers."""
        if not self.ended.done():
            self.ended.set_result(None)

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._sent_at = perf_counter()
        self._transport.write(request)


async def run(load: Load) -> Outcome:
    """Send it all and measure; raises RuntimeError when answers are missing."""
    statuses: Counter[bytes] = Counter()
    spent_s: list[float] = []
    sent = requests(load)
    loop, started = asyncio.get_running_loop(), perf_counter()
    opened = [
        await loop.create_connection(lambda: Connection(sent, statuses, spent_s), "127.0.0.1", load.port)
        for _ in range(load.connections)
    ]
    await asyncio.gather(*(connection.ended for _, connection in opened))
    seconds = perf_counter() - started
    if len(spent_s) != load.requests:
        raise RuntimeError(f"{len(spent_s)} of {load.requests} requests were answered")
    spent_s.sort()
    return Outcome(
        seconds=seconds,
        refused=load.requests - statuses[b"200"],
        p50_ms=spent_s[len(spent_s) // 2] * 1000,
        p99_ms=spent_s[len(spent_s) * 99 // 100] * 1000,
    )


def requests(load: Load) -> Iterator[bytes]:
    """The requests as they go over the wire, one after another."""
    for number in range(load.first, load.first + load.requests):
        body = _update(number, 10_000_000 + number % load.chats)
        yield (
            b"POST /webhook/telegram HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"X-Telegram-Bot-Api-Secret-Token: %s\r\nContent-Length: %d\r\n\r\n%s"
            % (load.secret.encode(), len(body), body)
        )


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    told = _LENGTH.search(head)
    return bool(end) and len(body) >= (int(told[1]) if told else 0)


def _update(number: int, chat: int) -> bytes:
    person = f'"id":{chat},"first_name":"Ada","last_name":"Lovelace","username":"ada_{chat}"'
    return (
        f'{{"update_id":{number},"message":{{"message_id":{number},'
        f'"from":{{{person},"is_bot":false,"language_code":"en"}},'
        f'"chat":{{{person},"type":"private"}},"date":1767225600,"text":"{TEXT}"}}}}'
    ).encode()


if __name__ == "__main__":
    print(msgspec.json.encode(uvloop.run(run(msgspec.json.decode(sys.argv[1], type=Load)))).decode())

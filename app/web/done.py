"""The answer to every accepted update: 200 without a body, its bytes made once a second for all of them."""

from email.utils import formatdate
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from actors.ports import Clock

_HEAD: Final = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: {date}\r\n\r\n"


class DoneAnswers:
    """Gives the answers; all of a second are one object, which holds nothing of a request.

    aiohttp puts each answer's head together anew, which costs an eighth of all that it does for a request.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second, self._done = -1, _Done(b"")

    def to(self, request: web.Request) -> web.StreamResponse:
        """200; whoever speaks an older HTTP or wants to end the connection gets aiohttp's own words for it."""
        if request.version != HttpVersion11 or not request.keep_alive:
            return web.Response()
        second = int(self._clock.unix_s())
        if second != self._second:  # RFC 9110 (6.6.1): a server with a clock tells the time, in whole seconds
            head = _HEAD.format(date=formatdate(second, usegmt=True)).encode()
            self._second, self._done = second, _Done(head)
        return self._done


class _Done(web.StreamResponse):
    """Writes its one piece of bytes when aiohttp has it finish."""

    def __init__(self, head: bytes) -> None:
        super().__init__()
        self._done_head = head

    @property
    def keep_alive(self) -> bool:
        """Always: it is made for nothing else."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write it all; a client that has gone is noticed by aiohttp itself."""
        if request.transport is not None and not request.transport.is_closing():
            request.transport.write(self._done_head)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be written."""

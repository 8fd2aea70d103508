"""What containers print: the last lines of each app, for `modal app logs` and whoever follows."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from modal_proto import api_pb2

FOLLOW_S: Final = 55.0  # the client's own pause between two requests
POLL_S: Final = 0.1
BUCKETS_MOST: Final = 10_000
CHARACTERS_MOST: Final = 16 << 20  # of each app: many pieces are short, but one may have a pipe's buffer full

Listener = Callable[["Line"], None]


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of whole lines."""

    number: int
    app_id: str
    function_id: str
    function: str
    container_id: str
    descriptor: int
    at: float
    text: str


class Logs:
    """Lines by app."""

    def __init__(
        self, most: int, listener: Listener | None = None, *, most_characters: int = CHARACTERS_MOST
    ) -> None:
        """Both bound what is kept of an app; `listener` sees every line as it comes."""
        self._most, self._most_characters, self._listener = most, most_characters, listener
        self._lines: dict[str, deque[Line]] = {}
        self._characters: Counter[str] = Counter()
        self._number = 0
        self._ended: set[str] = set()

    def add(
        self, app_id: str, function_id: str, function: str, container_id: str, descriptor: int, text: str
    ) -> None:
        """Keep some."""
        self._number += 1
        line = Line(self._number, app_id, function_id, function, container_id, descriptor, time.time(), text)
        kept = self._lines.setdefault(app_id, deque())
        kept.append(line)
        self._characters[app_id] += len(text)
        while len(kept) > self._most or self._characters[app_id] > self._most_characters:
            self._characters[app_id] -= len(kept.popleft().text)
        if self._listener is not None:
            self._listener(line)

    def end(self, app_id: str) -> None:
        """The app is stopped: whoever follows may go."""
        self._ended.add(app_id)

    def forget(self, app_id: str) -> None:
        """Nobody asks for it any more."""
        self._lines.pop(app_id, None)
        self._characters.pop(app_id, None)
        self._ended.discard(app_id)

    def lines(self, app_id: str) -> list[Line]:
        """All that is kept of an app, oldest first."""
        return list(self._lines.get(app_id, ()))

    async def fetch(self, request: Any) -> Any:
        """AppFetchLogs: the newest `limit` of a span."""
        chosen = [line for line in self._chosen(request, request.source) if _within(line, request)]
        return api_pb2.AppFetchLogsResponse(
            batches=[_batch(line) for line in chosen[-(request.limit or self._most) :]]
        )

    async def count(self, request: Any) -> Any:
        """AppCountLogs: how many in each span of `bucket_secs`."""
        width = max(1, request.bucket_secs)
        response = api_pb2.AppCountLogsResponse(app_id=request.app_id)
        buckets: dict[int, int] = {}
        for line in self._chosen(request, request.source):
            if _within(line, request):
                start = int(line.at) // width * width
                buckets[start] = buckets.get(start, 0) + 1
        for start, number in sorted(buckets.items())[:BUCKETS_MOST]:
            bucket = response.buckets.add(stdout_logs=number)
            bucket.bucket_start_at.FromSeconds(start)
        return response

    async def follow(self, request: Any) -> AsyncIterator[Any]:
        """AppGetLogs: from `last_entry_id` on, for as long as the client asks."""
        last = int(request.last_entry_id or 0)
        until = time.monotonic() + min(request.timeout, FOLLOW_S)
        while True:
            for line in self._chosen(request, request.file_descriptor):
                if line.number > last:
                    last = line.number
                    yield _batch(line)
            if request.app_id in self._ended:
                yield api_pb2.TaskLogsBatch(app_done=True, entry_id=str(last))
                return
            if time.monotonic() >= until:
                return
            await asyncio.sleep(POLL_S)

    def _chosen(self, request: Any, descriptor: int) -> list[Line]:
        return [
            line
            for line in self._lines.get(request.app_id, ())
            if (not descriptor or line.descriptor == descriptor)
            and (not request.function_id or line.function_id == request.function_id)
            and (not request.task_id or line.container_id == request.task_id)
            and (not request.search_text or request.search_text in line.text)
        ]


# ---------------------------------------------------------------- helpers


def _within(line: Line, request: Any) -> bool:
    since = request.since.seconds + request.since.nanos / 1e9
    until = request.until.seconds + request.until.nanos / 1e9
    return bool(since <= line.at <= (until or line.at))


def _batch(line: Line) -> Any:
    item = api_pb2.TaskLogs(
        data=line.text,
        timestamp=line.at,
        timestamp_ns=int(line.at * 1e9),
        file_descriptor=line.descriptor,  # type: ignore[arg-type]  # an enum's value is an int
        container_id=line.container_id,
    )
    return api_pb2.TaskLogsBatch(
        task_id=line.container_id,
        function_id=line.function_id,
        entry_id=str(line.number),
        items=[item],
    )

"""What the service says of itself: JSON lines on stderr, without a secret, libraries' warnings included."""

import json
import logging
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Final
from urllib.parse import quote

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

REDACTED: Final = b"[secret]"
SHORTEST: Final = 6  # characters; to blot out anything shorter would blot out ordinary words


def configure_logging(level: str, secrets: Iterable[str] = ()) -> None:
    """Send every log line of this process to stderr as JSON, from `level` up; call it once, at the start."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _worth_saying,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            JsonLine(Redactor(secrets)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_args: StderrLogger(),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[IntoStructlog()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    sys.excepthook = _crashed


class Redactor:
    """Blots the secrets out of a finished line, wherever they came from: fields, exception texts, URLs."""

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = {spelling.encode() for secret in secrets for spelling in _spellings(secret)}
        self._spellings = sorted(spellings, key=len, reverse=True)  # a part must not break up the whole

    def __call__(self, line: bytes) -> bytes:
        """The line without the secrets."""
        for spelling in self._spellings:
            if spelling in line:
                line = line.replace(spelling, REDACTED)
        return line


class JsonLine:
    """The last processor: an event as one line of JSON, without the secrets."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
        return self._redactor(_json(event))


class StderrLogger:
    """Writes lines to what `sys.stderr` is at that moment, which a test runner or a daemon may replace."""

    def msg(self, line: bytes) -> None:
        """One line, in one write, so that lines of several threads do not mix."""
        stream = getattr(sys.stderr, "buffer", None)
        if stream is not None:  # there is none below pythonw or after a shutdown: nobody to tell
            stream.write(line + b"\n")
            stream.flush()

    log = debug = info = warning = warn = error = err = critical = exception = fatal = failure = msg


class IntoStructlog(logging.Handler):
    """Passes the records of libraries (aiohttp, google, modal) on as events named `library`."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record; a record that cannot be formatted goes logging's own way."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            self.handleError(record)
            return
        log = structlog.get_logger()
        say = log.error if record.levelno >= logging.ERROR else log.warning
        say("library", logger=record.name, message=message, exc_info=record.exc_info)


# ---------------------------------------------------------------- helpers

_encode = msgspec.json.Encoder(enc_hook=repr).encode


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):  # no crash: Python's own few words suffice
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger().critical("crashed", exc_info=(kind, error, trace))


def _worth_saying(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop what is bound to a rehearsal, in which nothing happens to anybody, and the retry library's own lines.

    Who gives up retrying says so in the end, in our terms and without arguments.
    """
    if "rehearsal" in event or event.get("event") == "stamina.retry_scheduled":
        raise structlog.DropEvent
    return event


def _json(event: EventDict) -> bytes:
    try:
        return _encode(event)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError):
        # lone surrogates, integers over 64 bits, odd keys: rare, and a log call must not raise
        return json.dumps({str(key): repr(value) for key, value in event.items()}).encode()


def _spellings(secret: str) -> Iterable[str]:
    lines = [line for line in secret.splitlines() if not line.startswith("-----")]  # PEM: each line of a key
    parts = (secret, *lines, secret.partition(":")[2])  # of a bot's token, the key without the id
    for part in parts:
        if len(part.strip()) >= SHORTEST:
            yield from (part, quote(part, safe=""), _inside_json(part))


def _inside_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]

"""What the log says, and what it never says."""

import json
import logging
import subprocess
import sys

import pytest

from app.observability import REDACTED, JsonLine, Redactor

TOKEN = "123456:CANARY-canary_CANARY"
KEY = "-----BEGIN PRIVATE KEY-----\nCANARYcanaryCANARY+/=\n-----END PRIVATE KEY-----\n"


def _run(code: str, level: str = "info") -> list[dict[str, object]]:
    """Run code after `configure_logging` in a process of its own; gives the lines of its stderr."""
    start = f"from app.observability import configure_logging\nconfigure_logging({level!r}, [{TOKEN!r}, {KEY!r}])\n"
    ran = subprocess.run([sys.executable, "-c", start + code], capture_output=True, check=True, timeout=30)
    assert b"canary" not in ran.stderr.lower() + ran.stdout.lower()
    assert ran.stdout == b""
    return [json.loads(line) for line in ran.stderr.splitlines()]


def test_a_line_is_json_with_level_and_time() -> None:
    """One object a line on stderr: event, level, UTC time, the caller's fields."""
    (line,) = _run("import structlog\nstructlog.get_logger('x').info('sessions_warmed', count=3)")
    timestamp = str(line.pop("timestamp"))
    assert line == {"event": "sessions_warmed", "level": "info", "count": 3}
    assert (timestamp[10], timestamp[-1]) == ("T", "Z")


def test_what_is_below_the_level_is_not_said() -> None:
    """`warning` leaves out info and debug."""
    code = "import structlog\nlog = structlog.get_logger()\nlog.info('a')\nlog.debug('b')\nlog.warning('c')"
    assert [line["event"] for line in _run(code, "warning")] == ["c"]


def test_a_rehearsal_is_not_said() -> None:
    """Nothing happened to anybody: not even who watches all reads of its turns, but that one failed they read."""
    code = "import asyncio\nfrom app.rehearsal import Players, rehearse\nasyncio.run(rehearse(Players({0})))"
    assert [] == _run(code.format(""), "debug")
    (line,) = _run(code.format("lambda: 1 / 0"), "debug")
    assert ("rehearsal_failed", "ZeroDivisionError: division by zero") == (line["event"], line["error"])


def test_no_secret_reaches_the_log_by_any_way() -> None:
    """Fields, URLs, exception texts, libraries' records, keys line by line, percent-encoded, inside JSON."""
    lines = _run(
        f"""
import json, logging, structlog
from urllib.parse import quote
log, token, key = structlog.get_logger(), {TOKEN!r}, {KEY!r}
log.info("field", url=f"https://api.telegram.org/bot{{token}}/getMe", nested={{"a": [token]}})
log.info("key", text=key, whole=json.dumps({{"private_key": key}}), line=key.splitlines()[1])
log.info("half", rest=token.split(":")[1], quoted=quote(token, safe=""))
logging.getLogger("aiohttp.client").warning("POST /bot%s/sendMessage failed", token)
try:
    raise ValueError(f"no route to /bot{{token}}/") from OSError(token)
except ValueError as error:
    log.exception("failed", error=error)
    logging.getLogger("google").error("broke", exc_info=True)
log.warning(f"event {{token}}")
"""
    )
    assert [line["event"] for line in lines][:6] == ["field", "key", "half", "library", "failed", "library"]
    assert "[secret]" in str(lines[4]["exception"])
    assert "ValueError" in str(lines[4]["exception"])


def test_libraries_speak_through_the_same_log() -> None:
    """Warnings and errors of aiohttp, google and modal are events named `library`; their chatter is not heard."""
    code = """
import logging
log = logging.getLogger('modal')
log.info('chatter')
log.warning('%d inputs', 3)
log.error('e')
"""
    said = [(line["event"], line["logger"], line["message"], line["level"]) for line in _run(code)]
    assert said == [("library", "modal", "3 inputs", "warning"), ("library", "modal", "e", "error")]


def test_a_crash_is_a_line_as_well() -> None:
    """What nobody caught ends the process, and is told in JSON, without the secrets in its text."""
    start = f"from app.observability import configure_logging\nconfigure_logging('info', [{TOKEN!r}])\n"
    code = start + f"raise ValueError('no route to /bot' + {TOKEN!r})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=30)
    line = json.loads(ran.stderr)
    assert (ran.returncode, line["event"], line["level"]) == (1, "crashed", "critical")
    assert "no route to /bot[secret]" in line["exception"]


def test_warnings_are_lines_as_well() -> None:
    """Python's own warnings do not break the stream of JSON lines."""
    (line,) = _run("import warnings\nwarnings.warn('old')")
    assert (line["event"], line["logger"], "old" in str(line["message"])) == ("library", "py.warnings", True)


def test_a_record_that_cannot_be_formatted_harms_nobody() -> None:
    """A library's wrong format string does not raise into the library."""
    code = """
import logging, structlog
logging.raiseExceptions = False
logging.warning('%d', 'x')
structlog.get_logger().info('on')
"""
    assert [line["event"] for line in _run(code)] == ["on"]


@pytest.mark.parametrize(
    "value", ["\ud800", 2**70, {1: "x", "a": "y"}, {("a", 1): 2}, object(), b"\xff", float("nan"), {1, "a"}]
)
def test_a_log_call_never_raises(value: object) -> None:
    """Whatever is logged, a JSON line comes of it."""
    line = JsonLine(Redactor(()))(logging.getLogger(), "info", {"event": "odd", "value": value})
    assert "odd" in json.loads(line)["event"]


@pytest.mark.parametrize("secret", ["", "a", "12345"])
def test_what_is_too_short_is_no_secret(secret: str) -> None:
    """To blot out a few letters would blot out ordinary words."""
    assert Redactor([secret])(b'{"a": "12345 abc"}') == b'{"a": "12345 abc"}'


def test_a_secret_inside_another_is_blotted_out_with_it() -> None:
    """The longest goes first, so that no tail of it is left."""
    assert (
        Redactor(["secret-1", "secret-1-and-more"])(b"secret-1-and-more secret-1")
        == REDACTED + b" " + REDACTED
    )

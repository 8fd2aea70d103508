"""What aiohttp's server says: of a client that speaks no HTTP in a line, as every scanner of ports is one."""

import logging
from typing import Final

from aiohttp.http_exceptions import HttpProcessingError

_SAID_MOST: Final = 200  # characters of what is wrong; aiohttp quotes the client


def http_log() -> logging.Logger:
    """The logger to give to aiohttp's server: a defect keeps its traceback, a request that can't be read has none."""
    log = logging.getLogger("app.web.http")
    log.addFilter(_in_a_line)
    return log


def _in_a_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.exc_info, record.levelno, record.levelname = None, logging.WARNING, "WARNING"
        record.msg = f"{record.getMessage()}: {' '.join(error.message.split())[:_SAID_MOST]}"
        record.args = ()
    return True

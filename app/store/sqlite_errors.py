"""SQLite's errors in the words of the store ports: ask again later, or call an operator."""

import errno
import sqlite3
from typing import Final

from actors.stores import StoreDenied, StoreDown, StoreError

UNSTORABLE: Final = (OverflowError, UnicodeError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
"""What binding a value raises that SQLite has no form for: 2**63 and above, a lone surrogate, a foreign type."""

_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_SCHEMA,
    }
)
_BROKEN: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
    }
)
_PASSING_ERRNO: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EINTR, errno.ENOMEM}
)
_PRIMARY_CODE: Final = 0xFF  # the low byte of an extended result code (sqlite.org/rescode.html)


def is_passing(error: Exception) -> bool:
    """Say whether the fault lies with the database at this moment, and not with what was asked."""
    if isinstance(error, OSError):
        return error.errno in _PASSING_ERRNO
    return _code(error) in _PASSING


def is_broken(error: BaseException) -> bool:
    """Say whether the connection should be opened anew: the disk failed, or the file is another by now."""
    return _code(error) in _BROKEN


def translated(error: Exception, path: str) -> StoreError:
    """Give a new StoreDown or StoreDenied, one line that names the file, for any error met on the way."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = f"sqlite {path}: {reason}"
    return StoreDown(line) if is_passing(error) else StoreDenied(line)


def _code(error: BaseException) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & _PRIMARY_CODE

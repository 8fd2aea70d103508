"""The plane's folder, which one plane has at a time: another would remove the code of its containers."""

import errno
import fcntl
import os
from pathlib import Path


def hold(folder: Path) -> int:
    """Take it until the descriptor is closed, also by this process's end; raises OSError when another plane has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise OSError(errno.EBUSY, "another plane runs in this folder", str(folder)) from None
    return lock

"""Starts Modal's own entrypoint in a container's process; run by its path, so that no module of the app is shadowed.

It ends with the plane, and it binds loopback only: the port that a server declares is replaced by a free one,
since many containers live on one host, and told to the plane through a file.
"""

import contextlib
import os
import runpy
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

LIFELINE = "PLANE_LIFELINE"
DECLARED_PORT = "PLANE_DECLARED_PORT"
PORT_FILE = "PLANE_PORT_FILE"
LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is not to be bound


def end_with_the_plane() -> None:
    """Kill this process and what it started when the pipe from the plane breaks."""
    lifeline, folder = int(os.environ.pop(LIFELINE)), Path(os.environ["HOME"])

    def watch() -> None:
        os.read(lifeline, 1)  # nobody writes: it returns when the other end is closed
        _leave_nothing(folder)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def bind_loopback_only() -> None:
    """Have every socket of this process bound to loopback, and the declared port to a free one."""
    bind = socket.socket.bind
    declared, port_file = int(os.environ.pop(DECLARED_PORT, "0")), os.environ.pop(PORT_FILE, "")
    taken = 0

    def bind_here(self: socket.socket, address: Any) -> None:
        nonlocal taken
        if self.family not in (socket.AF_INET, socket.AF_INET6):
            return bind(self, address)
        host, port, *rest = address
        asked = bool(declared) and port == declared
        bind(self, (LOOPBACK.get(host, host), taken if asked else port, *rest))
        if asked and not taken:
            taken = self.getsockname()[1]
            _tell(port_file, taken)
        return None

    socket.socket.bind = bind_here  # type: ignore[method-assign, assignment]  # asyncio and http.server go through it


def _leave_nothing(folder: Path) -> None:
    """Do what the plane can't any more: the last container removes the folder of all."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # others are still in it
        folder.parent.rmdir()


def _tell(port_file: str, port: int) -> None:
    part = f"{port_file}.part"
    with open(part, "w") as file:
        file.write(str(port))
    os.replace(part, port_file)


def main() -> None:
    """Become a container."""
    end_with_the_plane()
    bind_loopback_only()
    sys.path.pop(0)  # this file's folder
    with contextlib.suppress(
        KeyboardInterrupt
    ):  # told to end while it still imports: that is no error of the app
        runpy.run_module("modal._container_entrypoint", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

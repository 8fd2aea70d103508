"""Google's Firestore emulator for tests: found, started without its wrapper, and never left behind.

Run as a program it is the keeper: it starts the command that it is given and ends it when its own standard
input closes, which happens however the test run dies.
"""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

JAR = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
FIRST_WRITE = "/v1/projects/warm-up/databases/(default)/documents/warm-up"
READY_S = 30.0  # usually 1.4 to 1.8 s, more beside other work on two cores
STOP_S = 5.0
LOOKUP_S = 10.0  # gcloud is a Python program that starts in about a second


class EmulatorMissing(Exception):
    """Java or the emulator's jar was not found; the message is the reason to skip with."""


class Emulator:
    """One running emulator at `host` (`127.0.0.1:PORT`)."""

    def __init__(self, keeper: subprocess.Popen[bytes], port: int) -> None:
        self._keeper = keeper
        self.host = f"127.0.0.1:{port}"

    def stop(self) -> None:
        """Ask it to end, then end the keeper, which takes the JVM with it."""
        with contextlib.suppress(OSError):  # it is gone, or hangs: the keeper ends it
            self._ask("POST", "/shutdown")
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        try:
            self._keeper.wait(2 * STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._keeper.pid, signal.SIGKILL)
            self._keeper.wait(STOP_S)

    def wait_until_ready(self) -> None:
        """Wait until it has written a document; raises TimeoutError, or RuntimeError when the process has ended.

        Its first answer takes a second or more, while classes load: better here than within a call's deadline.
        """
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            if self._keeper.poll() is not None:
                raise RuntimeError(f"the emulator ended with {self._keeper.returncode}")
            try:
                self._ask("POST", FIRST_WRITE, b"{}")
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise TimeoutError(f"the emulator was not ready in {READY_S:g} s")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> None:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{self.host}{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=STOP_S) as answer:  # noqa: S310  # loopback, see host
            answer.read()


def start_emulator(log: IO[bytes]) -> Emulator:
    """Start an emulator on a free port of the loopback, its output in `log`; raises EmulatorMissing."""
    java, jar = find_java(), find_jar()
    port = _free_port()
    command = [java, "-Duser.language=en", "-Xmx512m", "-cp", str(jar), MAIN, "start"]
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, *command, "--host=127.0.0.1", f"--port={port}"],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,  # its own group: Ctrl-C is for pytest, and the whole group can be ended
    )
    emulator = Emulator(keeper, port)
    try:
        emulator.wait_until_ready()
    except BaseException:
        emulator.stop()
        raise
    return emulator


def find_java() -> str:
    """Give the path of java; raises EmulatorMissing."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else None
    java = java or shutil.which("java")
    if java is None:
        raise EmulatorMissing("no Java found (JAVA_HOME or java on the PATH)")
    return java


def find_jar() -> Path:
    """Give the path of the emulator's jar; raises EmulatorMissing."""
    named = os.environ.get("FIRESTORE_EMULATOR_JAR")
    if named:
        return _existing(Path(named), "FIRESTORE_EMULATOR_JAR names no file")
    for root in _sdk_roots():
        if (root / JAR).is_file():
            return root / JAR
    raise EmulatorMissing(
        "no Firestore emulator found (`gcloud components install cloud-firestore-emulator`)"
    )


def _existing(path: Path, reason: str) -> Path:
    if not path.is_file():
        raise EmulatorMissing(reason)
    return path


def _sdk_roots() -> Iterator[Path]:
    """Places of Google's SDK, the cheap ones first; the slow one, asking gcloud itself, last."""
    gcloud = shutil.which("gcloud")
    if gcloud:
        yield Path(gcloud).resolve().parent.parent
    for place in (
        "/usr/lib/google-cloud-sdk",
        "/usr/share/google-cloud-sdk",
        "/opt/google-cloud-sdk",
        "/snap/google-cloud-cli/current",
        "~/google-cloud-sdk",
        "/opt/homebrew/share/google-cloud-sdk",
        "/opt/homebrew/Caskroom/google-cloud-sdk/latest/google-cloud-sdk",
        "/usr/local/Caskroom/google-cloud-sdk/latest/google-cloud-sdk",
    ):
        yield Path(place).expanduser()
    if gcloud:
        yield from _asked(gcloud)


def _asked(gcloud: str) -> Iterator[Path]:
    command = [gcloud, "info", "--format=value(installation.sdk_root)"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=LOOKUP_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return  # a gcloud that can't say where it is has no emulator for us
    yield Path(answer.stdout.strip())


def _free_port() -> int:
    """Not the one of `tests.commands`: as the keeper this file runs alone, without the project on its path."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---------------------------------------------------------------- the keeper


def keep(command: list[str]) -> int:
    """Run the command until it ends or standard input closes; then end it, in force after STOP_S."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while child.poll() is None and not _stdin_closed():
        pass
    child.terminate()
    try:
        return child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _stdin_closed() -> bool:
    readable, _, _ = select.select([0], [], [], 0.5)
    return bool(readable) and not os.read(0, 1)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:]))

"""`python -m tests.bench.far HOST MS`: a way to a server that takes MS there and back, in a process of its own.

It says its port, carries bytes as many as come, each late by half of MS, and ends when its standard input closes.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

CHUNK: Final = 1 << 18

Late = asyncio.Queue[tuple[float, bytes]]
"""Bytes on their way, and the loop's time at which they arrive; no bytes mean the end."""


@contextmanager
def far(host: str, round_trip_ms: int) -> Iterator[str]:
    """Give the `HOST:PORT` behind which `host` is that far away."""
    command = [sys.executable, "-m", "tests.bench.far", host, str(round_trip_ms)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


async def main(host: str, round_trip_ms: str) -> None:
    """Listen until the standard input closes."""
    name, _, port = host.rpartition(":")
    one_way_s = int(round_trip_ms) / 2000

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(name, int(port))
        with suppress(ConnectionError):
            await asyncio.gather(_carry(reader, there[1], one_way_s), _carry(there[0], writer, one_way_s))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, one_way_s: float) -> None:
    late: Late = asyncio.Queue()
    loop = asyncio.get_running_loop()
    arriving = asyncio.create_task(_arrive(late, writer))
    while data := await reader.read(CHUNK):
        late.put_nowait((loop.time() + one_way_s, data))
    late.put_nowait((loop.time() + one_way_s, b""))
    await arriving


async def _arrive(late: Late, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due, data = await late.get()
        await asyncio.sleep(due - loop.time())
        if not data:
            writer.close()
            return
        writer.write(data)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

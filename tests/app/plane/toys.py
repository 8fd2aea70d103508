"""Small Modal apps, as source: what a test deploys."""

from typing import Final

TOY: Final = """
import asyncio, os, time
from pathlib import Path

import modal

app = modal.App("toy")
image = modal.Image.debian_slim().env({"NOTES": os.environ.get("NOTES", ""), "VERSION": os.environ.get("VERSION", "1")})


def note(text):
    with open(os.environ["NOTES"], "a") as file:
        file.write(text + "\\n")


@app.cls(image=image, scaledown_window=2, enable_memory_snapshot=True)
@modal.concurrent(max_inputs=10)
class Counter:
    name: str = modal.parameter(default="nobody")

    @modal.enter(snap=True)
    def prepare(self):
        self.steps = ["snap"]

    @modal.enter()
    async def start(self):
        self.steps.append("enter")
        self.count = 0

    @modal.exit()
    async def stop(self):
        await asyncio.sleep(0.1)
        note(f"exit {self.name}")

    @modal.method()
    async def add(self, by=1):
        self.count += by
        return self.name, self.count, os.getpid(), self.steps

    @modal.method()
    async def echo(self, data):
        return data

    @modal.method()
    async def fail(self):
        note(f"failed {self.name}")
        raise ValueError("as asked")


@app.cls(image=image, max_containers=2, scaledown_window=60)
@modal.concurrent(max_inputs=2)
class Slow:
    @modal.method()
    async def work(self, seconds, name=""):
        note(f"began {name} {os.getpid()}")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            note(f"cancelled {name}")
            raise
        return os.getpid(), os.environ["VERSION"]

    @modal.method()
    async def hold(self, path):
        note(f"holds {os.getpid()}")
        try:
            while not os.path.exists(path):
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            note(f"let go {os.getpid()}")
            raise
        return os.getpid(), os.environ["VERSION"]


@app.cls(image=image, max_containers=1)
@modal.concurrent(max_inputs=5)
class Single:
    @modal.method()
    async def hold(self, path):
        note(f"single {os.getpid()}")
        while not os.path.exists(path):
            await asyncio.sleep(0.02)
        return os.environ["VERSION"]


@app.cls(image=image, scaledown_window=2)
class Stubborn:
    @modal.exit()
    def stop(self):
        note("will not go")
        time.sleep(60)

    @modal.method()
    def ask(self):
        return os.getpid()


@app.cls(image=image)
class Broken:
    @modal.enter()
    def start(self):
        note("tried")
        raise RuntimeError("no way to start")

    @modal.method()
    def ask(self):
        return "never"


@app.cls(image=image, startup_timeout=1)
class Late:
    @modal.enter()
    def start(self):
        time.sleep(60)

    @modal.method()
    def ask(self):
        return "never"


@app.function(image=image, retries=modal.Retries(max_retries=2, initial_delay=0.0, backoff_coefficient=1.0))
def third_time():
    note("attempt")
    if Path(os.environ["NOTES"]).read_text().count("attempt") < 3:
        raise ValueError("not yet")
    return "at last"


@app.function(image=image, timeout=1, startup_timeout=60)
async def hasty(seconds):
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("hasty let go")
        raise
    return seconds


@app.function(image=image, single_use_containers=True)
def once():
    return os.getpid()


@app.function(image=image, schedule=modal.Period(seconds=1))
def tick():
    print("printed by tick")
    note("tick")


@app.function(image=image)
def double(number: int):
    print("twice that is", 2 * number)


@app.function(image=image)
@modal.asgi_app()
def page():
    raise NotImplementedError
"""

SERVER: Final = """
import asyncio, os

import modal
from aiohttp import web

app = modal.App("toy")
image = modal.Image.debian_slim().env({"NOTES": os.environ.get("NOTES", "")})


def note(text):
    with open(os.environ["NOTES"], "a") as file:
        file.write(text + "\\n")


@app.server(image=image, port=8123, unauthenticated=True, min_containers=0, exit_grace_period=10)
class Front:
    @modal.enter()
    async def start(self):
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.answer)
        self.runner = web.AppRunner(application, shutdown_timeout=5.0)
        await self.runner.setup()
        await web.TCPSite(self.runner, "0.0.0.0", 8123).start()

    @modal.exit()
    async def stop(self):
        await self.runner.cleanup()
        note("closed")

    async def answer(self, request):
        await asyncio.sleep(float(request.query.get("seconds", 0)))
        body = await request.text()
        seen = {"method": request.method, "path": request.path_qs, "body": body}
        return web.json_response({"pid": os.getpid(), "headers": list(request.headers.items()), **seen})
"""

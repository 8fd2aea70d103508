"""The least that an aiohttp server can be: what the service is compared with.

`python -m tests.bench.bare PORT [MODULE]` imports a module before, as a container does whose framework needs it.
"""

import sys
from importlib import import_module

import uvloop
from aiohttp import web


async def answer(request: web.Request) -> web.Response:
    """200, with the body read and nothing done."""
    await request.read()
    return web.Response()


def application() -> web.Application:
    """The webhook's route and one to ask whether it lives."""
    app = web.Application()
    app.router.add_post("/webhook/telegram", answer)
    app.router.add_get("/livez", answer)
    return app


if __name__ == "__main__":
    for module in sys.argv[2:]:
        import_module(module)
    loop = uvloop.new_event_loop()
    web.run_app(
        application(), host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None, loop=loop
    )

"""The simulated Bot API on the wire: how it reads arguments, how it answers, and the scripted faults."""

import json
import socket
import struct
from collections import Counter
from http import HTTPStatus

import msgspec
from aiohttp import web

from actors.ports import Clock
from app.telegram.simulator_checks import ApiError, bad_request
from app.telegram.simulator_faults import CallFault, FaultScript
from app.telegram.simulator_methods import Arguments, BotApi
from app.telegram.simulator_world import Json

MAX_BODY_BYTES = 1_000_000  # far above any call that the simulator answers
HANG_S = 300.0  # a call that hangs ends some time, so that nothing is held for ever


class BotApiServer:
    """Serves `/bot<TOKEN>/<METHOD>`; counts calls by method and injects faults."""

    def __init__(self, token: str, api: BotApi, faults: FaultScript, clock: Clock) -> None:
        self.calls: Counter[str] = Counter()
        self._token, self._api, self._faults, self._clock = token, api, faults, clock

    def application(self) -> web.Application:
        """An application with the one route."""
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_route("GET", "/bot{token}/{method}", self.handle)
        application.router.add_route("POST", "/bot{token}/{method}", self.handle)
        return application

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call, or spoil it."""
        method = request.match_info["method"]
        self.calls[method] += 1
        if request.match_info["token"] != self._token:
            return _failed(ApiError(401, "Unauthorized"))
        if self._faults.for_connection(method):
            return _reset(request)
        try:
            values = await _arguments(request)
        except ApiError as refused:
            return _failed(refused)
        fault = self._faults.for_call(method, Arguments(values).chat())
        return (
            await self._answer(method, values) if fault is None else await self._spoil(fault, request, values)
        )

    async def _answer(self, method: str, values: Json) -> web.Response:
        try:
            result = await self._api.call(method, values)
        except ApiError as refused:
            return _failed(refused)
        return _json({"ok": True, "result": result}, 200)

    async def _spoil(self, fault: CallFault, request: web.Request, values: Json) -> web.StreamResponse:
        method = request.match_info["method"]
        match fault.kind:
            case "retry_after":
                return _failed(_too_many(int(fault.seconds)))
            case "server_error":
                return _failed(ApiError(fault.status, HTTPStatus(fault.status).phrase))
            case "forbidden":
                return _failed(ApiError(403, "Forbidden: bot was blocked by the user"))
            case "reset_before":
                return _reset(request)
            case "reset_after":
                await self._answer(method, values)
                return _reset(request)
            case "hang":
                return await self._hang(request)
            case "hang_after":
                await self._answer(method, values)
                return await self._hang(request)
            case "slow":
                await self._clock.sleep(fault.seconds)
                return await self._answer(method, values)
            case "malformed":
                await self._answer(method, values)
                return web.Response(text='{"ok":true,"result":', content_type="application/json")

    async def _hang(self, request: web.Request) -> web.StreamResponse:
        """Say nothing; the runner cancels this when the caller has gone."""
        await self._clock.sleep(HANG_S)
        return _reset(request)


async def _arguments(request: web.Request) -> Json:
    """Query, then body: JSON, urlencoded or multipart, as the Bot API takes them."""
    values: Json = dict(request.query)
    if request.content_type == "application/json":
        return values | _object(await request.read())
    if request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        values |= {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    return values


def _object(body: bytes) -> Json:
    try:
        values = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise bad_request("can't parse JSON object") from None
    if not isinstance(values, dict):
        raise bad_request("object expected")
    return values


def _too_many(retry_after_s: int) -> ApiError:
    if not retry_after_s:
        return ApiError(429, "Too Many Requests")
    return ApiError(429, f"Too Many Requests: retry after {retry_after_s}", retry_after=retry_after_s)


def _failed(error: ApiError) -> web.Response:
    body: Json = {"ok": False, "error_code": error.code, "description": error.description}
    if error.parameters:
        body["parameters"] = error.parameters
    response = _json(body, error.code)
    if "retry_after" in error.parameters:
        response.headers["Retry-After"] = str(error.parameters["retry_after"])
    return response


def _json(body: Json, status: int) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def _reset(request: web.Request) -> web.Response:
    """Cut the connection with a TCP reset, as a crash of the other side does."""
    if request.transport is not None:
        connection: socket.socket | None = request.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response(status=500)  # nobody is there to read it

"""A browser driven through chromedriver's WebDriver protocol, with aiohttp alone."""

import asyncio
import base64
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # W3C WebDriver, section 12
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-prefers-reduced-motion",
    "--window-size=1280,800",
)
START_S = 20.0  # a browser on a busy machine
WAIT_S = 10.0


def missing() -> str:
    """Why no browser can be driven here; empty if one can."""
    found = {"chromium": _chromium(), "chromedriver": shutil.which("chromedriver")}
    lacks = [name for name, path in found.items() if path is None]
    return f"not installed: {', '.join(lacks)}" if lacks else ""


class Browser:
    """One window."""

    def __init__(self, http: aiohttp.ClientSession, session: str) -> None:
        self._http, self._session = http, session

    async def command(self, verb: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A WebDriver command's value; raises RuntimeError with the driver's words."""
        sent = {} if verb == "POST" and body is None else body
        async with self._http.request(verb, f"/session/{self._session}{path}", json=sent) as answer:
            value = (await answer.json())["value"]
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(f"{value['error']}: {value['message']}")
        return value

    async def open(self, url: str) -> None:
        await self.command("POST", "/url", {"url": url})

    async def run(self, script: str) -> Any:
        """What the script returns."""
        return await self.command("POST", "/execute/sync", {"script": script, "args": []})

    async def until(self, script: str, holds: Callable[[Any], object] = bool) -> Any:
        """The script's value once `holds`; raises AssertionError after 10 s."""
        value = None
        try:
            async with asyncio.timeout(WAIT_S):
                while not holds(value := await self.run(script)):  # noqa: ASYNC110 - a page can only be asked
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{script!r} stayed {value!r}") from None
        return value

    async def type(self, css: str, text: str) -> None:
        await self.command("POST", f"/element/{await self._find(css)}/value", {"text": text})

    async def click(self, css: str) -> None:
        await self.command("POST", f"/element/{await self._find(css)}/click")

    async def resize(self, width: int, height: int) -> None:
        """The page's own size, which may be smaller than a window can be."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.cdp("Emulation.setDeviceMetricsOverride", size)

    async def reset(self) -> None:
        """Size and colours as they were at the start, and an empty log."""
        await self.cdp("Emulation.clearDeviceMetricsOverride", {})
        await self.cdp("Emulation.setEmulatedMedia", {"features": []})
        await self.console_errors()

    async def cdp(self, method: str, parameters: dict[str, Any]) -> Any:
        """A command of the DevTools protocol."""
        return await self.command("POST", "/goog/cdp/execute", {"cmd": method, "params": parameters})

    async def console_errors(self) -> list[str]:
        """What the page complained of since the last call."""
        logged = await self.command("POST", "/se/log", {"type": "browser"})
        return [each["message"] for each in logged if each["level"] == "SEVERE"]

    async def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(await self.command("GET", "/screenshot"))

    async def _find(self, css: str) -> str:
        found = await self.command("POST", "/element", {"using": "css selector", "value": css})
        return str(found[ELEMENT])


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium with a profile of its own; driver and browser end with the context."""
    driver = await asyncio.create_subprocess_exec(
        "chromedriver",
        "--port=0",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port = await asyncio.wait_for(_port(driver), START_S)
        timeout = aiohttp.ClientTimeout(total=START_S)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as http:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
                window = Browser(http, await _session(http, profile))
                try:
                    yield window
                finally:
                    await window.command("DELETE", "")
    finally:
        driver.terminate()
        await driver.wait()


def _chromium() -> str | None:
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


async def _port(driver: asyncio.subprocess.Process) -> int:
    assert driver.stdout is not None
    async for line in driver.stdout:
        if found := re.search(rb"started successfully on port (\d+)", line):
            return int(found.group(1))
    raise RuntimeError("chromedriver ended before it was ready")


async def _session(http: aiohttp.ClientSession, profile: str) -> str:
    options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": _chromium()}
    wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    async with http.post("/session", json={"capabilities": {"alwaysMatch": wanted}}) as answer:
        value = (await answer.json())["value"]
    if "sessionId" not in value:
        raise RuntimeError(value["message"])
    return str(value["sessionId"])

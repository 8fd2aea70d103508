"""The console in a real browser: rendering, buttons, keyboard, small screens, reconnecting."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.app.web.console_bench import Bench, serving
from tests.app.web.webdriver import Browser, browser, missing

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    pytest.mark.skipif(bool(missing()), reason=f"no browser: {missing()}"),
]

ENTER = "\ue007"
CONNECTED = (
    "return document.getElementById('connection').dataset.state === 'ok' "
    "&& document.querySelector('[aria-current]') !== null"
)
BOT_TEXTS = "return [...document.querySelectorAll('.bot .text')].map((each) => each.textContent)"
FIRST_REPLY = "return document.querySelector('.bot .text')?.innerHTML"
RENDERED = (
    "<strong>Good <em>morning</em>!</strong> Here is <code>code</code> and a "
    '<a href="https://example.org/" target="_blank" rel="noopener noreferrer">link</a>. '
    "&lt;b&gt;not bold&lt;/b&gt;"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def window() -> AsyncIterator[Browser]:
    """One browser for all tests here: starting it takes longer than any of them."""
    async with browser() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def bench() -> AsyncIterator[Bench]:
    """A console that runs, its chats empty."""
    async with serving(Bench()) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def page(bench: Bench, window: Browser) -> AsyncIterator[Browser]:
    """The browser with it open, in its first chat, wide and light."""
    await window.reset()
    await window.open(bench.url)
    await window.until(CONNECTED)
    yield window
    await window.open("about:blank")  # ends the page's stream before its server ends


async def test_a_conversation_by_keyboard(bench: Bench, page: Browser) -> None:
    """Typing and Enter bring a reply with its entities as elements; its button is answered; nothing is logged."""
    await page.run("document.activeElement.blur(); document.getElementById('text').focus()")
    await page.type("#text", f"hello{ENTER}")
    assert await page.until(FIRST_REPLY) == RENDERED
    await page.type(".keyboard button", ENTER)
    texts = await page.until(BOT_TEXTS, lambda value: len(value) == 2)
    assert texts[1] == "pressed more"
    assert await page.run("return document.getElementById('notice').textContent") == "ok"
    assert await page.console_errors() == []


async def test_the_person_sees_typing_and_markup_stays_text(bench: Bench, page: Browser) -> None:
    """A chat action shows; what a person writes is never read as HTML."""
    await page.type("#text", f"/wait{ENTER}")
    await page.until("return !document.getElementById('typing').hidden")
    chat = next(iter(bench.telegram.world.chats))
    await bench.telegram.api.call("sendMessage", {"chat_id": chat, "text": "<img src=x onerror=alert(1)>"})
    await page.until(BOT_TEXTS, lambda value: value == ["<img src=x onerror=alert(1)>"])
    assert await page.run("return document.querySelectorAll('#messages img').length") == 0
    assert await page.run("return document.getElementById('typing').hidden") is True


async def test_several_chats_keep_apart(bench: Bench, page: Browser) -> None:
    """A new chat is opened and chosen; the other one keeps its messages and counts what came unseen."""
    await page.type("#text", f"hello{ENTER}")
    await page.until(FIRST_REPLY)
    first = next(iter(bench.telegram.world.chats))
    await page.click("#new-chat")
    await page.until("return document.querySelectorAll('#chat-list li').length === 2")
    assert await page.run(BOT_TEXTS) == []
    await bench.telegram.api.call("sendMessage", {"chat_id": first, "text": "news"})
    await page.until("return document.querySelector('.badge')?.textContent === '1'")
    await page.click("#chat-list li:first-child button")
    assert (await page.run(BOT_TEXTS))[-1] == "news"


async def test_the_panel_shows_warmth_and_restarts_cold(bench: Bench, page: Browser) -> None:
    """Each actor has a card with its status, and the restart button restarts."""
    cards = "return [...document.querySelectorAll('.card h3')].map((each) => each.textContent)"
    expected = ["SkillRegistryActor warm", "SessionCacheActor partial", "ChatAgent degraded"]
    await page.until(cards, lambda value: value == expected)
    await page.click("#restart")
    await page.until("return document.getElementById('restarted').textContent.startsWith('restarted cold')")
    assert bench.restarts == 1


async def test_it_reconnects_to_a_restarted_server(page: Browser) -> None:
    """After the server has gone and come back on its port, the page shows the new server's chats and works."""
    async with serving(Bench()) as other:  # the fixture's own must not end before its test
        await page.open(other.url)
        await page.until(CONNECTED)
        port = int(other.url.rsplit(":", 1)[1])
    await page.until("return document.getElementById('connection').textContent === 'reconnecting'")
    async with serving(Bench(), port) as again:
        await page.until(CONNECTED)
        await page.type("#text", f"still there?{ENTER}")
        assert await page.until(FIRST_REPLY) == RENDERED
        assert len(again.telegram.world.chats) == 1


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
async def test_it_fits_every_width(page: Browser, width: int) -> None:
    """Only the messages scroll, the header does not overlap, and drawers open by button and close by Escape."""
    await page.resize(width, 700)
    await page.type("#text", f"{'long' * 60}{ENTER}")
    await page.until(FIRST_REPLY)
    for _ in range(8):
        await page.type("#text", f"more{ENTER}")
    await page.until(BOT_TEXTS, lambda value: len(value) == 9)
    page_size = "const page = document.documentElement; return [page.scrollWidth, page.scrollHeight]"
    assert await page.run(page_size) == [width, 700]
    assert await page.run(OVERLAPS) == []
    if width > 900:
        return
    shown = "return getComputedStyle(document.getElementById('panel')).display !== 'none'"
    assert await page.run(shown) is False
    await page.click("#toggle-panel")
    assert await page.run(shown) is True
    await page.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    assert await page.run(shown) is False
    assert await page.run("return document.activeElement.id") == "toggle-panel"


async def test_every_control_has_a_name_and_text_is_readable(page: Browser) -> None:
    """Chromium's accessibility tree gives each control a name, in light and in dark with contrast of at least 4.5."""
    await page.type("#text", f"hello{ENTER}")
    await page.until(FIRST_REPLY)
    tree = (await page.cdp("Accessibility.getFullAXTree", {}))["nodes"]
    controls = [
        node for node in tree if node.get("role", {}).get("value") in ("button", "textbox", "link", "log")
    ]
    assert len(controls) >= 6
    assert [node for node in controls if not node["name"].get("value")] == []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await page.cdp("Emulation.setEmulatedMedia", {"features": features})
        assert await page.run(POOR_CONTRAST) == []


OVERLAPS = """
  document.getElementById("connection").textContent = "reconnecting";
  const boxes = [...document.querySelectorAll("header > button, header h1, #connection")]
    .filter((node) => node.checkVisibility()).map((node) => [node.id || node.tagName, node.getBoundingClientRect()])
    .sort(([, a], [, b]) => a.left - b.left);
  return boxes.filter(([, box], i) => i && box.left < boxes[i - 1][1].right).map(([name]) => name);
"""
POOR_CONTRAST = """
  const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility() || node.closest(".skip, .unseen")) continue;
    const [a, b] = [light(rgba(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(node.outerHTML);
  }
  return poor;
"""

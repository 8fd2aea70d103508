"""Shards that may sleep do, although a schedule looks after their turns every 10 s; and what is left is found."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from actors import turns
from actors.meter import Meter
from actors.stores import UpdateRecord
from app.fleet import SESSIONS
from app.settings import load
from app.store.database import choose
from contracts.turns import Incoming
from tests.app.plane.kit import ROOT, until
from tests.e2e.plane.kit import OnPlane, on_plane

pytestmark = [pytest.mark.modal, pytest.mark.soak, pytest.mark.asyncio(loop_scope="module")]

WINDOW_S = (
    12  # longer than the 10 s between two sweeps: to be asked by each would keep a shard awake for ever
)
ASLEEP_S = 60.0
SETTINGS = {
    "FIRSTLIGHT_SHARDS": "2",
    "FIRSTLIGHT_SESSION_CACHE_MIN_CONTAINERS": "0",
    "FIRSTLIGHT_SESSION_CACHE_SCALEDOWN_WINDOW": str(WINDOW_S),
}
CHATS = range(1, 7)
STRAY = 1001


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OnPlane]:
    """The app with two shards that may sleep."""
    async with on_plane(tmp_path_factory.mktemp("sleeping")) as app:
        await app.deploy(ROOT, **SETTINGS)
        await app.open_webhook()
        yield app


@pytest.mark.timeout(120)  # some 20 s: the window, and a message before it
async def test_idle_shards_fall_asleep_between_sweeps_and_wake_for_a_message(app: OnPlane) -> None:
    """Their containers go to zero while the schedule runs, nothing wakes them, and the next message is answered."""
    app.say(CHATS)
    await app.replies(CHATS)
    await until(lambda: not app.plane.containers(SESSIONS), ASLEEP_S)
    assert app.containers("sweep_turns")
    app.say(CHATS)
    await app.replies(CHATS)
    assert [] == await app.judge()


@pytest.mark.timeout(120)  # some 10 s: the pause between two sweeps
async def test_what_waits_for_a_shard_that_is_no_more_is_answered(app: OnPlane) -> None:
    """As if FIRSTLIGHT_SHARDS had been lowered from 8 while it waited."""
    app.telegram.open_chat(chat=STRAY)
    incoming = Incoming(kind="message", chat=STRAY, user=STRAY, message=1, text="hello")
    record = UpdateRecord(
        bot=int(app.telegram.token.partition(":")[0]),
        update=1,
        chat=STRAY,
        shard=7,
        state="accepted",
        open=True,
        body=turns.pack(turns.TurnRecord(incoming=incoming)),
    )
    database = choose(load({"FIRSTLIGHT_STORE": app.store}))
    await database.open()
    await database.sessions(Meter()).append(record)
    await database.close()
    (reply, *_) = await app.telegram.wait_for_reply(STRAY, deadline_s=ASLEEP_S)
    assert reply.text

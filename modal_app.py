"""Where Firstlight runs on Modal: image, secrets, volume, scaling, and which actor stands where. No logic."""

from functools import cache
from pathlib import Path
from typing import Final

import modal

from app.placed import (
    STARTUP_S,
    PlacedChatAgent,
    PlacedSessionCache,
    PlacedSkillRegistry,
    deployed,
    inputs,
    pool,
)
from app.placed_gateway import GRACE_S, PlacedGateway, serve_beside
from app.placed_sweep import sweep_once
from app.settings import carried
from app.transport.remote import RemoteFleet

PACKAGES: Final = ("app", "actors", "contracts")
LOCK: Final = Path(__file__).parent / "requirements.lock"
SKILLS: Final = "/skills"
GATEWAY_PORT: Final = 8000
WEB_FUNCTION_PORT: Final = 8001
SWEEP_EVERY: Final = modal.Period(seconds=10)  # after a lease's 15 s, a dead owner's turn goes on within 30 s

settings = deployed()  # of the deploying machine; what matters inside travels in the image's environment
scaling = settings.scaling

app = modal.App(settings.app_name)

image = (
    modal.Image.debian_slim(python_version="3.11")
    .uv_pip_install(requirements=[str(LOCK)], extra_options="--require-hashes")
    .add_local_python_source(*PACKAGES, copy=True, ignore=["**/*.pyc"])  # not only .py files: skills, too
    .run_commands(  # a container without bytecode takes twice as long to start
        f"cd ~ && python -m compileall -q --invalidation-mode unchecked-hash {' '.join(PACKAGES)}"
    )
    .env(carried() | {"FIRSTLIGHT_SKILLS_DIR": SKILLS})
)
store = modal.Secret.from_name("firstlight-store")  # FIRSTLIGHT_STORE, FIRSTLIGHT_GOOGLE_CREDENTIALS
telegram = modal.Secret.from_name("firstlight-telegram")  # TELEGRAM_BOT_TOKEN, TELEGRAM_WEBHOOK_SECRET, ...
model = modal.Secret.from_name("firstlight-model")  # FIRSTLIGHT_MODEL, ANTHROPIC_API_KEY
skills = modal.Volume.from_name("firstlight-skills", create_if_missing=True)


@cache  # one set of handles in a container: each pool is looked up once
def fleet() -> RemoteFleet:
    """The app's own classes: inside its containers they need no lookup by name."""
    return RemoteFleet(SkillRegistryActor, SessionCacheActor, ChatAgent, settings.shards)


@app.cls(
    image=image,
    secrets=[store],
    volumes={SKILLS: skills.with_mount_options(read_only=True)},
    timeout=scaling.skill_registry.timeout,
    startup_timeout=STARTUP_S,
    enable_memory_snapshot=True,
    **pool(scaling.skill_registry),
)
@modal.concurrent(**inputs(scaling.skill_registry))
class SkillRegistryActor(PlacedSkillRegistry):
    """Owns the skills."""

    async def refresh(self) -> None:
        await skills.reload.aio()  # type: ignore[no-untyped-call]  # as the client ships it


@app.cls(
    image=image,
    secrets=[store],
    timeout=scaling.session_cache.timeout,
    startup_timeout=STARTUP_S,
    enable_memory_snapshot=True,
    **pool(scaling.session_cache),
)
@modal.concurrent(**inputs(scaling.session_cache))
class SessionCacheActor(PlacedSessionCache):
    """Owns the sessions of one shard."""

    shard: int = modal.parameter(default=0)


@app.cls(
    image=image,
    secrets=[telegram, model],
    timeout=scaling.chat_agent.timeout,
    startup_timeout=STARTUP_S,
    enable_memory_snapshot=True,
    **pool(scaling.chat_agent),
)
@modal.concurrent(**inputs(scaling.chat_agent))
class ChatAgent(PlacedChatAgent):
    """Answers chats; its pool grows with the turns."""

    def fleet(self) -> RemoteFleet:
        return fleet()


@app.server(
    image=image,
    secrets=[telegram],
    port=GATEWAY_PORT,
    unauthenticated=True,  # the webhook's secret is our check
    startup_timeout=STARTUP_S,
    exit_grace_period=GRACE_S,
    **pool(scaling.gateway),
)
class TelegramGateway(PlacedGateway):
    """Takes Telegram's updates in."""

    port = GATEWAY_PORT

    def fleet(self) -> RemoteFleet:
        return fleet()


@app.function(image=image, secrets=[telegram], timeout=scaling.gateway.timeout)
@modal.concurrent(**inputs(scaling.gateway))
@modal.web_server(WEB_FUNCTION_PORT, startup_timeout=STARTUP_S)
def telegram_chat_agent() -> None:
    """The same web application at the address of old: its first request asks the actors to warm."""
    serve_beside(fleet, WEB_FUNCTION_PORT)


@app.function(
    image=image, secrets=[store], schedule=SWEEP_EVERY, max_containers=1, timeout=scaling.gateway.timeout
)
async def sweep_turns() -> int:
    """Take up the turns of owners that died; gives how many."""
    return await sweep_once(fleet())

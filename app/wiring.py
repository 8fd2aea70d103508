"""Chooses what stands behind each port, and puts the actors together."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import structlog

from actors.actor import Actor
from actors.chat_agent import ChatAgent
from actors.meter import Meter
from actors.ports import Model, SkillFiles, Telegram
from actors.session_cache import SessionCacheActor, SessionCacheOptions
from actors.skill_registry import SkillRegistryActor
from actors.stores import StoreError
from app.fleet import Fleet
from app.lazily import load
from app.rehearsal import DEADLINE_S, Players, rehearse
from app.runtime import World
from app.settings import Settings, SettingsError
from app.store.database import Database, choose

log = structlog.get_logger(__name__)

STOP_S: Final = 5.0  # what the background may take after the actor has stopped; Modal grants 30 s in all


class Placed:
    """An actor with what it stands on, as a container holds it."""

    def __init__(self, actor: Actor, world: World, database: Database | None = None) -> None:  # type: ignore[type-arg]
        self.actor, self._world, self._database = actor, world, database

    async def open(self) -> None:
        """Make the store's clients; the actor's start then opens the connection, by the read that warms it.

        A store that is away leaves the actor degraded.
        """
        self._world.clock.start()
        await open_store(self._database)

    async def rehearse(self) -> None:
        """Have the store's first write done; raises nothing."""
        if self._database is not None:
            await rehearse_store(self._database)

    def beside(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do it beside the requests."""
        self._world.background.spawn(name, work)

    async def stop(self) -> None:
        """Stop the actor, let its background work end, and close the store."""
        await self.actor.stop()
        await self._world.background.drain(STOP_S)
        if self._database is not None:
            await self._database.close()
        self._world.clock.stop()


async def open_store(database: Database | None) -> None:
    """Open it; one that can't be opened is logged, and each call on it says so again."""
    try:
        if database is not None:
            await database.open()
    except StoreError as error:
        log.error("store_open_failed", error=str(error))


# ---------------------------------------------------------------- rehearsals, which raise nothing


async def rehearse_store(database: Database) -> None:
    """Do in the store what only a first write does; one that can't is logged, and its first write takes longer."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            await database.rehearse()
    except Exception as error:  # noqa: BLE001 the stated outcome: a rehearsal stops no start, whatever is wrong with it
        log.warning("rehearsal_failed", error=f"{type(error).__name__}: {error}")


async def rehearse_owner(_: Settings) -> None:
    """Play turns where an owner of sessions or skills is: whoever speaks to the world is a stand-in."""
    await rehearse(Players())


async def rehearse_agent(settings: Settings) -> None:
    """Play turns where a ChatAgent is; a model that is somewhere else has a stand-in."""
    offline = settings.require_model().provider == "offline"
    telegram, renderer = load("app.telegram.echo:echo"), load("app.telegram.render:MarkdownRenderer")
    players = Players(telegram, renderer)
    await rehearse(replace(players, model=lambda: _offline(settings)) if offline else players)


# ---------------------------------------------------------------- actors


def skill_registry(
    settings: Settings, world: World, database: Database, files: SkillFiles | None = None
) -> SkillRegistryActor:
    """The SkillRegistryActor over the skills folder, if no files are given, and the store's statistics."""
    meter = Meter()
    return SkillRegistryActor(
        files=files or skill_files(settings),
        store=database.skills(meter),
        meter=meter,
        clock=world.clock,
        chance=world.chance,
        background=world.background,
    )


def session_cache(settings: Settings, world: World, database: Database, shard: int) -> SessionCacheActor:
    """One shard of the SessionCacheActor."""
    meter = Meter()
    return SessionCacheActor(
        shard,
        store=database.sessions(meter),
        images=database.warm(meter),
        meter=meter,
        clock=world.clock,
        chance=world.chance,
        background=world.background,
        options=SessionCacheOptions(shards=settings.shards),
    )


def chat_agent(settings: Settings, world: World, fleet: Fleet) -> ChatAgent:
    """The ChatAgent over Telegram and the model."""
    return ChatAgent(
        skills=fleet.skills,
        sessions=fleet.sessions,
        agents=fleet.agent,
        telegram=telegram(settings),
        model=model(settings),
        renderer=load("app.telegram.render:MarkdownRenderer")(),
        clock=world.clock,
        chance=world.chance,
        background=world.background,
    )


def placed_skill_registry(settings: Settings, files: SkillFiles | None = None) -> Placed:
    """The SkillRegistryActor alone in a container."""
    world, database = World(), choose(settings)
    return Placed(skill_registry(settings, world, database, files), world, database)


def placed_session_cache(settings: Settings, shard: int) -> Placed:
    """One shard alone in a container."""
    world, database = World(), choose(settings)
    return Placed(session_cache(settings, world, database, shard), world, database)


def placed_chat_agent(settings: Settings, fleet: Fleet) -> Placed:
    """The ChatAgent alone in a container."""
    world = World()
    return Placed(chat_agent(settings, world, fleet), world)


# ---------------------------------------------------------------- adapters


def skill_files(settings: Settings) -> SkillFiles:
    """The skills folder; the bundled skills where none is named, and where a volume is still empty.

    Raises SettingsError for a folder that is not there. Only who owns the skills imports what parses them.
    """
    root = settings.skills_dir
    if root is None or (settings.inside_modal and not any(root.glob("*"))):
        root = load("app.skills.loader:bundled_skills")()
    elif not root.is_dir():
        raise SettingsError(
            "FIRSTLIGHT_SKILLS_DIR", f"is no folder ({root})", "set the folder of the skill files"
        )
    files: SkillFiles = load("app.skills.loader:FolderSkillFiles")(root)
    return files


def telegram(settings: Settings) -> Telegram:
    """The Bot API client."""
    client: Telegram = load("app.telegram.client:TelegramClient")(
        settings.require_telegram().reveal(), settings.telegram_api_url
    )
    return client


def model(settings: Settings) -> Model:
    """The model that the settings name; its SDK is imported here, and only by who answers."""
    return _MODELS[settings.require_model().provider](settings)


def _offline(_: Settings) -> Model:
    made: Model = load("app.llm.offline:OfflineModel")()
    return made


def _anthropic(settings: Settings) -> Model:
    key = settings.anthropic_key
    assert key is not None, "require_model checked it"
    made: Model = load("app.llm.anthropic:AnthropicModel")(
        settings.model.model, key.reveal(), settings.anthropic_url
    )
    return made


_MODELS: Final[dict[str, Callable[[Settings], Model]]] = {"offline": _offline, "anthropic": _anthropic}

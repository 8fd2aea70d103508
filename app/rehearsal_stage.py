"""What a rehearsal plays over: a store, skills, a Telegram and a model that hold nothing and lead nowhere."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

from actors.ports import Completion, Prompt, SkillFile, SkillScan, Telegram
from actors.session_codec import pack
from actors.stores import (
    Appended,
    LeaseRecord,
    SessionBatch,
    SessionRecord,
    SessionStore,
    SkillRun,
    SkillStatsStore,
    StatsBatch,
    TurnWrite,
    TurnWritten,
    UpdateRecord,
)
from actors.warm_ports import WarmStore
from contracts.skills import SkillSummary
from contracts.turns import Button, ChatMessage, Chunk, Entity, Session

CHAT: Final = 1 << 60  # Telegram's have 52 bits at most (Bot API, `Chat.id`)
BOT: Final = -1  # neither a bot nor an update of Telegram's is below 1
SKILL: Final = "rehearsal of a turn"
TEXT: Final = "What do you look at first when a rehearsal shows an error?"
ANSWER: Final = (
    "# All\n\nthat **replies** _have_: `code`, [links](https://a.org) …\n\n- lists\n\n```\nfences\n```\n"
)

_BODY: Final = "\n\n".join(f"## Step {step}: look at the first error\n{ANSWER[5:]}" for step in "123456")
_SAID: Final = (ChatMessage(role="user", text=TEXT), ChatMessage(role="assistant", text=ANSWER))


class Props:
    """The store and the skills: what a turn asks of them has an answer, and nothing else is there.

    The ports are named only: a method that a turn does not call would be an answer that nobody has thought of.
    """

    def __init__(self) -> None:
        self.sessions = cast(SessionStore, _Sessions())
        self.images = cast(WarmStore, _Sessions())
        self.skills = cast(SkillStatsStore, _Skills())

    async def scan(self) -> SkillScan:
        """One skill, which fits the task."""
        summary = SkillSummary(name=SKILL, description="What to do when a rehearsal shows an error", path="-")
        return SkillScan(skills=(SkillFile(summary=summary, folder="-", body=_BODY),))

    async def read_resource(self, skill_path: str, resource: str) -> bytes:
        """Nothing; no skill here lists a file."""
        return b""


class _Sessions:
    """Gives one session, and takes every write for done, the last of which the next one follows."""

    _version = 1

    async def append(self, record: UpdateRecord) -> Appended:
        return Appended(created=True, version=self._next(), waiting=1, revision=1)

    async def read_sessions(self, chats: Sequence[int]) -> SessionBatch:
        body = pack(Session(chat=CHAT, messages=_SAID * 10))
        return SessionBatch(sessions=(SessionRecord(chat=CHAT, shard=0, body=body, version=1, revision=1),))

    async def write_turn(self, write: TurnWrite) -> TurnWritten:
        version = self._next()
        return TurnWritten(
            update_version=version, session_version=version, waiting=int(write.update.open), revision=1
        )

    async def write_lease(self, chat: int, lease: LeaseRecord | None) -> None:
        pass

    def _next(self) -> int:
        self._version += 1
        return self._version


class _Skills:
    """No statistics; a run is not counted."""

    async def read_stats(self, skills: Sequence[str]) -> StatsBatch:
        return StatsBatch()

    async def record_run(self, run: SkillRun) -> None:
        pass


class Silent(Telegram):
    """Sends to nobody."""

    async def connect(self) -> None:
        """Nowhere."""

    async def send_message(
        self,
        chat: int,
        text: str,
        entities: Sequence[Entity] = (),
        buttons: Sequence[Button] = (),
        *,
        thread: int = 0,
    ) -> int:
        """As if it were sent."""
        return 1

    async def send_typing(self, chat: int, *, thread: int = 0) -> None:
        """To nobody."""

    async def close(self) -> None:
        """Nothing."""


@asynccontextmanager
async def silence() -> AsyncIterator[Telegram]:
    """A Telegram for a container that never speaks to it."""
    yield Silent()


class Plain:
    """The port Renderer without a reader of Markdown."""

    def render(self, markdown: str) -> tuple[Chunk, ...]:
        """One chunk with one entity."""
        return (Chunk(text=markdown, entities=(Entity(type="bold", offset=0, length=5),)),)

    def halve(self, _: Chunk) -> tuple[Chunk, ...]:
        """Never needed: nobody refuses it."""
        return ()


class Parrot:
    """The port Model without a model."""

    name = "rehearsal"

    async def connect(self) -> None:
        """Nowhere."""

    async def answer(self, prompt: Prompt) -> Completion:
        """The same each time."""
        return Completion(text=ANSWER)

    async def close(self) -> None:
        """Nothing."""

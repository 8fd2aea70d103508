"""What the agents of a simulation answer with: a model that stumbles, marked chunks, and a few skills."""

import asyncio
import random
from typing import Final

from actors.ports import (
    Completion,
    Model,
    ModelError,
    Prompt,
    Renderer,
    ResourceUnavailable,
    SkillFile,
    SkillFiles,
    SkillScan,
)
from app.chaos.container import Container
from app.chaos.faults import Faults
from app.chaos.ledger import Ledger
from app.telegram.simulator_ports import SeededChance
from contracts.skills import SkillSummary
from contracts.turns import Chunk, Entity, ToolCall

HANG_S: Final = 120.0  # longer than a turn's model budget
PARAGRAPHS: Final = (1, 1, 1, 1, 2, 2, 3, 4)
MOST_CHUNKS: Final = 5
MORE_CALLS: Final = 0.6  # how likely a model that has called tools calls some again, offered or not

EDITION_S: Final = (20.0, 200.0)  # around the bound within which a change has to be everywhere
SKILLS: Final = ("brainstorming", "debugging", "planning", "reviewing", "translating")


class ChaosModel(Model):
    """Answers in some paragraphs after a while, or does not."""

    name = "chaos"

    def __init__(self, container: Container, faults: Faults, ledger: Ledger, dice: random.Random) -> None:
        self._container, self._faults, self._ledger, self._dice = container, faults, ledger, dice

    async def connect(self) -> None:
        """There is nothing to open."""

    async def answer(self, prompt: Prompt) -> Completion:
        """Answer; raises ModelError."""
        if prompt.skill_body and not prompt.messages[-1].tool_results:  # as the turn began with it
            self._ledger.used(int(prompt.skill_body.rpartition(" ")[2]))
        fault = self._faults.draw("model")
        return await self._container.reach(self._think(prompt, fault), HANG_S)

    async def close(self) -> None:
        """There is nothing to give back."""

    async def _think(self, prompt: Prompt, fault: str) -> Completion:
        await asyncio.sleep(self._dice.uniform(0.2, 3.0))
        match fault:
            case "model_fails":
                raise ModelError("overloaded", notice="The model is overloaded.", retry=True)
            case "model_empty":
                return Completion(text=" ")
            case "model_slow":
                await asyncio.sleep(self._dice.uniform(10.0, 40.0))
            case "model_hangs":
                await asyncio.sleep(HANG_S)
            case "model_tools":
                return self._calling()
        if prompt.messages[-1].tool_results and self._dice.random() < MORE_CALLS:
            return self._calling()
        asked = next(each.text for each in reversed(prompt.messages) if not each.tool_results)[:80]
        paragraphs = (f"Paragraph {n} about: {asked}" for n in range(self._dice.choice(PARAGRAPHS)))
        return Completion(text="\n\n".join(paragraphs))

    def _calling(self) -> Completion:
        """Calls of a skill that is there, of a file that is not, and of what is no tool."""
        name = self._dice.choice(SKILLS)
        calls = (
            ToolCall(id="1", name="read_skill", arguments=f'{{"name": "{name}"}}'),
            ToolCall(id="2", name="read_skill_file", arguments='{"skill": "planning", "path": "../x"}'),
            ToolCall(id="3", name="no_such_tool", arguments="["),
        )
        return Completion(text="", tool_calls=calls[: self._dice.randint(1, 3)], stop="tools")


class MarkingRenderer(Renderer):
    """A chunk a paragraph, each beginning with a mark that no other chunk has, by which the ledger knows it."""

    def __init__(self, chance: SeededChance) -> None:
        self._chance = chance

    def render(self, markdown: str) -> tuple[Chunk, ...]:
        """Give the chunks, the first with a formatted mark."""
        mark = self._chance.token()[:12]
        pieces = markdown.split("\n\n", MOST_CHUNKS - 1)
        bold = (Entity(type="bold", offset=0, length=len(mark)),)
        return tuple(
            Chunk(text=f"{mark}.{index} {piece[:3000]}", entities=() if index else bold)
            for index, piece in enumerate(pieces)
        )

    def halve(self, _: Chunk) -> tuple[Chunk, ...]:
        """Give none: its chunks are too short to be too long."""
        return ()


class Editions:
    """The skill files as everybody's volume has them: all are written anew at once, now and then."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.newest = 1

    async def publish(self, dice: random.Random) -> None:
        """Go on for ever."""
        while True:
            await asyncio.sleep(dice.uniform(*EDITION_S))
            self._ledger.replaced(self.newest)
            self.newest += 1


class FewSkills(SkillFiles):
    """Skills that are always there, in the newest edition."""

    def __init__(self, editions: Editions) -> None:
        self._editions = editions

    async def scan(self) -> SkillScan:
        """Give them all."""
        return SkillScan(skills=tuple(_skill(name, self._editions.newest) for name in SKILLS))

    async def read_resource(self, skill_path: str, resource: str) -> bytes:
        """There are none; raises ResourceUnavailable."""
        raise ResourceUnavailable(f"{skill_path}: no {resource}")


def _skill(name: str, edition: int) -> SkillFile:
    summary = SkillSummary(name=name, description=f"Use it for {name}.", path=f"{name}/SKILL.md")
    body = f"# {name}\n\nDo it well.\n\nEdition {edition}"
    return SkillFile(summary=summary, folder=name, body=body, digest=f"{name} {edition}")

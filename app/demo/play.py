"""`firstlight demo`: plays a recorded conversation over a cold restart, and proves that nothing was lost or doubled."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from app.demo.checks import Proof, after_restart, prove
from app.dev import Dev
from app.fleet import stats_of
from app.settings import Settings, SqliteAddress
from app.telegram.simulator_faults import DeliveryFault
from contracts.base import Value
from contracts.warming import ActorStats, WarmReport

RECORDING: Final = Path(__file__).with_name("conversation.json")
REPLY_S: Final = 20.0  # an offline answer takes milliseconds; a laptop under load may take seconds
ASK_S: Final = 5.0


class Line(Value, frozen=True, kw_only=True):
    """What one person writes; `deliveries` is how often Telegram delivers it."""

    chat: int
    user: str
    text: str
    deliveries: int = 1


class Recording(Value, frozen=True, kw_only=True):
    """What is played before and after the cold restart."""

    before: tuple[Line, ...]
    after: tuple[Line, ...]


async def play() -> bool:
    """Play it and print it; gives whether all holds: every message answered once, the restart served from L1."""
    recording = msgspec.json.decode(RECORDING.read_bytes(), type=Recording)
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="firstlight-demo-") as folder:
        dev = Dev(Settings(store=SqliteAddress(Path(folder) / "demo.db"), port=0, log_level="warning"))
        await dev.start()
        try:
            return await _play(dev, recording, console)
        finally:
            await dev.stop()


async def _play(dev: Dev, recording: Recording, console: Console) -> bool:
    console.print(
        f"[bold]Firstlight[/bold] takes updates at {dev.url}/webhook/telegram, from a simulated Telegram\n"
    )
    await _converse(dev, recording.before, console)
    _reports(console, "Warm reports of the first start (an empty store)", await _stats(dev))
    console.print(
        "\n[bold]The actors restart cold.[/bold] Their L1 is empty; what they kept is in the store.\n"
    )
    assert dev.service is not None, "started"
    await dev.service.system.restart_cold()
    _reports(console, "Warm reports after the cold restart", await _stats(dev))
    console.print()
    first = recording.after[:1]
    await _converse(dev, first, console)
    served = after_restart(await _stats(dev))
    console.print(f"    [green]first request after the restart: {served.reads} store reads[/green]\n")
    await _converse(dev, recording.after[1:], console)
    proof = await prove(dev, [*recording.before, *recording.after])
    _verdict(console, served.reads, proof)
    return served.reads == 0 and served.warmed and proof.holds


async def _converse(dev: Dev, lines: Sequence[Line], console: Console) -> None:
    for line in lines:
        console.print(f"[cyan]{line.user}[/cyan] ({line.chat}): {line.text}")
        already = len(dev.simulator.replies(line.chat)) if line.chat in dev.simulator.world.chats else 0
        if line.deliveries > 1:
            dev.simulator.faults.add(
                DeliveryFault(kind="duplicate", lane=f"chat:{line.chat}", times=line.deliveries - 1)
            )
            console.print(f"    [dim](Telegram delivers this {line.deliveries} times)[/dim]")
        dev.simulator.say(line.chat, line.text, user=line.chat)
        for reply in (await dev.simulator.wait_for_reply(line.chat, already + 1, REPLY_S))[already:]:
            console.print(f"[magenta]bot[/magenta]: {_short(reply.text)}", markup=True)
        console.print()


async def _stats(dev: Dev) -> list[ActorStats]:
    assert dev.service is not None, "started"
    known = await stats_of(dev.service.system.fleet.members, ASK_S)
    return [each for each in known.values() if isinstance(each, ActorStats)]


def _reports(console: Console, title: str, stats: Sequence[ActorStats]) -> None:
    columns = ("actor", "status", "source", "requested", "loaded", "failed", "store reads", "ms")
    table = Table(*columns, title=title, box=SIMPLE_HEAD, padding=0, pad_edge=False)  # 80 characters show all
    for report in (each.warm for each in stats if each.warm is not None):
        table.add_row(*map(str, _row(report)))
    console.print(table)


def _row(report: WarmReport) -> tuple[object, ...]:
    name = report.actor if report.shard is None else f"{report.actor}[{report.shard}]"
    counts = (report.requested, report.loaded, report.failed, report.store_reads)
    return name, report.status, report.source, *counts, f"{report.duration_ms:.1f}"


def _verdict(console: Console, reads: int, proof: Proof) -> None:
    table = Table("what was promised", "what happened", title="Verdict")
    table.add_row("store reads of the first request after the cold restart: 0", str(reads))
    table.add_row("messages lost: 0", str(proof.lost))
    table.add_row("messages answered twice: 0", str(proof.doubled))
    table.add_row("messages sent by people, deliveries by Telegram", f"{proof.messages}, {proof.deliveries}")
    console.print(table)


def _short(text: str, lines: int = 6) -> str:
    kept = text.replace("[", "\\[").splitlines()
    return "\n     ".join(kept[:lines] + (["…"] if len(kept) > lines else []))

"""One seeded run: a world is made, lives through its faults, is left in peace, and is called to account."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final, Literal, TextIO

from actors.ports import Clock
from app.chaos.cluster import Cluster
from app.chaos.container import EPOCH_S, outside, settle
from app.chaos.crew import Crew, World
from app.chaos.crowd import Crowd, Size
from app.chaos.disasters import Disasters
from app.chaos.faults import Faults
from app.chaos.ledger import Ledger, Violation
from app.chaos.sqlite_store import SqliteWorldStore
from app.chaos.telegram_port import Wire
from app.chaos.trace import Trace
from app.chaos.virtual_loop import VirtualLoop, run_virtually
from app.chaos.watched_store import WatchedDatabase, Witness
from app.chaos.world_store import WorldStore
from app.lazily import load
from app.telegram.addressing import BotIdentity
from app.telegram.simulator_delivery import Outcome
from app.telegram.simulator_people import People
from app.telegram.simulator_ports import SeededChance
from contracts.base import Value

BOT: Final = BotIdentity(1_000_000_001, "firstlight_bot")
WATCH_S: Final = 5.0  # as often as the sweeper looks
DRAIN_S: Final = 600.0  # of peace, until everything that was accepted has to have its end
SETTLE_S: Final = 60.0  # then until only loops are left
IDLE_TASKS: Final = 20  # an actor's loops, with nothing to do
CONNECTIONS: Final = 40


StoreKind = Literal["memory", "sqlite", "firestore"]
"""Dictionaries, or an adapter of a service: over a file of its own, or over a model of Firestore."""


class Plan(Value, frozen=True, kw_only=True):
    """What to simulate; `minutes` are simulated ones.

    `only` and `without` narrow the kinds of fault, `intensity` multiplies how often they come.
    """

    seed: int
    minutes: float
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    intensity: float = 1.0
    size: Size = Size()
    store: StoreKind = "memory"


class Account(Value, frozen=True, kw_only=True):
    """What came of a run: counts, virtual seconds, the trace's hash, and the first of the violations.

    `ends` counts updates by their state; `unknown` chunks by how far their senders had got, `owed` the updates
    that ended so by what had cut their sender, `in_flight` those that were at work in a container when it died;
    `stale` turns
    that began from a session which another owner had changed meanwhile, `old_skills` those of the `skill_uses`
    whose skill had been changed meanwhile (both allowed, within their bounds).
    """

    seed: int
    minutes: float
    simulated_s: float
    updates: int
    accepted: int
    duplicates: int
    expired: int
    ends: dict[str, int]
    shown: int
    unknown: dict[str, int]
    owed: dict[str, int]
    in_flight: int
    stale: int
    skill_uses: int
    old_skills: int
    lost: int
    doubled: int
    out_of_order: int
    fullest_mailbox: int
    longest_stall_s: float
    faults: dict[str, int]
    events: int
    trace: str
    violations: tuple[Violation, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations


FIRESTORE: Final = "app.chaos.firestore_store:FirestoreWorldStore"
"""Loaded when it is asked for: Google's libraries take half a second and 30 MB, which no other store needs."""

Progress = Callable[[float, "Simulation"], None]


class Simulation:
    """A world on a virtual loop."""

    def __init__(self, plan: Plan, loop: VirtualLoop, trace_file: TextIO | None = None) -> None:
        self.plan, self.loop = plan, loop
        loop.created = settle
        self.trace = Trace(loop.time, trace_file)
        self.ledger = Ledger(loop.time, self.trace)
        self.faults = Faults(
            self._dice("faults"), only=plan.only, without=plan.without, intensity=plan.intensity
        )
        self.people = People(
            {"id": BOT.id, "is_bot": True, "first_name": "Firstlight", "username": BOT.username},
            lambda _: self._deliver,
            _Heaven(loop),
            SeededChance(plan.seed),
        )
        self.database = self.make_database()
        self.world = World(
            loop,
            self._dice("world"),
            faults=self.faults,
            ledger=self.ledger,
            trace=self.trace,
            database=self.database,
            wire=Wire(self.people, self.faults, self.ledger, self.trace, self._dice("telegram")),
            bot=BOT,
        )
        self.cluster = Cluster(self.make_crew(), plan.size)

    def make_database(self) -> WorldStore:
        """The store; a test may forge it."""
        witness = Witness(self.ledger, self.trace)
        match self.plan.store:
            case "memory":
                return WatchedDatabase(self.now, witness)
            case "sqlite":
                return SqliteWorldStore(self.now, witness)
            case "firestore":
                made: WorldStore = load(FIRESTORE)(self.now, witness)
                return made

    def now(self) -> float:
        """Store time in Unix seconds."""
        return EPOCH_S + self.loop.time()

    def make_crew(self) -> Crew:
        """Who makes the actors; a test may have a broken one among them."""
        return Crew(self.world)

    async def run(self, progress: Progress) -> Account:
        """Live, drain, settle, and give account."""
        await self.cluster.start()
        self.people.updates.connect(self._deliver, CONNECTIONS)
        watching = outside(self.loop, self._watch(progress))
        crowd = Crowd(self.people, self.faults, self._dice("crowd"), self.plan.size)
        disasters = Disasters(self.world, self.cluster, self._dice("disasters"))
        works = (crowd.live(), disasters.strike(), self.world.editions.publish(self._dice("editions")))
        lives = [outside(self.loop, work) for work in works]
        await asyncio.wait(lives, timeout=self.plan.minutes * 60.0, return_when=asyncio.FIRST_EXCEPTION)
        for life in lives:
            life.cancel()
        await asyncio.wait(lives)
        self._raise(lives)
        await self._drain()
        watching.cancel()
        await asyncio.sleep(SETTLE_S)
        self._call_to_account()
        return self._account()

    # ------------------------------------------------------------ the end

    async def _drain(self) -> None:
        """Inject nothing more, and wait until everything has its end."""
        self.faults.active = False
        self.people.faults.clear()
        self.world.wire.heal()
        self.world.line.down_until_s = 0.0
        self.trace.note("peace")
        await self.cluster.make_peace()
        ends_at = self.loop.time() + DRAIN_S
        while self.loop.time() < ends_at and self._busy():  # noqa: ASYNC110 - virtual seconds cost nothing
            await asyncio.sleep(1.0)

    def _busy(self) -> bool:
        return bool(self.people.updates.pending() or self.database.waiting())

    def _call_to_account(self) -> None:
        self._check_ends()
        self._check_replies()
        for failure in self.loop.failures:
            self.ledger.broke("defect", failure)
        for place in self.cluster.places():
            if len(place.container.tasks) > IDLE_TASKS:
                self.ledger.broke("I7 idle", f"{place.container.name}: {len(place.container.tasks)} tasks")
        if self.cluster.defects_of_intakes():
            self.ledger.broke("defect", f"{self.cluster.defects_of_intakes()} in intakes")

    def _check_ends(self) -> None:
        """I1: what was answered 200 has its end and its reason."""
        for update in self.ledger.accepted:
            life = self.ledger.lives.get(f"{BOT.id}:{update}")
            if life is None or not life.ended:
                state = life.state if life is not None else "nowhere"
                self.ledger.broke("I1 lost", f"update {update} was answered 200 and is {state}")
            elif life.state != "answered" and not life.reason:
                self.ledger.broke("I1 reason", f"update {update} ended {life.state} without a reason")
        if self.people.updates.pending():
            self.ledger.broke("I1 lost", f"Telegram still keeps {self.people.updates.pending()} updates")

    def _check_replies(self) -> None:
        """What is called answered was shown."""
        for key, life in self.ledger.lives.items():
            if life.state == "answered" and not life.marks:
                self.ledger.broke("I1 lost", f"{key} is answered without an answer")
            for index, state in enumerate(life.chunks):
                if state == "sent" and index not in life.shown:
                    self.ledger.broke("I1 lost", f"chunk {index} of {key} is called sent, and nobody saw it")

    def _account(self) -> Account:
        ends = Counter(life.state for life in self.ledger.lives.values())
        counts, broken = self.people.updates.counts, self.ledger.broken
        injected = self.faults.injected
        return Account(
            seed=self.plan.seed,
            minutes=self.plan.minutes,
            simulated_s=round(self.loop.time(), 1),
            updates=counts.updates,
            accepted=len(self.ledger.accepted),
            duplicates=counts.duplicates,
            expired=counts.expired,
            ends=dict(sorted(ends.items())),
            shown=sum(piece.visible for piece in self.ledger.pieces.values()),
            unknown=dict(sorted(self.ledger.unknowns().items())),
            owed=dict(sorted(self.ledger.causes.owed.items())),
            in_flight=self.ledger.causes.in_flight(),
            stale=self.ledger.stale,
            skill_uses=self.ledger.skill_uses,
            old_skills=self.ledger.old_skills,
            lost=broken["I1 lost"],
            doubled=broken["I2 one answer"],
            out_of_order=sum(count for promise, count in broken.items() if promise.startswith("I3")),
            fullest_mailbox=self.ledger.fullest_mailbox,
            longest_stall_s=round(self.ledger.longest_stall_s, 1),
            faults={name: injected[name] for name in sorted(injected) if injected[name]},
            events=self.trace.events,
            trace=self.trace.digest,
            violations=tuple(self.ledger.violations),
        )

    # ------------------------------------------------------------ meanwhile

    async def _watch(self, progress: Progress) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            for chat in self.database.waiting():
                head = self.database.head(chat)
                self.ledger.watch(chat, head.shard)
                self.ledger.wait_bounded(head.key)
            self.cluster.inspect()
            progress(self.loop.time(), self)

    async def _deliver(self, body: bytes) -> Outcome:
        return await self.cluster.deliver(body)

    def _dice(self, what: str) -> random.Random:
        return random.Random(f"{self.plan.seed} {what}")

    def _raise(self, lives: Sequence["asyncio.Task[None]"]) -> None:
        """A defect of the simulation itself ends it."""
        for life in lives:
            if not life.cancelled() and (error := life.exception()) is not None:
                raise error


def simulate(
    plan: Plan,
    *,
    progress: Progress = lambda _now, _simulation: None,
    trace_file: TextIO | None = None,
    make: Callable[[Plan, VirtualLoop, TextIO | None], Simulation] = Simulation,
) -> Account:
    """Run a plan to its end; the same plan gives the same account."""

    async def run(loop: VirtualLoop) -> Account:
        simulation = make(plan, loop, trace_file)
        with closing(simulation.database):
            return await simulation.run(progress)

    return run_virtually(run)


def command_of(plan: Plan) -> str:
    """The command that runs this plan again."""
    parts = ["firstlight chaos", f"--seed {plan.seed}", f"--minutes {plan.minutes:g}"]
    if plan.store != "memory":
        parts.append(f"--store {plan.store}")
    if plan.intensity != 1.0:
        parts.append(f"--intensity {plan.intensity:g}")
    parts += [f"--{name} {','.join(kinds)}" for name, kinds in _narrowing(plan) if kinds]
    return " ".join(parts)


def _narrowing(plan: Plan) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("only", plan.only), ("without", plan.without)


class _Heaven(Clock):
    """The true time, by which Telegram and the people live."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def monotonic_s(self) -> float:
        """Virtual seconds."""
        return self._loop.time()

    def unix_s(self) -> float:
        """The true time."""
        return EPOCH_S + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

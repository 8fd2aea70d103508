"""Judges a siege by what the store and Telegram hold in the end: nothing lost, doubled, out of order or unexplained."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from actors import session_codec
from actors.meter import Meter
from actors.stores import UpdateRecord
from app.chaos.siege.evidence import Problem, Promise, against_history, against_transcript, is_stale
from app.doctor import Findings, examine
from app.store.database import Database
from app.telegram.simulator_faults import CallFaultKind
from app.telegram.simulator_people import People
from app.telegram.simulator_world import Message as SeenMessage
from contracts.turns import Session, TurnState

ALL: Final = 100_000  # more records than any siege makes
STATES: Final[tuple[TurnState, ...]] = (
    "accepted",
    "committed",
    "answered",
    "ignored",
    "refused",
    "quarantined",
    "dead_lettered",
    "unknown",
)
CUT: Final = "its owner stopped while sending"
LOSE_THE_ANSWER: Final[frozenset[CallFaultKind]] = frozenset(
    {"reset_before", "reset_after", "hang", "hang_after", "malformed"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What was seen while it went on. `said` counts messages by chat; `accepted` are updates answered 200.

    `sending` are those of which the store said, at and after a fault, that a chunk is on its way;
    `lost_answers` counts Telegram's answers to a send that got lost.
    """

    said: Mapping[int, int]
    accepted: Collection[int]
    sending: Collection[int]
    lost_answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What there is in the end: all updates; sessions and the bot's messages by chat; what the doctor finds."""

    records: Sequence[UpdateRecord]
    sessions: Mapping[int, Session]
    replies: Mapping[int, Sequence[SeenMessage]]
    findings: Findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`problems` is empty when the promises held.

    `stale` counts answers that were made without knowing the turn before, which another owner had worked: the
    stated staleness bound of L1 allows that while a shard has two owners. An unknown end was `cut`, by a fault
    while `in_flight`, or `unanswered`, because Telegram's answer was one of the `lost_answers`.
    """

    turns: int
    shown: int
    stale: int
    cut: int
    in_flight: int
    unanswered: int
    lost_answers: int
    ends: Counter[str]
    problems: list[Problem] = field(default_factory=list)

    def count(self, promise: Promise) -> int:
        """How often it was broken."""
        return sum(problem.promise == promise for problem in self.problems)


async def collect(database: Database, people: People, chats: Iterable[int]) -> Left:
    """Read what there is in the end; raises StoreError."""
    known = tuple(chats)
    store = database.sessions(Meter())
    records = await store.find_updates(STATES, ALL)
    held = await store.read_sessions(known)
    return Left(
        records=records,
        sessions={each.chat: session_codec.unpack(each.body) for each in held.sessions},
        replies={chat: people.replies(chat) for chat in known},
        findings=await examine(database),
    )


def judge(watched: Watched, left: Left) -> Verdict:
    """Hold one against the other."""
    unknown = [each for each in left.records if each.state == "unknown"]
    cut = {each.update for each in unknown if each.reason == CUT}
    chats = {chat: _of_chat(left.records, chat) for chat in watched.said}
    return Verdict(
        turns=len(left.records),
        shown=sum(map(len, left.replies.values())),
        stale=sum(is_stale(number, each) for own in chats.values() for number, each in enumerate(own, 1)),
        cut=len(cut),
        in_flight=len(watched.sending),
        unanswered=len(unknown) - len(cut),
        lost_answers=watched.lost_answers,
        ends=Counter(record.state for record in left.records),
        problems=[
            *_lost(watched, left),
            *_unexplained(cut, len(unknown) - len(cut), watched),
            *(problem for chat, own in chats.items() for problem in _of_one_chat(chat, own, watched, left)),
        ],
    )


# ---------------------------------------------------------------- helpers


def _of_chat(records: Sequence[UpdateRecord], chat: int) -> list[UpdateRecord]:
    return sorted((each for each in records if each.chat == chat), key=lambda record: record.update)


def _of_one_chat(chat: int, own: Sequence[UpdateRecord], watched: Watched, left: Left) -> Iterable[Problem]:
    if len(own) != watched.said[chat]:
        detail = f"chat {chat}: {watched.said[chat]} messages were written, the store has {len(own)} updates"
        yield Problem("lost" if len(own) < watched.said[chat] else "doubled", detail)
    yield from against_transcript(chat, own, left.replies.get(chat, ()))
    yield from against_history(chat, len(own), left.sessions.get(chat))


def _lost(watched: Watched, left: Left) -> Iterable[Problem]:
    """What was answered 200 has its end, and nothing is left that somebody should have worked."""
    ended = {record.update for record in left.records if not record.open}
    for update in sorted(set(watched.accepted) - ended):
        yield Problem("lost", f"update {update} was answered 200 and has no end")
    for update in (*left.findings.lost, *left.findings.stuck):
        yield Problem("lost", f"the doctor finds {update}")


def _unexplained(cut: set[int], unanswered: int, watched: Watched) -> Iterable[Problem]:
    """An unknown end is owed to a fault while sending, or to an answer that Telegram lost: to nothing else."""
    for update in sorted(cut - set(watched.sending)):
        yield Problem("unknown", f"update {update}, and no owner ended while sending it")
    if unanswered > watched.lost_answers:
        yield Problem("unknown", f"{unanswered} updates for {watched.lost_answers} lost answers")

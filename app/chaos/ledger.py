"""What truly happened in the store and on Telegram, and each promise that was broken on the way."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from actors import session_codec, turns
from actors.coherence import SKILL_STALE_S
from actors.conversation import extend
from actors.stores import SessionRecord, TurnWrite, UpdateRecord
from app.chaos.causes import Causes
from app.chaos.lives import Life, Piece, why_unknown
from app.chaos.telling import Telling
from app.chaos.trace import Trace
from contracts.turns import Chunk, Session

ASKED_S: Final = 10.0  # the longest that a commit's caller waits, and so how far back its fault may lie
STALL_S: Final = 30.0  # DESIGN I2: a dead owner's turn goes on within this
SESSION_STALE_S: Final = 3600.0 * 1.1  # DESIGN 5: the session's TTL and its jitter
ABSENT_STALE_S: Final = 300.0 * 1.1  # the same for an absence
MOST_VIOLATIONS: Final = 20  # of each promise: a broken one tends to repeat itself
UNSENT_S: Final = 900.0 + 600.0 + 600.0
"""How long a committed turn may wait: the crew's bound, a clock that is off, and the last tries on the way."""
MAILBOX_MOST: Final = 100  # DESIGN 7
AT_ONCE: Final = 4  # more, which two owners of a shard may accept in the same moment
REGISTRIES: Final = "registries"  # the place of troubles between an agent and all registries
_CLEARING: Final = ("/clear", "/forget")


class Violation(msgspec.Struct, frozen=True):
    """A broken promise: which, when in virtual seconds, and what was seen."""

    promise: str
    at_s: float
    detail: str


@dataclass(slots=True)
class Version:
    """A session as it was durable once: until when it was the newest."""

    digest: int
    until_s: float = float("inf")


class Ledger:
    """Hears of every write and every message at the moment that it takes effect; checks I1 to I5 and I7."""

    def __init__(self, now: Callable[[], float], trace: Trace) -> None:
        self._now, self._trace = now, trace
        self.causes = Causes(now)
        self.violations: list[Violation] = []
        self.broken: Counter[str] = Counter()
        self.accepted: dict[int, None] = {}
        self.lives: dict[str, Life] = {}
        self.pieces: dict[str, Piece] = {}
        self.longest_stall_s = 0.0
        self.fullest_mailbox = self.stale = 0
        self._conversations: dict[int, Session] = {}
        self._versions: dict[tuple[int, int], Version] = {}
        self._newest: dict[int, int] = {}
        self._absent_until: dict[int, float] = {}
        self._steps: dict[int, float] = {}
        self._owners: Counter[int] = Counter()
        self._owners_then: dict[int, int] = {}
        self._troubles: dict[str, float] = {}
        self._struck: dict[str, float] = {}
        self._telling = Telling()
        self._stalled: dict[int, None] = {}
        self._replaced: dict[int, float] = {}
        self.skill_uses = self.old_skills = 0

    def broke(self, promise: str, detail: str) -> None:
        """Take a broken promise down."""
        self.broken[promise] += 1
        self._trace.note("broken", promise, detail)
        if self.broken[promise] <= MOST_VIOLATIONS:
            self.violations.append(Violation(promise, round(self._now(), 3), detail))

    # ------------------------------------------------------------ ingress

    def answered(self, update: int) -> None:
        """A gateway said 200 to Telegram."""
        self.accepted[update] = None

    # ------------------------------------------------------------ writes

    def owner_began(self, shard: int) -> None:
        """A shard has a new owner, who learns how many updates wait in a chat from the first that it accepts there."""
        self._owners[shard] += 1

    def appended(self, record: UpdateRecord, waiting: int) -> None:
        """An update was created."""
        if record.key in self.lives:
            self.broke("I1 one end", f"{record.key} was created twice")
        self.lives[record.key] = Life(record.chat, record.state, record.reason, ended=not record.open)
        self.step(record.chat)
        if record.open:
            self.causes.opened(record.chat, record.key)
            self._count(record.chat, waiting, self._owners[record.shard])

    def wrote_turn(self, before: UpdateRecord, head: UpdateRecord | None, write: TurnWrite) -> None:
        """A step of a turn was written; `head` was the oldest open update of the chat then."""
        after, life = write.update, self.lives[before.key]
        self.step(before.chat)
        if not before.open:
            self.broke("I1 one end", f"{before.key} was {before.state} and became {after.state}")
        if head is None or head.key != before.key:
            oldest = head.key if head is not None else "nothing"
            self.broke("I3 order", f"{before.key} went on while {oldest} was the oldest in its chat")
        turn = turns.unpack(after)
        self._follow_chunks(before, turn.chunks)
        life.state, life.reason, life.ended = after.state, after.reason, not after.open
        if after.state == "unknown" and self.causes.explain(before.key, life.committed_at - ASKED_S) is None:
            self.broke("I2 unknown", f"{before.key} ended unknown, and nothing had cut its sender")
        if life.ended:
            self.causes.ended(before.chat, before.key)
            self._telling.forget(before.chat)  # the next turn may not know of it
        if write.session is not None:
            self._follow_history(write.session, turns.unpack(before).incoming.text)

    def wrote_session(self, session: SessionRecord, version: int) -> None:
        """A session was written over what its `version` says, with a turn or alone."""
        chat, now = session.chat, self._now()
        newest = self._newest.get(chat, 0)
        if newest:
            self._versions[chat, newest].until_s = now
        if session.version != newest:
            self.broke(
                "I4 overwritten", f"chat {chat}: version {newest} by one who had read {session.version}"
            )
        value = session_codec.unpack(session.body) if session.body else None
        self._newest[chat] = version
        self._versions[chat, version] = Version(_digest(value))
        if value is not None and chat not in self._absent_until:
            self._absent_until[chat] = now
        elif value is None:
            self._absent_until.pop(chat, None)
        self._conversations[chat] = value or Session(chat=chat)

    def step(self, chat: int) -> None:
        """A chat's turns went on."""
        self._steps[chat] = self._now()
        self._stalled.pop(chat, None)

    def _count(self, chat: int, waiting: int, owners: int) -> None:
        self.fullest_mailbox = max(self.fullest_mailbox, waiting)
        if waiting <= MAILBOX_MOST:
            self._owners_then[chat] = owners
        if waiting > MAILBOX_MOST + AT_ONCE + owners - self._owners_then.get(chat, owners):
            self.broke("I7 bounded", f"{waiting} updates wait in chat {chat}")

    def _follow_chunks(self, before: UpdateRecord, chunks: tuple[Chunk, ...]) -> None:
        life, marks = self.lives[before.key], tuple(mark_of(chunk.text) for chunk in chunks)
        if before.state == "accepted":
            life.marks, life.committed_at = marks, self._now()
            for index, mark in enumerate(marks):
                self.pieces[mark] = Piece(before.key, index)
        elif marks != life.marks:
            self.broke("I2 one answer", f"{before.key} was committed with another reply")
        life.chunks = tuple(chunk.state for chunk in chunks)

    def _follow_history(self, session: SessionRecord, said: str) -> None:
        """What is stored is what was stored before, and this turn's words; forgotten or cleared when asked for."""
        if not session.body or said.startswith(_CLEARING):
            return
        old, new = self._conversations.get(session.chat), session_codec.unpack(session.body).messages
        held = old.messages if old is not None else ()
        if new not in (held, extend(held, new[-2:])):
            self.broke("I3 history", f"chat {session.chat}: history did not extend at {said[:40]!r}")
        elif new != held and (len(new) < 2 or new[-2].text not in said):
            self.broke("I3 history", f"chat {session.chat}: other words than {said[:40]!r} were stored")

    # ------------------------------------------------------------ Telegram

    def shown(self, chat: int, text: str) -> None:
        """Telegram shows a message of the bot."""
        piece = self.pieces.get(mark_of(text))
        if piece is None:
            self.broke("I2 one answer", f"chat {chat} saw {text[:60]!r}, which nobody had committed")
            return
        life = self.lives[piece.update]
        piece.visible += 1
        if piece.visible > 1:
            self.broke(
                "I2 one answer", f"chunk {piece.index} of {piece.update} was shown {piece.visible} times"
            )
        if life.shown and piece.index < max(life.shown) and not piece.doubtful:
            self.broke(
                "I3 chunks", f"chunk {piece.index} of {piece.update} came after chunk {max(life.shown)}"
            )
        if life.chunks[piece.index] == "planned":
            self.broke(
                "I2 write ahead", f"chunk {piece.index} of {piece.update} was sent before it was marked"
            )
        life.shown.append(piece.index)

    def begun(self, chat: int, text: str) -> None:
        """A sender has begun to send this message."""
        mailbox = self._mailbox(chat, text)
        if early_s := self._telling.early_s(mailbox, self._now(), self._struck):
            self.broke("B1 told", f"chat {mailbox} was sent to {early_s:.1f} s before its time")
        piece = self.pieces.get(mark_of(text))
        if piece is not None:
            piece.begun = True

    def doubt(self, text: str) -> None:
        """The sender can't know whether this message was sent."""
        piece = self.pieces.get(mark_of(text))
        if piece is not None:
            piece.doubtful = True
            self.causes.hit(self.lives[piece.update].chat, "answer lost")

    def told(self, chat: int, text: str, wait_s: float, is_alive: Callable[[], bool]) -> None:
        """The sender of this message, alive or not, was told to send nothing to the chat for so long."""
        self._telling.told(self._mailbox(chat, text), self._now(), wait_s, is_alive)

    def kept(self, chat: int) -> None:
        """The store knows that the chat waits."""
        self._telling.kept(chat)

    def _mailbox(self, chat: int, text: str) -> int:
        """The chat whose turn sends this: a group's last answers go to its supergroup, which waits apart."""
        piece = self.pieces.get(mark_of(text))
        return self.lives[piece.update].chat if piece is not None else chat

    def unknowns(self) -> Counter[str]:
        """The chunks called unknown, by how far their senders had got."""
        found: Counter[str] = Counter()
        for piece in self.pieces.values():
            if self.lives[piece.update].chunks[piece.index] == "unknown":
                found[why_unknown(piece)] += 1
        return found

    # ------------------------------------------------------------ reads

    def read(self, session: Session, version: int) -> None:
        """A shard gave this as the chat's session: it must have been durable, and not too long ago."""
        now, chat = self._now(), session.chat
        known = self._versions.get((chat, version))
        if version == 0:
            self._absent(session, now)
        elif known is None:
            self.broke("I4 durable", f"chat {chat}: version {version} was never written")
        elif known.digest not in (_digest(session), _digest(None)):
            self.broke("I4 durable", f"chat {chat}: version {version} was written with another content")
        elif now - known.until_s > SESSION_STALE_S:
            self.broke("I4 stale", f"chat {chat}: version {version} is {now - known.until_s:.0f} s too old")

    def began(self, session: Session, version: int) -> None:
        """A turn began from this session."""
        self.stale += version < self._newest.get(session.chat, 0)
        self.read(session, version)

    def holds(self, chat: int, version: int, since_s: float = 0.0) -> None:
        """A shard holds this version in L1: it was the newest at `since_s` or later, and not too long ago."""
        known = self._versions.get((chat, version))
        if known is None:
            self.broke("I4 durable", f"chat {chat}: version {version} is held and was never written")
        elif known.until_s < since_s:
            age_s = since_s - known.until_s
            self.broke("I6 outdated", f"chat {chat}: version {version} had been outdated for {age_s:.1f} s")
        elif self._now() - known.until_s > SESSION_STALE_S:
            self.broke("I4 stale", f"chat {chat}: version {version} is held for too long")

    def _absent(self, session: Session, now: float) -> None:
        since = self._absent_until.get(session.chat, now)
        if session.messages or session.turns:
            self.broke("I4 durable", f"chat {session.chat}: a session without a version")
        if now - since > ABSENT_STALE_S:
            self.broke(
                "I5 absent", f"chat {session.chat}: told absent {now - since:.0f} s after it was written"
            )

    # ------------------------------------------------------------ skills

    def replaced(self, edition: int) -> None:
        """The skill files have a newer edition than this."""
        self._replaced[edition] = self._now()

    def used(self, edition: int) -> None:
        """A turn goes to the model with a skill's text of this edition."""
        now, since = self._now(), self._replaced.get(edition)
        self.skill_uses += 1
        self.old_skills += since is not None
        if since is None:
            return
        old_s = now - max(since, *(self._troubles.get(place, 0.0) for place in ("all", REGISTRIES)))
        if old_s > SKILL_STALE_S:
            self.broke("I4 skill", f"edition {edition} was used {old_s:.0f} s after it was replaced")

    # ------------------------------------------------------------ progress

    def trouble(self, where: str, until_s: float = 0.0, *, told: bool = False) -> None:
        """A fault hit `chat:7`, `shard:0` or `all`: what stands still there has a cause up to that moment.

        One that Telegram `told` of excuses nobody who comes too early.
        """
        if not told:
            self._struck[where] = self._now()
        self._troubles[where] = max(self._troubles.get(where, 0.0), self._now(), until_s)

    def watch(self, chat: int, shard: int) -> None:
        """Updates wait in this chat: without a cause it must not stand still for longer than STALL_S."""
        places = ("all", f"shard:{shard}", f"chat:{chat}")
        causes = (self._troubles.get(place, 0.0) for place in places)
        stall_s = self._now() - max(self._steps.get(chat, 0.0), *causes)
        self.longest_stall_s = max(self.longest_stall_s, stall_s)
        if stall_s > STALL_S and chat not in self._stalled:
            self._stalled[chat] = None
            self.broke("I2 takeover", f"chat {chat} of shard {shard} stands still for {stall_s:.1f} s")

    def wait_bounded(self, update: str) -> None:
        """The oldest update of a chat: its reply is not tried for ever."""
        life = self.lives[update]
        if life.committed_at and self._now() - life.committed_at > UNSENT_S:
            self.broke("I1 bounded", f"{update} has been waiting since {life.committed_at:.0f} s to be sent")


def mark_of(text: str) -> str:
    """The mark that the simulation's renderer puts at the beginning of every chunk."""
    return text.partition(" ")[0]


def _digest(session: Session | None) -> int:
    return hash(msgspec.msgpack.encode(session))

"""The end of a siege, made by hand: what the store and Telegram hold when all went well, to be broken on purpose."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from actors import turns
from actors.stores import UpdateRecord
from app.chaos.siege.crowd import ASK, LIST_EVERY, text_of
from app.chaos.siege.judging import Left, Watched
from app.doctor import Findings
from app.telegram.simulator_world import Message
from contracts.turns import ChatMessage, Chunk, Incoming, Session

_NOTHING = Findings(ok=True)
CHAT = 7
FIRST_MESSAGE = 1000


@dataclass(frozen=True, kw_only=True)
class Told:
    """One update, its turn of one chunk, and how far that got."""

    number: int
    state: Any = "answered"
    chunk: Any = "sent"
    reason: str = ""
    text: str = ""

    @property
    def reply(self) -> str:
        """What the answer says: which question came before."""
        before = self.number - 1 if (self.number - 1) % LIST_EVERY else self.number - 2
        quoted = ASK.format(before) if before > 0 else "first message of yours"
        return self.text or f"{self.number}. {quoted}"


@dataclass(frozen=True, kw_only=True)
class World:
    """One chat's turns, what is visible of them by number, and what was watched."""

    told: Sequence[Told] = field(default_factory=lambda: [Told(number=number) for number in range(1, 6)])
    visible: Sequence[int] = (1, 2, 3, 4, 5)
    written: int = 5
    accepted: Sequence[int] = (1, 2, 3, 4, 5)
    sending: Sequence[int] = ()
    lost_answers: int = 0
    remembered: Sequence[int] = (1, 2, 3, 5)
    findings: Findings = _NOTHING

    def with_told(self, *changed: Told) -> "World":
        """These instead of those of the same number."""
        by_number = {each.number: each for each in (*self.told, *changed)}
        return replace(self, told=[by_number[number] for number in sorted(by_number)])

    @property
    def watched(self) -> Watched:
        """While it went on."""
        return Watched(
            said={CHAT: self.written},
            accepted=self.accepted,
            sending=self.sending,
            lost_answers=self.lost_answers,
        )

    @property
    def left(self) -> Left:
        """In the end."""
        return Left(
            records=list(map(record, self.told)),
            sessions={CHAT: Session(chat=CHAT, messages=tuple(self._conversation()))},
            replies={CHAT: [self._shown(number, place) for place, number in enumerate(self.visible)]},
            findings=self.findings,
        )

    def _conversation(self) -> Sequence[ChatMessage]:
        pairs = [(ChatMessage(role="user", text=text_of(number)), _ANSWER) for number in self.remembered]
        return [message for pair in pairs for message in pair]

    def _shown(self, number: int, place: int) -> Message:
        """The first message that shows a chunk has the id that the store knows, a second one another."""
        again = number in self.visible[:place]
        text = next((each.reply for each in self.told if each.number == number), "nobody's")
        return Message(message_id=FIRST_MESSAGE + number + 500 * again, chat=CHAT, user=0, date=0, text=text)


def record(told: Told) -> UpdateRecord:
    """As the store has it."""
    known = FIRST_MESSAGE + told.number if told.chunk == "sent" else 0
    chunk = Chunk(text=told.reply, state=told.chunk, message=known)
    turn = turns.TurnRecord(incoming=Incoming(kind="message", chat=CHAT), chunks=(chunk,))
    return UpdateRecord(
        bot=1,
        update=told.number,
        chat=CHAT,
        shard=0,
        state=told.state,
        open=told.state in ("accepted", "committed"),
        reason=told.reason,
        body=turns.pack(turn),
    )


_ANSWER = ChatMessage(role="assistant", text="so")

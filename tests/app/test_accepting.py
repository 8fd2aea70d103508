"""Updates that arrive together share a message, and nothing else."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from actors.ports import Transport, Unreachable
from actors.refs import ChatAgentRef, SessionShardRef, SessionsRef, SkillRegistryRef, shard_of
from app.accepting import GROUP_BYTES_MOST, Accepting
from app.fleet import Fleet
from contracts.base import Message
from contracts.codec import encode, read_session_request
from contracts.faults import BadRequest, Internal, MailboxFull, StoreUnavailable, TooLarge, Unsupported
from contracts.sessions import (
    ACCEPTS_MOST,
    AcceptReply,
    AcceptUpdate,
    AcceptUpdates,
    SessionReply,
    UpdateAccepted,
    UpdateDuplicate,
    UpdatesAccepted,
)
from contracts.turns import Incoming

SIZE = 100  # bytes of a body, where it is no matter
POISON = 13


class Shard(Transport):
    """A shard that notes which updates it is asked to accept, group by group, and has each answered by `outcome`."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.outcome: Callable[[int], AcceptReply] = lambda update: UpdateAccepted(waiting=update)
        self.whole: Callable[[Sequence[int]], Message | None] = lambda _: None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ask(self, frame: bytes) -> bytes:
        request = read_session_request(frame)
        assert isinstance(request, AcceptUpdate | AcceptUpdates)
        updates = request.updates if isinstance(request, AcceptUpdates) else (request,)
        numbers = [each.update for each in updates]
        self.groups.append(numbers)
        await self.may_answer.wait()
        if whole := self.whole(numbers):
            return encode(whole)
        results = tuple(map(self.outcome, numbers))
        return encode(UpdatesAccepted(results=results) if isinstance(request, AcceptUpdates) else results[0])

    async def tell(self, frame: bytes) -> None:
        raise NotImplementedError

    async def warm(self, frame: bytes = b"") -> bytes:
        raise NotImplementedError

    async def stats(self) -> bytes:
        raise NotImplementedError


class Gateway:
    """What takes updates for some shards."""

    def __init__(self, shards: int = 1, deadline_s: float = 5.0) -> None:
        self.shards = [Shard() for _ in range(shards)]
        refs = [SessionShardRef(f"shard {number}", shard) for number, shard in enumerate(self.shards)]
        nobody = Shard()
        self.fleet = Fleet(
            SkillRegistryRef("skills", nobody), SessionsRef(refs), ChatAgentRef("agent", nobody)
        )
        self.accepting = Accepting(self.fleet, deadline_s)

    @property
    def groups(self) -> list[list[int]]:
        """What the first shard was asked."""
        return self.shards[0].groups

    def bring(
        self, number: int, *, chat: int = 0, size: int = SIZE, text: str = "hello"
    ) -> asyncio.Future[SessionReply]:
        """Bring an update, of a chat of its own if none is given."""
        incoming = Incoming(kind="message", chat=chat or 1000 + number, text=text)
        return self.accepting.accept(AcceptUpdate(bot=42, update=number, incoming=incoming), size)

    async def answers(self, *numbers: int) -> list[SessionReply | BaseException]:
        """Bring these in one moment and give what becomes of them."""
        return await asyncio.gather(*map(self.bring, numbers), return_exceptions=True)


async def test_what_arrives_in_one_moment_is_one_message() -> None:
    """In the order of arrival, and each update has its own answer."""
    gateway = Gateway()
    outcomes: list[AcceptReply] = [
        UpdateAccepted(waiting=3),
        UpdateDuplicate(),
        MailboxFull(detail="full", retry_after_s=7.0),
        StoreUnavailable(detail="down"),
    ]
    gateway.shards[0].outcome = lambda number: outcomes[number]
    assert await gateway.answers(0, 1, 2, 3) == outcomes
    assert gateway.groups == [[0, 1, 2, 3]]


async def test_a_lone_update_goes_as_it_always_did() -> None:
    """It is no group, and it goes with the end of the loop's turn."""
    gateway = Gateway()
    reply = gateway.bring(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert gateway.groups == [[1]]
    assert await reply == UpdateAccepted(waiting=1)


async def test_a_group_does_not_wait_for_the_one_before() -> None:
    """While a shard is at work on some, it is asked to take the next."""
    gateway = Gateway()
    gateway.shards[0].may_answer.clear()
    first = asyncio.create_task(gateway.answers(1, 2))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(gateway.answers(3, 4))
    await asyncio.sleep(0.01)
    assert gateway.groups == [[1, 2], [3, 4]]
    gateway.shards[0].may_answer.set()
    assert [UpdateAccepted(waiting=n) for n in range(1, 5)] == [*await first, *await second]


async def test_each_shard_has_its_own_group() -> None:
    """A group holds only updates of chats that the shard owns, and a shard that hangs delays no other."""
    gateway = Gateway(shards=3, deadline_s=0.05)
    gateway.shards[1].may_answer.clear()
    answers = await gateway.answers(*range(30))
    owned = [[n for n in range(30) if shard_of(1000 + n, 3) == shard] for shard in range(3)]
    assert [[owned[0]], [owned[1]], [owned[2]]] == [shard.groups for shard in gateway.shards]
    assert {n for n, answer in enumerate(answers) if answer == UpdateAccepted(waiting=n)} == {
        *owned[0],
        *owned[2],
    }


@pytest.mark.parametrize("moment", ["before it is sent", "while it is accepted"])
async def test_who_leaves_takes_nobody_along(moment: str) -> None:
    """A client that has gone stops neither its own update nor those of others."""
    gateway = Gateway()
    gateway.shards[0].may_answer.clear()
    replies = [gateway.bring(number) for number in (1, 2, 3)]
    if moment == "while it is accepted":
        await asyncio.sleep(0.01)
    replies[1].cancel()
    gateway.shards[0].may_answer.set()
    assert (await replies[0], await replies[2]) == (UpdateAccepted(waiting=1), UpdateAccepted(waiting=3))
    assert gateway.groups == [[1, 2, 3]]


async def test_a_group_is_bounded_in_number() -> None:
    """I7: what is more goes as another group, and nothing is left behind."""
    gateway = Gateway()
    numbers = range(2 * ACCEPTS_MOST + 5)
    assert await gateway.answers(*numbers) == [UpdateAccepted(waiting=n) for n in numbers]
    assert [ACCEPTS_MOST, ACCEPTS_MOST, 5] == [len(group) for group in gateway.groups]
    assert [*numbers] == [number for group in gateway.groups for number in group]


async def test_a_group_is_bounded_in_bytes() -> None:
    """I7: so that it fits into what carries it; one update of any size goes alone."""
    gateway = Gateway()
    sizes = [GROUP_BYTES_MOST // 2, GROUP_BYTES_MOST // 2, 1, 2 * GROUP_BYTES_MOST, 1]
    replies = [gateway.bring(number, size=size) for number, size in enumerate(sizes)]
    await asyncio.gather(*replies)
    assert gateway.groups == [[0, 1], [2], [3], [4]]


@pytest.mark.parametrize(
    "refusal",
    [
        BadRequest(detail="unreadable message"),
        Unsupported(tag="updates.accept"),
        TooLarge(size=3_000_000, limit=2_000_000),
        Internal(detail="KeyError in AcceptUpdates"),
        UpdatesAccepted(results=(UpdateAccepted(),)),
    ],
    ids=lambda refusal: type(refusal).__name__,
)
async def test_what_one_update_brings_upon_its_group_is_its_own(refusal: Message) -> None:
    """A group that is refused as a whole, also by a shard older than the message, goes again one by one."""
    gateway = Gateway()
    shard = gateway.shards[0]
    shard.whole = lambda numbers: refusal if POISON in numbers else None
    shard.outcome = lambda number: UpdateDuplicate() if number == 2 else UpdateAccepted(waiting=number)
    one, two, poison, three = await gateway.answers(1, 2, POISON, 3)
    assert (one, two, three) == (UpdateAccepted(waiting=1), UpdateDuplicate(), UpdateAccepted(waiting=3))
    assert poison == refusal
    assert gateway.groups == [[1, 2, POISON, 3], [1], [2], [POISON], [3]]


async def test_what_no_message_can_hold_is_its_own_matter() -> None:
    """The neighbours of a text that is no Unicode are accepted."""
    gateway = Gateway()
    replies = [gateway.bring(1), gateway.bring(2, text="\ud800"), gateway.bring(3)]
    one, two, three = await asyncio.gather(*replies, return_exceptions=True)
    assert (one, three) == (UpdateAccepted(waiting=1), UpdateAccepted(waiting=3))
    assert isinstance(two, UnicodeEncodeError)


@pytest.mark.parametrize("down", [StoreUnavailable(detail="down"), NotImplementedError("a defect")])
async def test_what_hits_all_is_told_to_all(down: StoreUnavailable | Exception) -> None:
    """A store that is down, or a defect on the way, leaves nobody waiting."""
    gateway = Gateway()

    def whole(_: Sequence[int]) -> Message:
        if isinstance(down, Exception):
            raise down
        return down

    gateway.shards[0].whole = whole
    assert await gateway.answers(1, 2) == [down, down]
    assert gateway.groups == [[1, 2]]


async def test_nobody_waits_past_the_deadline() -> None:
    """Each is told so in words of its own, and the next group is not concerned."""
    gateway = Gateway(deadline_s=0.02)
    gateway.shards[0].may_answer.clear()
    late = await gateway.answers(1, 2)
    assert [Unreachable, Unreachable] == [type(answer) for answer in late]
    assert str(late[0]) == "the deadline passed"
    assert late[0] is not late[1]
    gateway.shards[0].may_answer.set()
    assert await gateway.answers(3, 4) == [UpdateAccepted(waiting=3), UpdateAccepted(waiting=4)]


async def test_the_end_of_the_process_leaves_nobody_waiting() -> None:
    """Who waits for a group that is cancelled is cancelled, too."""
    gateway = Gateway()
    gateway.shards[0].may_answer.clear()
    replies = [gateway.bring(1), gateway.bring(2)]
    await asyncio.sleep(0.01)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    assert [True, True] == [
        isinstance(each, asyncio.CancelledError)
        for each in await asyncio.gather(*replies, return_exceptions=True)
    ]

"""A shard's inbox: updates accepted once and durably, one by one or in groups, into mailboxes with a bound."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from actors import turns
from actors.gates import Convoy, MailboxBusy
from actors.stores import Appended, StoreError, UpdateRecord
from actors.turn_store import TurnStore
from contracts.faults import MailboxFull
from contracts.sessions import AcceptReply, AcceptUpdate, UpdateAccepted, UpdateDuplicate

RAW_LIMIT = 64 * 1024  # of a quarantined body: enough to see what it was

GATES_WAIT_S: Final = 0.5
"""How long updates of a group wait for their chats: a store call takes less, and the others' answers wait with them."""

Outcome = AcceptReply | StoreError
"""What became of one update of a group; an error is one that might have been another's to raise."""


class Inbox:
    """Appends updates to their chats' mailboxes, unless these are full."""

    def __init__(self, store: TurnStore, mailbox_limit: int) -> None:
        self._store, self._mailbox_limit = store, mailbox_limit

    async def accept(self, request: AcceptUpdate) -> AcceptReply:
        """Make the update durable: one store call; its mailbox is bounded."""
        record = self._record(request)
        if not record.open:
            return self._appended(await self._store.append(record))
        async with self._store.mailboxes.gates.passage(record.chat):
            return self._known(record) or self._appended(await self._store.append(record))

    async def accept_all(self, requests: Sequence[AcceptUpdate]) -> Sequence[Outcome]:
        """Do with each what `accept` does, by one store call; what is to go to a chat in use, by another one after."""
        records = dict(enumerate(map(self._record, requests)))
        with self._store.mailboxes.gates.convoy(
            each.chat for each in records.values() if each.open
        ) as convoy:
            outcomes = await self._append_inside(records, convoy)
            if len(outcomes) < len(records):
                await convoy.wait(GATES_WAIT_S)
                late = {number: each for number, each in records.items() if number not in outcomes}
                outcomes |= await self._append_inside(late, convoy)
        return [outcomes.get(number) or MailboxBusy(GATES_WAIT_S) for number in records]

    async def _append_inside(self, records: Mapping[int, UpdateRecord], convoy: Convoy) -> dict[int, Outcome]:
        """Append what goes to the chats that the convoy is in, and leave these."""
        chats = frozenset(convoy.inside())
        inside = {n: record for n, record in records.items() if not record.open or record.chat in chats}
        outcomes = await self._append_all(inside)
        convoy.leave(chats)
        return outcomes

    async def _append_all(self, records: Mapping[int, UpdateRecord]) -> dict[int, Outcome]:
        """Append by one call; where nobody here knows how many wait, the first is to tell before the others follow."""
        outcomes: dict[int, Outcome] = {}
        new: dict[int, UpdateRecord] = {}
        later: dict[int, UpdateRecord] = {}
        arriving: defaultdict[int, set[str]] = defaultdict(set)
        for number, record in records.items():
            if answer := self._known(record, arriving[record.chat]):
                outcomes[number] = answer
            elif arriving[record.chat] and self._store.mailboxes.get(record.chat) is None:
                later[number] = record
            else:
                new[number] = record
                arriving[record.chat].add(record.key)
        appended = await self._store.append_all([*new.values()]) if new else ()
        for number, each in zip(new, appended, strict=True):
            outcomes[number] = each if isinstance(each, StoreError) else self._appended(each)
        return outcomes | await self._append_later(later, outcomes, new) if later else outcomes

    async def _append_later(
        self,
        later: Mapping[int, UpdateRecord],
        outcomes: Mapping[int, Outcome],
        first: Mapping[int, UpdateRecord],
    ) -> dict[int, Outcome]:
        """Append what waited for the first of its chat, unless the store did not answer for that."""
        failed = {
            record.chat: outcome
            for number, record in first.items()
            if isinstance(outcome := outcomes[number], StoreError) and outcome.retry
        }
        rest = {number: record for number, record in later.items() if record.chat not in failed}
        spoilt: dict[int, Outcome] = {
            number: failed[record.chat] for number, record in later.items() if record.chat in failed
        }
        return spoilt | await self._append_all(rest)

    def _known(self, record: UpdateRecord, arriving: Collection[str] = ()) -> AcceptReply | None:
        """What to answer without asking the store; `arriving` are the keys that go to the chat in the same call."""
        if not record.open:
            return None
        box = self._store.mailboxes.get(record.chat)
        if box is not None and record.key in box.records:
            return self._accepted(created=False)
        waiting = len(arriving) + (box.waiting if box is not None else 0)
        if waiting < self._mailbox_limit or record.key in arriving:
            return None
        self._store.count("mailbox_full")
        return MailboxFull(detail=f"{waiting} updates wait in this chat")

    def _appended(self, appended: Appended) -> AcceptReply:
        return self._accepted(appended.created, appended.waiting)

    def _accepted(self, created: bool, waiting: int = 0) -> AcceptReply:
        if created:
            return UpdateAccepted(waiting=waiting)
        self._store.count("duplicates")
        return UpdateDuplicate()

    def _record(self, request: AcceptUpdate) -> UpdateRecord:
        turn = turns.TurnRecord(incoming=request.incoming, raw=request.raw[:RAW_LIMIT])
        queued = request.verdict == "queue"
        return UpdateRecord(
            bot=request.bot,
            update=request.update,
            chat=request.incoming.chat,
            shard=self._store.shard,
            state="accepted" if request.verdict == "queue" else request.verdict,
            open=queued,
            reason=request.reason,
            body=turns.pack(turn),
        )

"""What a mailbox believes of what it reads in the store."""

from actors.mailbox import Mailboxes
from actors.stores import LeaseRecord, UpdateRecord

CHAT, NOW = 7, 100.0


def test_a_lease_that_was_written_after_its_turn_had_ended_is_nobodys() -> None:
    """It came late, from the background of a claim: it neither holds the next turn up nor is taken for its own."""
    waiting = UpdateRecord(bot=1, update=2, chat=CHAT, shard=0, state="accepted", open=True, body=b"")
    late = LeaseRecord(lease="late", owner="another", update_key="1:1", wait_s=60.0)
    box = Mailboxes().load(CHAT, [waiting], late, NOW, doubts=0)
    assert (None, None, 0.0) == (box.living_lease(NOW), box.stored, box.not_before)


def test_a_reading_that_began_before_a_doubt_leaves_it() -> None:
    """What made somebody doubt may have happened after the store was asked; the next reading clears it."""
    mailboxes = Mailboxes()
    mailboxes.open(CHAT)
    before = mailboxes.doubts(CHAT)
    mailboxes.doubt(CHAT)
    assert not mailboxes.load(CHAT, [], None, NOW, doubts=before).whole
    assert mailboxes.load(CHAT, [], None, NOW, doubts=mailboxes.doubts(CHAT)).whole

"""The demo proves what it shows."""

from app.demo.checks import Proof, after_restart
from app.demo.play import play
from contracts.warming import ActorStats, FirstRequest


async def test_the_demo_holds() -> None:
    """Every message answered once over a cold restart, and the first request after it without a store read."""
    assert await play()


def test_a_lost_or_doubled_message_does_not_hold() -> None:
    """The verdict can be a no."""
    assert [True, False, False] == [
        Proof(messages=1, deliveries=1, lost=lost, doubled=doubled).holds
        for lost, doubled in ((0, 0), (1, 0), (0, 1))
    ]


def test_reads_after_the_restart_are_those_of_all_actors() -> None:
    """A read of any actor counts, and a session shard that served nothing proves nothing."""
    first = FirstRequest(store_reads=2)
    served = after_restart(
        [ActorStats(actor="ChatAgent", first_request=first), ActorStats(actor="SessionCacheActor")]
    )
    assert (2, False) == (served.reads, served.counted)

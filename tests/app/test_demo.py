"""The demo proves what it shows."""

from msgspec import structs

from app.demo.checks import Proof, after_restart
from app.demo.play import play
from contracts.warming import ActorStats, FirstRequest, StoreUse, WarmReport


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
    """A read of any actor counts, and a session shard that was not warmed, or served nothing, proves nothing."""
    agent = ActorStats(actor="ChatAgent", store_reads=StoreUse(calls=2))
    shard = ActorStats(actor="SessionCacheActor", warm=WarmReport(actor="SessionCacheActor", loaded=3))
    serving = structs.replace(shard, first_request=FirstRequest())
    cold = structs.replace(serving, warm=WarmReport(actor="SessionCacheActor"))
    served = [after_restart([agent, each]) for each in (serving, shard, cold)]
    assert [(2, True), (2, False), (2, False)] == [(each.reads, each.warmed) for each in served]

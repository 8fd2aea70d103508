"""A message's whole way through shard and agent, where nothing goes wrong."""

from tests.actors.turn_kit import CHAT, World


async def test_a_message_is_answered_once(world: World) -> None:
    """Accepted, asked, committed, sent, ended: one visible answer, and the conversation is stored."""
    await world.say(1, "hello")
    await world.idle()
    assert world.screen.texts(CHAT) == ["echo: hello"]
    assert world.state(1) == "answered"
    assert [message.text for message in world.session().messages] == ["hello", "echo: hello"]
    assert world.session().turns == 1

"""What excuses an unknown end in a simulation, and what does not."""

from collections import Counter

from app.chaos.causes import Causes


def test_a_death_excuses_only_the_update_that_was_at_work_in_it() -> None:
    """Not the next one of the chat, not that of another chat, and none that nothing hit."""
    causes = Causes(lambda: 5.0)
    for chat, key in ((1, "a"), (1, "b"), (2, "c")):
        causes.opened(chat, key)
    causes.hit(1, "container died")
    explained = {key: causes.explain(key, 0.0) for key in ("a", "b", "c")}
    assert {"a": "container died", "b": None, "c": None} == explained
    assert (Counter({"container died": 1}), 1) == (causes.owed, causes.in_flight())


def test_when_a_turn_has_ended_the_next_is_at_work() -> None:
    """What hits the chat then is the next one's."""
    causes = Causes(lambda: 5.0)
    causes.opened(1, "a")
    causes.opened(1, "b")
    causes.ended(1, "a")
    causes.hit(1, "record lost")
    assert [None, "record lost"] == [causes.explain(key, 0.0) for key in ("a", "b")]


def test_what_hit_an_update_before_its_commit_excuses_nothing() -> None:
    """Nothing was being sent then."""
    causes = Causes(lambda: 5.0)
    causes.opened(1, "a")
    causes.hit(1, "message lost")
    assert causes.explain("a", 5.5) is None


def test_a_chat_in_which_nothing_waits_has_nothing_to_excuse() -> None:
    """A late call about it counts nowhere."""
    causes = Causes(lambda: 5.0)
    causes.hit(1, "container died")
    assert 0 == causes.in_flight()

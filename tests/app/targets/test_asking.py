"""What is made of the answers, wherever they come from."""

from app.targets.asking import unreached


def test_an_actor_that_did_not_answer_is_named_once() -> None:
    """One that is cold for another reason has answered."""
    reports = {
        "reports": [
            {"actor": "ChatAgent", "errors": ["unreachable: no answer within 90 s"]},
            {"actor": "SkillRegistryActor", "errors": ["StoreUnavailable: away"]},
        ]
    }
    actors = {
        "actors": {"ChatAgent": {"unreachable": "unreachable: gone"}, "SkillRegistryActor": {"entries": 1}}
    }
    assert ["ChatAgent: unreachable: no answer within 90 s"] == unreached(reports)
    assert ["ChatAgent: unreachable: gone"] == unreached(actors)

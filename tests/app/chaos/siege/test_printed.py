"""What the logs of a siege's containers tell."""

import pytest

from app.chaos.siege.printed import Printed
from app.plane.logs import Line

SECRET = "S3CR3T-canary"


def heard(*texts: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The problems, and the claims as lease and container."""
    claims: list[tuple[str, str]] = []
    printed = Printed(lambda lease, container: claims.append((lease, container)))
    printed.search_for({"the secret": SECRET})
    for number, text in enumerate(texts):
        printed.hear(Line(number, "ap-1", "fu-1", "ChatAgent", "ta-1", 1, 0.0, text))
    return list(map(str, printed.problems())), claims


def test_a_claim_names_lease_and_container() -> None:
    """Among other lines of one piece, and only an event of that name; half a line tells nothing."""
    claimed = '{"event": "turn_claimed", "lease": "l-1"}'
    told = "\n".join(('{"event": "ready"}', claimed, '{"event": "not turn_claimed"}', claimed[:30]))
    assert ([], [("l-1", "ta-1")]) == heard(told)


@pytest.mark.parametrize("text", [f'{{"event": "failed", "error": "{SECRET}"}}', f"Traceback: {SECRET}"])
def test_a_secret_in_a_log_is_a_problem_told_once(text: str) -> None:
    """In an event, or in what Python prints by itself."""
    assert ["leak: the secret is in the log of ChatAgent"] == heard(text, text)[0]


def test_silence_is_a_problem() -> None:
    """A search through nothing proves nothing."""
    assert ["leak: nothing was printed: the search would find nothing"] == heard()[0]

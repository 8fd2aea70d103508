"""Which of a container's lines are shown beside the containers themselves."""

import pytest

from app.up.container_lines import LONGEST, worth_telling


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ('{"level":"info","event":"serving"}', []),
        (
            '{"level":"warning","event":"late","actor":"ChatAgent","timestamp":"t"}',
            ["warning: late actor=ChatAgent"],
        ),
        ('{"level":"error","event":"x","exception":"Traceback\\n"}', ["error: x"]),
        ("Traceback (most recent call last):\n  File", ["Traceback (most recent call last):", "  File"]),
        ('{"level":3}', ['{"level":3}']),
        ("\n \n", []),
        ("[modal-client] 2026-11-22 [Modal Server] Ready", []),
        ('{"level":"warning","event":"library","logger":"modal-client"}', []),
        ("[" * 100_000, ["[" * LONGEST]),
        ("\ud800", ["\ud800"]),
    ],
)
def test_warnings_and_what_is_no_log_line_are_told(printed: str, told: list[str]) -> None:
    """What goes well is not told, and a line has an end."""
    assert told == worth_telling(printed)

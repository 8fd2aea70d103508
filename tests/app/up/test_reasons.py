"""Why a deploy failed, out of what Modal's client prints."""

from pathlib import Path

import pytest

from app.up.reasons import SHOWN, reason

FOLDER = Path("/home/a b/firstlight")
SYNTAX = """
╭──────────────────── Traceback (most recent call last) ────────────────────╮
│ /home/a b/firstlight/modal_app.py:9 in <module>                           │
│                                                                           │
│ ❱  9 from app.placed import (                                             │
╰───────────────────────────────────────────────────────────────────────────╯
╭───────────────────────────────────────────────────────────────────────────╮
│  /home/a b/firstlight/actors/score.py:100                                 │
│ def x(:                                                                   │
│       ▲                                                                   │
╰───────────────────────────────────────────────────────────────────────────╯
SyntaxError: invalid syntax
"""
ELSEWHERE = """
✓ Initialized.
╭──────────────────── Traceback (most recent call last) ────────────────────╮
│ /home/a b/firstlight/app/wiring.py:13 in load                             │
│ ❱ 13     return json.loads(text)                                          │
│                                                                           │
│ /usr/lib/python3.11/json/decoder.py:355 in raw_decode                     │
╰───────────────────────────────────────────────────────────────────────────╯
JSONDecodeError: Expecting value: line 1 column 1 (char 0)
"""
REFUSED = (
    "✓ Created mount.\nError: Secret 'firstlight-store' is not among the plane's: give it with --secret\n"
)
BOXED = """
╭─ Error ───────────────────────────────────────────────────────────────────╮
│ Token missing. Could not authenticate client.                             │
│ Run `modal setup`.                                                        │
╰───────────────────────────────────────────────────────────────────────────╯
"""
OURS = "FIRSTLIGHT_SHARDS 0 is not between 1 and 1024: set a number from 1 to 1024\n"


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (SYNTAX, "actors/score.py:100: SyntaxError: invalid syntax"),
        (ELSEWHERE, "app/wiring.py:13: JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        (REFUSED, "Secret 'firstlight-store' is not among the plane's: give it with --secret"),
        (BOXED, "Token missing. Could not authenticate client. Run `modal setup`."),
        (OURS, OURS.strip()),
        ("", ""),
        ("╰──╯\nKeyError: 'x'", "KeyError: 'x'"),
    ],
    ids=["syntax", "a library's error", "refused", "in a box", "a setting", "nothing", "half a box"],
)
def test_a_failure_is_one_line_that_says_what_and_where(output: str, told: str) -> None:
    """Where something can be mended: the last place in the project's own folder."""
    assert told == reason(output, FOLDER)


def test_a_place_outside_of_the_folder_is_named_in_full() -> None:
    """When there is no other."""
    expected = "/home/a b/firstlight/actors/score.py:100: SyntaxError: invalid syntax"
    assert expected == reason(SYNTAX, Path("/srv"))


def test_of_an_unknown_form_the_last_lines_are_shown() -> None:
    """Rather too much than nothing."""
    lines = [f"line {number}" for number in range(50)]
    assert lines[-SHOWN:] == reason("\n".join(lines), FOLDER).splitlines()

"""How two deployments compare."""

import msgspec

from app.smoke.checks import Check, Outcome, differences
from app.smoke.looking import skill_folders


def outcome(target: str, *seen: str, stopped: str = "") -> Outcome:
    """One whose checks a, b, ... expect `x`."""
    checks = tuple(Check(name=name, expected="x", seen=each) for name, each in zip("abc", seen, strict=False))
    return Outcome(target=target, checks=checks, stopped=stopped)


def test_what_was_seen_otherwise_is_named_also_when_it_was_not_seen() -> None:
    """Each check by itself, in its order."""
    told = differences(outcome("plane", "x", "x", "x"), outcome("modal", "x", "y"))
    assert ("b: x on plane, y on modal", "c: x on plane, - on modal") == told


def test_the_same_is_no_difference_even_if_it_is_wrong() -> None:
    """Whether it is as expected is another question."""
    assert () == differences(outcome("plane", "y"), outcome("modal", "y"))


def test_it_is_well_only_when_all_was_seen_to_the_end() -> None:
    """A run that stopped early has checks that hold, and is not well."""
    well = outcome("plane", "x", "x")
    assert (True, False, False) == (
        well.ok,
        outcome("plane", "x", "y").ok,
        msgspec.structs.replace(well, stopped="TimeoutError").ok,
    )


def test_a_folder_has_one_skill_whatever_its_file_is_called() -> None:
    """As the registry counts them: what lies beside is a resource."""
    paths = ["a/SKILL.md", "a/info.md", "a/notes/x.md", "b/c/Skill.MD", "info.md", "d/skill.markdown", "e"]
    assert 3 == skill_folders(paths)

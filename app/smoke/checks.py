"""What is checked of a deployment, and how two of them compare."""

from collections.abc import Mapping, Sequence
from typing import Final

from contracts.base import Value

MISSING: Final = "-"


class Check(Value, frozen=True, kw_only=True):
    """One expectation, and what was seen."""

    name: str
    expected: str
    seen: str

    @property
    def holds(self) -> bool:
        """Whether it was met."""
        return self.expected == self.seen


class Outcome(Value, frozen=True, kw_only=True):
    """All checks in their order, and how long things took, in seconds by name. `stopped` is why it went no further."""

    target: str
    checks: tuple[Check, ...] = ()
    seconds: Mapping[str, float] = {}
    stopped: str = ""

    @property
    def ok(self) -> bool:
        """Whether it went to its end, and every expectation was met."""
        return not self.stopped and all(check.holds for check in self.checks)


def differences(one: Outcome, other: Outcome) -> tuple[str, ...]:
    """One line for each check that was seen otherwise on the two."""
    first, second = _seen(one.checks), _seen(other.checks)
    return tuple(
        f"{name}: {first.get(name, MISSING)} on {one.target}, {second.get(name, MISSING)} on {other.target}"
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    )


# ---------------------------------------------------------------- helpers


def _seen(checks: Sequence[Check]) -> dict[str, str]:
    return {check.name: check.seen for check in checks}

"""Tells authors what is wrong with their skill files."""

from collections.abc import Sequence
from enum import StrEnum

from actors.ports import SkillScan
from contracts.base import Value


class Severity(StrEnum):
    """`error`: the file, or part of it, is lost; `warning`: all of it was understood."""

    ERROR = "error"
    WARNING = "warning"


class Finding(Value, frozen=True, kw_only=True):
    """What is wrong with one file, in one line."""

    file: str
    reason: str
    severity: Severity


def lint(scan: SkillScan) -> tuple[Finding, ...]:
    """Give all findings of a scan, by file, errors first in each."""
    lost = [_finding(aside.file, aside.reason, lossy=True) for aside in scan.set_aside]
    repaired = [_finding(file.file, file.reason, lossy=file.lossy) for file in scan.recovered]
    return tuple(sorted((*lost, *repaired), key=lambda finding: (finding.file, finding.severity)))


def exit_code(findings: Sequence[Finding]) -> int:
    """Give 1 if anything was lost, else 0."""
    return int(any(finding.severity is Severity.ERROR for finding in findings))


def _finding(file: str, reason: str, *, lossy: bool) -> Finding:
    return Finding(file=file, reason=reason, severity=Severity.ERROR if lossy else Severity.WARNING)

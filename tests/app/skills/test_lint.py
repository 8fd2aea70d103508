"""Authors are told what was lost, and what was only repaired."""

from pathlib import Path

from actors.ports import Recovered, SkillScan
from app.skills.lint import Finding, Severity, exit_code, lint
from app.skills.loader import FolderSkillFiles
from contracts.skills import SetAside

BINARY = SetAside(file="b/SKILL.md", reason="binary")
GUESSED = Recovered(file="c/SKILL.md", reason="no YAML", lossy=True)
REPAIRED = Recovered(file="a/SKILL.md", reason="no name")


def test_findings_stand_by_file_with_their_severity() -> None:
    """What was set aside or guessed is an error, what was understood a warning."""
    assert lint(SkillScan(set_aside=(BINARY,), recovered=(GUESSED, REPAIRED))) == (
        Finding(file="a/SKILL.md", reason="no name", severity=Severity.WARNING),
        Finding(file="b/SKILL.md", reason="binary", severity=Severity.ERROR),
        Finding(file="c/SKILL.md", reason="no YAML", severity=Severity.ERROR),
    )


def test_only_errors_make_the_command_fail() -> None:
    """Exit 1 exactly if a file, or part of one, was lost."""
    scans = (
        SkillScan(),
        SkillScan(recovered=(REPAIRED,)),
        SkillScan(recovered=(GUESSED,)),
        SkillScan(set_aside=(BINARY,)),
    )
    assert [exit_code(lint(scan)) for scan in scans] == [0, 0, 1, 1]


def test_all_that_was_repaired_in_a_file_is_one_finding(tmp_path: Path) -> None:
    """One line a file, with every reason, as an author fixes files one by one."""
    (tmp_path / "tea").mkdir()
    (tmp_path / "tea/SKILL.md").write_bytes("---\nname: a: b\nname: Tée\n---\n# Hot".encode("latin-1"))

    assert lint(FolderSkillFiles(tmp_path).scan_now()) == (
        Finding(
            file="tea/SKILL.md",
            reason="not UTF-8: read as Latin-1; frontmatter is no valid YAML (mapping values are not allowed in"
            " this context in line 1): read line by line; no description: the body's first line is taken",
            severity=Severity.ERROR,
        ),
    )

"""A folder of skill files is read whole: what is a skill in it, and which files belong to it."""

from pathlib import Path

import pytest

from app.skills.loader import bundled_skills
from tests.app.skills.folders import aside, names, scan, skill, write


def test_skill_files_are_found_at_any_depth_and_in_any_case(tmp_path: Path) -> None:
    """Both forms are found, with their paths relative to the root, in order of their names."""
    deep = "/".join("abcdefgh")
    files = {
        "zeta/SKILL.md": skill("zeta"),
        f"{deep}/info.md": skill("deep"),
        "x/Skill.MD": skill("Alpha"),
        "y/INFO.md": skill("beta"),
        "y/readme.md": "no skill",
        ".hidden/SKILL.md": skill("hidden"),
        "SKILL.md": skill("at the root"),
    }
    result = scan(write(tmp_path, dict(files)))

    assert names(result) == ["Alpha", "at the root", "beta", "deep", "hidden", "zeta"]
    assert {each.summary.path for each in result.skills} == files.keys() - {"y/readme.md"}
    assert (result.set_aside, result.recovered) == ((), ())


def test_folders_of_tools_are_passed_over(tmp_path: Path) -> None:
    """What version control and package managers keep holds no skills."""
    files = {f"{folder}/SKILL.md": skill(folder) for folder in (".git", "node_modules", "__pycache__")}
    assert names(scan(write(tmp_path, {**files, "a/SKILL.md": skill("a")}))) == ["a"]


def test_one_folder_is_one_skill(tmp_path: Path) -> None:
    """SKILL.md wins over info.md, and the exact name over other cases."""
    files = {name: skill(name.replace(".", "-")) for name in ("a/SKILL.md", "a/info.md", "a/skill.md")}
    result = scan(write(tmp_path, dict(files)))

    assert names(result) == ["a/SKILL-md"]
    assert aside(result) == {
        "a/info.md": "the folder's skill is SKILL.md",
        "a/skill.md": "the folder's skill is SKILL.md",
    }


def test_a_folder_falls_back_to_its_other_file(tmp_path: Path) -> None:
    """A SKILL.md that can't be read does not hide a good info.md beside it."""
    result = scan(write(tmp_path, {"a/SKILL.md": b"\0", "a/info.md": skill("a")}))

    assert names(result) == ["a"]
    assert aside(result) == {"a/SKILL.md": "binary: a NUL byte at 0"}


def test_other_files_are_resources_of_the_nearest_skill_above(tmp_path: Path) -> None:
    """Resources are relative posix paths; a nested skill takes its own, and files above all skills are nobody's."""
    files = {
        "loose.txt": "",
        "a/SKILL.md": skill("a"),
        "a/b.txt": "",
        "a/sub/c.py": "",
        "a/sub/deep/d.py": "",
        "a/inner/info.md": skill("inner"),
        "a/inner/e.txt": "",
    }
    result = scan(write(tmp_path, dict(files)))

    assert {each.summary.name: each.resources for each in result.skills} == {
        "a": ("b.txt", "sub/c.py", "sub/deep/d.py"),
        "inner": ("e.txt",),
    }


def test_what_is_hidden_is_listed_nowhere(tmp_path: Path) -> None:
    """Settings, keys and version control are for no prompt; a skill in a hidden folder lists its own files."""
    files = {
        "a/SKILL.md": skill("a"),
        "a/b.txt": "",
        "a/.env": "KEY=secret",
        "a/.git/config": "",
        "a/.config/deep/token": "",
        "a/sub/.netrc": "",
        "a/.claude/skills/inner/SKILL.md": skill("inner"),
        "a/.claude/skills/inner/c.txt": "",
        "a/.claude/skills/inner/.env": "KEY=secret",
    }
    root = write(tmp_path, dict(files))
    (root / "a/settings").symlink_to(".env")
    (root / "a/.out").symlink_to("/etc/passwd")
    result = scan(root)

    assert {each.summary.name: each.resources for each in result.skills} == {
        "a": ("b.txt",),
        "inner": ("c.txt",),
    }
    assert aside(result) == {"a/settings": "link to a hidden file: not listed"}


@pytest.mark.parametrize("second", ["tea", "Tea", "TEA", " tea "])
def test_of_two_skills_of_one_name_the_first_by_path_keeps_it(tmp_path: Path, second: str) -> None:
    """The other is set aside, and its author learns who has the name."""
    result = scan(write(tmp_path, {"b/SKILL.md": skill("tea"), "c/info.md": skill(f"'{second}'")}))

    assert [each.summary.path for each in result.skills] == ["b/SKILL.md"]
    assert aside(result) == {"c/info.md": f"the name {second.strip()!r} belongs to b/SKILL.md"}


def test_two_folders_of_one_name_are_two_skills_when_they_declare_other_names(tmp_path: Path) -> None:
    """Folders may repeat; only declared names may not."""
    result = scan(write(tmp_path, {"a/x/SKILL.md": skill("one"), "b/x/SKILL.md": skill("two")}))
    assert [(each.summary.name, each.folder) for each in result.skills] == [("one", "x"), ("two", "x")]


def test_bundled_skills_lie_beside_the_loader() -> None:
    """The default root is a folder of the package."""
    assert bundled_skills().parts[-3:] == ("app", "skills", "library")
    assert scan(bundled_skills()).skills != ()

"""Files beside a skill: given when they are inside of its folder, and nothing else."""

import os
from pathlib import Path

import pytest

from actors.ports import ResourceUnavailable
from app.skills.bounds import MAX_FILE_BYTES
from app.skills.files import FileRefused, read_file
from app.skills.loader import FolderSkillFiles


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A skills folder with two skills, and a secret outside."""
    root = tmp_path / "skills"
    for folder in ("a/sub", "b"):
        (root / folder).mkdir(parents=True)
    (root / "a/SKILL.md").write_text("# A")
    (root / "a/x.bin").write_bytes(b"\0\xff")
    (root / "a/C:x.bin").write_bytes(b"a drive, elsewhere")
    (root / "a/sub/y.txt").write_text("y")
    (root / "a/largest").write_bytes(b"l" * MAX_FILE_BYTES)
    (root / "a/too-large").write_bytes(b"l" * (MAX_FILE_BYTES + 1))
    (root / "b/secret").write_text("b's")
    (tmp_path / "secret").write_text("outside")
    (root / "a/inside").symlink_to("sub/y.txt")
    (root / "a/out").symlink_to("../../secret")
    (root / "a/up").symlink_to("..")
    (root / "a/loop").symlink_to("loop")
    os.mkfifo(root / "a/fifo")
    return root


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("x.bin", b"\0\xff"),
        ("sub/y.txt", b"y"),
        ("./sub//y.txt", b"y"),
        ("inside", b"y"),
        ("SKILL.md", b"# A"),
        ("largest", b"l" * MAX_FILE_BYTES),
    ],
)
async def test_a_file_inside_is_given_in_bytes(root: Path, path: str, content: bytes) -> None:
    """Any file below the skill's folder, up to the bound, through links that stay inside."""
    assert await FolderSkillFiles(root).read_resource("a/SKILL.md", path) == content


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "/",
        "sub",
        "gone",
        "x.bin/y",
        "../b/secret",
        "sub/../../b/secret",
        "sub/../x.bin",
        "..\\b\\secret",
        "/etc/passwd",
        "\\etc\\passwd",
        "C:x.bin",
        "C:\\x",
        "//host/share/x",
        "x.bin\0",
        "\0",
        "out",
        "up/b/secret",
        "loop",
        "fifo",
        "too-large",
        "x" * 5000,
        "a/" * 3000,
        "\ud800",
    ],
)
async def test_nothing_else_is_given(root: Path, path: str) -> None:
    """Neither dots, links, absolute paths, drives nor NUL lead out; what is absent or too large is refused."""
    with pytest.raises(ResourceUnavailable) as refused:
        await FolderSkillFiles(root).read_resource("a/SKILL.md", path)
    assert str(root) not in str(refused.value)


@pytest.mark.parametrize(
    "skill_path", ["../secret", "/a/SKILL.md", "", "a/../../x", "gone/SKILL.md", "a/out/x"]
)
async def test_the_skills_own_path_cannot_lead_out_either(root: Path, skill_path: str) -> None:
    """A path that no scan has given opens nothing."""
    with pytest.raises(ResourceUnavailable):
        await FolderSkillFiles(root).read_resource(skill_path, "secret")


async def test_a_missing_root_is_an_unavailable_resource(tmp_path: Path) -> None:
    """The volume may be gone when the file is asked for."""
    with pytest.raises(ResourceUnavailable):
        await FolderSkillFiles(tmp_path / "gone").read_resource("a/SKILL.md", "x")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs a file that is longer than it says")
def test_a_file_that_changes_under_the_reader_is_not_taken_for_whole() -> None:
    """What is read must be as long as the file was before and after."""
    with pytest.raises(FileRefused, match="changed while it was read"):
        read_file(Path("/proc/self/stat"))

"""Files beside a skill: given when they are inside of its folder, and nothing else."""

import os
from pathlib import Path

import pytest

from actors.ports import ResourceUnavailable
from actors.refs import SkillRegistryRef
from actors.skill_registry import SkillRegistryActor
from app.skills.bounds import MAX_FILE_BYTES
from app.skills.files import FileRefused, read_file
from app.skills.loader import FolderSkillFiles
from contracts.faults import ResourceNotFound
from contracts.skills import GetResource, Resource
from tests.actors.skill_kit import Direct, EvenChance, MemoryFiles, World
from tests.app.skills.folders import skill, write


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
    (root / "a/.env").write_text("KEY=secret")
    (root / "a/sub/.git").mkdir()
    (root / "a/sub/.git/config").write_text("a token")
    (root / "a/settings").symlink_to(".env")
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
    """A file below the skill's folder, up to the bound, through links that stay inside."""
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
        ".env",
        "sub/.git/config",
        "sub/./.git/config",
        "settings",
        "loop",
        "fifo",
        "too-large",
        "x" * 5000,
        "a/" * 3000,
        "\ud800",
    ],
)
async def test_nothing_else_is_given(root: Path, path: str) -> None:
    """Neither dots, links, absolute paths, drives nor NUL lead out; what is absent, hidden or too large is refused."""
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


async def test_a_registry_gives_what_a_skill_lists_and_nothing_else(tmp_path: Path) -> None:
    """Whoever chats may have the model ask for any path: neither keys, other skills nor what came since are read."""
    files = {"a/SKILL.md": skill("a"), "a/b.txt": "b", "a/.env": "k", "a/.git/config": "t"}
    root = write(tmp_path, {**files, "a/inner/SKILL.md": skill("inner"), "a/inner/c.txt": "c"})
    world = World(MemoryFiles())
    registry = SkillRegistryActor(
        files=FolderSkillFiles(root),
        store=world.store,
        meter=world.meter,
        clock=world.clock,
        chance=EvenChance(),
        background=world.background,
    )
    ref = SkillRegistryRef(registry.name, Direct(registry))
    given = await ref.ask(GetResource(skill="a", path="b.txt"))
    assert isinstance(given, Resource)
    assert b"b" == given.content
    (root / "a/b.txt").unlink()
    (root / "a/b.txt").symlink_to("/etc/passwd")
    (root / "a/late.txt").write_text("not listed yet")
    for path in (
        "b.txt",
        ".env",
        ".git/config",
        "inner/SKILL.md",
        "inner/c.txt",
        "SKILL.md",
        "late.txt",
        "./b.txt",
    ):
        assert isinstance(await ref.ask(GetResource(skill="a", path=path)), ResourceNotFound), path
    await registry.stop()

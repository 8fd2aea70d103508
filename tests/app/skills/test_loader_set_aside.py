"""Bad skill files, links and names are set aside with the reason, and spoil no other."""

import os
import socket
from pathlib import Path

import pytest

from app.skills.bounds import MAX_FILE_BYTES
from tests.app.skills.folders import aside, names, scan, skill, write

# ---------------------------------------------------------------- what is set aside


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"---\nname: a\0", "binary: a NUL byte at 11"),
        (os.urandom(4096).replace(b"\0", b"\x01"), "binary: too many control characters"),
        (b"x" * (MAX_FILE_BYTES + 1), "1048577 bytes, the limit is 1048576"),
        (b"x" * (10 << 20), "10485760 bytes, the limit is 1048576"),
        (
            b"---\na: &a [x]\n" + b"".join(b"b%d: *a\n" % n for n in range(50)) + b"---\n",
            "more than 16 YAML aliases",
        ),
    ],
    ids=["empty", "nul", "binary", "large", "10 MB", "bomb"],
)
def test_a_bad_file_is_set_aside_and_all_others_load(tmp_path: Path, content: bytes, reason: str) -> None:
    """G1: the file and one line that says why; its neighbours answer as if it were not there."""
    result = scan(write(tmp_path, {"a/SKILL.md": skill("a"), "b/SKILL.md": content, "c/info.md": skill("c")}))

    assert names(result) == ["a", "c"]
    assert list(aside(result)) == ["b/SKILL.md"]
    assert aside(result)["b/SKILL.md"].endswith(reason)


def test_the_largest_file_loads(tmp_path: Path) -> None:
    """The bound itself is within."""
    result = scan(write(tmp_path, {"a/SKILL.md": b"x" * MAX_FILE_BYTES}))
    assert [len(each.body) for each in result.skills] == [MAX_FILE_BYTES]


@pytest.mark.parametrize(
    ("link", "target", "reason"),
    [
        ("b/SKILL.md", "../../outside/SKILL.md", "leads out of 'skills'"),
        ("b/SKILL.md", "SKILL.md", "leads in a circle or nowhere"),
        ("b/SKILL.md", "gone.md", "leads nowhere"),
        ("a/loop", ".", "link to a folder that is searched at its own place: not followed"),
        ("a/up", "..", "link that leads out of 'a'"),
        ("loop", ".", "link to a folder that is searched at its own place: not followed"),
        ("out", "../outside", "link that leads out of 'skills'"),
        ("a/secret.txt", "../../outside/SKILL.md", "link that leads out of 'a'"),
        ("a/other.txt", "../c/SKILL.md", "link that leads out of 'a'"),
    ],
)
def test_links_do_not_lead_out_or_around(tmp_path: Path, link: str, target: str, reason: str) -> None:
    """A link that escapes, loops or dangles is set aside; the scan ends, and shows nothing from outside."""
    write(tmp_path, {"outside/SKILL.md": skill("outside")})
    root = write(tmp_path / "skills", {"a/SKILL.md": skill("a"), "c/SKILL.md": skill("c")})
    (root / link).parent.mkdir(exist_ok=True)
    (root / link).symlink_to(target)
    result = scan(root)

    assert names(result) == ["a", "c"]
    assert aside(result) == {link: reason}
    assert [each.resources for each in result.skills] == [(), ()]


def test_a_link_within_the_folder_is_as_good_as_a_file(tmp_path: Path) -> None:
    """A skill file and a resource may be links, as long as they stay inside; so may the root."""
    root = write(tmp_path / "real", {"a/README.md": skill("a"), "a/x.txt": "x"})
    (root / "a/SKILL.md").symlink_to("README.md")
    (root / "a/y.txt").symlink_to("x.txt")
    (tmp_path / "root").symlink_to(root)
    result = scan(tmp_path / "root")

    assert names(result) == ["a"]
    assert result.skills[0].resources == ("README.md", "x.txt", "y.txt")


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    """A FIFO would wait for its writer for ever; a socket and a folder of that name are no skills."""
    write(tmp_path, {"a/SKILL.md": skill("a"), "d/SKILL.md/x.txt": ""})
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "b/SKILL.md")
    (tmp_path / "c").mkdir()
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(tmp_path / "c/info.md"))
        result = scan(tmp_path)

    assert names(result) == ["a"]
    assert aside(result) == {"b/SKILL.md": "not a regular file", "c/info.md": "no such device or address"}


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_what_may_not_be_read_is_set_aside(tmp_path: Path) -> None:
    """Permissions on a file or folder cost that file or folder only."""
    write(tmp_path, {"a/SKILL.md": skill("a"), "b/SKILL.md": skill("b"), "c/SKILL.md": skill("c")})
    (tmp_path / "b/SKILL.md").chmod(0)
    (tmp_path / "c").chmod(0)
    result = scan(tmp_path)
    (tmp_path / "c").chmod(0o700)

    assert names(result) == ["a"]
    assert aside(result) == {"b/SKILL.md": "permission denied", "c": "folder not searched: permission denied"}


@pytest.mark.parametrize("make", ["nothing", "file", "loop"])
def test_a_root_that_is_none_is_a_scan_with_the_reason(tmp_path: Path, make: str) -> None:
    """No exception: whoever asks sees that nothing was read, and why."""
    root = tmp_path / "skills"
    if make == "file":
        root.write_text("x")
    if make == "loop":
        root.symlink_to(root)
    result = scan(root)

    assert result.skills == ()
    assert list(aside(result)) == ["."]


def test_names_of_files_that_no_message_can_carry_are_set_aside(tmp_path: Path) -> None:
    """A file name may hold any byte; an answer holds UTF-8 in one line."""
    write(tmp_path, {"a/SKILL.md": skill("a"), "a/new\nline.txt": "", "b\nc/SKILL.md": skill("b")})
    odd = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(odd)
    with open(odd + b"/SKILL.md", "wb") as file:
        file.write(skill("odd").encode())
    result = scan(tmp_path)

    assert names(result) == ["a"]
    assert aside(result) == {
        "\\udcff/SKILL.md": "a path that can't be shown",
        "a/new\\nline.txt": "file name that can't be shown: not listed",
        "b\\nc/SKILL.md": "a path that can't be shown",
    }


# ---------------------------------------------------------------- bounds


def test_bounds_set_aside_what_is_beyond_them(tmp_path: Path) -> None:
    """Each bound keeps what is within and names what is not."""
    files = {f"s{n}/SKILL.md": skill(f"s{n}") for n in range(4)}
    write(tmp_path, {**files, "s0/a": "", "s0/b": "", "s0/c": "", "s0/d/e/f/SKILL.md": skill("deep")})

    assert names(scan(tmp_path, skills=3)) == ["deep", "s0", "s1"]
    assert aside(scan(tmp_path, skills=3)) == dict.fromkeys(("s2/SKILL.md", "s3/SKILL.md"), "over 3 skills")
    assert names(scan(tmp_path, depth=3)) == ["s0", "s1", "s2", "s3"]
    assert aside(scan(tmp_path, depth=3)) == {"s0/d/e/f": "folder not searched: deeper than 3"}
    assert aside(scan(tmp_path, resources=2)) == {"s0/c": "over 2 files beside one skill: not listed"}
    assert [each.resources for each in scan(tmp_path, resources=2).skills][1] == ("a", "b")
    size = len(skill("s0"))
    assert names(scan(tmp_path, total_bytes=2 * size + 4)) == ["deep", "s0"]
    assert aside(scan(tmp_path, entries=6)) == {"s0": "over 6 files: the rest not searched"}


def test_files_set_aside_are_bounded_and_counted(tmp_path: Path) -> None:
    """Ten thousand bad files must not make an answer that is too large to send."""
    write(tmp_path, {f"{n:02}/SKILL.md": b"" for n in range(10)})
    result = scan(tmp_path, set_aside=3)

    assert [each.file for each in result.set_aside] == ["00/SKILL.md", "01/SKILL.md", "02/SKILL.md", "."]
    assert result.set_aside[-1].reason == "7 more files were set aside"

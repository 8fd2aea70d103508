"""A folder of skill files is read whole: bad files are set aside with the reason, and spoil no other."""

import asyncio
import os
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.ports import SkillScan
from app.skills.bounds import MAX_FILE_BYTES, ScanBounds
from app.skills.loader import FolderSkillFiles, bundled_skills


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write the files below `root`, by relative path."""
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def skill(name: str, body: str = "# Body\n") -> str:
    """Give the text of a well-formed skill file."""
    return f"---\nname: {name}\ndescription: about {name}\n---\n{body}"


def scan(root: Path, **bounds: int) -> SkillScan:
    """Scan the folder."""
    return FolderSkillFiles(root, ScanBounds(**bounds)).scan_now()


def names(result: SkillScan) -> list[str]:
    """Give the names of the scan's skills."""
    return [each.summary.name for each in result.skills]


def aside(result: SkillScan) -> dict[str, str]:
    """Give the reason of each file set aside."""
    return {each.file: each.reason for each in result.set_aside}


# ---------------------------------------------------------------- finding


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


# ---------------------------------------------------------------- truth of a scan


def test_two_scans_of_the_same_files_are_equal(tmp_path: Path) -> None:
    """The order in which files were made, and where the folder lies, change nothing."""
    files = {f"g{n % 7}/s{n}/SKILL.md": skill(f"s{n}", f"body {n}") for n in range(50)}
    shuffled = random.Random(1).sample(sorted(files.items()), len(files))
    one, two = write(tmp_path / "one", dict(files)), write(tmp_path / "two", dict(shuffled))

    assert scan(one) == scan(two)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("a/SKILL.md", skill("a", "other")),
        ("a/SKILL.md", skill("b")),
        ("a/SKILL.md", skill("a").replace("about", "on")),
        ("a/SKILL.md", skill("a").replace("name", "deployment: both\nname")),
        ("a/new.txt", ""),
    ],
)
def test_a_digest_changes_when_an_answer_would(tmp_path: Path, path: str, content: str) -> None:
    """Body, name, description, deployment and the list of resources: all of them are in an answer."""
    before = scan(write(tmp_path, {"a/SKILL.md": skill("a"), "a/x.txt": "x"})).skills[0]
    after = scan(write(tmp_path, {path: content})).skills[0]

    assert after.digest != before.digest


def test_a_digest_stays_when_an_answer_would(tmp_path: Path) -> None:
    """Times, line ends and unknown fields are in no answer."""
    before = scan(write(tmp_path, {"a/SKILL.md": skill("a")})).skills[0]
    write(
        tmp_path, {"a/SKILL.md": skill("a").replace("---\n#", "license: MIT\n---\n\n#").replace("\n", "\r\n")}
    )
    os.utime(tmp_path / "a/SKILL.md", (1, 1))

    assert scan(tmp_path).skills[0].digest == before.digest


@pytest.fixture
def churn(tmp_path: Path) -> Iterator[Path]:
    """A folder in which half of the skills are rewritten, deleted and made anew all the time."""
    write(tmp_path, {f"still{n}/SKILL.md": skill(f"still{n}", f"steady {n}\n" * 50) for n in range(100)})
    stop = threading.Event()

    def work() -> None:
        chance = random.Random(7)
        while not stop.is_set():
            file = tmp_path / f"moving{chance.randrange(50)}/SKILL.md"
            file.parent.mkdir(exist_ok=True)
            if chance.random() < 0.3:
                file.unlink(missing_ok=True)
                file.parent.rmdir()
            else:
                file.write_text(skill(file.parent.name, "moving\n" * chance.randrange(2000)))

    thread = threading.Thread(target=work)
    thread.start()
    yield tmp_path
    stop.set()
    thread.join()


def test_files_that_move_during_the_scan_cost_only_themselves(churn: Path) -> None:
    """Deleted and half-written files are set aside or read whole; those that stand still are all there."""
    for _ in range(10):
        result = scan(churn)
        still = [each for each in result.skills if each.summary.name.startswith("still")]
        assert len(still) == 100
        assert all(file.startswith("moving") for file in aside(result))


async def test_a_scan_does_not_stall_the_loop(tmp_path: Path) -> None:
    """Other tasks take turns while the files are read."""
    write(tmp_path, {f"s{n}/SKILL.md": skill(f"s{n}", "line\n" * 100) for n in range(200)})
    scanning = asyncio.create_task(FolderSkillFiles(tmp_path).scan())
    turns = 0
    while not scanning.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns > 1
    assert len(scanning.result().skills) == 200


def test_bundled_skills_lie_beside_the_loader() -> None:
    """The default root is a folder of the package."""
    assert bundled_skills().parts[-3:] == ("app", "skills", "library")
    assert scan(bundled_skills()).skills != ()


# ---------------------------------------------------------------- anything at all

CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=200).map(lambda tail: b"---\nname: x\n" + tail),
    st.text(max_size=200).map(lambda text: f"---\n{text}\n---\n{text}".encode("utf-8", "surrogatepass")),
    st.sampled_from([skill("a").encode(), skill("b").encode(), b"", b"---", b"\xff\xfe"]),
)
PATHS = st.lists(
    st.sampled_from(["a", "b", "SKILL.md", "info.md", "Skill.md", "x.txt", "ä"]), min_size=1, max_size=4
).map("/".join)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(files=st.dictionaries(PATHS, CONTENTS, max_size=8))
def test_no_content_makes_a_scan_fail(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    """Whatever lies in the folder, each skill file is loaded or set aside, and names are unique."""
    root = tmp_path_factory.mktemp("any")
    for path, content in files.items():
        file = root / path
        if not any(parent.is_file() for parent in file.parents) and not file.exists():
            write(root, {path: content})
    result = scan(root)
    present = {
        file.relative_to(root).as_posix()
        for file in root.rglob("*")
        if file.is_file() and file.name.lower() in ("skill.md", "info.md")
    }

    assert {each.summary.path for each in result.skills} | set(aside(result)) == present
    assert len({name.casefold() for name in names(result)}) == len(result.skills)


def test_hundreds_of_files_load_beside_hundreds_of_bad_ones(tmp_path: Path) -> None:
    """With every other file broken in its own way, all good ones load, none is lost, none is invented."""
    chance = random.Random(11)
    bad = [
        b"",
        b"\0",
        b"---\nname: \xff\xfe\0",
        chance.randbytes(500).replace(b"\0", b"\1"),
        b"x" * (2 << 20),
    ]
    good = {f"good{n}/SKILL.md": skill(f"good{n}") for n in range(300)}
    broken = {f"bad{n}/info.md": bad[n % len(bad)] for n in range(300)}
    result = scan(write(tmp_path, {**good, **broken}))

    assert set(names(result)) == {f"good{n}" for n in range(300)}
    assert set(aside(result)) == set(broken)

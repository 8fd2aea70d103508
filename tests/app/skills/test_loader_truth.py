"""A scan is the same whatever the order, stands beside writers, and fails for no content."""

import asyncio
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.skills.loader import FolderSkillFiles
from tests.app.skills.folders import aside, names, scan, skill, write


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

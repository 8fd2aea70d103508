"""The parts of the plane that need no container: scaling, cron lines, images, secrets, code, logs."""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from app.plane.code import HOME, Code
from app.plane.cron import Cron
from app.plane.ids import Ids
from app.plane.images import Images
from app.plane.logs import Logs
from app.plane.scaling import Scaling
from app.plane.secrets import Secrets, read_secrets
from app.plane.timing import pause_s
from app.plane.volumes import Volumes

NOON = datetime(2026, 2, 27, 12, 0, 30, tzinfo=UTC)  # a Friday


@pytest.mark.parametrize(
    ("scaling", "load", "wanted"),
    [
        (Scaling(), 0, 0),
        (Scaling(least=2), 0, 2),
        (Scaling(target=10), 1, 1),
        (Scaling(target=10), 10, 1),
        (Scaling(target=10), 11, 2),
        (Scaling(target=10, buffer=2), 0, 0),
        (Scaling(target=10, buffer=2), 1, 3),
        (Scaling(most=3), 100, 3),
        (Scaling(least=2, most=1), 100, 1),
        (Scaling(target=1.5), 3, 2),
        (Scaling(target=0), 50, 1),
    ],
)
def test_containers_follow_the_load_within_the_settings(scaling: Scaling, load: int, wanted: int) -> None:
    """The target divides the load, the buffer comes on top while there is any, and the limit has the last word."""
    assert wanted == scaling.wanted(load)


@pytest.mark.parametrize(
    ("line", "next_run"),
    [
        ("* * * * *", datetime(2026, 2, 27, 12, 1, tzinfo=UTC)),
        ("*/15 * * * *", datetime(2026, 2, 27, 12, 15, tzinfo=UTC)),
        ("0 9 * * mon-fri", datetime(2026, 3, 2, 9, 0, tzinfo=UTC)),
        ("30 6 1,15 * *", datetime(2026, 3, 1, 6, 30, tzinfo=UTC)),
        ("0 0 29 feb *", datetime(2028, 2, 29, tzinfo=UTC)),
        ("0 0 13 * 0", datetime(2026, 3, 1, tzinfo=UTC)),
        ("0 0 * * 7", datetime(2026, 3, 1, tzinfo=UTC)),
        ("5/20 13 * * *", datetime(2026, 2, 27, 13, 5, tzinfo=UTC)),
    ],
)
def test_a_cron_line_names_its_next_run(line: str, next_run: datetime) -> None:
    """Steps, spans, lists, names, and either of two kinds of day where both are restricted."""
    assert next_run == Cron.parse(line).after(NOON)


@pytest.mark.parametrize(
    "line", ["", "* * * *", "60 * * * *", "*/0 * * * *", "a * * * *", "* * 0 * *", "*/x * * * *"]
)
def test_a_line_that_is_no_cron_line_is_refused(line: str) -> None:
    """With a reason."""
    with pytest.raises(ValueError, match="no "):
        Cron.parse(line)


def test_a_cron_line_that_never_comes_true_is_refused() -> None:
    """Rather than waited for."""
    with pytest.raises(ValueError, match="never"):
        Cron.parse("0 0 31 6 *").after(NOON)


@pytest.mark.parametrize(
    ("line", "now", "fold", "pause_h"),
    [
        ("0 4 * * *", datetime(2026, 3, 29, 1, 30), 0, 1.5),
        ("0 4 * * *", datetime(2026, 10, 25, 1, 30), 0, 3.5),
        ("30 2 * * *", datetime(2026, 10, 25, 2, 10), 1, 24 + 1 / 3),
        ("0 0 1 * *", datetime(2026, 10, 25, 0, 0), 0, 7 * 24 + 1),
        ("* * 1 * *", datetime(2026, 10, 25, 0, 0), 0, 7 * 24 + 1),
        ("*/30 * * * *", datetime(2026, 3, 29, 1, 30), 0, 0.5),
        ("*/30 * * * *", datetime(2026, 10, 25, 2, 30), 0, 0.5),
        ("*/30 * * * *", datetime(2026, 10, 25, 2, 30), 1, 0.5),
    ],
)
def test_a_cron_line_keeps_to_its_zones_clocks_when_they_are_set(
    line: str, now: datetime, fold: int, pause_h: float
) -> None:
    """Once a day is once, at that hour, on a day of 23 hours and on one of 25; what runs oftener goes on."""
    schedule = api_pb2.Schedule(cron=api_pb2.Schedule.Cron(cron_string=line, timezone="Europe/Berlin"))
    there = now.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)
    assert pause_h * 3600 == pytest.approx(pause_s(schedule, there), abs=0.1)


def test_a_schedule_never_runs_before_its_minute() -> None:
    """It would run again in it: uvloop counts whole milliseconds, and wakes up to one early."""
    schedule = api_pb2.Schedule(cron=api_pb2.Schedule.Cron(cron_string="* * * * *"))
    assert 30.001 < pause_s(schedule, NOON) < 30.1


def test_a_period_adds_its_parts_up() -> None:
    """And one of nothing is no busy loop."""
    period = api_pb2.Schedule.Period
    assert 93_784.5 == pause_s(api_pb2.Schedule(period=period(days=1, hours=2, minutes=3, seconds=4.5)))
    assert 0.1 == pause_s(api_pb2.Schedule(period=period()))


def _image(*lines: str, below: str = "", mount: str = "") -> api_pb2.ImageGetOrCreateRequest:
    image = api_pb2.Image(dockerfile_commands=lines, context_mount_id=mount)
    if below:
        image.base_images.add(image_id=below)
    return api_pb2.ImageGetOrCreateRequest(image=image)


async def test_an_images_variables_and_files_are_those_of_all_its_layers() -> None:
    """Quoted as a shell does; what would be built is left out and named."""
    images = Images(Ids())
    base = await images.create(_image("FROM python:3.11", "ENV A=1", "RUN apt-get update"))
    top = await images.create(
        _image("FROM base", "COPY . /", "ENV B='x y' A=2", below=base.image_id, mount="mo-1")
    )
    image = images.get(top.image_id)
    assert {"A": "2", "B": "x y"} == dict(image.environ)
    assert ("mo-1",) == image.mounts
    assert ("RUN apt-get update",) == images.get(base.image_id).left_out


@pytest.mark.parametrize("text", ["A=1", "[x]\nA", "[x\nA=1"])
def test_a_file_of_secrets_names_the_line_that_is_wrong(tmp_path: Path, text: str) -> None:
    """Before anything is started."""
    path = tmp_path / "secrets"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"secrets:[12]: write"):
        read_secrets(path)


async def test_secrets_come_from_a_file_by_name(tmp_path: Path) -> None:
    """Quotes and comments go; a secret that is not there, or lacks a key, is refused by its name."""
    path = tmp_path / "secrets"
    path.write_text("# ours\n[one]\nA=1\nexport B='x = y'\n\n[two]\n")
    secrets = Secrets(Ids(), read_secrets(path))
    found = await secrets.get_or_create(api_pb2.SecretGetOrCreateRequest(deployment_name="one"))
    assert {"A": "1", "B": "x = y"} == secrets.variables(found.secret_id)
    with pytest.raises(GRPCError, match="'three' is not among"):
        await secrets.get_or_create(api_pb2.SecretGetOrCreateRequest(deployment_name="three"))
    with pytest.raises(GRPCError, match="'two' lacks KEY"):
        await secrets.get_or_create(
            api_pb2.SecretGetOrCreateRequest(deployment_name="two", required_keys=["KEY"])
        )


@pytest.mark.parametrize(
    ("how", "value"),
    [
        (api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING, "old"),
        (api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS, "new"),
        (api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS, ""),
    ],
)
async def test_a_secret_that_is_there_is_kept_replaced_or_refused(
    how: "api_pb2.ObjectCreationType.ValueType", value: str
) -> None:
    """As the client asks: `allow_existing`, `--force`, or neither."""
    secrets = Secrets(Ids(), {"some": {"KEY": "old"}})
    request = api_pb2.SecretGetOrCreateRequest(
        deployment_name="some", env_dict={"KEY": "new"}, object_creation_type=how
    )
    if value:
        found = await secrets.get_or_create(request)
        assert {"KEY": value} == secrets.variables(found.secret_id)
    else:
        with pytest.raises(GRPCError, match="Secret 'some' already exists"):
            await secrets.get_or_create(request)


async def test_a_volume_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    """`modal volume create` says so, also when it was made on another day."""
    request = api_pb2.VolumeGetOrCreateRequest(
        deployment_name="some", object_creation_type=api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS
    )
    await Volumes(tmp_path, Ids()).get_or_create(request)
    with pytest.raises(GRPCError, match="Volume 'some' already exists"):
        await Volumes(tmp_path, Ids()).get_or_create(request)


async def test_variables_lead_to_a_volumes_folder(tmp_path: Path) -> None:
    """A path at or below the mount, and no other text."""
    volumes = Volumes(tmp_path, Ids())
    request = api_pb2.VolumeGetOrCreateRequest(
        deployment_name="skills", object_creation_type=api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING
    )
    made = await volumes.get_or_create(request)
    mount = api_pb2.VolumeMount(volume_id=made.volume_id, mount_path="/skills")
    moved = volumes.moved({"A": "/skills", "B": "/skills/x", "C": "/skillsets", "D": "skills"}, [mount])
    assert {"A": f"{tmp_path}/skills", "B": f"{tmp_path}/skills/x", "C": "/skillsets", "D": "skills"} == moved
    assert (tmp_path / "skills").is_dir()
    with pytest.raises(GRPCError, match="'absent' not found"):
        await volumes.get_or_create(api_pb2.VolumeGetOrCreateRequest(deployment_name="absent"))


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden"])
async def test_a_volume_whose_name_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    """Its name is used as one."""
    with pytest.raises(GRPCError, match="does not know a volume"):
        await Volumes(tmp_path, Ids()).get_or_create(api_pb2.VolumeGetOrCreateRequest(deployment_name=name))


async def _mount(code: Code, **files: str) -> str:
    request = api_pb2.MountGetOrCreateRequest()
    for name, text in files.items():
        digest = sha256(text.encode()).hexdigest()
        code.put(digest, text.encode())
        request.files.add(filename=f"/{HOME}/{name}.py", sha256_hex=digest)
    mount_id: str = (await code.create_mount(request)).mount_id
    return mount_id


async def test_code_is_laid_out_by_what_is_in_it(tmp_path: Path) -> None:
    """The same files are the same folder, others another; a later mount covers an earlier one."""
    code = Code(tmp_path, Ids())
    first, same, other = (
        await _mount(code, a="1"),
        await _mount(code, a="1"),
        await _mount(code, a="2", b="3"),
    )
    tree = code.lay_out([first])
    assert tree == code.lay_out([same])
    assert "1" == (tree / HOME / "a.py").read_text()
    both = code.lay_out([first, other])
    assert ["2", "3"] == [(both / HOME / name).read_text() for name in ("a.py", "b.py")]


async def test_code_that_nobody_uses_is_removed(tmp_path: Path) -> None:
    """What is deployed stays, also before it was laid out, and so does what a container still runs."""
    code = Code(tmp_path, Ids())
    running, deployed, old = (await _mount(code, a="1"), await _mount(code, a="2"), await _mount(code, a="3"))
    trees = [code.lay_out([mount]) for mount in (running, deployed, old)]
    (tmp_path / "code" / "left by a crash").mkdir()
    code.keep({trees[0]}, [[deployed], ["mo-unknown"], [await _mount(code, a="4")]])
    assert sorted(trees[:2]) == sorted((tmp_path / "code").iterdir())
    assert "3" == (code.lay_out([old]) / HOME / "a.py").read_text()


async def test_code_stays_in_its_folder_and_is_what_its_digest_says(tmp_path: Path) -> None:
    """Neither a path that leaves the container nor a wrong upload gets in."""
    code = Code(tmp_path, Ids())
    with pytest.raises(ValueError, match="is not the file"):
        code.put("0" * 64, b"something")
    request = api_pb2.MountGetOrCreateRequest()
    request.files.add(filename=f"/{HOME}/../../etc/passwd", sha256_hex="0" * 64)
    mount = await code.create_mount(request)
    with pytest.raises(GRPCError, match="no place"):
        code.lay_out([mount.mount_id])


def test_logs_keep_no_more_than_they_may_hold() -> None:
    """However long the pieces are."""
    logs = Logs(most=3, most_characters=10)
    for text in ("four", "long line", "a"):
        logs.add("ap-1", "fu-1", "Some", "ta-1", api_pb2.FILE_DESCRIPTOR_STDOUT, text)
    assert ["long line", "a"] == [line.text for line in logs.lines("ap-1")]


async def test_logs_keep_the_last_lines_of_each_app(tmp_path: Path) -> None:
    """And give those that are asked for."""
    logs = Logs(most=3)
    for number in range(5):
        logs.add("ap-1", "fu-1", "Some", "ta-1", api_pb2.FILE_DESCRIPTOR_STDOUT, f"line {number}\n")
    assert ["line 2\n", "line 3\n", "line 4\n"] == [line.text for line in logs.lines("ap-1")]
    request = api_pb2.AppFetchLogsRequest(app_id="ap-1", search_text="3")
    request.until.GetCurrentTime()
    request.until.seconds += 60
    fetched = await logs.fetch(request)
    assert ["line 3\n"] == [item.data for batch in fetched.batches for item in batch.items]

"""What `modal deploy` makes of modal_app.py, as its control plane sees it, and what each container imports."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from modal_proto import api_pb2

from tests.commands import ROOT
from tests.modal_double import Deployment, bare, deploy

INSIDE = "/" + "root"  # where Modal puts a container's source

pytestmark = pytest.mark.modal

CLASSES = ("SkillRegistryActor", "SessionCacheActor", "ChatAgent")
FUNCTIONS = ("TelegramGateway", "telegram_chat_agent", "sweep_turns")
CANARY = "canary-9d41"
SCALED = {
    "FIRSTLIGHT_APP_NAME": "another-app",
    "FIRSTLIGHT_SHARDS": "3",
    "FIRSTLIGHT_ALLOWED_USERS": "",
    "FIRSTLIGHT_SKILL_REGISTRY_MIN_CONTAINERS": "0",
    "FIRSTLIGHT_SESSION_CACHE_SCALEDOWN_WINDOW": "600",
    "FIRSTLIGHT_CHAT_AGENT_MAX_CONTAINERS": "9",
    "FIRSTLIGHT_CHAT_AGENT_BUFFER_CONTAINERS": "2",
    "FIRSTLIGHT_CHAT_AGENT_MAX_INPUTS": "40",
    "FIRSTLIGHT_CHAT_AGENT_TARGET_INPUTS": "20",
    "FIRSTLIGHT_GATEWAY_MIN_CONTAINERS": "2",
    "FIRSTLIGHT_STORE": f"sqlite:///{CANARY}.db",
    "TELEGRAM_BOT_TOKEN": f"123:{CANARY}",
    "TELEGRAM_WEBHOOK_SECRET": "malformed, and not looked at",
    "ANTHROPIC_API_KEY": CANARY,
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment from a machine with no settings at all."""
    return asyncio.run(deploy(tmp_path_factory.mktemp("plain")))


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment from a machine with settings, secrets among them."""
    return asyncio.run(deploy(tmp_path_factory.mktemp("scaled"), **SCALED))


def test_a_deploy_without_any_setting_publishes_the_classes_and_functions(plain: Deployment) -> None:
    """The unmodified client deploys it: three actors, the gateway, the web function and the sweep; no more."""
    assert (plain.exit_code, plain.output.count("Created")) == (0, 7), plain.output
    assert plain.published.name == "claude-agents"
    assert plain.published.app_state == api_pb2.APP_STATE_DEPLOYED
    assert sorted(plain.published.class_ids) == sorted(CLASSES)
    assert sorted(plain.published.function_ids) == sorted((*(f"{name}.*" for name in CLASSES), *FUNCTIONS))


@pytest.mark.parametrize("name", CLASSES)
def test_every_actor_has_the_three_methods(plain: Deployment, name: str) -> None:
    """`ask`, `warm` (its frame optional) and `stats`, which an admin script calls with nothing of ours."""
    methods = plain.functions[f"{name}.*"].method_definitions
    arguments = {
        method: [(argument.name, argument.has_default) for argument in definition.function_schema.arguments]
        for method, definition in methods.items()
    }
    assert arguments == {"ask": [("frame", False)], "warm": [("frame", True)], "stats": []}


@pytest.mark.parametrize("name", CLASSES)
def test_every_actor_runs_many_inputs_on_a_snapshot_within_a_minute(plain: Deployment, name: str) -> None:
    """Without concurrency the event loop would stand still between inputs."""
    function = plain.functions[f"{name}.*"]
    assert (function.max_concurrent_inputs, function.checkpointing_enabled) == (100, True)
    assert (function.timeout_secs, function.startup_timeout_secs) == (60, 60)


def test_one_container_owns_a_shard(plain: Deployment) -> None:
    """The shard is a parameter, 0 by default, and each pool has at most one container."""
    function = plain.functions["SessionCacheActor.*"]
    (parameter,) = function.class_parameter_info.schema
    assert (parameter.name, parameter.type, parameter.int_default) == ("shard", api_pb2.PARAM_TYPE_INT, 0)
    assert (_scaling(function)["min"], _scaling(function)["max"]) == (1, 1)


@pytest.mark.parametrize(
    ("name", "secrets"),
    [
        ("SkillRegistryActor.*", ["firstlight-store"]),
        ("SessionCacheActor.*", ["firstlight-store"]),
        ("ChatAgent.*", ["firstlight-telegram", "firstlight-model"]),
        ("TelegramGateway", ["firstlight-telegram"]),
        ("telegram_chat_agent", ["firstlight-telegram"]),
        ("sweep_turns", ["firstlight-store"]),
    ],
)
def test_each_gets_only_the_secrets_that_it_needs(plain: Deployment, name: str, secrets: list[str]) -> None:
    """The gateway can't read the store, nor the store's owners Telegram's token."""
    assert plain.secrets_of(name) == secrets


def test_the_volume_of_skills_is_read_by_the_registry_only(plain: Deployment) -> None:
    """It is made if it is missing, mounted where FIRSTLIGHT_SKILLS_DIR says, and nobody writes to it."""
    (volume,) = plain.requests(api_pb2.VolumeGetOrCreateRequest)
    assert volume.deployment_name == "firstlight-skills"
    assert volume.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING
    mounted = {
        name: [(mount.mount_path, mount.read_only) for mount in function.volume_mounts]
        for name, function in plain.functions.items()
    }
    assert mounted == {name: [] for name in plain.functions} | {"SkillRegistryActor.*": [("/skills", True)]}
    assert "ENV FIRSTLIGHT_SKILLS_DIR=/skills" in plain.image.splitlines()


def test_the_gateway_is_an_open_server_that_ends_gracefully(plain: Deployment) -> None:
    """Telegram has no token for Modal's proxy; a stop lets running requests end; no limit of concurrency."""
    gateway = plain.functions["TelegramGateway"]
    http = gateway.http_config
    assert (gateway.is_server, http.unauthenticated, http.port) == (True, True, 8000)
    assert (http.exit_grace_period, _scaling(gateway)["min"]) == (25, 1)
    assert (gateway.max_concurrent_inputs, gateway.target_concurrent_inputs) == (0, 0)


def test_the_web_function_is_the_old_endpoint(plain: Deployment) -> None:
    """A web server of many requests at once, with no container of its own to keep warm."""
    function = plain.functions["telegram_chat_agent"]
    web = function.webhook_config
    assert (web.type, web.web_server_port) == (api_pb2.WEBHOOK_TYPE_WEB_SERVER, 8001)
    assert (function.max_concurrent_inputs, _scaling(function)["min"]) == (100, 0)


def test_the_sweep_is_soon_enough_for_a_dead_owners_turn(plain: Deployment) -> None:
    """A lease of 15 s and the pause between two sweeps stay below 30 s."""
    sweep = plain.functions["sweep_turns"]
    assert (sweep.schedule.period.seconds, _scaling(sweep)["max"]) == (10, 1)


def test_the_image_is_the_lock_and_the_compiled_packages(plain: Deployment) -> None:
    """One lock for laptop and container, its hashes required; bytecode for what is ours, too."""
    assert plain.image.startswith("FROM python:3.11")
    assert "--compile-bytecode --require-hashes --requirements" in plain.image
    assert (
        "cd ~ && python -m compileall -q --invalidation-mode unchecked-hash app actors contracts"
        in plain.image
    )


def test_skills_and_pages_reach_the_container_and_bytecode_of_here_does_not(plain: Deployment) -> None:
    """Every file of the packages that is in the repository is uploaded, whatever it is called."""
    packages = [path for name in ("app", "actors", "contracts") for path in (ROOT / name).rglob("*")]
    files = {path for path in packages if path.is_file() and path.suffix != ".pyc"}
    ours = {f"{INSIDE}/{path.relative_to(ROOT)}" for path in files}
    uploaded = {
        name
        for name in plain.files
        if name.startswith((f"{INSIDE}/app/", f"{INSIDE}/actors/", f"{INSIDE}/contracts/"))
    }
    assert any(name.endswith("/SKILL.md") for name in uploaded)
    assert uploaded == ours


def test_scaling_comes_from_the_deploying_machine(scaled: Deployment) -> None:
    """Each actor's own variables, and nobody else's."""
    functions = scaled.functions
    assert scaled.exit_code == 0, scaled.output
    assert scaled.published.name == "another-app"
    assert _scaling(functions["SkillRegistryActor.*"]) == {"min": 0, "max": 0, "buffer": 0, "window": 0}
    assert _scaling(functions["SessionCacheActor.*"]) == {"min": 1, "max": 1, "buffer": 0, "window": 600}
    assert _scaling(functions["ChatAgent.*"]) == {"min": 1, "max": 9, "buffer": 2, "window": 0}
    assert _scaling(functions["TelegramGateway"])["min"] == 2
    agent = functions["ChatAgent.*"]
    assert (agent.max_concurrent_inputs, agent.target_concurrent_inputs) == (40, 20)


def test_plain_settings_travel_and_secrets_stay(scaled: Deployment) -> None:
    """Containers see the shards and an allow-list of nobody; no request carries a secret's value."""
    lines = scaled.image.splitlines()
    assert {"ENV FIRSTLIGHT_SHARDS=3", "ENV FIRSTLIGHT_ALLOWED_USERS=''"} <= set(lines)
    assert [type(request).__name__ for request in scaled.asked if CANARY in str(request)] == []


def test_laptop_and_container_agree_on_secrets_and_volumes(plain: Deployment, scaled: Deployment) -> None:
    """The client counts a function's dependencies on both sides: no setting may change how many there are."""

    def dependencies(deployment: Deployment) -> dict[str, int]:
        return {name: len(function.object_dependencies) for name, function in deployment.functions.items()}

    assert dependencies(plain) == dependencies(scaled)


async def test_a_wrong_setting_ends_the_deploy_with_its_one_line(tmp_path: Path) -> None:
    """Nothing is created, and no traceback hides the reason."""
    failed = await deploy(tmp_path, FIRSTLIGHT_SHARDS="many")
    assert failed.exit_code == 1
    assert failed.output.strip() == "FIRSTLIGHT_SHARDS is no whole number: set a number from 1 to 1024"
    assert failed.requests(api_pb2.FunctionCreateRequest) == []


STORE = {"FIRSTLIGHT_STORE": "sqlite:////tmp/never-opened.db"}
FIRESTORE = {"FIRSTLIGHT_STORE": "firestore://demo", "FIRESTORE_EMULATOR_HOST": "127.0.0.1:1"}
TELEGRAM = {"TELEGRAM_BOT_TOKEN": "123:abc", "TELEGRAM_WEBHOOK_SECRET": "hook"}
MODEL = {"FIRSTLIGHT_MODEL": "anthropic:some", "ANTHROPIC_API_KEY": "key"}
BUILD = "from app import settings, wiring; from app.transport.remote import remote_fleet; given = settings.load();"
REGISTRY = "wiring.placed_skill_registry(given)"
SHARD = "wiring.placed_session_cache(given, 0)"
AGENT = "wiring.placed_chat_agent(given, remote_fleet('app', 2))"
FRONT = "from app.front import Front; Front(given, remote_fleet('app', 2), 0, host='127.0.0.1')"
HEAVY = {"aiohttp", "anthropic", "google.cloud.firestore_v1", "grpc", "pydantic", "sqlite3", "yaml"}


@pytest.mark.parametrize(
    ("build", "environ", "imported"),
    [
        ("", {}, set()),
        (REGISTRY, STORE, {"sqlite3", "yaml"}),
        (SHARD, STORE, {"sqlite3"}),
        (SHARD, FIRESTORE, {"google.cloud.firestore_v1", "grpc"}),
        (AGENT, TELEGRAM, {"aiohttp"}),
        (AGENT, TELEGRAM | MODEL, {"aiohttp", "anthropic", "pydantic"}),
        (FRONT, TELEGRAM, {"aiohttp"}),
    ],
    ids=["sweep", "registry", "shard on SQLite", "shard on Firestore", "agent offline", "agent", "gateway"],
)
def test_a_container_imports_what_it_uses(
    tmp_path: Path, build: str, environ: dict[str, str], imported: set[str]
) -> None:
    """The gateway has neither Firestore nor a model; only an agent that asks a model has one's SDK."""
    show = f"import sys; print(*sorted(name for name in {HEAVY} if name in sys.modules))"
    code = f"import modal_app; {BUILD if build else ''} {build}\n{show}"
    command = [sys.executable, "-W", "ignore", "-c", code]
    inside = bare(tmp_path) | environ | {"MODAL_IS_REMOTE": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=inside, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, set(done.stdout.split())) == (0, imported), done.stderr


def _scaling(function: Any) -> dict[str, int]:
    settings = function.autoscaler_settings
    return {
        "min": settings.min_containers,
        "max": settings.max_containers,
        "buffer": settings.buffer_containers,
        "window": settings.scaledown_window,
    }

"""What a deploy or a caller may ask for: what is laid over a function, and what is refused by its name."""

from pathlib import Path
from typing import Any

import pytest
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from app.plane import Plane
from app.plane.calls import Answers
from app.plane.definition import with_options
from app.plane.definition_check import KNOWN, KNOWN_OPTIONS, Definition, check
from app.plane.functions import Functions
from app.plane.ids import Ids
from app.plane.options import Options
from app.plane.registry import Pools
from app.plane.tables import shared_table

F = api_pb2.Function
GPU = api_pb2.Resources(gpu_config=api_pb2.GPUConfig(gpu_type="A100", count=1))
RDMA = api_pb2.Resources(rdma=True)
FOLDER = api_pb2.VolumeMount(volume_id="vo-1", mount_path="/data", sub_path="part")
BUCKET = api_pb2.CloudBucketMount(bucket_name="some")
HTTP = api_pb2.HTTPConfig

REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"batch_linger_ms": 5}, "@modal.batched"),
    ({"batch_max_size": 2}, "@modal.batched"),
    ({"block_network": True}, "block_network"),
    ({"cloud_bucket_mounts": [BUCKET]}, "bucket mounts"),
    ({"custom_domain_info": [api_pb2.CustomDomainInfo(url="some.org")]}, "custom domains"),
    ({"_experimental_group_size": 2}, "clusters"),
    ({"_experimental_fabric_size": 2}, "clusters"),
    ({"_experimental_enable_gpu_snapshot": True}, "snapshots of GPUs"),
    ({"enable_gpu_snapshot": True}, "snapshots of GPUs"),
    ({"experimental_options": {"some": "1"}}, "experimental_options"),
    ({"flash_service_label": "some"}, "flash_service_label"),
    ({"i6pn_enabled": True}, "i6pn"),
    ({"is_builder_function": True}, "Image.run_function"),
    ({"is_sessioned": True}, "sessions"),
    ({"max_inputs": 2}, "max_inputs but 1"),
    ({"proxy_id": "pr-1"}, "proxies"),
    ({"pty_info": api_pb2.PTYInfo(enabled=True)}, "interactive runs"),
    ({"rate_limit": api_pb2.RateLimit(limit=1)}, "rate limits"),
    ({"shared_volume_mounts": [api_pb2.SharedVolumeMount(mount_path="/some")]}, "network file systems"),
    ({"untrusted": True}, "restrict_modal_access"),
    ({"function_type": F.FUNCTION_TYPE_GENERATOR}, "generators"),
    (
        {"method_definitions": {"some": api_pb2.MethodDefinition(function_type=F.FUNCTION_TYPE_GENERATOR)}},
        "generators",
    ),
    (
        {
            "method_definitions": {
                "some": api_pb2.MethodDefinition(
                    webhook_config=api_pb2.WebhookConfig(type=api_pb2.WEBHOOK_TYPE_FUNCTION)
                )
            }
        },
        "web endpoints of a class",
    ),
    ({"resources": GPU}, "GPUs"),
    ({"resources": RDMA}, "RDMA"),
    ({"volume_mounts": [FOLDER]}, "sub_path of a volume"),
    ({"autoscaler_settings": api_pb2.AutoscalerSettings(scaleup_window=5)}, "scaleup_window"),
    ({"autoscaler_settings": api_pb2.AutoscalerSettings(scaledown_rate_limit=5)}, "scaledown_rate_limit"),
    (
        {"network_access": api_pb2.NetworkAccess(network_access_type=api_pb2.NetworkAccess.BLOCKED)},
        "a closed network",
    ),
    (
        {"network_access": api_pb2.NetworkAccess(network_access_type=api_pb2.NetworkAccess.ALLOWLIST)},
        "a closed network",
    ),
    ({"is_server": True, "http_config": HTTP(port=80)}, "servers but with unauthenticated=True"),
    ({"is_server": True, "http_config": HTTP(unauthenticated=True, h2_enabled=True)}, "HTTP/2"),
    (
        {
            "is_server": True,
            "http_config": HTTP(unauthenticated=True, lift_and_shift_config=api_pb2.LiftAndShiftConfig()),
        },
        "direct servers",
    ),
)

REFUSED_OPTIONS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"batch_max_size": 2}, "@modal.batched"),
    ({"batch_linger_ms": 5}, "@modal.batched"),
    ({"cloud_bucket_mounts": [BUCKET]}, "bucket mounts"),
    ({"replace_cloud_bucket_mounts": True}, "bucket mounts"),
    ({"mount_ids": ["mo-1"]}, "mount_ids"),
    ({"pinned_app_version": 3}, "pinned_app_version"),
    ({"resources": GPU}, "GPUs"),
    ({"resources": RDMA}, "RDMA"),
    ({"volume_mounts": [FOLDER]}, "sub_path of a volume"),
)


@pytest.mark.parametrize(("asked", "told"), REFUSED, ids=[str(asked) for asked, _ in REFUSED])
def test_what_would_run_differently_is_refused_at_the_deploy(asked: dict[str, Any], told: str) -> None:
    """In one line that names it and the function."""
    with pytest.raises(GRPCError) as refused:
        check(F(function_name="some", **asked))
    assert f"firstlight's plane does not know {told}, which some asks for" == refused.value.message


@pytest.mark.parametrize(("asked", "told"), REFUSED_OPTIONS, ids=[str(asked) for asked, _ in REFUSED_OPTIONS])
async def test_options_that_would_do_something_else_are_refused_where_they_are_asked_for(
    asked: dict[str, Any], told: str
) -> None:
    """In the same line; and no pool is made for them."""
    pools, function_id = await _deployed(F(function_name="some"))
    request = api_pb2.FunctionBindParamsRequest(
        function_id=function_id, function_options=api_pb2.FunctionOptions(**asked)
    )
    with pytest.raises(GRPCError) as refused:
        await pools.bind(request)
    assert f"firstlight's plane does not know {told}, which some asks for" == refused.value.message
    assert [] == list(pools)


async def test_the_same_parameters_are_one_pool_whatever_their_order() -> None:
    """The client writes them in the order in which its caller does; two pools would be two owners."""
    parameters = api_pb2.ClassParameterInfo(
        format=api_pb2.ClassParameterInfo.PARAM_SERIALIZATION_FORMAT_PROTO
    )
    pools, function_id = await _deployed(F(function_name="some", class_parameter_info=parameters))
    first = api_pb2.ClassParameterValue(name="a", type=api_pb2.PARAM_TYPE_INT, int_value=1)
    second = api_pb2.ClassParameterValue(name="b", type=api_pb2.PARAM_TYPE_INT, int_value=2)
    for values in ([first, second], [second, first]):
        given = api_pb2.ClassParameterSet(parameters=values).SerializeToString()
        await pools.bind(api_pb2.FunctionBindParamsRequest(function_id=function_id, serialized_params=given))
    assert 1 == len(list(pools))


async def _deployed(definition: Definition) -> tuple[Pools, str]:
    """The pools of one function, with its id."""
    ids, options = Ids(), Options()
    functions = Functions(ids, _no_address)
    pools = Pools(options, ids, functions, Answers(options), lambda _: None)
    announced = api_pb2.FunctionPrecreateRequest(function_name=definition.function_name)
    function = functions.get((await functions.precreate(announced)).function_id)
    function.live = definition
    return pools, function.id


async def _no_address(_: object) -> str:
    return ""


@pytest.mark.parametrize(
    ("message", "known", "refused"),
    [(F, KNOWN, REFUSED), (api_pb2.FunctionOptions, KNOWN_OPTIONS, REFUSED_OPTIONS)],
)
def test_every_field_is_known_or_refused(
    message: Any, known: frozenset[str], refused: tuple[tuple[dict[str, Any], str], ...]
) -> None:
    """A field that a later client brings is refused until somebody has looked at it; the table above names the rest."""
    fields = set(message.DESCRIPTOR.fields_by_name)
    named = {field for asked, _ in refused for field in asked}
    unnamed = {  # nothing in the client fills these
        "_experimental_custom_scaling",
        "_experimental_task_templates",
        "_experimental_task_templates_enabled",
        "checkpoint",
        "flash_service_urls",
        "s3_mounts",
    }
    assert set() == known - fields
    assert fields <= known | named | unnamed


@pytest.mark.parametrize(
    "asked",
    [
        {"resources": api_pb2.Resources(milli_cpu=500, memory_mb=128, gpu_config=api_pb2.GPUConfig())},
        {"scheduler_placement": api_pb2.SchedulerPlacement(regions=["eu"]), "cloud_provider_str": "aws"},
        {"network_access": api_pb2.NetworkAccess(network_access_type=api_pb2.NetworkAccess.OPEN)},
        {"checkpointing_enabled": True, "single_use_containers": True, "max_inputs": 1},
        {"is_server": True, "http_config": HTTP(port=80, unauthenticated=True, proxy_regions=["eu"])},
        {"webhook_config": api_pb2.WebhookConfig(type=api_pb2.WEBHOOK_TYPE_ASGI_APP), "batch_max_size": 2},
    ],
    ids=str,
)
def test_what_code_can_not_tell_is_taken(asked: dict[str, Any]) -> None:
    """How large its machine is and where, and what has no other meaning here; a web function never runs at all."""
    check(F(function_name="some", **asked))


@pytest.mark.parametrize(
    "described",
    [
        {"function_data": api_pb2.FunctionData(function_name="some")},
        {"function": F(function_name="some", resources=GPU)},
    ],
)
async def test_a_gpu_is_refused_when_the_function_is_created(described: dict[str, Any]) -> None:
    """Also a choice between several, which the client describes in another place than usual."""
    functions = Functions(Ids(), _no_address)
    made = await functions.precreate(api_pb2.FunctionPrecreateRequest(function_name="some"))
    request = api_pb2.FunctionCreateRequest(existing_function_id=made.function_id, **described)
    with pytest.raises(GRPCError, match="know GPUs, which some asks for"):
        await functions.create(request)


@pytest.mark.parametrize(
    "rpc",
    [
        "AppCreate",
        "AppGetByDeploymentName",
        "AppGetOrCreate",
        "ClassGet",
        "FunctionGet",
        "SecretGetOrCreate",
        "VolumeGetOrCreate",
    ],
)
async def test_another_environment_than_the_only_one_is_refused(tmp_path: Path, rpc: str) -> None:
    """Its apps and secrets would be those of this one."""
    request = getattr(api_pb2, f"{rpc}Request")(environment_name="staging")
    with pytest.raises(GRPCError, match="know environments, and staging is one"):
        await shared_table(Plane(tmp_path))[rpc](request)


async def test_a_staged_deploy_is_refused(tmp_path: Path) -> None:
    """It would be in force at once here."""
    plane = Plane(tmp_path)
    app_id = (await plane.apps.create(api_pb2.AppCreateRequest(description="some"))).app_id
    with pytest.raises(GRPCError, match="know staged deploys"):
        await plane.apps.publish(api_pb2.AppPublishRequest(app_id=app_id, staged=True))


def test_options_replace_what_they_name_and_nothing_else() -> None:
    """Attempts, times, concurrency, scaling, secrets and volumes; the deployed definition stays as it was."""
    function = F(function_name="some", timeout_secs=10, startup_timeout_secs=20, secret_ids=["st-1", "st-2"])
    function.max_concurrent_inputs, function.target_concurrent_inputs = 100, 50
    function.autoscaler_settings.min_containers = 2
    function.volume_mounts.add(volume_id="vo-1")
    before = function.SerializeToString()
    policy = api_pb2.FunctionRetryPolicy(retries=3, initial_delay_ms=1000, backoff_coefficient=2)
    options = api_pb2.FunctionOptions(
        retry_policy=policy,
        timeout_secs=5,
        max_concurrent_inputs=4,
        concurrency_limit=9,
        buffer_containers=1,
        task_idle_timeout_secs=30,
        replace_secret_ids=True,
        secret_ids=["st-3"],
    )
    changed = with_options(function, options)
    assert before == function.SerializeToString()
    assert policy == changed.retry_policy
    assert (5, 20) == (changed.timeout_secs, changed.startup_timeout_secs)
    assert (4, 0) == (changed.max_concurrent_inputs, changed.target_concurrent_inputs)
    assert (["st-3"], ["vo-1"]) == (changed.secret_ids, [each.volume_id for each in changed.volume_mounts])
    assert changed.autoscaler_settings == api_pb2.AutoscalerSettings(
        min_containers=2, max_containers=9, buffer_containers=1, scaledown_window=30
    )


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        (api_pb2.Schedule(cron=api_pb2.Schedule.Cron(cron_string="never")), "no cron line"),
        (
            api_pb2.Schedule(cron=api_pb2.Schedule.Cron(cron_string="* * * * *", timezone="Atlantis")),
            "Atlantis",
        ),
    ],
)
def test_a_schedule_that_can_not_be_read_is_refused_at_the_deploy(
    schedule: api_pb2.Schedule, told: str
) -> None:
    """And not found out when it never runs."""
    with pytest.raises(GRPCError, match=told):
        check(api_pb2.Function(function_name="some", schedule=schedule))

"""What the plane can't run as Modal would: refused by its name, before anything runs and does something else."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from modal_proto import api_pb2

from app.plane.errors import malformed, unknown
from app.plane.timing import pause_s

Definition = Any  # api_pb2.Function; its stub names no private fields, and the client fills some
MAIN: Final = ("", "main")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


KNOWN: Final = _names(
    """
    app_name function_name function_schema implementation_name module_name object_dependencies
    class_parameter_info class_serialized definition_type function_serialized function_type is_class is_method
    method_definitions method_definitions_set supported_input_formats supported_output_formats
    image_id mount_client_dependencies mount_ids secret_ids volume_mounts
    max_concurrent_inputs max_inputs retry_policy single_use_containers startup_timeout_secs
    target_concurrent_inputs timeout_secs _experimental_concurrent_cancellations
    autoscaler_settings concurrency_limit task_idle_timeout_secs warm_pool_size _experimental_buffer_containers
    http_config is_server network_access schedule web_url web_url_info webhook_config
    checkpointing_enabled is_auto_snapshot is_checkpointing_function
    cloud_provider cloud_provider_str resources routing_region scheduler_placement
    runtime runtime_debug runtime_perf_record snapshot_debug worker_id
    """
)
"""Fields of api_pb2.Function that are honoured, and, in the last three lines, those that code can't tell: how it
starts sooner, how large a machine it has and where, and how Modal watches its own parts. Any other is refused."""

KNOWN_OPTIONS: Final = _names(
    """
    replace_secret_ids replace_volume_mounts secret_ids volume_mounts
    max_concurrent_inputs retry_policy target_concurrent_inputs timeout_secs
    buffer_containers concurrency_limit task_idle_timeout_secs warm_pool_size
    cloud_provider_str resources routing_region scheduler_placement
    """
)
"""The same of api_pb2.FunctionOptions, which `with_options` and its like fill."""

KNOWN_SETTINGS: Final = _names(
    """
    buffer_containers max_containers min_containers scaledown_window target_concurrency target_concurrency_float
    """
)
"""The same of api_pb2.AutoscalerSettings."""

WORDS: Final[Mapping[str, str]] = {
    "_experimental_enable_gpu_snapshot": "snapshots of GPUs",
    "_experimental_fabric_size": "clusters",
    "_experimental_group_size": "clusters",
    "batch_linger_ms": "@modal.batched",
    "batch_max_size": "@modal.batched",
    "block_network": "block_network",
    "cloud_bucket_mounts": "bucket mounts",
    "custom_domain_info": "custom domains",
    "enable_gpu_snapshot": "snapshots of GPUs",
    "i6pn_enabled": "i6pn",
    "is_builder_function": "Image.run_function",
    "is_sessioned": "sessions",
    "proxy_id": "proxies",
    "pty_info": "interactive runs",
    "rate_limit": "rate limits",
    "replace_cloud_bucket_mounts": "bucket mounts",
    "s3_mounts": "bucket mounts",
    "shared_volume_mounts": "network file systems",
    "untrusted": "restrict_modal_access",
}
"""What people call the fields; others go by their own name."""

OPEN: Final = (api_pb2.NetworkAccess.UNSPECIFIED, api_pb2.NetworkAccess.OPEN)

PARTS: Final[Iterable[tuple[str, Callable[[Definition], bool]]]] = (
    ("generators", lambda function: any(map(_generates, (function, *function.method_definitions.values())))),
    ("web endpoints of a class", lambda function: any(map(_is_web, function.method_definitions.values()))),
    ("GPUs", lambda function: bool(function.resources.gpu_config.ByteSize())),
    ("RDMA", lambda function: bool(function.resources.rdma)),
    ("sub_path of a volume", lambda function: any(mount.sub_path for mount in function.volume_mounts)),
    ("max_inputs but 1", lambda function: function.max_inputs > 1),
    ("a closed network", lambda function: _is_closed(function)),
    ("HTTP/2", lambda function: bool(function.http_config.h2_enabled)),
    ("direct servers", lambda function: _has(function.http_config, "lift_and_shift_config")),
    ("servers but with unauthenticated=True", lambda function: _wants_tokens(function)),
)
"""Parts of known fields that are not."""


def check(function: Definition) -> None:
    """Refuse by name what can't be run, and a schedule that can't be read."""
    if function.schedule.WhichOneof("schedule_oneof"):
        _check_schedule(function)
    if function.webhook_config.type:  # it never runs: its address says so
        return
    _check_fields(function, KNOWN, function.function_name)
    check_settings(function.autoscaler_settings, function.function_name)
    for what, asks in PARTS:
        if asks(function):
            raise unknown(f"{what}, which {function.function_name} asks for")


def check_options(options: Any, name: str) -> None:
    """Refuse by name what of api_pb2.FunctionOptions can't be laid over a function."""
    _check_fields(options, KNOWN_OPTIONS, name)


def check_settings(settings: Any, name: str) -> None:
    """Refuse by name what of api_pb2.AutoscalerSettings the plane does not scale by."""
    _check_fields(settings, KNOWN_SETTINGS, name)


def check_request(request: Any) -> None:
    """Refuse a FunctionCreate that leaves a choice, which the client offers between GPUs only."""
    if request.HasField("function_data"):
        raise unknown(f"GPUs, which {request.function_data.function_name} asks for")


def check_environment(request: Any) -> None:
    """Refuse a request for another environment than the only one."""
    if request.environment_name not in MAIN:
        raise unknown(f"environments, and {request.environment_name} is one")


# ---------------------------------------------------------------- helpers


def _check_fields(message: Any, known: frozenset[str], name: str) -> None:
    for field, _ in message.ListFields():
        if field.name not in known:
            raise unknown(f"{WORDS.get(field.name, field.name)}, which {name} asks for")


def _generates(described: Any) -> bool:
    return bool(described.function_type == api_pb2.Function.FUNCTION_TYPE_GENERATOR)


def _is_web(method: Any) -> bool:
    return bool(method.webhook_config.type)


def _is_closed(function: Definition) -> bool:
    return _has(function, "network_access") and function.network_access.network_access_type not in OPEN


def _has(message: Any, field: str) -> bool:
    """Whether a field is set, which older clients may not have at all (1.5 has no `network_access`)."""
    return field in message.DESCRIPTOR.fields_by_name and bool(message.HasField(field))


def _wants_tokens(function: Definition) -> bool:
    return bool(function.is_server and not function.http_config.unauthenticated)


def _check_schedule(function: Definition) -> None:
    try:
        pause_s(function.schedule)
    except ValueError as wrong:
        raise malformed(f"the schedule of {function.function_name}: {wrong}") from None

"""A function as its deploy defined it: its metadata, and options laid over it."""

from typing import Any

from modal_proto import api_pb2

from app.plane.definition_check import Definition, check, check_options


def with_options(function: Definition, options: Any) -> Definition:
    """A copy with what `with_options` and its like say; raises UNIMPLEMENTED for what can't be had here."""
    check_options(options, function.function_name)
    changed = api_pb2.Function()
    changed.CopyFrom(function)
    for name in ("timeout_secs", "max_concurrent_inputs", "target_concurrent_inputs"):
        if options.HasField(name):
            setattr(changed, name, getattr(options, name))
    if options.HasField("max_concurrent_inputs") and not options.HasField("target_concurrent_inputs"):
        changed.ClearField("target_concurrent_inputs")  # it belonged to the maximum that is replaced
    for name in ("retry_policy", "resources"):
        if options.HasField(name):
            getattr(changed, name).CopyFrom(getattr(options, name))
    _replace_lists(changed, options)
    _replace_scaling(changed, options)
    check(changed)
    return changed


def metadata(function_id: str, app_id: str, function: Definition, url: str = "") -> Any:
    """What a client's handle knows of it; `function` may be what a precreate said, which has the same fields."""
    data = _handle(function, app_id)
    data.definition_id = f"de-{function_id}"
    if getattr(function, "is_server", False):
        getattr(data, "_experimental_flash_urls").append(url)  # noqa: B009 - what Server.get_url() reads
    if function.webhook_config.type:
        data.web_url = url
    if hasattr(function, "class_parameter_info"):
        data.class_parameter_info.CopyFrom(function.class_parameter_info)
    for name, method in function.method_definitions.items():
        entry = data.method_handle_metadata[name]
        entry.CopyFrom(_handle(method, app_id))
        entry.is_method, entry.use_method_name = True, name
    return data


def summary(function: Definition) -> Any:
    """The same function as FunctionData: every field that both messages have, and itself as the only rank."""
    data = api_pb2.FunctionData()
    known = api_pb2.FunctionData.DESCRIPTOR.fields_by_name
    for described, value in function.ListFields():
        if described.name in known:
            _copy_field(data, described, value)
    data.ranked_functions.add(rank=0).function.CopyFrom(function)
    return data


# ---------------------------------------------------------------- helpers


def _handle(described: Any, app_id: str) -> Any:
    return api_pb2.FunctionHandleMetadata(
        function_name=described.function_name,
        function_type=described.function_type,
        app_id=app_id,
        function_schema=described.function_schema,
        supported_input_formats=described.supported_input_formats,
        supported_output_formats=described.supported_output_formats,
    )


def _replace_lists(changed: Definition, options: Any) -> None:
    for flag, name in (("replace_secret_ids", "secret_ids"), ("replace_volume_mounts", "volume_mounts")):
        if getattr(options, flag):
            changed.ClearField(name)
        getattr(changed, name).extend(getattr(options, name))


def _replace_scaling(changed: Definition, options: Any) -> None:
    scaling = changed.autoscaler_settings
    for name, setting in (
        ("concurrency_limit", "max_containers"),
        ("warm_pool_size", "min_containers"),
        ("buffer_containers", "buffer_containers"),
        ("task_idle_timeout_secs", "scaledown_window"),
    ):
        if options.HasField(name):
            setattr(scaling, setting, getattr(options, name))


def _copy_field(data: Any, described: Any, value: Any) -> None:
    target = getattr(data, described.name)
    if described.message_type and described.message_type.GetOptions().map_entry:
        _copy_map(target, value)
    elif described.is_repeated:
        target.extend(value)
    elif described.message_type:
        target.CopyFrom(value)
    else:
        setattr(data, described.name, value)


def _copy_map(target: Any, value: Any) -> None:
    for key, entry in value.items():
        if hasattr(entry, "CopyFrom"):
            target[key].CopyFrom(entry)
        else:
            target[key] = entry

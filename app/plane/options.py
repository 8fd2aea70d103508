"""What a plane is told: its addresses, secrets, waits and bounds; the defaults are Modal's where Modal states one."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The settings of one plane; every `_s` is in seconds."""

    port: int = 0
    """Where clients connect on loopback; 0 takes a free port."""
    web_ports: Mapping[str, int] = field(default_factory=dict)
    """The loopback port of each served function's address, by its name; a free one for those not named."""
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What `modal.Secret.from_name` finds: variables by the secret's name. Never written to disk."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables that every container sees beside those of its image and secrets."""
    python: str = sys.executable
    """The interpreter of the containers; it stands for the image, which is not built."""
    token_secret: str = ""
    """What clients must present; empty makes one up."""
    snapshots: bool = False
    """Go through Modal's snapshot and restore protocol; no memory is saved, the container just goes on."""

    timeout_s: float = 300.0
    """For a function that names none; the same for its start."""
    grace_s: float = 30.0
    """What exit hooks get before SIGKILL."""
    cancel_s: float = 5.0
    """What a cancelled input gets before its container is killed."""
    scaledown_s: float = 60.0
    """How long an idle container lives when the function does not say."""
    unheard_s: float = 60.0
    """How long an app of `modal run` outlives its client's last heartbeat, of which there is one in 15 s."""
    request_s: float = 300.0
    """The longest request through the proxy."""
    crash_first_s: float = 0.5
    """The pause after a first failed start; it doubles up to `crash_most_s`."""
    crash_most_s: float = 30.0
    crash_gives_up: int = 4
    """Failed starts in a row after which the waiting inputs get the failure as their answer."""
    redeliveries: int = 8
    """How often an input outlives its container; the client's own bound for internal failures."""
    tick_s: float = 0.2
    """How often idle containers and late starts are looked for; everything else is told at once."""

    most_containers: int = 200
    """Of the whole plane: each is a process of about 60 MiB."""
    most_pools: int = 2_000
    most_queued: int = 20_000
    """Inputs waiting in one pool; beyond, a call is refused as exhausted."""
    most_answers: int = 20_000
    """Calls whose answers are kept; the oldest go first."""
    most_answer_bytes: int = 256 * MIB
    most_blob_bytes: int = 1024 * MIB
    most_log_lines: int = 20_000
    """Of one app."""

"""How many containers a pool wants: Modal's autoscaler settings over what waits and runs."""

from dataclasses import dataclass
from typing import Any

from app.plane.definition_check import Definition


@dataclass(frozen=True, slots=True)
class Scaling:
    """The settings of one pool, in containers, inputs and seconds; 0 for `most` is no limit."""

    least: int = 0
    most: int = 0
    buffer: int = 0
    window_s: float = 60.0
    target: float = 1
    """Inputs, or a server's requests, that one container is meant to run at once; 0 has one serve all."""

    def wanted(self, load: int) -> int:
        """Containers for that many waiting and running inputs."""
        needed = self._needed(load)
        count = max(needed + self.buffer if needed else 0, self.least)
        return min(count, self.most) if self.most else count

    def _needed(self, load: int) -> int:
        if not load:
            return 0
        return -int(-load // self.target) if self.target else 1


def scaling_of(function: Definition, settings: Any, scaledown_s: float) -> Scaling:
    """What a definition says, with `settings` (api_pb2.AutoscalerSettings) in force for it."""
    return Scaling(
        least=settings.min_containers,
        most=settings.max_containers,
        buffer=settings.buffer_containers,
        window_s=settings.scaledown_window or scaledown_s,
        target=_server_target(function, settings) if function.is_server else _input_target(function),
    )


# ---------------------------------------------------------------- helpers


def _input_target(function: Definition) -> int:
    return int(function.target_concurrent_inputs or function.max_concurrent_inputs or 1)


def _server_target(function: Definition, settings: Any) -> float:
    given = (
        settings.target_concurrency_float
        or settings.target_concurrency
        or function.http_config.target_concurrency
    )
    return float(given)

"""Runs Modal apps on this machine: a control plane of Modal's own protocol, containers as processes, no account."""

from app.plane.faults import Faults
from app.plane.options import Options
from app.plane.plane import ContainerInfo, Plane

__all__ = ["ContainerInfo", "Faults", "Options", "Plane"]

"""What the plane says to a client in place of an answer: one line each, under a status that Modal's client knows.

GRPCError
├─ UNIMPLEMENTED       this plane does not know it: do not retry
├─ INVALID_ARGUMENT    it can't be read: do not retry
├─ NOT_FOUND           no such app, function, secret or call: do not retry
├─ ALREADY_EXISTS      what was to be made is there: do not retry
├─ FAILED_PRECONDITION the app is stopped: do not retry
└─ RESOURCE_EXHAUSTED  a bound of the plane: retry later
"""

from grpclib.const import Status
from grpclib.exceptions import GRPCError


def unknown(what: str) -> GRPCError:
    """The plane has no such thing."""
    return GRPCError(Status.UNIMPLEMENTED, f"firstlight's plane does not know {what}")


def malformed(what: str) -> GRPCError:
    """Nobody could read it."""
    return GRPCError(Status.INVALID_ARGUMENT, what)


def missing(what: str) -> GRPCError:
    """Nobody made it, or it is gone."""
    return GRPCError(Status.NOT_FOUND, what)


def existing(what: str) -> GRPCError:
    """It was to be made, and not to be found."""
    return GRPCError(Status.ALREADY_EXISTS, f"{what} already exists")


def stopped(app: str) -> GRPCError:
    """The app takes no more calls."""
    return GRPCError(Status.FAILED_PRECONDITION, f"App '{app}' is stopped")


def exhausted(what: str) -> GRPCError:
    """A bound is reached."""
    return GRPCError(Status.RESOURCE_EXHAUSTED, f"firstlight's plane holds no more {what}")


def unavailable(why: str) -> GRPCError:
    """The client may try again."""
    return GRPCError(Status.UNAVAILABLE, why)


def denied() -> GRPCError:
    """Not with that token."""
    return GRPCError(Status.UNAUTHENTICATED, "this token is not of this plane: see `environment()`")

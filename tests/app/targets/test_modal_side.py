"""What is said when Modal, or a plane, does not do what was asked: one line, and what to do."""

import asyncio

import modal.exception
import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from app.targets.modal_side import told
from app.targets.place import Kind, Place
from app.targets.refusals import ModalRefused
from tests.app.targets.test_note import note

DEADLINE_S = 0.02


def place(kind: Kind) -> Place:
    """A plane, or the account."""
    return Place(kind=kind, app_name="app", shards=1, plane=note("http://there") if kind == "plane" else None)


async def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("modal", modal.exception.AuthError("no"), "Modal does not know this token: run `modal setup`"),
        ("modal", modal.exception.NotFoundError("x"), "app is not deployed to Modal: run `modal deploy"),
        ("plane", modal.exception.NotFoundError("x"), "to the plane at http://there: run `firstlight up`"),
        ("modal", modal.exception.ConnectionError("down\nand out"), "Modal: ConnectionError: down"),
        ("plane", GRPCError(Status.INTERNAL, "broken"), "the plane at http://there: GRPCError"),
        ("plane", StreamTerminatedError("gone"), "the plane at http://there: StreamTerminatedError: gone"),
        (
            "plane",
            ConnectionRefusedError(111, "refused"),
            "the plane at http://there: ConnectionRefusedError",
        ),
    ],
)
async def test_a_failure_is_one_line(kind: Kind, error: Exception, said: str) -> None:
    """It names the place, and never has the client's several lines."""
    with pytest.raises(ModalRefused) as refused:
        await told(place(kind), _raise(error), 1.0)
    assert (1, True) == (len(str(refused.value).splitlines()), said in str(refused.value))


async def test_no_call_is_waited_for_without_an_end() -> None:
    """The client itself would try for minutes."""
    with pytest.raises(ModalRefused, match=r"Modal did not answer within 0\.02 s"):
        await told(place("modal"), asyncio.sleep(60), DEADLINE_S)


async def test_a_defect_of_ours_is_no_failure_of_modals() -> None:
    """It shows itself as what it is."""
    with pytest.raises(ZeroDivisionError):
        await told(place("modal"), _raise(ZeroDivisionError()), 1.0)

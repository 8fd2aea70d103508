"""The Firestore connection without a Firestore: opening, closing, credentials, and the meaning of errors."""

import asyncio
import json

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from actors.stores import StoreDenied, StoreDown, StoreError, StoreTooLarge
from app.store.firestore_attempts import Limits
from app.store.firestore_client import FirestoreDatabase
from app.store.firestore_errors import (
    AlreadyExists,
    Exhausted,
    MissingIndex,
    NotOpen,
    PastDeadline,
    PreconditionFailed,
    store_error,
)
from tests.app.store.backends import CountingMeter

Code = grpc.StatusCode
NOWHERE = "127.0.0.1:1"
"""A port of the loopback where nothing listens."""

MEANINGS: list[tuple[grpc.StatusCode, str, type[StoreError]]] = [
    (Code.UNAVAILABLE, "away", StoreDown),
    (Code.DEADLINE_EXCEEDED, "slow", PastDeadline),
    (Code.RESOURCE_EXHAUSTED, "quota", Exhausted),
    (Code.RESOURCE_EXHAUSTED, "gRPC message exceeds maximum size 4194304: 9021124", StoreTooLarge),
    (
        Code.RESOURCE_EXHAUSTED,
        "CLIENT: Received message larger than max (9021124 vs. 4194304)",
        StoreTooLarge,
    ),
    (Code.INVALID_ARGUMENT, "Request payload size exceeds the limit: 10485760 bytes.", StoreTooLarge),
    (Code.INVALID_ARGUMENT, "Transaction too big. Decrease transaction size.", StoreTooLarge),
    (Code.ABORTED, "contention", StoreDown),
    (Code.CANCELLED, "stream", StoreDown),
    (Code.INTERNAL, "oops", StoreDown),
    (Code.UNKNOWN, "what", StoreDown),
    (Code.PERMISSION_DENIED, "no", StoreDenied),
    (Code.UNAUTHENTICATED, "who", StoreDenied),
    (Code.INVALID_ARGUMENT, "a document of more than 1 MiB", StoreDenied),
    (Code.INVALID_ARGUMENT, "Invalid base version, it is greater than the stored one", PreconditionFailed),
    (Code.ALREADY_EXISTS, "there", AlreadyExists),
    (Code.NOT_FOUND, "No document to update", PreconditionFailed),
    (Code.NOT_FOUND, "The database (default) does not exist for project p", StoreDenied),
    (Code.FAILED_PRECONDITION, "the stored version does not match", PreconditionFailed),
    (Code.FAILED_PRECONDITION, "The query requires an index. You can create it here", MissingIndex),
    (
        Code.UNAVAILABLE,
        "Getting metadata from plugin failed with error: ('invalid_grant: gone')",
        StoreDenied,
    ),
    (Code.UNAVAILABLE, "Getting metadata from plugin failed with error: timed out", StoreDown),
]


@pytest.mark.parametrize(("code", "detail", "meaning"), MEANINGS)
def test_what_an_error_of_google_means(code: grpc.StatusCode, detail: str, meaning: type[StoreError]) -> None:
    """Each status tells a caller whether asking again can help; texts decide where the status does not."""
    empty = grpc.aio.Metadata()
    assert type(store_error(grpc.aio.AioRpcError(code, empty, empty, detail))) is meaning


def test_an_error_without_a_status_is_the_connections() -> None:
    """gRPC says so of its own use, as of a call on a channel that has just been closed."""
    assert type(store_error(grpc.aio.UsageError("Channel is closed."))) is StoreDown


async def test_nothing_listens() -> None:
    """A host without a server is StoreDown within the budget, and each attempt is metered."""
    database = FirestoreDatabase("p", emulator_host=NOWHERE, limits=Limits(attempts=2, budget_s=5.0))
    await database.open()
    meter = CountingMeter()
    with pytest.raises(StoreDown):
        await database.get_all(["a/b"], meter)
    await database.close()
    assert meter.reads == [0, 0]


async def test_before_open_and_after_close() -> None:
    """A database that is not open says so at once, without waiting and trying again."""
    database = FirestoreDatabase("p", emulator_host=NOWHERE)
    with pytest.raises(NotOpen):
        await database.get_all(["a/b"], CountingMeter())
    await database.open()
    await database.open()
    await database.close()
    await database.close()
    with pytest.raises(NotOpen):
        await database.get_all(["a/b"], CountingMeter())


async def test_the_last_adapter_closes_the_connection() -> None:
    """Stores share a database; each leaves on its own."""
    database = FirestoreDatabase("p", emulator_host=NOWHERE, limits=Limits(attempts=1))
    await database.open()
    database.join("one")
    database.join("two")
    await database.leave("one")
    with pytest.raises(StoreDown) as still_open:
        await database.get_all(["a/b"], CountingMeter())
    await database.leave("two")
    with pytest.raises(NotOpen):
        await database.get_all(["a/b"], CountingMeter())
    assert type(still_open.value) is StoreDown


async def test_a_second_loop_is_refused() -> None:
    """A connection belongs to its loop: another one gets an error instead of a hang."""
    database = FirestoreDatabase("p", emulator_host=NOWHERE)
    await database.open()

    def elsewhere() -> None:
        asyncio.run(database.get_all(["a/b"], CountingMeter()))

    with pytest.raises(StoreDenied, match="another event loop"):
        await asyncio.to_thread(elsewhere)
    await database.close()


async def test_no_documents_need_no_call() -> None:
    """Reading nothing leaves the process alone."""
    database = FirestoreDatabase("p", emulator_host=NOWHERE)
    meter = CountingMeter()
    await database.open()
    assert (await database.get_all([], meter)).documents == {}
    await database.close()
    assert meter.reads == []


def test_an_emulator_beside_credentials_is_refused() -> None:
    """Nobody writes to an emulator while believing to write to Google, or the other way round."""
    with pytest.raises(StoreDenied):
        FirestoreDatabase("p", credentials_json="{}", emulator_host=NOWHERE)


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", "{}", '{"private_key": "SECRET", "client_email": "x"}']
)
async def test_unusable_credentials_are_denied_without_quoting_them(text: str) -> None:
    """A broken service account stops the start in one line that holds none of it."""
    database = FirestoreDatabase("p", credentials_json=text)
    with pytest.raises(StoreDenied) as denied:
        await database.open()
    assert "SECRET" not in str(denied.value)


async def test_a_service_account_opens_without_the_network() -> None:
    """Tokens are signed here, so opening costs no round trip."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "client_email": "a@example.invalid",
        "token_uri": "https://example.invalid/token",
        "private_key": key.decode(),
    }
    database = FirestoreDatabase("p", credentials_json=json.dumps(account))
    await database.open()
    await database.close()
    assert database.connections_replaced == 0

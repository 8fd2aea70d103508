"""As much of Modal's control plane as `modal deploy` asks: it notes each request and answers with made-up ids."""

import itertools
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpclib.const
from google.protobuf.empty_pb2 import Empty
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream
from modal_proto import api_grpc, api_pb2

from tests.commands import ROOT, Ran, run

DEPLOY_S: Final = 50.0  # below the limit of one test; it takes about one
BUILDER: Final = "2025.06"  # the newest image builder that the client knows


@dataclass
class Deployment:
    """What one `modal deploy` said and asked for."""

    exit_code: int = -1
    output: str = ""
    asked: list[Any] = field(default_factory=list)

    def requests(self, kind: type[Any]) -> list[Any]:
        """The requests of that kind, in order."""
        return [request for request in self.asked if isinstance(request, kind)]

    @property
    def functions(self) -> Mapping[str, Any]:
        """What was created, by name; a class stands for all its methods as `Name.*`."""
        created = (request.function for request in self.requests(api_pb2.FunctionCreateRequest))
        return {function.function_name: function for function in created}

    @property
    def published(self) -> Any:
        """What became visible at the end."""
        (request,) = self.requests(api_pb2.AppPublishRequest)
        return request

    @property
    def image(self) -> str:
        """The image's recipe, all its layers."""
        layers = self.requests(api_pb2.ImageGetOrCreateRequest)
        return "\n".join(line for layer in layers for line in layer.image.dockerfile_commands)

    @property
    def files(self) -> frozenset[str]:
        """The paths of all files that go into containers."""
        mounts = self.requests(api_pb2.MountGetOrCreateRequest)
        return frozenset(file.filename for mount in mounts for file in mount.files)

    def secrets_of(self, name: str) -> list[str]:
        """The names of the secrets that a function gets."""
        asked = self.requests(api_pb2.SecretGetOrCreateRequest)
        names = {f"st-{request.deployment_name}": request.deployment_name for request in asked}
        return [names[secret] for secret in self.functions[name].secret_ids]


class ModalDouble:
    """The service, on loopback; what it does not know it refuses as unimplemented."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self._numbers = itertools.count(1)
        self._answers: dict[str, Callable[[Any], Any]] = {
            "ClientHello": lambda _: api_pb2.ClientHelloResponse(image_builder_version=BUILDER),
            "EnvironmentGetOrCreate": self._environment,
            "AuthTokenGet": lambda _: api_pb2.AuthTokenGetResponse(token="header.e30.signature"),
            "AppGetByDeploymentName": lambda _: api_pb2.AppGetByDeploymentNameResponse(),
            "AppCreate": lambda _: api_pb2.AppCreateResponse(app_id="ap-1"),
            "AppHeartbeat": lambda _: Empty(),
            "AppClientDisconnect": lambda _: Empty(),
            "AppPublish": lambda _: api_pb2.AppPublishResponse(
                url="http://127.0.0.1", deployed_at=time.time()
            ),
            "SecretGetOrCreate": self._secret,
            "VolumeGetOrCreate": lambda _: api_pb2.VolumeGetOrCreateResponse(volume_id="vo-1"),
            "MountGetOrCreate": self._mount,
            "MountBatchedCheckExistence": lambda _: api_pb2.MountBatchedCheckExistenceResponse(),
            "ImageGetOrCreate": self._image,
            "FunctionPrecreate": self._precreate,
            "FunctionCreate": self._create,
            "ClassCreate": lambda _: api_pb2.ClassCreateResponse(class_id=self._id("cs")),
        }

    def __mapping__(self) -> dict[str, grpclib.const.Handler]:
        """What grpclib serves: every method of the service, answered from the table."""
        names = dict.fromkeys(api_grpc.ModalClientBase.__abstractmethods__)
        surface = type("Surface", (api_grpc.ModalClientBase,), names)()
        return {
            path: handler._replace(func=self._serve(path.rpartition("/")[2]))
            for path, handler in surface.__mapping__().items()
        }

    def _serve(self, name: str) -> Callable[[Stream[Any, Any]], Any]:
        async def serve(stream: Stream[Any, Any]) -> None:
            request = await stream.recv_message()
            if name not in self._answers:
                raise GRPCError(grpclib.const.Status.UNIMPLEMENTED, name)
            self.asked.append(request)
            await stream.send_message(self._answers[name](request))

        return serve

    def _id(self, prefix: str) -> str:
        return f"{prefix}-{next(self._numbers)}"

    def _environment(self, _: Any) -> Any:
        settings = api_pb2.EnvironmentSettings(image_builder_version=BUILDER)
        metadata = api_pb2.EnvironmentMetadata(name="main", settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    def _secret(self, request: Any) -> Any:
        return api_pb2.SecretGetOrCreateResponse(secret_id=f"st-{request.deployment_name}")

    def _mount(self, _: Any) -> Any:
        metadata = api_pb2.MountHandleMetadata(content_checksum_sha256_hex="00")
        return api_pb2.MountGetOrCreateResponse(mount_id=self._id("mo"), handle_metadata=metadata)

    def _image(self, _: Any) -> Any:
        return api_pb2.ImageGetOrCreateResponse(
            image_id=self._id("im"),
            result=api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS),
            metadata=api_pb2.ImageMetadata(image_builder_version=BUILDER),
        )

    def _precreate(self, request: Any) -> Any:
        metadata = api_pb2.FunctionHandleMetadata(function_name=request.function_name)
        return api_pb2.FunctionPrecreateResponse(function_id=self._id("fu"), handle_metadata=metadata)

    def _create(self, request: Any) -> Any:
        ranked = api_pb2.FunctionData.RankedFunction(rank=0, function=request.function)
        return api_pb2.FunctionCreateResponse(
            function_id=request.existing_function_id,
            function=request.function,
            function_data=api_pb2.FunctionData(ranked_functions=[ranked]),
            handle_metadata=api_pb2.FunctionHandleMetadata(function_name=request.function.function_name),
        )


async def deploy(home: Path, **environ: str) -> Deployment:
    """Run `modal deploy modal_app.py` with the client as it is, an empty home and these variables only."""
    double = ModalDouble()
    server = Server([double])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await server.start(sock=listening)
        ran = await _modal_deploy(home, listening.getsockname()[1], environ)
        server.close()
        await server.wait_closed()
    return Deployment(ran.exit_code, ran.output, double.asked)


def bare(home: Path) -> dict[str, str]:
    """An environment with no account, no settings and a home of its own."""
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "MODAL_CONFIG_PATH": str(home / "modal.toml"),
    }


async def _modal_deploy(home: Path, port: int, environ: dict[str, str]) -> Ran:
    account = {"MODAL_TOKEN_ID": "ak-test", "MODAL_TOKEN_SECRET": "as-test"}
    return await run(
        *(sys.executable, "-m", "modal", "deploy", str(ROOT / "modal_app.py")),
        within_s=DEPLOY_S,
        cwd=home,
        env=bare(home) | account | {"MODAL_SERVER_URL": f"http://127.0.0.1:{port}"} | environ,
    )

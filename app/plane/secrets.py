"""Secrets: variables by name, from whoever runs the plane or from a client; in memory only."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modal_proto import api_pb2

from app.plane.definition_check import check_environment
from app.plane.errors import existing, missing
from app.plane.ids import Ids

Variables = Mapping[str, str]


class Secrets:
    """Secrets by name and by id."""

    def __init__(self, ids: Ids, given: Mapping[str, Variables]) -> None:
        self._ids = ids
        self._names: dict[str, str] = {}
        self._values: dict[str, dict[str, str]] = {}
        for name, variables in given.items():
            self._keep(name, variables)

    async def get_or_create(self, request: Any) -> Any:
        """SecretGetOrCreate: find one by its name, or keep the one that is given."""
        check_environment(request)
        name, how = request.deployment_name, request.object_creation_type
        if name in self._names and how == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise existing(f"Secret '{name}'")
        if name in self._names and how == api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
            return api_pb2.SecretGetOrCreateResponse(secret_id=self._names[name])
        if request.env_dict or how:
            return api_pb2.SecretGetOrCreateResponse(secret_id=self._keep(name, request.env_dict))
        if name not in self._names:
            raise missing(f"Secret '{name}' is not among the plane's: give it with --secret or --secrets")
        secret_id = self._names[name]
        lacking = [key for key in request.required_keys if key not in self._values[secret_id]]
        if lacking:
            raise missing(f"Secret '{name}' lacks {', '.join(lacking)}")
        return api_pb2.SecretGetOrCreateResponse(secret_id=secret_id)

    def variables(self, secret_id: str) -> Variables:
        """What a container that has it sees; raises NOT_FOUND."""
        if secret_id not in self._values:
            raise missing(f"no secret {secret_id}")
        return self._values[secret_id]

    def _keep(self, name: str, variables: Variables) -> str:
        secret_id = self._names.get(name) or self._ids.make("st")
        if name:
            self._names[name] = secret_id
        self._values[secret_id] = dict(variables)
        return secret_id


def read_secrets(path: Path) -> dict[str, dict[str, str]]:
    """Read `[name]` lines, each followed by the secret's `KEY=value` lines; raises ValueError naming a bad line."""
    secrets: dict[str, dict[str, str]] = {}
    current: dict[str, str] | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if heading := re.fullmatch(r"\[(.+)\]", text):
            current = secrets.setdefault(heading[1].strip(), {})
            continue
        key, equals, value = text.removeprefix("export ").partition("=")
        if not equals or current is None:
            raise ValueError(f"{path}:{number}: write [a-secret] and below it KEY=value")
        current[key.strip()] = _unquoted(value.strip())
    return secrets


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value

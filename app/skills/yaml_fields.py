"""Reads the fields of a YAML block as the text that stands there, without ever constructing a value."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final, TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

MAX_ALIASES: Final = 16
"""An alias bomb needs more of them than an honest block has."""

MAX_DEPTH: Final = 32
"""No skill declares anything nested deeper, and reading recurses this far at most."""

Node: TypeAlias = "str | list[Node] | dict[str, Node] | None"

# libyaml, where PyYAML was built with it, is some ten times faster; events of both are the same.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


class YamlRefused(Exception):
    """The block is built to hurt: too many aliases, or nested too deeply."""


class YamlBroken(Exception):
    """The block is no YAML."""


class YamlFields:
    """The top-level fields of one block; `repeated` names keys that stood there twice: the last counts."""

    def __init__(self, text: str) -> None:
        """Read the block; raises YamlBroken or YamlRefused."""
        self.repeated: list[str] = []
        self._aliases = 0
        self._anchors: dict[str, Node] = {}
        try:
            self._root = self._read_document(iter(yaml.parse(text, Loader=_LOADER)))
        except (yaml.YAMLError, ValueError) as error:  # ValueError: PyYAML's own scanner, on absurd numbers
            raise YamlBroken(_problem(error)) from error

    @property
    def is_list(self) -> bool:
        """Whether the block is a list of mappings rather than one mapping."""
        return isinstance(self._root, list)

    def texts(self) -> Mapping[str, str] | None:
        """Give the fields as text, keys in lower case, without empty ones; None if there is no mapping."""
        match self._root:
            case dict() as fields:
                return _texts(fields)
            case list() as items:
                return _texts(dict(chain.from_iterable(_pairs(item) for item in items))) or None
            case _:
                return None

    def _read_document(self, events: Iterator[Event]) -> Node:
        for event in events:
            if isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent):
                root = self._read_node(event, events, depth=1)
                for _ in events:  # what follows may still be broken
                    pass
                return root
        return None

    def _read_node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise YamlRefused(f"frontmatter is nested deeper than {MAX_DEPTH}")
        match event:
            case AliasEvent():
                return self._follow(event.anchor)
            case SequenceStartEvent():
                node: Node = self._read_list(events, depth)
            case MappingStartEvent():
                node = self._read_mapping(events, depth)
            case ScalarEvent():
                node = _scalar(event)
            case _:
                return None
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _follow(self, anchor: str | None) -> Node:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise YamlRefused(f"frontmatter has more than {MAX_ALIASES} YAML aliases")
        return self._anchors.get(anchor or "")

    def _read_list(self, events: Iterator[Event], depth: int) -> Node:
        items: list[Node] = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            items.append(self._read_node(event, events, depth + 1))
        return items

    def _read_mapping(self, events: Iterator[Event], depth: int) -> Node:
        fields: dict[str, Node] = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            key = _key(self._read_node(event, events, depth + 1))
            if depth == 1 and key in fields:
                self.repeated.append(key)
            fields[key] = self._read_node(next(events), events, depth + 1)
        return fields


def _pairs(node: Node) -> Iterable[tuple[str, Node]]:
    return node.items() if isinstance(node, dict) else ()


def _key(node: Node) -> str:
    return node.strip().lower() if isinstance(node, str) else ""


def _scalar(event: ScalarEvent) -> str | None:
    plain = not event.style
    text: str = event.value
    return None if plain and text in _NULLS else text


def _texts(fields: Mapping[str, Node]) -> dict[str, str]:
    texts = {key: _text(node) for key, node in fields.items()}
    return {key: text for key, text in texts.items() if text.strip()}


def _text(node: Node) -> str:
    """Give a scalar as it was written, a list of scalars with commas; deeper things are no text."""
    match node:
        case str():
            return node
        case list():
            return ", ".join(item for item in node if isinstance(item, str))
        case _:
            return ""


def _problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"{error.problem} in line {error.problem_mark.line + 1}"
    return "a character that YAML does not allow"

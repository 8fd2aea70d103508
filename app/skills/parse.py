"""Makes a skill of one file's bytes, or says in one line why not."""

import codecs
import hashlib
import unicodedata
from collections.abc import Mapping
from typing import Final

import msgspec

from actors.ports import SkillFile
from app.skills.frontmatter import Frontmatter, Note, parse_frontmatter
from app.skills.markdown import first_line, split_sections
from app.skills.yaml_fields import YamlRefused
from contracts.base import Value
from contracts.skills import SkillSummary

MAX_NAME_CHARS: Final = 64
"""As in the SKILL.md format."""

MAX_DESCRIPTION_CHARS: Final = 1024
"""As in the SKILL.md format."""

DEPLOYMENTS: Final = ("remote", "local", "both")
"""Where a skill may run; the first is what an undeclared one does."""

# Control characters that text has no use for; a file with more than 1 in 20 of them is no text.
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\v\f\r"))
_BINARY_SHARE: Final = 20
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SECTIONS: Final = ("Memory", "Error History")


class SkillRefused(Exception):
    """The bytes are no skill file; the message is the one-line reason."""


class ParsedSkill(Value, frozen=True):
    """A skill without its resources and digest, and what was repaired on the way."""

    skill: SkillFile
    notes: tuple[Note, ...] = ()


def parse_skill(raw: bytes, *, path: str, folder: str) -> ParsedSkill:
    """Parse the file at `path` (relative, posix); raises SkillRefused with the reason."""
    text, decoded = _decode(raw)
    try:
        front = parse_frontmatter(text)
    except YamlRefused as error:
        raise SkillRefused(str(error)) from error
    body, sections = _split_body(front.body, path)
    summary, repaired = _summary(front, body, path, folder)
    if not summary.name:
        raise SkillRefused("neither the file nor its folder has a name")
    skill = SkillFile(
        summary=summary,
        folder=folder,
        body=body,
        memory=sections.get("Memory", ""),
        error_history=sections.get("Error History", ""),
    )
    return ParsedSkill(skill, (*decoded, *front.notes, *repaired))


def digest_of(skill: SkillFile) -> str:
    """Give a hash of all that an answer about the skill says, the same on every machine."""
    packed = msgspec.msgpack.encode(msgspec.structs.replace(skill, digest=""))
    return hashlib.blake2b(packed, digest_size=16).hexdigest()


def one_line(text: str) -> str:
    """Give `text` without control characters, line ends and doubled spaces."""
    kept = (" " if unicodedata.category(char) == "Cc" else char for char in text)
    # A lone surrogate, which a YAML escape can make, has no UTF-8 and could not be sent.
    return " ".join("".join(char for char in kept if unicodedata.category(char) != "Cs").split())


def _decode(raw: bytes) -> tuple[str, tuple[Note, ...]]:
    if not raw.strip():
        raise SkillRefused("empty file")
    if raw.startswith(_UTF16_MARKS):
        return _decode_utf16(raw)
    if (at := raw.find(b"\0")) >= 0:
        raise SkillRefused(f"binary: a NUL byte at {at}")
    if (len(raw) - len(raw.translate(None, _CONTROLS))) * _BINARY_SHARE > len(raw):
        raise SkillRefused("binary: too many control characters")
    try:
        return raw.decode(), ()  # a byte order mark goes with the frontmatter
    except UnicodeDecodeError:
        return raw.decode("latin-1"), (Note("not UTF-8: read as Latin-1"),)


def _decode_utf16(raw: bytes) -> tuple[str, tuple[Note, ...]]:
    try:
        text = raw.decode("utf-16")
    except UnicodeDecodeError as error:
        raise SkillRefused("binary: neither UTF-8 nor UTF-16") from error
    if "\0" in text:
        raise SkillRefused("binary: a NUL character in UTF-16 text")
    return text, (Note("UTF-16: save it as UTF-8", lossy=False),)


def _split_body(body: str, path: str) -> tuple[str, Mapping[str, str]]:
    """Only the `info.md` form has sections that are kept apart."""
    return split_sections(body, _SECTIONS) if path.lower().endswith("info.md") else (body, {})


def _summary(front: Frontmatter, body: str, path: str, folder: str) -> tuple[SkillSummary, list[Note]]:
    notes: list[Note] = []
    name = _bounded(front.fields.get("name", ""), "name", MAX_NAME_CHARS, notes)
    declared = _bounded(front.fields.get("description", ""), "description", MAX_DESCRIPTION_CHARS, notes)
    if not declared:
        notes.append(Note("no description: the body's first line is taken", lossy=False))
    if not name:
        notes.append(Note("no name: the folder's is taken", lossy=False))
        name = one_line(folder)[:MAX_NAME_CHARS].rstrip()
    summary = SkillSummary(
        name=name,
        description=declared or one_line(first_line(body))[:MAX_DESCRIPTION_CHARS].rstrip(),
        deployment=_deployment(front.fields, notes),
        path=path,
    )
    return summary, notes


def _bounded(text: str, field: str, limit: int, notes: list[Note]) -> str:
    whole = one_line(text)
    if len(whole) <= limit:
        return whole
    notes.append(Note(f"{field} has {len(whole)} characters: cut at {limit}"))
    return whole[:limit].rstrip()


def _deployment(fields: Mapping[str, str], notes: list[Note]) -> str:
    """An unknown place becomes the default: a skill that runs where most do is better than none."""
    declared = one_line(fields.get("deployment", "")).lower()
    if not declared or declared in DEPLOYMENTS:
        return declared or DEPLOYMENTS[0]
    known = ", ".join(DEPLOYMENTS)
    notes.append(Note(f"deployment {declared[:40]!r} is none of {known}: taken as {DEPLOYMENTS[0]}"))
    return DEPLOYMENTS[0]

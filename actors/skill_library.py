"""One scan of the skill files, ready to be asked: found by name or folder in any case, never changed."""

import difflib
import hashlib
import unicodedata
from typing import Final

import msgspec

from actors.ports import SkillFile, SkillScan
from contracts.skills import Catalog, SkillsReloaded

MAX_SUGGESTIONS: Final = 5
"""More than that is no help to choose from."""

_NEAR: Final = 0.6  # difflib's ratio; two letters of three that stand in order are still near
_LONGEST_LOOKUP: Final = 200  # characters: above the longest name, and it bounds what difflib compares


class SkillLibrary:
    """The skills of one scan; a reload makes a new one, so who holds this one keeps it."""

    def __init__(self, scan: SkillScan) -> None:
        self.skills = tuple(sorted(scan.skills, key=lambda skill: skill_key(skill.summary.name)))
        self.names = tuple(skill.summary.name for skill in self.skills)
        self.catalog = Catalog(
            fingerprint=_fingerprint(self.skills, scan),
            skills=tuple(skill.summary for skill in self.skills),
            set_aside=scan.set_aside,
        )
        self.bytes = sum(_bytes_of(skill) for skill in self.skills)
        self._by_key = _by_key(self.skills)

    def __len__(self) -> int:
        return len(self.skills)

    @property
    def unread(self) -> str:
        """Why there is no skill at all although there should be; empty when there are some, or no files."""
        aside = self.catalog.set_aside
        return f"{aside[0].file}: {aside[0].reason}" if aside and not self.skills else ""

    def find(self, name: str) -> SkillFile | None:
        """Give the skill of that declared name, else of that folder, in any case and with space around it."""
        return self._by_key.get(skill_key(name)) if len(name) <= _LONGEST_LOOKUP else None

    def suggest(self, name: str) -> tuple[str, ...]:
        """Give the names of the nearest skills by name or folder, best first, at most MAX_SUGGESTIONS."""
        key = skill_key(name[:_LONGEST_LOOKUP])
        # Twice as many as are given: a skill can be near by its name and by its folder.
        near = difflib.get_close_matches(key, self._by_key, n=2 * MAX_SUGGESTIONS, cutoff=_NEAR)
        return tuple(dict.fromkeys(self._by_key[found].summary.name for found in near))[:MAX_SUGGESTIONS]

    def changes_to(self, newer: "SkillLibrary") -> SkillsReloaded:
        """Say what `newer` changes, by skill name."""
        before, after = self._digests(), newer._digests()
        return SkillsReloaded(
            fingerprint=newer.catalog.fingerprint,
            count=len(newer),
            added=tuple(name for name in after if name not in before),
            removed=tuple(name for name in before if name not in after),
            changed=tuple(name for name in after if name in before and before[name] != after[name]),
            set_aside=newer.catalog.set_aside,
        )

    def _digests(self) -> dict[str, str]:
        return {skill.summary.name: skill.digest for skill in self.skills}


def skill_key(name: str) -> str:
    """Give what names that mean the same skill share: no case, no composed forms, no doubled space."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def _by_key(skills: tuple[SkillFile, ...]) -> dict[str, SkillFile]:
    """Names win over folders; of two folders of one name the first by path wins."""
    folders = sorted(skills, key=lambda skill: skill.summary.path, reverse=True)
    return {skill_key(skill.folder): skill for skill in folders if skill.folder} | {
        skill_key(skill.summary.name): skill for skill in skills
    }


def _bytes_of(skill: SkillFile) -> int:
    return sum(len(text.encode()) for text in (skill.body, skill.memory, skill.error_history))


def _fingerprint(skills: tuple[SkillFile, ...], scan: SkillScan) -> str:
    """Hash all that an answer depends on: each skill's digest, and what was set aside."""
    parts = ([skill.digest for skill in skills], scan.set_aside)
    return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=16).hexdigest()

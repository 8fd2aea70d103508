"""How long after a change of a skill file an agent may still answer with the old text, and what keeps it that short."""

from typing import Final

RESCAN_S: Final = 30.0
"""Every registry reads the skill files again after this: some 100 files take it 0.1 s, and a volume no notice."""

CATALOG_EVERY_S: Final = 15.0
"""Every agent asks after this whether its catalog's fingerprint is still the current one; an answer of 60 bytes."""

CATALOG_LATE_S: Final = 30.0
"""A turn whose agent has not asked for this long asks first: its loop stood still, as a container's may that idles."""

SKILL_WAIT_S: Final = 5.0
"""A registry that is away must not hold a turn: it goes on with the skills that are known."""

SKILL_STALE_S: Final = RESCAN_S + CATALOG_LATE_S + SKILL_WAIT_S
"""The bound: no turn uses a skill's text that was replaced longer ago, as long as registries answer.

A change is in every registry after RESCAN_S. A turn begins with a catalog that was confirmed at most CATALOG_LATE_S
before, perhaps by a registry just before its scan, and waits at most SKILL_WAIT_S for the text. While no registry
answers, agents go on with what they know.
"""

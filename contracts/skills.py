"""What is said to and by the SkillRegistryActor."""

from contracts.base import Message, Value
from contracts.faults import AnyFault


class SkillStats(Value, frozen=True, kw_only=True):
    """Run statistics of one skill; `last_run_at` is a Unix time in seconds, 0 when it never ran."""

    run_count: int = 0
    success_count: int = 0
    total_duration_ms: float = 0.0
    last_run_at: float = 0.0
    success_rate: float = 0.0
    mean_duration_ms: float = 0.0


class SkillSummary(Value, frozen=True, kw_only=True):
    """One line of the catalog: what a model needs to choose a skill, without its body."""

    name: str
    description: str = ""
    deployment: str = "remote"
    path: str = ""


class SetAside(Value, frozen=True, kw_only=True):
    """A file that was not loaded, and why, in one line."""

    file: str
    reason: str


class GetCatalog(Message, frozen=True, kw_only=True, tag="catalog.get"):
    """Give the catalog, unless the caller's `known` fingerprint is still the current one."""

    known: str = ""


class Catalog(Message, frozen=True, kw_only=True, tag="catalog"):
    """All skills by name in stable order; `fingerprint` changes exactly when an answer about a skill file would."""

    fingerprint: str
    skills: tuple[SkillSummary, ...] = ()
    set_aside: tuple[SetAside, ...] = ()


class CatalogNotModified(Message, frozen=True, kw_only=True, tag="catalog.not_modified"):
    """The caller's catalog is current."""

    fingerprint: str


class GetSkill(Message, frozen=True, kw_only=True, tag="skill.get"):
    """Give one skill by declared name or folder, in any case."""

    name: str


class Skill(Message, frozen=True, kw_only=True, tag="skill"):
    """One skill whole: its body (Markdown), its statistics, the resources beside it (relative paths).

    `fingerprint` is the skill's own, `catalog` that of the catalog which it belongs to (empty: of an older registry).
    """

    name: str
    description: str = ""
    deployment: str = "remote"
    body: str = ""
    memory: str = ""
    error_history: str = ""
    resources: tuple[str, ...] = ()
    stats: SkillStats = SkillStats()
    stats_known: bool = True
    fingerprint: str = ""
    catalog: str = ""


class GetResource(Message, frozen=True, kw_only=True, tag="skill.resource.get"):
    """Give one file beside a skill; `path` is one of the skill's `resources`: no other can be read."""

    skill: str
    path: str


class Resource(Message, frozen=True, kw_only=True, tag="skill.resource"):
    """One file beside a skill, in bytes, at most 1 MiB; `fingerprint` is the skill's."""

    skill: str
    path: str
    content: bytes = b""
    fingerprint: str = ""


class ReloadSkills(Message, frozen=True, kw_only=True, tag="skills.reload"):
    """Scan the skill files again, without a restart."""


class SkillsReloaded(Message, frozen=True, kw_only=True, tag="skills.reloaded"):
    """What the scan changed, by skill name."""

    fingerprint: str
    count: int = 0
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    set_aside: tuple[SetAside, ...] = ()


class ReportRun(Message, frozen=True, kw_only=True, tag="skill.run.report"):
    """Count one run of a skill; the same `run` twice counts once. `duration_ms` is at least 0."""

    skill: str
    run: str
    succeeded: bool
    duration_ms: float


class RunRecorded(Message, frozen=True, kw_only=True, tag="skill.run.recorded"):
    """The run is durably counted."""

    skill: str


SkillRequest = GetCatalog | GetSkill | GetResource | ReloadSkills | ReportRun
SkillReply = Catalog | CatalogNotModified | Skill | Resource | SkillsReloaded | RunRecorded | AnyFault

"""What a session shard loads when it starts: its warm image and what has changed since, or its most recent sessions."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

import structlog

from actors import image
from actors.image import Blob, Fault, ImageRefused, Manifest, Row
from actors.image_keeper import CHANGES_MOST, ImageKeeper, Moment
from actors.image_unpacking import Unpacking
from actors.ports import Background
from actors.score import HALF_LIFE_S, UNKNOWN
from actors.sessions import SLICE, ShardSessions, Taken, chats_of
from actors.stores import SessionBatch, SessionRecord, SessionStore, StoreDown, StoreError
from actors.warm_ports import SessionChanges, StoredImage, WarmStore
from actors.warming import Tally

log = structlog.get_logger(__name__)

SCORE_AHEAD_S: Final = 64 * HALF_LIFE_S  # over now: 2 ** 64 touches, more than anybody sends
WAVE_S: Final = (
    2.5  # for image and changes: half of a pass, so that the plan without an image has the other half
)

T = TypeVar("T")


class Tried(NamedTuple, Generic[T]):
    """What a store call gave, or that it failed."""

    value: T | None = None
    failed: bool = False


class Found(NamedTuple):
    """What is stored under the image's name, and its manifest if it is an image that can be used."""

    stored: StoredImage | None
    manifest: Manifest | None


@dataclass(slots=True)
class Since:
    """What changed since the image, by which its rows are judged; `whole` if no change is missing."""

    changes: SessionChanges
    asked: Moment
    whole: bool
    sessions: dict[int, SessionRecord] = field(init=False)
    unreadable: set[int] = field(init=False)
    met: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.sessions = {each.chat: each for each in self.changes.sessions}
        self.unreadable = chats_of(self.changes.set_aside)

    def outdates(self, row: Row) -> bool:
        """Whether the session is among the changes, so that the image's is not needed any more.

        Or of a version that the store has not given yet: no later write would ever outdate it.
        """
        if row.chat in self.unreadable or row.version > self.changes.watermark:
            return True
        newer = self.sessions.get(row.chat)
        return newer is not None and newer.version >= row.version

    def is_first(self, row: Row) -> bool:
        """Whether no row of this chat came before: an image has one, unless a hand or a fault has doubled it."""
        is_first = row.chat not in self.met
        self.met.add(row.chat)
        return is_first

    def forgot(self, row: Row) -> bool:
        """Whether the session was deleted."""
        newer = self.sessions.get(row.chat)
        return newer is not None and not newer.body and newer.version >= row.version


class SessionWarming:
    """The plan of a shard's warming passes."""

    def __init__(
        self,
        *,
        recent: int,
        store: SessionStore,
        images: WarmStore,
        sessions: ShardSessions,
        keeper: ImageKeeper,
        background: Background,
        count: Callable[[str], None],
    ) -> None:
        self._shard, self._recent = keeper.shard, recent
        self._store, self._images = store, images
        self._sessions, self._keeper = sessions, keeper
        self._background, self._count = background, count

    async def plan(self, tally: Tally) -> None:
        """Load the image and what changed since in one wave of calls, else the most recent sessions in one more."""
        unpacking = Unpacking(self._background)
        try:
            await self._load(tally, unpacking)
        finally:
            unpacking.close()
        log.info("sessions_warmed", shard=self._shard, count=tally.loaded, source=tally.source)
        cached = len(self._sessions)
        log.info("cache_warming_complete", actor=self._keeper.actor, shard=self._shard, cached=cached)

    async def _load(self, tally: Tally, unpacking: Unpacking) -> None:
        """The image is unpacked from when it is here: what changed may come later, and may be asked for twice."""
        asked = self._keeper.now()
        with tally.phase("image"):
            read, newest = await asyncio.gather(
                self._try(tally, "warm image", lambda: self._image(unpacking)),
                self._try(tally, "changes", lambda: self._changes(0, self._keeper.newest)),
            )
        found, changes = read.value or Found(None, None), newest.value
        manifest = self._of_this_store(found.manifest, changes)
        if not read.failed:
            self._keeper.found(found.stored, manifest)
        if changes is None or manifest is None or not manifest.rows:
            await self._load_recent(tally, changes, asked)
        else:
            since = await self._since(tally, manifest, Since(changes, asked, whole=True))
            if not await self._load_image(tally, manifest, unpacking, since):
                self._keeper.found(found.stored, None)
                await self._load_recent(tally, since.changes, since.asked)

    # ------------------------------------------------------------ asking the store

    async def _try(self, tally: Tally, what: str, call: Callable[[], Awaitable[T]]) -> Tried[T]:
        """Give what the call gives; one that fails is told, and the pass goes on without it."""
        try:
            async with asyncio.timeout(WAVE_S):
                return Tried(await call())
        except TimeoutError:
            error: StoreError = StoreDown(f"no answer within {WAVE_S:g} s")
        except StoreError as failed:
            error = failed
        log.warning("session_warm_failed", shard=self._shard, what=what, error=str(error))
        tally.refused(error)
        tally.fail(f"{what}: {error}", entries=0, retry=error.retry)
        return Tried(failed=True)

    async def _image(self, unpacking: Unpacking) -> Found:
        """Read the image, and begin to unpack it."""
        stored = await self._images.read_image(self._keeper.name)
        manifest = self._manifest(stored) if stored is not None else None
        if stored is not None and manifest is not None:
            unpacking.begin(manifest, stored)
        return Found(stored, manifest)

    async def _changes(self, since: int, limit: int) -> SessionChanges:
        return await self._images.changed_sessions(self._shard, since, limit)

    async def _since(self, tally: Tally, manifest: Manifest, newest: Since) -> Since:
        """The changes since the image: the newest ones if they reach back to it, else asked for once more."""
        if newest.changes.reaches <= manifest.watermark:
            return newest
        asked = self._keeper.now()
        with tally.phase("changes"):
            more = await self._try(tally, "changes", lambda: self._changes(manifest.watermark, CHANGES_MOST))
        if more.value is None:
            return Since(newest.changes, newest.asked, whole=False)
        whole = more.value.reaches <= manifest.watermark
        if not whole:  # nobody can tell any more who of that image was forgotten: it is replaced soon
            self._sessions.forgotten = True
        return Since(more.value, asked, whole=whole)

    # ------------------------------------------------------------ with an image

    def _manifest(self, stored: StoredImage) -> Manifest | None:
        """The manifest of an image that can be used; why another one can't is told."""
        try:
            manifest = image.unpack_manifest(stored.manifest)
            self._keeper.check(manifest)
        except ImageRefused as refused:
            self._set_aside(refused)
            return None
        return manifest

    def _of_this_store(self, manifest: Manifest | None, changes: SessionChanges | None) -> Manifest | None:
        """The manifest, unless its image was made from another store than this."""
        if manifest is None or changes is None or manifest.watermark <= changes.watermark:
            return manifest
        self._set_aside(ImageRefused(Fault.FOREIGN, "it knows of later writes than the store"))
        return None

    def _set_aside(self, refused: ImageRefused) -> None:
        self._count("images_set_aside")
        log.warning("session_warm_failed", shard=self._shard, what="warm image", error=str(refused))

    async def _load_image(self, tally: Tally, manifest: Manifest, unpacking: Unpacking, since: Since) -> bool:
        """Load the changes and what can be read of the image; where nothing of it can, False, and nothing is loaded."""
        broken: list[tuple[Blob, ImageRefused]] = []
        with tally.phase("sessions"):
            async for blob, rows in unpacking.blobs():
                if isinstance(rows, ImageRefused):
                    self._set_aside(rows)
                    broken.append((blob, rows))
                    continue
                if tally.source != "image":
                    tally.source, tally.requested = "image", manifest.rows
                    await self._take_changes(tally, since)
                for first in range(0, len(rows), SLICE):
                    await self._take_rows(tally, rows[first : first + SLICE], since)
        if tally.source != "image":
            return False
        for blob, refused in broken:
            tally.fail(f"warm image: {refused}", entries=blob.rows, degrades=False)
        return True

    async def _take_changes(self, tally: Tally, since: Since) -> None:
        """Load what changed: it is newer than the image, and hotter."""
        living = self._keeper.living(since.changes)
        tally.requested += len(living) + len(since.changes.set_aside)
        self._report_unreadable(tally, since.changes)
        self._score(living)
        if self._keeper.can_follow(since.changes):
            taken = await self._keeper.heard(since.changes, since.asked)
        else:
            self._sessions.heed(since.changes)
            taken = await self._sessions.take_in(living, since.asked.monotonic_s)
        self._took(tally, taken, living)

    async def _take_rows(self, tally: Tally, rows: Sequence[Row], since: Since) -> None:
        """Load those that are still the newest; of those nobody can say that of, none."""
        own = [row for row in rows if self._keeper.owns(row.chat)]
        if len(own) < len(rows):  # they are forgotten elsewhere: this image is to be without them
            self._sessions.forgotten = True
        standing = [row for row in own if not since.outdates(row) and since.is_first(row)]
        tally.requested -= len(rows) - len(standing)
        self._note_scores(own, since)
        if not since.whole:
            tally.skipped += len(standing)
            return
        records = [self._record(row) for row in standing]
        taken = await self._sessions.take_in(records, since.asked.monotonic_s, proven=False)
        self._took(tally, taken, records)

    def _note_scores(self, rows: Sequence[Row], since: Since) -> None:
        """Take the scores over, but of those who were forgotten since: the image is to forget them, too."""
        for row in rows:
            if since.forgot(row):
                self._sessions.forgotten = True
            else:
                self._sessions.scores.put(row.chat, _sane(row.score, since.asked.unix_s))

    def _record(self, row: Row) -> SessionRecord:
        return SessionRecord(
            chat=row.chat, shard=self._shard, body=row.body, version=row.version, revision=row.revision
        )

    # ------------------------------------------------------------ without one

    async def _load_recent(self, tally: Tally, changes: SessionChanges | None, asked: Moment) -> None:
        """Load the most recent sessions in one query."""
        if changes is not None and self._keeper.can_follow(changes):
            await self._keeper.heard(changes, asked)
        elif changes is not None:  # some are missing; those that are known count all the same
            self._sessions.heed(changes)
        tally.source, read_at = "query", self._keeper.now().monotonic_s
        with tally.phase("sessions"):
            recent = await self._store.recent_sessions(self._shard, self._recent)
        own = [each for each in recent.sessions if self._keeper.owns(each.chat)]
        tally.requested = len(own) + len(recent.set_aside)
        self._report_unreadable(tally, recent)
        self._score(own)
        taken = await self._sessions.take_in(own, read_at)
        self._took(tally, taken, own)

    # ------------------------------------------------------------ helpers

    def _score(self, sessions: Sequence[SessionRecord]) -> None:
        """A session that was written was wanted then."""
        for each in sessions:
            self._sessions.scores.put(each.chat, _sane(each.updated_at, self._keeper.now().unix_s))

    def _report_unreadable(self, tally: Tally, read: SessionBatch | SessionChanges) -> None:
        for poison in read.set_aside:
            tally.fail(f"{poison.file}: {poison.reason}")
            log.warning("session_warm_failed", shard=self._shard, session=poison.file, error=poison.reason)

    def _took(self, tally: Tally, taken: Taken, records: Sequence[SessionRecord]) -> None:
        tally.loaded += taken.loaded
        tally.skipped += taken.skipped
        tally.bytes += sum(len(each.body) for each in records)


def _sane(score: float, now_s: float) -> float:
    """A score, UNKNOWN where a hand or a fault has spoilt it, so that it goes into no image to come."""
    return score if UNKNOWN <= score <= now_s + SCORE_AHEAD_S else UNKNOWN

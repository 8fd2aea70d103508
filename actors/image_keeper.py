"""Keeps a shard's warm image: follows what changes in the store, confirms L1 by it, and writes the image."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

import structlog

from actors import image
from actors.image import Blob, ImageRefused, Manifest, Packed
from actors.image_rows import hottest
from actors.ports import Background, Clock
from actors.refs import shard_of
from actors.sessions import ShardSessions, Taken
from actors.stores import SessionRecord, StoreError, StoreExhausted, StoreTooLarge, VersionConflict
from actors.warm_ports import BLOBS_MOST, SessionChanges, StoredImage, WarmStore

log = structlog.get_logger(__name__)

CHANGES_MOST: Final = 2_000
"""Asked for since a known mark: some 2 MB, or 10 of long conversations, and CHANGES_BYTES_MOST at most. Beyond it,
L1 is not confirmed as a whole.

The sessions pass through: L1 takes what it has room for, and of the others only numbers stay (`ShardSessions.heed`).
"""

BEHIND: Final = CHANGES_MOST // 4
"""Sessions that changed here since the last look at the changes: time for the next, before they are too many for it."""

TICK_S: Final = 5.0  # how often the keeper looks whether there is something to do
PAUSE_S: Final = 60.0  # between two images of at most 10 documents: the budget
FORGET_S: Final = 15.0  # the same when somebody is to be forgotten, however many they are
IDLE_S: Final = 1_800.0  # between two looks at the changes when nothing happens here: half of a session's TTL
OLD_S: Final = (
    7 * 86400.0
)  # of an image, four times over before it is too old to be used: then it is written again
CHANGED_SHARE: Final = 0.1  # of what is held: less is no reason to write all of it anew
SHED_S: Final = 60.0  # a quota is counted by the minute
CLOSE_S: Final = 5.0  # of the 30 s that a container gets to stop


class Moment(NamedTuple):
    """When the store was asked: by the clock for ages, in Unix seconds for other processes."""

    monotonic_s: float
    unix_s: float


class ImageKeeper:
    """Owns the store's mark up to which this shard has read the changes.

    The mark moves only with a reading of the changes. Of each value in L1 that was read at `_since` or
    later it holds that no newer version was written up to the mark; only such values go into an image.
    """

    def __init__(
        self,
        actor: str,
        shard: int,
        shards: int,
        *,
        changes: int,
        newest: int,
        images: WarmStore,
        sessions: ShardSessions,
        clock: Clock,
        background: Background,
        count: Callable[[str], None],
    ) -> None:
        self.shard, self.actor, self._shards = shard, actor, shards
        self.newest, self._changes = newest, changes
        self._images, self._sessions = images, sessions
        self._clock, self._background, self._count = clock, background, count
        self._most_blobs = BLOBS_MOST
        self._watermark: int | None = None
        self._asked = Moment(0.0, 0.0)
        self._since = self._tried_at = self._written_at = 0.0
        self._shed_until, self._made_at = float("-inf"), float("inf")
        self._version: int | None = None
        self._generation = self._layout = self._heard_of = 0
        self._spoilt = False
        self._busy, self._behind = asyncio.Lock(), asyncio.Event()
        self._living: asyncio.Task[None] | None = None
        sessions.on_change = self._noticed

    @property
    def name(self) -> str:
        """The image's name in the store."""
        return self._name_of(self.shard)

    def check(self, manifest: Manifest) -> None:
        """Raise ImageRefused for an image that is not this shard's, or too old."""
        now_s = self._clock.unix_s()
        self._layout = manifest.shards
        image.check(manifest, actor=self.actor, shard=self.shard, shards=self._shards, now_s=now_s)

    def now(self) -> Moment:
        """This moment."""
        return Moment(self._clock.monotonic_s(), self._clock.unix_s())

    def can_follow(self, changes: SessionChanges) -> bool:
        """Whether nothing would be missed between the mark and these changes, or no mark is known."""
        return self._watermark is None or changes.reaches <= self._watermark

    def owns(self, chat: int) -> bool:
        """Whether the chat is this shard's: since the number of shards changed, some that it wrote may not be."""
        return self._shards == 1 or shard_of(chat, self._shards) == self.shard

    def living(self, changes: SessionChanges) -> list[SessionRecord]:
        """The changed sessions that are to be held."""
        return [each for each in changes.sessions if each.body and self.owns(each.chat)]

    # ------------------------------------------------------------ what warming tells

    def found(self, stored: StoredImage | None, manifest: Manifest | None) -> None:
        """The stored image was read; None for a manifest that was set aside, so that it is soon replaced."""
        version = stored.version if stored is not None else 0
        if version != self._version:  # nobody knows yet whom it holds
            self._version, self._sessions.imaged = version, None
        self._spoilt = stored is not None and manifest is None
        if manifest is not None:
            self._generation, self._made_at = manifest.generation, manifest.made_at

    async def heard(self, changes: SessionChanges, asked: Moment) -> Taken:
        """Take the changes in that were asked for at that moment, and follow them from here on."""
        if self._watermark is None or not self.can_follow(changes):
            self._since = asked.monotonic_s
            self._sessions.begin_anew()
        self._sessions.heed(changes)
        taken = await self._sessions.take_in(self.living(changes), asked.monotonic_s)
        self._sessions.confirm(asked.monotonic_s, self._since)
        self._watermark, self._asked = changes.watermark, asked
        return taken

    def shed(self) -> None:
        """The store is over quota: for a while, leave its calls to the turns; what was forgotten goes all the same."""
        self._shed_until = self._clock.monotonic_s() + SHED_S
        self._count("images_shed")

    # ------------------------------------------------------------ its life

    def start(self) -> None:
        """Begin to keep the image; idempotent."""
        if self._living is None:
            self._tried_at = self._written_at = self._clock.monotonic_s()
            self._living = asyncio.create_task(self._live(), name=f"keep {self.name}")

    async def close(self) -> None:
        """Write what has changed, if that can be done in time, and end; idempotent, raises nothing of the store's."""
        living, self._living = self._living, None
        if living is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S), self._busy:
                living.cancel()
                await self._last_round()
        except (StoreError, TimeoutError) as error:
            self._failed(error)
        living.cancel()
        await asyncio.wait((living,), timeout=CLOSE_S)  # one that a defect had ended is told by the loop

    async def _live(self) -> None:
        while True:
            await self._next_look()
            if self._is_due():
                async with self._busy:
                    await self._round()
            elif self._is_behind():
                async with self._busy:
                    await self._catch_up()

    async def _next_look(self) -> None:
        """Wait for the next tick, or less: a rush changes more within one than a look at the changes lists."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TICK_S):
                await self._behind.wait()
        self._behind.clear()

    def _noticed(self) -> None:
        if self._is_behind():
            self._behind.set()

    def _is_due(self) -> bool:
        now, urgent = self._clock.monotonic_s(), self._is_urgent()
        if now < self._tried_at + (FORGET_S if urgent else PAUSE_S):
            return False
        if now < self._shed_until and not urgent:
            return False
        idle = len(self._sessions) > 0 and now >= self._asked.monotonic_s + IDLE_S
        return urgent or idle or self._is_late() or self._changed_enough()

    def _is_behind(self) -> bool:
        """Whether so much changes that the next image would have to do without what was not read since."""
        if len(self._sessions.changed) < self._heard_of + BEHIND:
            return False
        return self._clock.monotonic_s() >= self._shed_until

    def _is_urgent(self) -> bool:
        """Whether the stored image holds what it should not, or may hold it."""
        return self._spoilt or (self._sessions.forgotten and self._version != 0)

    def _is_late(self) -> bool:
        """Whether the image is old, or another owner's may hold a chat forgotten since one was written here."""
        if self._version and self._clock.unix_s() >= self._made_at + OLD_S:
            return True
        return self._sessions.erased and self._clock.monotonic_s() >= self._written_at + IDLE_S

    def _changed_enough(self) -> bool:
        return len(self._sessions.changed) >= max(self._changes, CHANGED_SHARE * len(self._sessions))

    async def _round(self) -> None:
        self._tried_at = self._clock.monotonic_s()
        try:
            await self._listen()
            if self._is_urgent() or self._is_late() or self._changed_enough():
                await self._write()
        except StoreError as error:
            self._failed(error)

    async def _catch_up(self) -> None:
        try:
            await self._listen()
        except StoreError as error:
            self._failed(error)

    async def _last_round(self) -> None:
        if self._sessions.changed or self._is_urgent():
            await self._listen()
            await self._write()

    def _failed(self, error: Exception) -> None:
        self._count("image_failures")
        if isinstance(error, StoreExhausted):
            self.shed()
        log.warning("warm_image_not_written", shard=self.shard, error=f"{type(error).__name__}: {error}")

    # ------------------------------------------------------------ listening and writing

    async def _listen(self) -> None:
        """Read what has changed since the mark."""
        asked, mark = self.now(), self._watermark
        self._heard_of = len(self._sessions.changed)
        limit = self.newest if mark is None else CHANGES_MOST
        changes = await self._images.changed_sessions(self.shard, mark or 0, limit)
        await self.heard(changes, asked)
        for each in changes.sessions:
            if not each.body:
                self._sessions.note_forgotten(each.chat)

    async def _write(self) -> None:
        """Replace the stored image, if it is the one known here."""
        if self._version is None:
            await self._look()
        await self._empty_strays()
        changed, self._sessions.changed, self._heard_of = self._sessions.changed, set(), 0
        forgotten, self._sessions.forgotten = self._sessions.forgotten, False
        erased, self._sessions.erased = self._sessions.erased, False
        written = False
        try:
            written = await self._replace()
        finally:
            if not written:
                self._sessions.still_changed(changed)
                self._sessions.forgotten = self._sessions.forgotten or forgotten
                self._sessions.erased = self._sessions.erased or erased

    async def _replace(self) -> bool:
        version, self._version = self._version, None  # not known, should the answer get lost
        self._sessions.imaged = None  # whoever is forgotten from here on may be in it
        packed, chats = await self._pack()
        try:
            self._version = await self._write_what_fits(packed, version or 0)
        except VersionConflict:  # another owner wrote it: the next round looks at it first
            self._count("image_conflicts")
            log.info("warm_image_of_another_owner", shard=self.shard)
            return False
        self._generation, self._spoilt = self._generation + 1, False
        self._sessions.imaged, self._written_at = chats, self._clock.monotonic_s()
        self._made_at = self._clock.unix_s()
        self._count("images_written")
        return True

    async def _look(self) -> None:
        """Learn which image is stored now."""
        stored = await self._images.read_image(self.name)
        self._version = stored.version if stored is not None else 0
        if stored is not None:
            with suppress(ImageRefused):  # it is replaced all the same, by a generation counted from here
                manifest = image.unpack_manifest(stored.manifest)
                self._generation, self._layout = manifest.generation, manifest.shards

    async def _empty_strays(self) -> None:
        """Empty the images of shards that there are no more: nobody takes out of them who is forgotten.

        The image here tells how many there were, and so is replaced after them.
        """
        for shard in range(self.shard + self._shards, self._layout, self._shards):
            stray = await self._images.read_image(self._name_of(shard))
            if stray is not None and stray.blobs:
                emptied = StoredImage(manifest=b"", version=stray.version)
                await self._images.write_image(self._name_of(shard), emptied)
                self._count("images_emptied")
        self._layout = self._shards

    def _name_of(self, shard: int) -> str:
        return f"{self.actor}:{shard}"

    async def _write_what_fits(self, packed: Packed, version: int) -> int:
        """Write the image; if it is too large for the store its hotter half, and so on down to a single blob."""
        while True:
            try:
                return await self._images.write_image(self.name, packed.stored(version))
            except StoreTooLarge as error:
                if len(packed.blobs) <= 1:
                    raise
                self._most_blobs = len(packed.blobs) // 2  # of the images to come, too
                self._count("images_halved")
                log.warning("warm_image_halved", shard=self.shard, blobs=self._most_blobs, error=str(error))
                packed = packed.cut(self._most_blobs)

    async def _pack(self) -> tuple[Packed, frozenset[int]]:
        """An image, and the chats that it may hold."""
        mark, asked = self._watermark or 0, self._asked  # of now: a warming pass may move them meanwhile
        rows = await hottest(self._sessions, self._since)
        packing, notes, blobs = image.pack_blobs(rows), list[Blob](), list[bytes]()
        while len(blobs) < self._most_blobs:
            packed = await self._background.compute(partial(next, packing, None))
            if packed is None:
                break
            notes.append(packed[0])
            blobs.append(packed[1])
        manifest = Manifest(
            actor=self.actor,
            shard=self.shard,
            shards=self._shards,
            generation=(self._generation + 1) % image.COUNT_MOST,
            watermark=mark,
            made_at=asked.unix_s,
            blobs=tuple(notes),
        )
        return Packed(manifest, tuple(blobs)), frozenset(row.chat for row in rows)

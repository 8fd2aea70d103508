"""What a simulation asks of its store: an adapter for each container, and a look at what is stored."""

import random
from typing import TYPE_CHECKING, Protocol

from actors.stores import SessionRecord, SessionStore, SkillStatsStore, StoreMeter, UpdateRecord
from actors.warm_ports import WarmStore
from app.chaos.container import Container
from app.chaos.faults import Faults
from app.chaos.ledger import Ledger

if TYPE_CHECKING:
    from app.chaos.store_port import StoreLine  # a line leads to a store, and a store makes its line


class WorldStore(Protocol):
    """One store for all containers; what takes time and fails is the line to it."""

    @property
    def shares_commits(self) -> bool:
        """Whether updates that come together are always written together."""

    def line(self, faults: Faults, ledger: Ledger, dice: random.Random) -> "StoreLine":
        """The way to it for all containers; asked for once, before any adapter."""

    def sessions(self, container: Container, meter: StoreMeter) -> SessionStore:
        """The adapter of a shard's owner."""

    def warm(self, container: Container, meter: StoreMeter) -> WarmStore:
        """The adapter with which it starts warm."""

    def skills(self, container: Container, meter: StoreMeter) -> SkillStatsStore:
        """The adapter of a registry."""

    def waiting(self) -> list[int]:
        """The chats with open updates."""

    def head(self, chat: int) -> UpdateRecord:
        """The oldest open update of a chat that has one."""

    def session(self, chat: int) -> SessionRecord | None:
        """What is stored of the chat, a tombstone too."""

    def write_session(self, session: SessionRecord, operation: str) -> int:
        """Write it at its version, as another program does; raises VersionConflict."""

    def close(self) -> None:
        """Leave nothing behind."""

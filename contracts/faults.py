"""Errors as messages: each says whether asking again can help.

Fault
├── Unsupported       no retry   the tag is unknown to this version
├── BadRequest        no retry   the frame or a field is malformed
├── TooLarge          no retry   an argument or a result is over the transport's limit
├── SkillNotFound     no retry   carries suggestions
├── ResourceNotFound  no retry   no such file beside the skill
├── LeaseLost         no retry   another owner holds or has finished the turn
├── StoreRefused      no retry   permission, or a request that the store can't take
├── Internal          no retry   a defect of ours, logged where it happened
├── StoreUnavailable  retry      the store is down or slow
├── MailboxFull       retry      the chat has too many updates waiting
└── Busy              retry      no capacity within the deadline
"""

from contracts.base import PROTOCOL, Message


class Fault(Message, frozen=True, kw_only=True, tag="fault"):
    """Something went wrong; `detail` is one line for an operator, never message text or a secret."""

    detail: str = ""
    retry: bool = False
    retry_after_s: float = 0.0


class Unsupported(Fault, frozen=True, kw_only=True, tag="fault.unsupported"):
    """This version does not know the message's tag."""

    tag: str = ""
    version: int = PROTOCOL


class BadRequest(Fault, frozen=True, kw_only=True, tag="fault.bad_request"):
    """The frame is no message, or a field of it has the wrong shape."""


class TooLarge(Fault, frozen=True, kw_only=True, tag="fault.too_large"):
    """The message is over the limit of what carries it, in bytes."""

    size: int = 0
    limit: int = 0


class SkillNotFound(Fault, frozen=True, kw_only=True, tag="fault.skill_not_found"):
    """No skill of that name; `suggestions` are the nearest names, best first."""

    name: str = ""
    suggestions: tuple[str, ...] = ()


class ResourceNotFound(Fault, frozen=True, kw_only=True, tag="fault.resource_not_found"):
    """The skill has no such file beside it, or the path leaves the skill's folder."""

    skill: str = ""
    path: str = ""


class LeaseLost(Fault, frozen=True, kw_only=True, tag="fault.lease_lost"):
    """The caller no longer owns the turn: drop the work, nothing of it was written."""


class StoreRefused(Fault, frozen=True, kw_only=True, tag="fault.store_refused"):
    """The store understood and said no; a retry changes nothing, an operator can."""


class Internal(Fault, frozen=True, kw_only=True, tag="fault.internal"):
    """A defect of ours; the actor logged it and goes on."""


class StoreUnavailable(Fault, frozen=True, kw_only=True, tag="fault.store_unavailable"):
    """The store did not answer in time; a write may or may not have happened."""

    retry: bool = True


class MailboxFull(Fault, frozen=True, kw_only=True, tag="fault.mailbox_full"):
    """The chat's mailbox holds its bound of waiting updates; nothing was written."""

    retry: bool = True
    retry_after_s: float = 5.0


class Busy(Fault, frozen=True, kw_only=True, tag="fault.busy"):
    """No capacity answered within the deadline; the call may or may not have happened."""

    retry: bool = True
    retry_after_s: float = 1.0


AnyFault = (
    Fault
    | Unsupported
    | BadRequest
    | TooLarge
    | SkillNotFound
    | ResourceNotFound
    | LeaseLost
    | StoreRefused
    | Internal
    | StoreUnavailable
    | MailboxFull
    | Busy
)
"""Every fault that a reply may be; one name for the decoders."""

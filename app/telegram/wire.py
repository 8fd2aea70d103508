"""The parts of the Bot API's updates that we read, and their decoders; everything else is skipped unread."""

from typing import Annotated, Final

import msgspec

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # what msgpack and both stores can hold
UpdateId = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]  # negative ones are ours: updates.quarantine_id

ABSENT: Final = msgspec.Raw()
_NULL: Final = b"null"  # some libraries write every optional field, with null for "absent"


class Envelope(msgspec.Struct):
    """An `Update`: its id, and what it brings as bytes still to be read."""

    update_id: UpdateId | msgspec.UnsetType = msgspec.UNSET
    message: msgspec.Raw = ABSENT
    callback_query: msgspec.Raw = ABSENT


class User(msgspec.Struct):
    """A `User`."""

    id: Int64
    is_bot: bool = False
    first_name: str | None = None
    username: str | None = None


class Chat(msgspec.Struct):
    """A `Chat`; `type` is `private`, `group`, `supergroup`, `channel`, or one to come."""

    id: Int64
    type: str = ""


class Placed(msgspec.Struct, kw_only=True):
    """Where in its chat a `Message` stands."""

    is_topic_message: bool | None = None
    message_thread_id: Int64 | None = None

    @property
    def topic(self) -> int:
        """The forum topic, 0 if it is none: outside of forums a thread is only a chain of replies."""
        return self.message_thread_id or 0 if self.is_topic_message else 0


class Message(Placed, rename={"sender": "from"}):
    """A `Message`; what only a group's messages need is left unread."""

    message_id: Int64
    chat: Chat
    date: Int64 = 0
    sender: User | None = None
    text: str | None = None
    caption: str | None = None
    migrate_to_chat_id: Int64 | None = None
    entities: msgspec.Raw = ABSENT
    caption_entities: msgspec.Raw = ABSENT
    reply_to_message: msgspec.Raw = ABSENT

    @property
    def words(self) -> str:
        """The text, or the caption of what is no text."""
        return self.text or self.caption or ""


class MessageEntity(msgspec.Struct):
    """A `MessageEntity`; offset and length count UTF-16 code units."""

    type: str = ""
    offset: Int64 = 0
    length: Int64 = 0
    user: User | None = None


class RepliedTo(msgspec.Struct, rename={"sender": "from"}):
    """The message that is replied to: only whose it is."""

    sender: User | None = None


class ButtonMessage(Placed):
    """The message under which a button was pressed; of one too old Telegram tells little more than this."""

    chat: Chat
    message_id: Int64 = 0


class CallbackQuery(msgspec.Struct, rename={"sender": "from"}):
    """A `CallbackQuery`: somebody pressed a button."""

    id: str
    sender: User
    message: ButtonMessage | None = None
    data: str | None = None


class Elsewhere(msgspec.Struct, rename={"sender": "from"}):
    """What an update of any other kind may say of its chat and user."""

    chat: Chat | None = None
    sender: User | None = None
    user: User | None = None


read_envelope = msgspec.json.Decoder(Envelope).decode
read_message = msgspec.json.Decoder(Message | None).decode
read_callback = msgspec.json.Decoder(CallbackQuery | None).decode
read_entities = msgspec.json.Decoder(tuple[MessageEntity, ...] | None).decode
read_replied_to = msgspec.json.Decoder(RepliedTo | None).decode
read_elsewhere = msgspec.json.Decoder(Elsewhere).decode
_read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def fields_of(body: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Give an object's fields unread, without those that are null; raises what msgspec raises."""
    return {name: raw for name, raw in _read_fields(body).items() if bytes(raw) != _NULL}

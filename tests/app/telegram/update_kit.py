"""Makes the JSON of updates, as Telegram would send it."""

import json
from typing import Any

from app.telegram.addressing import BotIdentity
from app.telegram.updates import Intake, classify

US = BotIdentity(1, "OurBot")


def message(chat_type: str = "private", **fields: Any) -> dict[str, Any]:
    """Give a message of Ada (user 7); a field given as None is left out."""
    chat = 7 if chat_type == "private" else -5
    content = {
        "message_id": 11,
        "from": {"id": 7, "is_bot": False, "first_name": "Ada"},
        "chat": {"id": chat, "type": chat_type},
        "date": 1_700_000_000,
        "text": "hello",
        **{name.removesuffix("_"): value for name, value in fields.items()},
    }
    return {name: value for name, value in content.items() if value is not None}


def body(**fields: Any) -> bytes:
    """Give the body of an update with these fields."""
    return json.dumps({"update_id": 5, **fields}).encode()


def take(identity: BotIdentity | None = US, **fields: Any) -> Intake:
    """Classify an update with these fields."""
    return classify(body(**fields), identity)


def verdict(identity: BotIdentity | None = US, **fields: Any) -> tuple[str, str]:
    """Give the verdict and the reason for an update with these fields."""
    intake = take(identity, **fields)
    return intake.verdict, intake.reason

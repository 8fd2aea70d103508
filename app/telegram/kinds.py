"""The kinds of update that the Bot API has, and the words that say why one is ignored or set aside."""

from typing import Final

KINDS: Final = frozenset(
    {
        "message",
        "edited_message",
        "channel_post",
        "edited_channel_post",
        "business_connection",
        "business_message",
        "edited_business_message",
        "deleted_business_messages",
        "guest_message",
        "message_reaction",
        "message_reaction_count",
        "inline_query",
        "chosen_inline_result",
        "callback_query",
        "shipping_query",
        "pre_checkout_query",
        "purchased_paid_media",
        "poll",
        "poll_answer",
        "my_chat_member",
        "chat_member",
        "chat_join_request",
        "chat_boost",
        "removed_chat_boost",
        "managed_bot",
        "subscription",
        "stopped_message_generation",
    }
)
"""Every kind of update in Bot API 10.x; a later one is counted as `unknown` and ignored."""

ALLOWED_UPDATES: Final = ("message", "callback_query")
"""The kinds to ask Telegram for (`setWebhook`, `getUpdates`): what is not asked for costs nothing."""

MEDIA: Final = frozenset(
    {
        "animation",
        "audio",
        "checklist",
        "contact",
        "dice",
        "document",
        "game",
        "live_photo",
        "location",
        "paid_media",
        "photo",
        "poll",
        "sticker",
        "story",
        "venue",
        "video",
        "video_note",
        "voice",
    }
)
"""The fields of a `Message` with a content that this version does not look at."""

IGNORED_REASONS: Final = KINDS | {
    "unknown",  # a kind of update or a type of chat that this version does not know
    "media",  # without a caption
    "no_text",  # a service message
    "no_sender",
    "from_bot",
    "channel",
    "not_addressed",  # said in a group, not to us
    "callback_data",  # none, or not 1 to 64 bytes: no button of ours
    "no_chat",  # a button under an inline message
}
"""All reasons of an ignored update: few enough for a metric's label."""

UNREADABLE_REASONS: Final = frozenset(
    {"empty", "bom", "not_json", "too_deep", "not_object", "no_update_id", "bad_update_id", "bad_content"}
)
"""All reasons of a quarantined body or update."""

"""Keeps a conversation within its bounds and valid: it starts with a user's turn and never splits a tool pair."""

from collections.abc import Sequence

from contracts.turns import ChatMessage

MAX_MESSAGES = 20  # what a model needs of a chat; 5 kB stored
MAX_BYTES = 256 * 1024  # a quarter of the store's document limit, so that a session always fits

Messages = tuple[ChatMessage, ...]


def extend(
    messages: Messages,
    appended: Sequence[ChatMessage],
    *,
    limit: int = MAX_MESSAGES,
    max_bytes: int = MAX_BYTES,
) -> Messages:
    """Give the conversation with `appended` at its end, cut at its beginning to both bounds."""
    return bounded((*messages, *appended), limit=limit, max_bytes=max_bytes)


def bounded(messages: Messages, *, limit: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> Messages:
    """Give the longest valid end of the conversation that is within both bounds; empty if there is none."""
    for start in range(max(0, len(messages) - limit), len(messages)):
        kept = messages[start:]
        if _opens(kept[0]) and sum(map(_size, kept)) <= max_bytes:
            return kept
    return ()


def repaired(messages: Messages) -> Messages:
    """Give the conversation without tool calls that were never answered and results that nobody asked for."""
    valid: list[ChatMessage] = []
    left = messages
    while left:
        taken = 2 if _is_tool_pair(left[:2]) else 1
        if taken == 2 or _is_plain(left[0]):
            valid += left[:taken]
        left = left[taken:]
    return bounded(tuple(valid), limit=len(valid))


def _opens(message: ChatMessage) -> bool:
    return message.role == "user" and not message.tool_results


def _is_plain(message: ChatMessage) -> bool:
    return not message.tool_calls and not message.tool_results


def _is_tool_pair(pair: Messages) -> bool:
    """Whether an assistant's calls are followed by a user's results of exactly these."""
    if [message.role for message in pair] != ["assistant", "user"]:
        return False
    calls, results = pair
    asked, answered = [call.id for call in calls.tool_calls], [each.id for each in results.tool_results]
    return bool(asked) and not calls.tool_results and not results.tool_calls and set(asked) == set(answered)


def _size(message: ChatMessage) -> int:
    calls = sum(len(call.arguments.encode()) + len(call.name) for call in message.tool_calls)
    results = sum(len(result.content.encode()) for result in message.tool_results)
    return len(message.text.encode()) + calls + results

"""The simulated Bot API on the wire: its methods, and its errors word for word."""

from typing import Any

import aiohttp
import pytest

from app.telegram.simulator import TelegramSimulator
from tests.app.telegram.bot_kit import CHAT, Bot

NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)


async def test_a_message_arrives_with_its_entities_and_buttons(telegram: TelegramSimulator, bot: Bot) -> None:
    """What the bot sends is what the person sees: text, entities in UTF-16 units, buttons."""
    keyboard = {"inline_keyboard": [[{"text": "More", "callback_data": "more:1"}]]}
    entities = [{"type": "bold", "offset": 3, "length": 2}]
    answer = await bot.call(
        "sendMessage", chat_id=CHAT, text="🌅 hi", entities=entities, reply_markup=keyboard
    )
    assert answer["ok"] is True
    (reply,) = telegram.replies(CHAT)
    assert (reply.text, list(reply.entities)) == ("🌅 hi", entities)
    assert [(each.text, each.data) for each in telegram.buttons(CHAT)] == [("More", "more:1")]
    assert answer["result"]["message_id"] == reply.message_id
    assert answer["result"]["chat"] == {"id": CHAT, "type": "private", "first_name": "User 7"}


@pytest.mark.parametrize("form", ["query", "urlencoded", "multipart"])
async def test_arguments_come_in_every_form_of_the_bot_api(
    telegram: TelegramSimulator, bot: Bot, form: str
) -> None:
    """Query string, urlencoded and multipart bodies carry the same call as JSON does."""
    values = {"chat_id": str(CHAT), "text": "bold", "entities": '[{"type":"bold","offset":0,"length":4}]'}
    url = f"{bot.base}/sendMessage"
    match form:
        case "query":
            answer = await bot.http.get(url, params=values)
        case "urlencoded":
            answer = await bot.http.post(url, data=values)
        case _:
            with aiohttp.MultipartWriter("form-data") as body:
                for name, value in values.items():
                    body.append(value).set_content_disposition("form-data", name=name)
            answer = await bot.http.post(url, data=body)
    assert (await answer.json())["ok"] is True
    assert telegram.replies(CHAT)[0].entities == ({"type": "bold", "offset": 0, "length": 4},)


def _button(**fields: Any) -> dict[str, Any]:
    return {"inline_keyboard": [[fields]]}


@pytest.mark.parametrize(
    ("arguments", "description"),
    [
        ({"chat_id": 404, "text": "x"}, "Bad Request: chat not found"),
        ({"text": "x"}, "Bad Request: chat_id is empty"),
        ({"chat_id": CHAT}, "Bad Request: message text is empty"),
        ({"chat_id": CHAT, "text": ""}, "Bad Request: message text is empty"),
        ({"chat_id": CHAT, "text": " \n "}, "Bad Request: text must be non-empty"),
        ({"chat_id": CHAT, "text": "a" * 4097}, "Bad Request: message is too long"),
        ({"chat_id": CHAT, "text": "🌅" * 2049}, "Bad Request: message is too long"),
        (
            {"chat_id": CHAT, "text": "x", "parse_mode": "HTML"},
            "Bad Request: can't parse entities: the simulator reads no parse_mode; send entities instead",
        ),
        (
            {"chat_id": CHAT, "text": "abc", "entities": [{"type": "bold", "offset": 1, "length": 3}]},
            "Bad Request: entity beginning at UTF-16 offset 1 ends after the end of the text at UTF-16 offset 4",
        ),
        (
            {"chat_id": CHAT, "text": "🌅", "entities": [{"type": "bold", "offset": 0, "length": 1}]},
            "Bad Request: entity beginning at UTF-16 offset 0 ends in a middle of a UTF-16 symbol at UTF-16 offset 1",
        ),
        (
            {"chat_id": CHAT, "text": "abc", "entities": [{"type": "loud", "offset": 0, "length": 1}]},
            "Bad Request: can't parse MessageEntity: Unsupported type specified",
        ),
        (
            {"chat_id": CHAT, "text": "abc", "entities": [{"type": "bold", "offset": 0, "length": 1}] * 101},
            "Bad Request: ENTITIES_TOO_LONG",
        ),
        (
            {"chat_id": CHAT, "text": "x", "reply_markup": _button(text="b", callback_data="é" * 33)},
            "Bad Request: BUTTON_DATA_INVALID",
        ),
        (
            {"chat_id": CHAT, "text": "x", "reply_markup": _button(text="b", callback_data="")},
            "Bad Request: BUTTON_DATA_INVALID",
        ),
        (
            {"chat_id": CHAT, "text": "x", "reply_markup": _button(text="b")},
            "Bad Request: can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
        ),
    ],
)
async def test_what_telegram_refuses_is_refused(
    telegram: TelegramSimulator, bot: Bot, arguments: dict[str, Any], description: str
) -> None:
    """A message outside of the Bot API's limits is a 400 with Telegram's words, and nobody sees it."""
    answer = await bot.call("sendMessage", **arguments)
    assert answer == {"ok": False, "error_code": 400, "description": description}
    assert telegram.replies(CHAT) == []


@pytest.mark.parametrize(
    ("method", "body", "words"),
    [
        ("sendMessage", "{", "can't parse JSON object"),
        ("sendMessage", "[" * 100_000, "can't parse JSON object"),
        ("sendMessage", "[]", "object expected"),
        ("sendMessage", '{"chat_id": 7, "text": "\\ud800"}', "strings must be encoded in UTF-8"),
        ("sendMessage", '{"chat_id": 7, "text": "x", "entities": "[{"}', "can't parse entities JSON object"),
        (
            "sendMessage",
            '{"chat_id": 7, "text": "x", "entities": {}}',
            "can't parse entities JSON object: expected an Array",
        ),
        (
            "sendMessage",
            '{"chat_id": 7, "text": "x", "entities": [{"type": "bold"}]}',
            'can\'t parse MessageEntity: fields "offset" and "length" must be Numbers above 0',
        ),
        (
            "sendMessage",
            '{"chat_id": 7, "text": "x", "entities": [{"type": "text_link", "offset": 0, "length": 1}]}',
            "can't parse MessageEntity: can't find field \"url\"",
        ),
        ("sendMessage", '{"chat_id": 7, "text": "x", "reply_markup": []}', "object expected as reply markup"),
        (
            "sendMessage",
            '{"chat_id": 7, "text": "x", "reply_markup": {"inline_keyboard": [1]}}',
            'field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays',
        ),
        ("editMessageText", '{"chat_id": 7, "message_id": "one"}', "invalid message_id specified"),
        (
            "setMyCommands",
            '{"commands": 5}',
            "can't parse BotCommands: expected an Array of at most 100 BotCommand",
        ),
    ],
)
async def test_malformed_arguments_are_a_bad_request(bot: Bot, method: str, body: str, words: str) -> None:
    """Whatever a caller sends, the answer is a Bot API error and never a 500."""
    headers = {"Content-Type": "application/json"}
    async with bot.http.post(f"{bot.base}/{method}", data=body, headers=headers) as answer:
        assert (answer.status, (await answer.json())["description"]) == (400, f"Bad Request: {words}")


@pytest.mark.parametrize("text", ["a", "a" * 4096, "🌅" * 2048, "\n  a" * 1024])
async def test_texts_within_the_limit_are_sent(telegram: TelegramSimulator, bot: Bot, text: str) -> None:
    """1 to 4096 UTF-16 units are accepted; white space at both ends is cut off."""
    assert (await bot.call("sendMessage", chat_id=CHAT, text=text))["ok"] is True
    assert telegram.replies(CHAT)[0].text == text.strip()


async def test_entities_move_along_when_the_start_is_trimmed(telegram: TelegramSimulator, bot: Bot) -> None:
    """An entity still covers its words after white space before it was cut off."""
    entities = [{"type": "bold", "offset": 0, "length": 4}, {"type": "code", "offset": 5, "length": 3}]
    await bot.call("sendMessage", chat_id=CHAT, text="  ab cd  ", entities=entities)
    expected = ({"type": "bold", "offset": 0, "length": 2}, {"type": "code", "offset": 3, "length": 2})
    assert telegram.replies(CHAT)[0].entities == expected


async def test_an_edit_replaces_the_text_and_refuses_to_change_nothing(
    telegram: TelegramSimulator, bot: Bot
) -> None:
    """The bot edits its own message once; the same again is `not modified`, others' messages can't be."""
    sent = (await bot.call("sendMessage", chat_id=CHAT, text="one"))["result"]["message_id"]
    assert (await bot.call("editMessageText", chat_id=CHAT, message_id=sent, text="two"))["ok"] is True
    assert [(each.text, each.edited) for each in telegram.replies(CHAT)] == [("two", True)]
    again = await bot.call("editMessageText", chat_id=CHAT, message_id=sent, text="two")
    assert again["description"] == NOT_MODIFIED
    missing = await bot.call("editMessageText", chat_id=CHAT, message_id=999, text="x")
    assert missing["description"] == "Bad Request: message to edit not found"
    persons = telegram.transcript(CHAT)[0].message_id
    foreign = await bot.call("editMessageText", chat_id=CHAT, message_id=persons, text="x")
    assert foreign["description"] == "Bad Request: message can't be edited"


async def test_the_wrong_token_and_unknown_methods_are_refused(telegram: TelegramSimulator, bot: Bot) -> None:
    """401 for a token, 404 for a method, as the Bot API has it."""
    async with bot.http.get(f"{telegram.url}/bot1:wrong/getMe") as answer:
        assert (answer.status, (await answer.json())["description"]) == (401, "Unauthorized")
    assert (await bot.call("sendStars"))["description"] == "Not Found: method not found"
    me = await bot.call("getme")
    assert me["result"]["username"] == "firstlight_bot"


async def test_a_blocked_bot_reaches_nobody(telegram: TelegramSimulator, bot: Bot) -> None:
    """Blocking is told to the bot, sending is then a 403, and unblocking takes it back."""
    telegram.block(CHAT)
    answer = await bot.call("sendMessage", chat_id=CHAT, text="x")
    assert (answer["error_code"], answer["description"]) == (403, "Forbidden: bot was blocked by the user")
    assert telegram.say(CHAT, "not heard").update_id == 0
    telegram.block(CHAT, blocked=False)
    assert (await bot.call("sendMessage", chat_id=CHAT, text="x"))["ok"] is True
    kinds = [sorted(each.keys() - {"update_id"})[0] for each in (await bot.call("getUpdates"))["result"]]
    assert kinds == ["message", "my_chat_member", "my_chat_member"]


async def test_typing_is_seen_until_the_message_comes(telegram: TelegramSimulator, bot: Bot) -> None:
    """A chat action shows as typing, ends with the message, and is counted."""
    assert (await bot.call("sendChatAction", chat_id=CHAT, action="typing"))["result"] is True
    assert telegram.typing(CHAT) is True
    await bot.call("sendMessage", chat_id=CHAT, text="x")
    assert (telegram.typing(CHAT), telegram.world.chats[CHAT].typing_actions) == (False, 1)
    wrong = await bot.call("sendChatAction", chat_id=CHAT, action="dancing")
    assert wrong["description"] == "Bad Request: wrong parameter action in request"


async def test_a_pressed_button_comes_as_a_query_and_is_answered(
    telegram: TelegramSimulator, bot: Bot
) -> None:
    """The query carries message, user and data; its id can be answered, a made-up one can't."""
    keyboard = _button(text="More", callback_data="more")
    await bot.call("sendMessage", chat_id=CHAT, text="x", reply_markup=keyboard)
    pressed = telegram.press(telegram.buttons(CHAT)[0])
    update = (await bot.call("getUpdates", offset=pressed.update_id))["result"][0]
    query = update["callback_query"]
    assert (update["update_id"], query["data"], query["from"]["id"]) == (pressed.update_id, "more", CHAT)
    assert query["message"]["text"] == "x"
    assert (await bot.call("answerCallbackQuery", callback_query_id=query["id"]))["result"] is True
    forged = await bot.call("answerCallbackQuery", callback_query_id="1")
    assert forged["description"].startswith("Bad Request: query is too old")


async def test_a_group_that_became_a_supergroup_names_its_new_id(
    telegram: TelegramSimulator, bot: Bot
) -> None:
    """Sending to the old id is refused with the new one in the parameters, and both chats tell the bot."""
    telegram.say(-5, "/start@firstlight_bot", user=9, chat_type="group")
    telegram.migrate(-5, -1005)
    answer = await bot.call("sendMessage", chat_id=-5, text="x")
    assert answer["parameters"] == {"migrate_to_chat_id": -1005}
    assert (await bot.call("sendMessage", chat_id=-1005, text="x"))["ok"] is True
    updates = [each["message"] for each in (await bot.call("getUpdates"))["result"]][1:]
    assert updates[0]["entities"] == [{"type": "bot_command", "offset": 0, "length": 21}]
    assert [each.get("migrate_to_chat_id") for each in updates] == [None, -1005, None]
    assert [each.get("migrate_from_chat_id") for each in updates] == [None, None, -5]


async def test_a_topic_takes_messages_until_it_is_deleted(telegram: TelegramSimulator, bot: Bot) -> None:
    """What is said in a topic says so; the bot can answer there, and nowhere that is no topic."""
    thread = telegram.open_topic(-1001)
    telegram.say(-1001, "in it", thread=thread)
    answer = await bot.call("sendMessage", chat_id=-1001, text="there", message_thread_id=thread)
    assert answer["result"]["message_thread_id"] == thread
    assert answer["result"]["is_topic_message"] is answer["result"]["chat"]["is_forum"] is True
    assert [each.thread for each in telegram.transcript(-1001)] == [0, thread, thread]
    telegram.delete_topic(-1001, thread)
    for method, more in (("sendMessage", {"text": "x"}), ("sendChatAction", {"action": "typing"})):
        refused = await bot.call(method, chat_id=-1001, message_thread_id=thread, **more)
        assert refused["description"] == "Bad Request: message thread not found"


async def test_commands_are_kept_and_checked(bot: Bot) -> None:
    """setMyCommands gives what getMyCommands tells; a bad name is refused."""
    commands = [{"command": "start", "description": "Begin"}]
    assert (await bot.call("setMyCommands", commands=commands))["result"] is True
    assert (await bot.call("getMyCommands"))["result"] == commands
    bad = await bot.call("setMyCommands", commands=[{"command": "Bad Name", "description": "x"}])
    assert bad["description"] == "Bad Request: BOT_COMMAND_INVALID"


async def test_captions_replies_and_edits_have_their_own_fields(
    telegram: TelegramSimulator, bot: Bot
) -> None:
    """A caption is no text, a reply carries what it replies to, an edit is its own kind of update."""
    sent = (await bot.call("sendMessage", chat_id=CHAT, text="bot"))["result"]["message_id"]
    telegram.say(CHAT, "under a photo", caption=True)
    said = telegram.say(CHAT, "reply", reply_to=sent)
    telegram.edit(CHAT, said.message_id, "edited")
    updates = (await bot.call("getUpdates"))["result"][1:]
    assert (updates[0]["message"]["caption"], "text" in updates[0]["message"]) == ("under a photo", False)
    assert updates[1]["message"]["reply_to_message"]["from"]["is_bot"] is True
    assert updates[2]["edited_message"]["text"] == "edited"


async def test_memory_is_bounded() -> None:
    """Old messages of a chat are let go, and too many chats are refused."""
    small = TelegramSimulator(max_chats=1, max_messages=2)
    for text in ("a", "b", "c"):
        small.say(CHAT, text)
    assert [each.text for each in small.transcript(CHAT)] == ["b", "c"]
    with pytest.raises(OverflowError):
        small.say(CHAT + 1, "d")


async def test_it_serves_loopback_only() -> None:
    """An address that others reach is refused."""
    with pytest.raises(ValueError, match="loopback"):
        await TelegramSimulator().start("0.0.0.0")  # noqa: S104 - refused


async def test_waiting_for_a_reply_ends_with_it_or_with_its_deadline(
    telegram: TelegramSimulator, bot: Bot
) -> None:
    """The wait gives the replies when there are enough, and TimeoutError when they do not come."""
    with pytest.raises(TimeoutError):
        await telegram.wait_for_reply(CHAT, deadline_s=0.01)
    await bot.call("sendMessage", chat_id=CHAT, text="one")
    assert [each.text for each in await telegram.wait_for_reply(CHAT, deadline_s=1)] == ["one"]

"""What the tests of the Anthropic model ask, and how patient they are."""

from collections.abc import Awaitable, Callable

from actors.ports import Model, Prompt
from app.llm.anthropic import Patience
from contracts.turns import ChatMessage
from tests.app.llm.messages_api import MessagesApi

KEY = "sk-ant-canary-4711"
SAID = "what the user had said"
QUICK = Patience(connect_s=0.5, idle_s=0.2, total_s=1.5, warm_s=0.2, first_wait_s=0.001)
HELLO = Prompt(system="You help.", messages=(ChatMessage(role="user", text=SAID),))
Serve = Callable[..., Awaitable[tuple[MessagesApi, Model]]]

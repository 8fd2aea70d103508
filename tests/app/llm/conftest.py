"""The Anthropic model, and a server that speaks its API."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from actors.ports import Model
from app.llm.anthropic import AnthropicModel, Patience
from tests.app.llm.anthropic_kit import KEY, QUICK, Serve
from tests.app.llm.messages_api import MessagesApi, Play, messages_api


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server with a script, and a model that asks it."""
    async with AsyncExitStack() as stack:

        async def start(
            *script: Play, patience: Patience = QUICK, **settings: int
        ) -> tuple[MessagesApi, Model]:
            api = await stack.enter_async_context(messages_api(*script))
            model = AnthropicModel("test", KEY, api.url, patience=patience, **settings)
            stack.push_async_callback(model.close)
            return api, model

        yield start

"""The way from the simulated Telegram to the bot's webhook: one POST an update."""

import aiohttp

from app.telegram.simulator_delivery import Deliver, Outcome
from app.telegram.simulator_methods import Webhook


def webhook_delivery(http: aiohttp.ClientSession, webhook: Webhook) -> Deliver:
    """Posts updates to the webhook; a 2xx is success, all else says why not."""
    headers = {"Content-Type": "application/json"}
    if webhook.secret_token:
        headers["X-Telegram-Bot-Api-Secret-Token"] = webhook.secret_token

    async def deliver(body: bytes) -> Outcome:
        try:
            # no deadline here: the queue gives up after 60 s of its own clock
            async with http.post(webhook.url, data=body, headers=headers, allow_redirects=False) as answer:
                return _outcome(answer)
        except aiohttp.ClientConnectorError:
            return Outcome(False, "Connection refused")
        except aiohttp.ClientError:
            return Outcome(False, "Webhook connection closed")

    return deliver


def _outcome(answer: aiohttp.ClientResponse) -> Outcome:
    if 200 <= answer.status <= 299:
        return Outcome(True)
    wish = answer.headers.get("Retry-After", "")
    words = f"Wrong response from the webhook: {answer.status} {answer.reason}"
    return Outcome(False, words, float(wish) if wish.isdecimal() else 0.0)

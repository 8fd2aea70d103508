"""How the world gets in and out: settings, stores, Telegram, models, transports, web and CLI."""

from app.plain_structlog import import_plainly

import_plainly()

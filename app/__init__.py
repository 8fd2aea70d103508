"""How the world gets in and out: settings, stores, Telegram, models, transports, web and CLI."""

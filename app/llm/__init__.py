"""Language models behind the port `Model`: `offline` needs nothing, `anthropic` a key and 1 s of imports."""

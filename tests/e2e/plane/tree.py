"""Copies of the code to deploy: versions that can be told apart, and whose turns take as long as a test wants."""

import shutil
from pathlib import Path
from typing import Final

from tests.app.plane.kit import ROOT

PACKAGES: Final = ("app", "actors", "contracts")
FILES: Final = ("modal_app.py", "requirements.lock")
HOLD: Final = "E2E_HOLD"
"""The variable that names a file: while it is there, no turn of a copy ends."""
BEGAN: Final = "E2E_BEGAN"
"""The variable that names a file: every turn of a copy adds a line to it when it asks the model."""
MODEL: Final = '''

class _Answering(OfflineModel):
    """Says which version of the code answers, and waits while it is told to; a rehearsed turn is nobody's."""

    async def answer(self, prompt: Prompt) -> Completion:
        if prompt.messages[-1].text == TEXT:
            return await super().answer(prompt)
        with open(os.environ["{began}"], "a") as file:
            file.write("{version}\\n")
        while os.path.exists(os.environ["{hold}"]):
            await asyncio.sleep(0.02)
        completion = await super().answer(prompt)
        return msgspec.structs.replace(completion, text="{version}: " + completion.text)


import asyncio, os, msgspec
from app.rehearsal_stage import TEXT
OfflineModel = _Answering
'''


def copy_of_the_code(folder: Path, version: str, *, protocol: int = 1) -> Path:
    """Copy what is deployed, its offline model naming `version` in each answer; gives the copy's root.

    From protocol 2 on, every message has a field that protocol 1 does not know.
    """
    tree = folder / version
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, tree / file)
    if protocol > 1:
        _speak(tree / "contracts" / "base.py", protocol)
    with (tree / "app/llm/offline.py").open("a") as model:
        model.write(MODEL.format(version=version, hold=HOLD, began=BEGAN))
    return tree


def _speak(base: Path, protocol: int) -> None:
    """Give each message one more field; what the stores keep is no message."""
    text = base.read_text().replace("PROTOCOL: Final = 1", f"PROTOCOL: Final = {protocol}")
    head, parted, tail = text.partition("class Message(msgspec.Struct, frozen=True, ")
    doc, closed, rest = tail.partition('default.\n    """\n')
    assert closed, f"{base} has changed: there is no class Message as it was"
    base.write_text(
        f'{head}{parted}kw_only=True, {doc}{closed}\n    since_protocol_{protocol}: str = "new"\n{rest}'
    )

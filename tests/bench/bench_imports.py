"""What each role's container imports before it can work, and which packages weigh most."""

import re
import subprocess
import sys
from collections import Counter
from functools import partial
from typing import Final

from tests.bench.kit import Effort, Table, Values, rounds, rows
from tests.bench.processes import ROOT

MS: Final = "ms of imports"
NOTHING: Final = "python alone"
ROLES: Final = {
    NOTHING: "pass",
    "aiohttp and uvloop": "import aiohttp.web, uvloop",
    "session shard, SQLite": "import app.wiring, app.store.sqlite_opening",
    "session shard, Firestore": "import app.wiring, app.store.firestore_opening",
    "gateway": "import app.gateway",
    "agent, offline model": "import app.wiring, app.telegram.client, app.telegram.render, app.llm.offline",
    "agent, Anthropic": "import app.wiring, app.telegram.client, app.telegram.render, app.llm.anthropic",
    "firstlight serve": "import app.cli, app.store.sqlite_opening, app.llm.offline",
}
_LINE: Final = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)")
SHOWN: Final = 4


def run(effort: Effort) -> Table:
    """Let Python time the imports of each role (`-X importtime`), in fresh processes."""
    heaviest: dict[str, Counter[str]] = {}
    contenders = {role: partial(_importing, role, heaviest) for role in ROLES}
    samples = rounds(contenders, effort.pick(1, 5), effort)
    weights = "; ".join(f"{role}: {_most(heaviest[role])}" for role in list(ROLES)[2:])
    return Table(
        name="imports",
        title="What each role imports (self times of all modules, summed; -X importtime adds some itself)",
        ratio_of=MS,
        rows=rows(samples, MS, "aiohttp and uvloop"),
        reading=f"Heaviest packages in ms, of the last round. {weights}.",
    )


def _importing(role: str, heaviest: dict[str, Counter[str]]) -> Values:
    command = [sys.executable, "-X", "importtime", "-c", ROLES[role]]
    told = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True, cwd=ROOT).stderr
    spent_us: Counter[str] = Counter()
    modules = 0
    for self_us, module in _LINE.findall(told):
        spent_us[module.partition(".")[0]] += int(self_us)
        modules += 1
    heaviest[role] = spent_us
    return {MS: spent_us.total() / 1000, "modules": float(modules)}


def _most(spent_us: Counter[str]) -> str:
    return ", ".join(f"{package} {us / 1000:.0f}" for package, us in spent_us.most_common(SHOWN))

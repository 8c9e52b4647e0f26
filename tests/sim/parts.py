"""What the simulator's tests count, each into a file of its own; when all is over, the sum of them becomes build/sim.json.

A plugin and no conftest: where tests run in several processes, the one that ends them collects none, and loads no conftest
but the topmost.
"""

import shutil
from pathlib import Path

import pytest

from ostkeeper.sim.figures import read, total, write

PARTS = Path(__file__).parents[2] / "build" / "sim"


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(PARTS, ignore_errors=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    parts = sorted(PARTS.glob("*.json"))
    if parts and not hasattr(session.config, "workerinput"):
        write(total(read(path) for path in parts), PARTS.parent / "sim.json")

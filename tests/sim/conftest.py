"""When all is over, the figures of all parts become build/sim.json."""

import shutil

import pytest

from ostkeeper.sim.figures import read, total, write
from sim.test_nights import PARTS


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(PARTS, ignore_errors=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    parts = sorted(PARTS.glob("*.json"))
    if parts and not hasattr(session.config, "workerinput"):
        write(total(read(path) for path in parts), PARTS.parent / "sim.json")

"""What every test may rely on: `async def test_...` runs in an event loop of its own; `--rewrite` blesses what tests wrote down.

Helpers are imported by name (`from waiting import wait_for`): `tests/` is on the path. Fixtures of a subject stand in
that subject's folder.
"""

import asyncio
import inspect
from typing import Any

import pytest

from agent_shell import virtual_time

pytest_plugins = ("sim.parts",)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--rewrite` blesses what scenarios and golden files came to; the diff is reviewed like code."""
    parser.addoption("--rewrite", action="store_true", help="write scenarios and golden files anew from what happened")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether to bless."""
    return bool(request.config.getoption("--rewrite", default=False))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test with `asyncio.run`: a fresh loop a test, closed after it, so no test leaks tasks to another.

    Where it is marked `virtual_time`, in a loop in which waiting takes none: no stall of the machine can be seen there.

    Async fixtures are not supported on purpose; use an async context manager inside the test.
    """
    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    wanted = inspect.signature(function).parameters
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in wanted if name in pyfuncitem.funcargs}
    in_time = virtual_time.run if pyfuncitem.get_closest_marker("virtual_time") else asyncio.run
    in_time(function(**arguments))
    return True

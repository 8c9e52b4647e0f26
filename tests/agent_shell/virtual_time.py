"""An event loop whose time is the test's: waiting takes none. Here: `VirtualLoop` and `run`. Not here: any expectation."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Lets virtual time pass instead of waiting."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("the loop would wait for ever: nothing is due and nobody is left to send anything")
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is virtual and moves on by itself to whatever is due next."""

    def __init__(self) -> None:
        self.virtual = _Selector()
        super().__init__(self.virtual)

    def time(self) -> float:
        return self.virtual.now


class LoopClock:
    """The port `Clock` on the loop's own time."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> str:
        return "2026-11-23T00:00:00.000000Z"


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)

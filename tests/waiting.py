"""Waiting for a condition with a deadline: the only place in `tests/` where time is let pass.

Here: `wait_for` (sync) and `wait_for_async`. Not here: what is waited for; a test states it, and why, in a sentence.
A condition is anything that returns a truthy value when it holds; that value is handed back. A condition that raises
AssertionError does not hold yet, so that `assert`s can be waited for; any other exception ends the wait at once.
"""

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, overload

T = TypeVar("T")

STEP_SECONDS = 0.05
"""How long between two looks. Short against anything the product does, long against the cost of one look."""


class WaitedTooLongError(AssertionError):
    """The condition did not hold within the deadline; the message says why it was awaited and what was seen last."""


def _too_long(deadline_seconds: float, why: str, last: object) -> WaitedTooLongError:
    return WaitedTooLongError(f"waited {deadline_seconds:g}s in vain: {why}; seen last: {last!r}")


def wait_for(condition: Callable[[], T], deadline_seconds: float, why: str, step: float = STEP_SECONDS) -> T:
    """Look at `condition` every `step` seconds until it holds; raise WaitedTooLongError after `deadline_seconds`.

    `why` completes the sentence "waited in vain: ...". The condition is always looked at once more at the deadline.
    """
    clock, end = threading.Event(), time.monotonic() + deadline_seconds
    while True:
        late = time.monotonic() >= end
        last: object
        try:
            last = value = condition()
            if value:
                return value
        except AssertionError as not_yet:
            last = not_yet
        if late:
            raise _too_long(deadline_seconds, why, last)
        clock.wait(step)


@overload
async def wait_for_async(
    condition: Callable[[], Awaitable[T]], deadline_seconds: float, why: str, step: float = STEP_SECONDS
) -> T: ...
@overload
async def wait_for_async(
    condition: Callable[[], T], deadline_seconds: float, why: str, step: float = STEP_SECONDS
) -> T: ...
async def wait_for_async(
    condition: Callable[[], T] | Callable[[], Awaitable[T]],
    deadline_seconds: float,
    why: str,
    step: float = STEP_SECONDS,
) -> T:
    """Do as `wait_for`, in an event loop. `condition` may be a plain or an async function."""
    now = asyncio.get_running_loop().time  # which a test may have in its hand
    end = now() + deadline_seconds
    while True:
        late = now() >= end
        last: object
        try:
            answer = condition()
            value = cast("T", await answer if inspect.isawaitable(answer) else answer)
            last = value
            if value:
                return value
        except AssertionError as not_yet:
            last = not_yet
        if late:
            raise _too_long(deadline_seconds, why, last)
        await asyncio.sleep(step)

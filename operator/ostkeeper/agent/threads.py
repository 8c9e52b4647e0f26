"""Blocking work beside the event loop. Here: one daemon thread for one thing that may block for ever.

Not here: the loop's shared thread pool, on purpose: a few stalled disks would fill it, and then the heartbeat's name
look-ups wait behind them. A stalled read blocks in the kernel (D state) and cannot be ended, so the thread is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def post(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Run `callback` in the loop, from any thread. A loop that is closed has nobody left to tell: then nothing happens."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)


class Wanted:
    """Whether an act is still wanted, asked by its thread right before it acts: not cancelled, and not too late."""

    def __init__(self, until: float = math.inf) -> None:
        self._until = until
        self._given_up = False

    def no_longer(self) -> None:
        """Nobody waits for it any more."""
        self._given_up = True

    def __call__(self) -> bool:
        """Still wanted, now. `until` is a second of the monotonic clock."""
        return not self._given_up and time.monotonic() < self._until


class Worker:
    """One thread that does one thing after the other. Nothing of a cancelled call is begun any more."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Do `work` in the worker's thread, after all that was asked before; raise what it raises.

        If the caller is cancelled before its turn, `work` never begins. If it has begun, it goes on to its end.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(lambda: _do(work, future, loop))
        self._start()
        return await future

    def close(self) -> None:
        """End the thread once all that was asked for before is done. Nothing may be asked for afterwards."""
        self._jobs.put(None)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _do(work: Callable[[], T], future: asyncio.Future[T], loop: asyncio.AbstractEventLoop) -> None:
    if future.cancelled():
        return
    try:
        result = work()
    except BaseException as raised:  # whatever it is belongs to the caller, and the thread goes on
        error = raised
        post(loop, lambda: None if future.done() else future.set_exception(error))
    else:
        post(loop, lambda: None if future.done() else future.set_result(result))

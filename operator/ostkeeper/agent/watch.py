"""Watching one disk over time: is its MMP block advancing, or still, and since when.

Here: one thread a disk that reads it at an interval which may change at run time. Not here: a single reading (`backends`),
what follows from the sequence of readings (`core.diskview`), what stillness allows (`core.permission`).

A disk that stalls blocks its thread in the kernel, for ever perhaps. Then no reading comes, `age` grows, and nothing else
is held up: no other disk, no heartbeat, no shutdown.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ostkeeper.agent.backends.base import DiskError, DiskReader
from ostkeeper.agent.threads import post
from ostkeeper.core.diskview import DiskView, next_reading, next_view, normal_interval

T = TypeVar("T")


class DiskStalledError(DiskError):
    """The disk did not answer in time: its reading is stuck in the kernel, or takes too long."""

    def __init__(self, message: str) -> None:
        super().__init__("DiskStalled", message)


class DiskWatch:
    """Reads one disk until closed, and hands each `DiskView` to `on_view` in the event loop.

    All methods belong in the event loop's thread. `on_view` is called for every reading, failed ones included.
    """

    def __init__(self, name: str, reader: DiskReader, on_view: Callable[[DiskView], None]) -> None:
        self.name = name
        self._reader = reader
        self._on_view = on_view
        self._changed = threading.Condition()
        self._interval: float | None = None
        self._hurry = self._parked = self._closed = False
        self._view: DiskView | None = None
        self._started = time.monotonic()
        self._waiters: list[tuple[float, asyncio.Future[DiskView]]] = []
        self._parkers: list[asyncio.Future[None]] = []

    def start(self) -> None:
        """Begin to read; call it once, in the event loop that is called back."""
        self._started = time.monotonic()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(loop,), name=f"watch-{self.name}", daemon=True).start()

    @property
    def view(self) -> DiskView | None:
        """After the latest completed reading; None before the first."""
        return self._view

    def age(self) -> float:
        """Seconds since the latest *successful* reading began, or since the start. A stalled or broken disk makes it grow."""
        good = self._view.good if self._view else None
        return time.monotonic() - (good.began if good else self._started)

    def set_interval(self, seconds: float | None) -> None:
        """Read every so many seconds from now on; None: at the normal interval. A shorter one takes effect at once."""
        with self._changed:
            if self._interval != seconds:
                self._interval = seconds
                self._changed.notify()

    async def fresh(self, within: float) -> DiskView:
        """Take a reading that begins after this call. It may have failed: see `probe`.

        Raises `DiskStalledError` if it is not complete `within` so many seconds.
        """
        future: asyncio.Future[DiskView] = asyncio.get_running_loop().create_future()
        self._waiters.append((time.monotonic(), future))
        self._wake(hurry=True)
        return await self._answer(future, within, "did not answer")

    async def release(self, within: float) -> None:
        """Stop reading and close all descriptors, until `resume`.

        Raises `DiskStalledError` if a reading is stuck for longer than `within` seconds; the watch then goes on.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parkers.append(future)
        self._wake(parked=True)
        try:
            await self._answer(future, within, "could not be let go")
        except BaseException:
            self._wake(parked=False)
            raise

    def resume(self) -> None:
        """Read again after `release`, at once. What was seen before still counts."""
        self._wake(parked=False, hurry=True)

    def close(self) -> None:
        """End the watch without waiting; a stuck thread ends, and closes its descriptor, when the disk answers."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        for _, waiter in self._waiters:
            waiter.cancel()
        for parker in self._parkers:
            parker.cancel()

    def _wake(self, *, hurry: bool | None = None, parked: bool | None = None) -> None:
        with self._changed:
            self._hurry = self._hurry if hurry is None else hurry
            self._parked = self._parked if parked is None else parked
            self._changed.notify()

    async def _answer(self, future: asyncio.Future[T], within: float, what: str) -> T:
        try:
            return await asyncio.wait_for(future, within)
        except TimeoutError:
            raise DiskStalledError(
                f"{self.name}: the disk {what} within {within:g}s; its latest good reading is {self.age():.1f}s old"
            ) from None

    # What follows runs in the watch's own thread.

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        view: DiskView | None = None
        while self._await_turn(view, loop):
            view = next_view(view, self._reader.read())
            self._post_view(view, loop)
        self._reader.close()

    def _await_turn(self, view: DiskView | None, loop: asyncio.AbstractEventLoop) -> bool:
        """Wait until the next reading is due; False: closed."""
        with self._changed:
            while not self._closed:
                if self._parked:
                    self._reader.close()
                    post(loop, self._answer_parkers)
                    self._changed.wait()
                    continue
                left = self._due(view) - time.monotonic()
                if self._hurry or left <= 0:
                    self._hurry = False
                    return True
                self._changed.wait(left)
        return False

    def _due(self, view: DiskView | None) -> float:
        if view is None:
            return -math.inf
        normal = normal_interval((view.good or view.probe).update_interval)
        return next_reading(view, normal if self._interval is None else self._interval)

    def _post_view(self, view: DiskView, loop: asyncio.AbstractEventLoop) -> None:
        post(loop, lambda: self._deliver(view))

    # What follows runs in the event loop again.

    def _deliver(self, view: DiskView) -> None:
        if self._closed:
            return
        self._view = view
        for asked, future in self._waiters:
            if view.probe.began >= asked and not future.done():
                future.set_result(view)
        self._waiters = [(asked, future) for asked, future in self._waiters if not future.done()]
        self._on_view(view)

    def _answer_parkers(self) -> None:
        for future in self._parkers:
            if not future.done():
                future.set_result(None)
        self._parkers.clear()

"""Virtual time: a heap of (time, number, what). The same calls give the same order in every process."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Clockwork:
    """Runs callbacks in the order of their times, and of their scheduling where times are equal."""

    def __init__(self, start: float = 0.0) -> None:
        self.now = start
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Run it at a time; a time that has passed means now."""
        self._number += 1
        heapq.heappush(self._heap, (max(when, self.now), self._number, what))

    def after(self, wait: float, what: Callable[[], None]) -> None:
        """Run it so many seconds from now."""
        self.at(self.now + wait, what)

    def every(self, interval: float, what: Callable[[], None], first: float = 0.0) -> None:
        """Run it again and again."""

        def again() -> None:
            what()
            self.after(interval, again)

        self.after(first, again)

    def run(self, until: float) -> None:
        """Let time pass up to and including a moment."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, what = heapq.heappop(self._heap)
            what()
        self.now = max(self.now, until)

    def run_until(self, condition: Callable[[], bool], limit: float) -> bool:
        """Let time pass until a condition holds; False when it did not within `limit` seconds."""
        end = self.now + limit
        while not condition():
            if not self._heap or self._heap[0][0] > end:
                self.now = end
                return condition()
            self.now, _, what = heapq.heappop(self._heap)
            what()
        return True

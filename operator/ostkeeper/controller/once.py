"""A log that does not repeat itself: an API server that is away would else fill it with one line a second."""

from __future__ import annotations

import logging

from ostkeeper.ports import Clock

AGAIN = 60.0
"""Seconds after which what still is so is said again."""


class Once:
    """Says a thing when it is new, and once a minute while it lasts."""

    def __init__(self, logger: logging.Logger, clock: Clock) -> None:
        self._logger, self._clock = logger, clock
        self._said, self._at = "", 0.0

    def say(self, text: str) -> None:
        """At INFO."""
        now = self._clock.monotonic()
        if text != self._said or now - self._at >= AGAIN:
            self._said, self._at = text, now
            self._logger.info("%s", text)

    def forget(self) -> None:
        """It is over: the next time it is new again."""
        self._said = ""

"""The operator's clock. Here: the real one. Not here: anything that decides by it (`core`)."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """CLOCK_MONOTONIC for every decision, wall time for what people read."""

    def monotonic(self) -> float:
        """Seconds of CLOCK_MONOTONIC, the event loop's own clock and the fence workers'."""
        return time.monotonic()

    def wall(self) -> str:
        """Now, RFC 3339 in UTC with microseconds."""
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

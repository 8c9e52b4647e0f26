"""What all drivers share: a name for messages, a lock, a deadline that comes before anything is sent.

Here: whose turn it is on one device. Not here: any protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ostkeeper.core.power import PowerReading, PowerState
from ostkeeper.ports import Clock, DeadlinePassed


class Device:
    """One operation at a time. The lock is held until whatever could still send is gone, not until the caller gave up."""

    def __init__(self, label: str, clock: Clock) -> None:
        """`label`: what messages call the device, such as "bmc-oss1 (ipmi, 192.0.2.11:623)"."""
        self.label = label
        self.clock = clock
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, what: str, deadline: float) -> AsyncIterator[None]:
        """Wait for our turn. Raises DeadlinePassed when it does not come in time: then nothing was sent."""
        if self.clock.monotonic() >= deadline:
            raise DeadlinePassed(
                f"{self.label}: {what} was NOT sent: its deadline had already passed. Decide again from a fresh reading"
            )
        try:
            async with asyncio.timeout_at(deadline):
                await self._lock.acquire()
        except TimeoutError:
            raise DeadlinePassed(
                f"{self.label}: {what} was NOT sent: an earlier operation was still under way at the deadline. "
                "Decide again from a fresh reading"
            ) from None
        try:
            if self.clock.monotonic() >= deadline:
                raise DeadlinePassed(f"{self.label}: {what} was NOT sent: the deadline came while it waited its turn")
            yield
        finally:
            self._lock.release()

    def unknown(self, began: float, why: str) -> PowerReading:
        """Give the reading that proves nothing."""
        return PowerReading(PowerState.UNKNOWN, began, self.clock.monotonic(), detail=why)

"""What all drivers share: a name for messages, a lock, a deadline that comes before anything is sent.

Here: whose turn it is on one device. Not here: any protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ostkeeper.core.identity import SERIAL
from ostkeeper.core.power import PowerReading, PowerState
from ostkeeper.ports import Clock, DeadlinePassed, FenceError, WrongIdentity


class Device:
    """One operation at a time. The lock is held until whatever could still send is gone, not until the caller gave up."""

    def __init__(self, label: str, clock: Clock) -> None:
        """`label`: what messages call the device, such as "bmc-oss1 (ipmi, 192.0.2.11:623)"."""
        self.label = label
        self.clock = clock
        self._lock = asyncio.Lock()
        self._identity = ""
        """The identity of the last answer; empty: the device has not reported one yet."""

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

    def identified(self, identity: str) -> str:
        """Take in the identity of one answer. Raises WrongIdentity if the device reported an identity before, but not now.

        Another identity of the same kind is no error here: the reading carries it, and the core compares it.
        """
        weaker = self._identity.startswith(SERIAL) and not identity.startswith(SERIAL)
        if self._identity and (weaker or not identity):
            raise WrongIdentity(
                f"{self.label}: it reported {self._identity} before and reports {identity or 'no identity'} now: whether it "
                "is the same device is not known. Look at the device that answers at this address"
            )
        self._identity = identity
        return identity

    def mismatch(self, what: str, expected: str, reported: str) -> WrongIdentity:
        """The error for a command that was not sent because of the identity of the device that answers."""
        return WrongIdentity(
            f"{self.label}: {what} was NOT sent: {reported or 'a device that reports no identity'} answers there instead of "
            f"{expected}. Correct spec's address, or the cabling of the management network"
        )

    def unknown(self, began: float, why: FenceError) -> PowerReading:
        """Give the reading that proves nothing."""
        return PowerReading(PowerState.UNKNOWN, began, self.clock.monotonic(), detail=str(why), reason=why.reason)

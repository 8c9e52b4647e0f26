"""What the shells need from the outside world, as protocols. Here: signatures and promises. Not here: any I/O.

Errors of a device are values or `FenceError`s; anything else that is raised is a bug of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ostkeeper.api.common import Condition, Resource
from ostkeeper.api.failover import Failover, FailoverStatus
from ostkeeper.api.fencedevice import FenceDeviceStatus
from ostkeeper.api.oss import PairRef
from ostkeeper.api.osspair import OSSPairStatus
from ostkeeper.api.ost import OSTStatus
from ostkeeper.core.events import Outcome, Snapshot, Tell
from ostkeeper.core.power import PowerReading


class Clock(Protocol):
    """The observer's monotonic clock. Wall time appears only in what people read."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point, never going back (`CLOCK_MONOTONIC`, shared by all processes of a host)."""
        ...

    def wall(self) -> str:
        """RFC 3339 time in UTC with microseconds, for timestamps that people read. No decision compares it."""
        ...


class FenceError(Exception):
    """A fence device could not be used. The text says which device, what was asked, why, and what to do next.

    Subclasses carry a CamelCase `reason` for conditions. None of them says anything about the power.
    """

    reason = "FenceError"


class DeviceSilent(FenceError):
    """No answer within the deadline: dead, unreachable, closed port, or (SNMP) wrong community or privacy key."""

    reason = "DeviceSilent"


class WrongCredentials(FenceError):
    """The device answered and refused the user, password or authentication key."""

    reason = "WrongCredentials"


class NoSuchOutlet(FenceError):
    """The device answered that it has no such outlet (SNMP: NoSuchInstance, NoSuchObject)."""

    reason = "NoSuchOutlet"


class BadAnswer(FenceError):
    """The device answered something that its protocol does not allow here."""

    reason = "BadAnswer"


class WrongIdentity(FenceError):
    """Another device than the pinned one answers at that address. The command was NOT sent."""

    reason = "WrongIdentity"


class DeadlinePassed(FenceError):
    """The deadline came before the command could be sent. It was NOT sent, and never will be."""

    reason = "DeadlinePassed"


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """Who answered. What is empty, the device does not tell."""

    system_uuid: str = ""
    """IPMI "Get System GUID" (netfn 6, command 0x37) as raw bytes in hexadecimal, lower case, no dashes."""
    model: str = ""
    boot: str = ""
    identity: str = ""
    """`KIND:VALUE` (`core.identity`), as of `PowerReading.identity`."""


class PowerDevice(Protocol):
    """One fence device. One operation at a time; a second caller waits for the device's lock.

    A deadline is a `CLOCK_MONOTONIC` second. When it has passed no packet leaves any more, in whatever process. A caller
    that is cancelled leaves nothing behind that could still switch something.
    """

    async def prepare(self, deadline: float) -> None:
        """Open the session, so that a later `off` is one packet. May be repeated. Raises `FenceError`."""
        ...

    async def read(self, outlet: str, deadline: float) -> PowerReading:
        """Read one feed (`outlet` is empty for a BMC). Never raises for a device's fault: that reads UNKNOWN, with detail."""
        ...

    async def off(self, outlet: str, deadline: float, identity: str = "") -> None:
        """Ask for power off, once. Returning means acknowledged, not off. Raises `FenceError`: then it may or may not be off.

        With an `identity` (`core.identity`) no packet leaves to a device that reports another one, or none. The identity is
        read in the session of the command, and again in each session that is opened for a repetition. `WrongIdentity`: no
        packet of the command has left.
        """
        ...

    async def on(self, outlet: str, deadline: float, identity: str = "") -> None:
        """Ask for power on, once. Returning means acknowledged. Raises `FenceError`. `identity`: as of `off`."""
        ...

    async def identify(self, deadline: float) -> DeviceIdentity:
        """Who answers there. Raises `FenceError`."""
        ...

    async def close(self) -> None:
        """Let go of sessions and workers. After it nothing is sent."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """How a write ended; `object` is what the API server stored, where it said so."""

    outcome: Outcome
    object: Resource | None = None
    detail: str = ""


class ReadFailedError(Exception):
    """A quorum read did not succeed as a whole. The text says which part and why. It says nothing about the world."""


class Cluster(Protocol):
    """The API server, as the pair machine's effects need it. Every call ends within its own deadline.

    Writes never raise for what the API server or the network does: that is an `Outcome`. None of them retries.
    """

    async def snapshot(self, pair: str) -> Snapshot:
        """Quorum read of all that the pair `namespace/name` is about. Raises ReadFailedError if any part fails."""
        ...

    async def write_pair(self, key: str, version: str, status: OSSPairStatus) -> Written:
        """Replace OSSPair.status, guarded by resourceVersion."""
        ...

    async def create_failover(self, failover: Failover) -> Written:
        """Create a Failover. It carries no status yet."""
        ...

    async def write_failover(self, key: str, version: str, status: FailoverStatus) -> Written:
        """Replace Failover.status, guarded by resourceVersion."""
        ...

    async def delete_failover(self, key: str, version: str) -> Written:
        """Delete a Failover, guarded by resourceVersion. The answer carries no object."""
        ...

    async def create_oss(self, node: str, pair: PairRef) -> Written:
        """Create the OSS of a server."""
        ...

    async def write_oss_ready(self, node: str, condition: Condition) -> Written:
        """Set one condition of an OSS and touch nothing else of its status."""
        ...

    async def write_ost(self, key: str, version: str, status: OSTStatus) -> Written:
        """Replace OST.status, guarded by resourceVersion."""
        ...

    async def write_device(self, key: str, version: str, status: FenceDeviceStatus) -> Written:
        """Replace FenceDevice.status, guarded by resourceVersion."""
        ...

    async def tell(self, tell: Tell) -> None:
        """Show a Kubernetes Event; the same one again only counts. Never raises, never matters."""
        ...

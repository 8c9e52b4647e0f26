"""What a power device can say, and how we name one feed. Here: values only. Not here: how a device is asked (`fencing`)."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class PowerState(enum.StrEnum):
    """What one reading of one feed proved. `UNKNOWN` is never OFF: no answer, a late one and an odd one all mean it."""

    ON = "PoweredOn"
    OFF = "PoweredOff"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, order=True)
class Feed:
    """One power path of a server: a BMC (no outlet), or one outlet of one PDU."""

    device: str
    outlet: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """Device and outlet."""
        return self.device, self.outlet

    def __str__(self) -> str:
        return f"{self.device}/{self.outlet}" if self.outlet else self.device


@dataclass(frozen=True, slots=True)
class PowerReading:
    """One dated answer about one feed. Times are seconds on the asker's monotonic clock (`CLOCK_MONOTONIC`)."""

    state: PowerState
    began: float
    """When the question left. Only readings that began after the last off was acknowledged prove anything."""
    ended: float
    boot: str = ""
    """A sign by which a reboot of the device itself shows (SNMP engine boots and sysUpTime; empty: it has none)."""
    watts: float | None = None
    """Measured load of the outlet, where the device measures it. Load on an outlet that reads OFF is a veto."""
    detail: str = ""
    """What was read or went wrong, in words, for the object's status."""
    identity: str = ""
    """Who answered, as read in the session of this answer (`core.identity`); empty: the device does not tell."""
    reason: str = ""
    """Why it is UNKNOWN, one CamelCase word: the reason of the driver's error (`ports.FenceError`)."""

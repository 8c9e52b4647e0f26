"""Which MIB objects switch and read the outlets of which PDUs: a table, one row a family.

Here: object identifiers and values, each with its name in the vendor's MIB. Not here: how they are asked (`snmp_pdu`).
Only the exact values count: an outlet is OFF if its status equals `status_off`, ON if it equals `status_on`, and
everything else, a pending command included, is UNKNOWN.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ostkeeper.core.power import PowerState
from ostkeeper.ports import FenceError

Oid = tuple[int, ...]


class NoSuchFamily(FenceError):
    """No row of the table has this name."""

    reason = "NoSuchFamily"


@dataclass(frozen=True, slots=True)
class PduFamily:
    """One family of PDUs. Object identifiers are columns: the outlet's index is appended."""

    name: str
    vendor: Oid
    """What sysObjectID has to begin with, or the device is not of this family."""
    control: Oid
    control_off: int
    control_on: int
    status: Oid
    status_off: int
    status_on: int
    pending: Oid | None = None
    """Tells whether a command is under way; everything but `pending_none` makes a reading UNKNOWN."""
    pending_none: int = 0
    watts: Oid | None = None
    """The outlet's measured load in watts, where the model measures it; negative: it does not."""
    serial: Oid | None = None
    """The PDU's serial number."""
    outlet: str = r"[1-9][0-9]{0,3}"
    """What an outlet's name looks like: numbers with dots between them, as many as the table has indices."""

    def index(self, outlet: str) -> Oid | None:
        """Give the index of an outlet in all tables, or None where no outlet can have this name."""
        return tuple(int(part) for part in outlet.split(".")) if re.fullmatch(self.outlet, outlet) else None

    def judge(self, status: object, pending: object) -> PowerState:
        """What an outlet's status proves: nothing, unless it is exactly one of two values and no command is pending."""
        if pending != self.pending_none:
            return PowerState.UNKNOWN
        return {self.status_off: PowerState.OFF, self.status_on: PowerState.ON}.get(_exact(status), PowerState.UNKNOWN)


def _exact(value: object) -> int:
    """Give an integer as it is, and for anything else, True and "1" included, one that no status has."""
    return value if type(value) is int else -(1 << 32)


APC = (1, 3, 6, 1, 4, 1, 318)

FAMILIES: dict[str, PduFamily] = {
    family.name: family
    for family in (
        PduFamily(
            # PowerNet-MIB: APC rack PDUs of the second generation, such as AP8xxx. sysObjectID: masterSwitchrPDU2.
            name="apc-rpdu2",
            vendor=(*APC, 1, 3, 4, 6),
            control=(*APC, 1, 1, 26, 9, 2, 4, 1, 5),  # rPDU2OutletSwitchedControlCommand
            control_off=2,  # immediateOff; 5 to 7 are delayed, 3 is a reboot: never used
            control_on=1,  # immediateOn
            status=(*APC, 1, 1, 26, 9, 2, 3, 1, 5),  # rPDU2OutletSwitchedStatusState
            status_off=1,
            status_on=2,
            pending=(*APC, 1, 1, 26, 9, 2, 3, 1, 6),  # rPDU2OutletSwitchedStatusCommandPending: yes 1, no 2, unknown 3
            pending_none=2,
            watts=(*APC, 1, 1, 26, 9, 4, 3, 1, 7),  # rPDU2OutletMeteredStatusPower
            serial=(
                *APC,
                1,
                1,
                26,
                2,
                1,
                9,
                1,
            ),  # rPDU2IdentSerialNumber.1: of PDUs in a chain, the one with the address
        ),
    )
}


def family(name: str) -> PduFamily:
    """Look a family up. Raises NoSuchFamily."""
    if name not in FAMILIES:
        raise NoSuchFamily(f"spec.snmpPDU.family: no driver for {name!r}; there are {', '.join(sorted(FAMILIES))}")
    return FAMILIES[name]

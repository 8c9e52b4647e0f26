"""Identity of a fence device, as the device itself reports it in one session.

An identity is `KIND:VALUE`. `guid:` is a BMC's IPMI "Get System GUID" (32 hexadecimal digits, in the byte order that the BMC
sends), `serial:` a PDU's serial number, `engine:` a PDU's snmpEngineID. An empty string means that the device reports none.
"""

from __future__ import annotations

from functools import lru_cache

GUID = "guid:"
SERIAL = "serial:"
ENGINE = "engine:"


@lru_cache(maxsize=1024)
def spellings(uuid: str) -> frozenset[str]:
    """The three spellings of one system UUID: as sent, as ipmitool reverses it, as SMBIOS mixes it. Bare hexadecimal."""
    bare = uuid.replace("-", "").lower()
    if len(bare) != 32:
        return frozenset({bare})
    raw = bytes.fromhex(bare)
    smbios = raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
    mixed = raw[::-1][3::-1] + raw[::-1][5:3:-1] + raw[::-1][7:5:-1] + raw[::-1][8:]
    return frozenset({bare, raw[::-1].hex(), smbios.hex(), mixed.hex()})


def matches(expected: str, reported: str) -> bool:
    """Whether the device that reports `reported` is the expected one. A GUID matches in any of its three spellings.

    An empty `expected` pins nothing and matches every device; an empty `reported` matches nothing that is pinned.
    """
    if not expected:
        return True
    if expected.startswith(GUID) and reported.startswith(GUID):
        return expected.removeprefix(GUID).replace("-", "").lower() in spellings(reported.removeprefix(GUID))
    return expected == reported

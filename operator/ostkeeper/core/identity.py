"""Identity of a fence device, as the device itself reports it in one session.

An identity is `KIND:VALUE`. `guid:` is a BMC's IPMI "Get System GUID" (32 hexadecimal digits, in the byte order that the BMC
sends), `serial:` a PDU's serial number, `engine:` a PDU's snmpEngineID. An empty string means that the device reports none.
"""

from __future__ import annotations

from functools import lru_cache

from ostkeeper.api.fencedevice import FenceDevice

GUID = "guid:"
SERIAL = "serial:"
ENGINE = "engine:"
PLACEHOLDERS = (
    "03000200-0400-0500-0006-000700080009",  # AMI firmware default
    "00020003-0004-0005-0006-000700080009",  # the same, first three fields byte-swapped
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "12345678-1234-1234-1234-123456789012",
    "01020304-0506-0708-090a-0b0c0d0e0f10",
    "00112233-4455-6677-8899-aabbccddeeff",
    "11111111-2222-3333-4444-555555555555",
    "4c4c4544-0000-2010-8020-80c04f202020",  # Dell firmware without a service tag
)
"""System UUIDs that firmware reports where the vendor never set one. Every UUID of sixteen equal bytes counts as well."""
NOT_SET = frozenset(
    {
        "", "0", "default", "default string", "n/a", "na", "none", "not available", "not present", "not set", "not settable",
        "not specified", "null", "o.e.m.", "serial", "serial number", "system serial number", "to be filled by o.e.m.",
        "unknown", "123456789", "0123456789", "1234567890",
    }
)  # fmt: skip
"""Serial numbers and UUIDs in words that mean that none is set, in lower case."""


@lru_cache(maxsize=1024)
def spellings(uuid: str) -> frozenset[str]:
    """The three spellings of one system UUID: as sent, as ipmitool reverses it, as SMBIOS mixes it. Bare hexadecimal."""
    bare = uuid.replace("-", "").lower()
    try:
        raw = bytes.fromhex(bare)
    except ValueError:
        raw = b""
    if len(raw) != 16:
        return frozenset({bare})
    smbios = raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]
    mixed = raw[::-1][3::-1] + raw[::-1][5:3:-1] + raw[::-1][7:5:-1] + raw[::-1][8:]
    return frozenset({bare, raw[::-1].hex(), smbios.hex(), mixed.hex()})


@lru_cache(maxsize=1024)
def key(identity: str) -> str:
    """One spelling for all spellings of an identity: equal keys mean the same device. Without a kind: a system UUID."""
    kind, colon, value = identity.partition(":")
    if colon and f"{kind}:" != GUID:
        return f"{kind}:{value.strip().lower()}"
    uuid = value if colon else kind
    known, todo = set[str](), [uuid.replace("-", "").strip().lower()]
    while todo:
        spelling = todo.pop()
        if spelling not in known:
            known.add(spelling)
            todo += spellings(spelling)
    return GUID + min(known)


@lru_cache(maxsize=1024)
def usable(identity: str) -> bool:
    """Whether an identity identifies anything: not empty, not a vendor's placeholder, not all bytes equal.

    Without a kind: a system UUID as an agent reports it. An identity that two boards or devices report is found by `claims`.
    """
    kind, colon, value = identity.partition(":")
    plain = (value if colon else kind).strip().lower()
    bare = plain.replace("-", "")
    if plain in NOT_SET or len(set(bare)) < 2:
        return False
    if not colon or f"{kind}:" == GUID:
        pairs = {bare[at : at + 2] for at in range(0, len(bare), 2)}
        return len(pairs) > 1 and key(identity) not in _PLACEHOLDER_KEYS
    return f"{kind}:" != ENGINE or not _of_address(bare)


def _of_address(engine: str) -> bool:
    """Whether an snmpEngineID is made of an IPv4 or IPv6 address (RFC 3411): a device that takes over the address has it too."""
    return len(engine) > 10 and engine[0] in "89abcdef" and engine[8:10] in ("01", "02")


def reported(device: FenceDevice) -> str:
    """The identity that a device reported at its last probe; empty: none."""
    status = device.status
    if status is None:
        return ""
    return status.identity or (GUID + status.system_uuid if status.system_uuid else "")


def matches(expected: str, reported: str) -> bool:
    """Whether the device that reports `reported` is the expected one. A GUID matches in any of its three spellings.

    An empty `expected` pins nothing and matches every device; an empty `reported` matches nothing that is pinned.
    """
    if not expected:
        return True
    if expected.startswith(GUID) and reported.startswith(GUID):
        return expected.removeprefix(GUID).replace("-", "").lower() in spellings(reported.removeprefix(GUID))
    return expected == reported


_PLACEHOLDER_KEYS = frozenset(key(GUID + uuid) for uuid in PLACEHOLDERS)

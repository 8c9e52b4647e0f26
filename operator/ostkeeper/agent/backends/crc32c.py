"""CRC-32C (Castagnoli) as ext4 uses it. Here: the checksum alone. Not here: seeds and fields (`superblock`, `mmp`).

Ours and not a wheel: the wheels are C extensions, a weight on every storage server for 1 KiB a reading; this takes
some 60 us for one, and is called only for a block that has changed.
"""

from __future__ import annotations

_REFLECTED_POLYNOMIAL = 0x82F63B78
"""x^32 + x^28 + ... bit-reversed (RFC 3720 section 12.1)."""


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_REFLECTED_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()


def crc32c(seed: int, data: bytes) -> int:
    """Continue a CRC-32C from `seed`, without the final inversion: what the kernel's `ext4_chksum` computes.

    The common checksum of RFC 3720 is `crc32c(0xFFFFFFFF, data) ^ 0xFFFFFFFF`.
    """
    value, table = seed, _TABLE
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value

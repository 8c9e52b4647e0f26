"""The ext4 super block, as far as ostkeeper needs it. Here: parsing and its checksum. Not here: reading it (`direct`).

Layout: kernel fs/ext4/ext4.h, `struct ext4_super_block`, 1024 bytes at byte 1024 of the device, little endian.
ldiskfs is ext4's sibling and has the same.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass

from ostkeeper.agent.backends.crc32c import crc32c

OFFSET = 1024
"""Byte of the device where the super block begins."""
SIZE = 1024

_MAGIC = 0xEF53
_INCOMPAT_RECOVER = 0x0004
_INCOMPAT_64BIT = 0x0080
_INCOMPAT_MMP = 0x0100
_INCOMPAT_CSUM_SEED = 0x2000
_RO_COMPAT_METADATA_CSUM = 0x0400
_STATE_ERRORS = 0x0002
_CHECKSUM_AT = 0x3FC
_MAX_LOG_BLOCK_SIZE = 6
"""EXT4_MAX_BLOCK_LOG_SIZE 16: 64 KiB."""
DEFAULT_UPDATE_INTERVAL = 5
"""Seconds; EXT4_MMP_UPDATE_INTERVAL, for a super block that says 0."""


class SuperblockError(Exception):
    """These bytes are no ext4 super block that can be trusted."""


@dataclass(frozen=True, slots=True)
class Superblock:
    """What was read from it."""

    uuid: str
    label: str
    block_size: int
    mmp: bool
    """Feature incompat 0x100."""
    mmp_block: int
    """Number of the MMP block, in file system blocks."""
    mmp_update_interval: int
    """Seconds, 5 where the field holds 0."""
    metadata_checksums: bool
    """ro_compat 0x400: without it neither super block nor MMP block have a checksum, and none is written."""
    checksum_seed: int
    """Seed of all metadata checksums: s_checksum_seed with incompat 0x2000, else crc32c(~0, UUID)."""
    errors: bool
    """s_state has EXT4_ERROR_FS, or s_error_count is not 0."""
    needs_recovery: bool
    """incompat 0x4: the journal has to be replayed."""

    @property
    def mmp_offset(self) -> int:
        """Byte of the device where the MMP block begins."""
        return self.mmp_block * self.block_size


def _u16(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 2], "little")


def _u32(raw: bytes, at: int) -> int:
    return int.from_bytes(raw[at : at + 4], "little")


def parse(raw: bytes) -> Superblock:
    """Parse 1024 bytes. Raises SuperblockError: no magic, odd checksum (torn while its owner writes), senseless MMP block."""
    if len(raw) != SIZE:
        raise SuperblockError(f"super block has {len(raw)} bytes instead of {SIZE}")
    if _u16(raw, 0x38) != _MAGIC:
        raise SuperblockError(f"no ext4 here: magic 0x{_u16(raw, 0x38):04x} instead of 0x{_MAGIC:04x}")
    incompat, ro_compat = _u32(raw, 0x60), _u32(raw, 0x64)
    checksums = bool(ro_compat & _RO_COMPAT_METADATA_CSUM)
    if checksums and crc32c(0xFFFFFFFF, raw[:_CHECKSUM_AT]) != _u32(raw, _CHECKSUM_AT):
        raise SuperblockError("checksum of the super block is odd: torn reading, or a damaged file system")
    log_block_size = _u32(raw, 0x18)
    if log_block_size > _MAX_LOG_BLOCK_SIZE:
        raise SuperblockError(f"block size 2^{10 + log_block_size} is none of ext4's")
    identity = raw[0x68:0x78]
    parsed = Superblock(
        uuid=str(uuid.UUID(bytes=identity)),
        label=raw[0x78:0x88].split(b"\0", 1)[0].decode("utf-8", "replace"),
        block_size=1024 << log_block_size,
        mmp=bool(incompat & _INCOMPAT_MMP),
        mmp_block=struct.unpack_from("<Q", raw, 0x168)[0],
        mmp_update_interval=_u16(raw, 0x166) or DEFAULT_UPDATE_INTERVAL,
        metadata_checksums=checksums,
        checksum_seed=_u32(raw, 0x270) if incompat & _INCOMPAT_CSUM_SEED else crc32c(0xFFFFFFFF, identity),
        errors=bool(_u16(raw, 0x3A) & _STATE_ERRORS or _u32(raw, 0x194)),
        needs_recovery=bool(incompat & _INCOMPAT_RECOVER),
    )
    _check_mmp_block(parsed, raw, incompat)
    return parsed


def _check_mmp_block(parsed: Superblock, raw: bytes, incompat: int) -> None:
    """As the kernel does (ext4_multi_mount_protect): above s_first_data_block, below s_blocks_count."""
    blocks = _u32(raw, 0x04) | (_u32(raw, 0x150) << 32 if incompat & _INCOMPAT_64BIT else 0)
    if parsed.mmp and not _u32(raw, 0x14) < parsed.mmp_block < blocks:
        raise SuperblockError(f"MMP block {parsed.mmp_block} lies outside the file system of {blocks} blocks")

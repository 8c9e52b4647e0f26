"""Multi-mount protection: the block that a mounted ext4 or ldiskfs rewrites every few seconds.

Here: `struct mmp_struct` of kernel fs/ext4/ext4.h, its checksum, and the one write ostkeeper ever makes to a disk: `clear`.
Not here: whether it may be cleared (`core.host`), how a disk is watched (`agent.watch`).

    offset  0 __le32 mmp_magic           0x004D4D50
            4 __le32 mmp_seq             0xFF4D4D50 clean, 0xE24D4D50 fsck, else 1 to 0xE24D4D4F: the owner's counter
            8 __le64 mmp_time            seconds since 1970, for people
           16 char   mmp_nodename[64]    for people, and our mark
           80 char   mmp_bdevname[32]    likewise
          112 __le16 mmp_check_interval  seconds
         1020 __le32 mmp_checksum        crc32c over bytes 0 to 1019, seeded as all metadata (with metadata_csum only)

The kernel's mount waits on an ordinary sequence and goes on if it has stood still: what our watch has seen by then as
well. `tune2fs -f -E clear_mmp` would do it too, and can write a stale super block back: so we write the one block.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

from ostkeeper.agent.backends import direct, superblock
from ostkeeper.agent.backends.base import ClearRefusedError, ClearUncertainError, DiskError
from ostkeeper.agent.backends.crc32c import crc32c
from ostkeeper.agent.backends.superblock import Superblock, SuperblockError
from ostkeeper.core.diskview import Mark, MmpState

MAGIC = 0x004D4D50
SEQUENCE_CLEAN = 0xFF4D4D50
SEQUENCE_FSCK = 0xE24D4D50
SEQUENCE_MAX = 0xE24D4D4F
_CHECKSUM_AT = 1020
_TORN_RETRIES = 3
"""The owner may be writing while we read: an odd checksum is read again, this often, before it is believed."""


class MmpError(Exception):
    """These bytes are no MMP block that can be trusted."""


@dataclass(frozen=True, slots=True)
class MmpBlock:
    """What was read from it; `raw` is the whole file system block."""

    state: MmpState
    sequence: int
    mark: Mark
    time: int
    """Seconds since 1970, on the owner's clock."""
    check_interval: int
    """Seconds."""
    raw: bytes


def _text(raw: bytes) -> str:
    """A fixed field of the block; the kernel fills it without a final NUL if the name is that long.

    Bytes that are no UTF-8 are escaped, not replaced: two names that differ stay different.
    """
    return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _state(sequence: int) -> MmpState:
    if sequence == SEQUENCE_CLEAN:
        return MmpState.CLEAN
    if sequence == SEQUENCE_FSCK:
        return MmpState.FSCK
    if sequence <= SEQUENCE_MAX:
        return MmpState.SEQUENCE
    raise MmpError(f"MMP sequence 0x{sequence:08x} is none that ext4 writes")


def parse(raw: bytes, of: Superblock) -> MmpBlock:
    """Parse one file system block. Raises MmpError: no magic, odd checksum, a sequence that ext4 does not write."""
    magic, sequence = int.from_bytes(raw[0:4], "little"), int.from_bytes(raw[4:8], "little")
    if len(raw) != of.block_size or magic != MAGIC:
        raise MmpError(f"no MMP block: {len(raw)} bytes, magic 0x{magic:08x} instead of 0x{MAGIC:08x}")
    if of.metadata_checksums and int.from_bytes(raw[_CHECKSUM_AT:1024], "little") != checksum(raw, of):
        raise MmpError("checksum of the MMP block is odd: torn reading, or a damaged file system")
    return MmpBlock(
        state=_state(sequence),
        sequence=sequence,
        mark=Mark(node=_text(raw[16:80]), device=_text(raw[80:112])),
        time=int.from_bytes(raw[8:16], "little"),
        check_interval=int.from_bytes(raw[112:114], "little"),
        raw=raw,
    )


def checksum(raw: bytes, of: Superblock) -> int:
    """crc32c over the first 1020 bytes, seeded from the super block (kernel fs/ext4/mmp.c, ext4_mmp_csum)."""
    return crc32c(of.checksum_seed, raw[:_CHECKSUM_AT])


def cleaned(raw: bytes, of: Superblock) -> bytes:
    """The same block with sequence CLEAN and the checksum that belongs to it; all else, mark included, as it was."""
    block = bytearray(raw)
    block[4:8] = SEQUENCE_CLEAN.to_bytes(4, "little")
    if of.metadata_checksums:
        block[_CHECKSUM_AT:1024] = checksum(bytes(block), of).to_bytes(4, "little")
    return bytes(block)


def read_superblock(descriptor: int) -> Superblock:
    """Read and parse the super block, again if it looks torn. Raises OSError, SuperblockError."""
    for attempt in range(_TORN_RETRIES):
        try:
            return superblock.parse(direct.read_at(descriptor, superblock.OFFSET, superblock.SIZE))
        except SuperblockError:
            if attempt == _TORN_RETRIES - 1:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def read_block(descriptor: int, of: Superblock, known: MmpBlock | None = None) -> MmpBlock:
    """Read and parse the MMP block, again if it looks torn. Raises OSError, MmpError.

    `known` is an earlier block of the same super block: if nothing changed it is handed back and not checked anew.
    """
    for attempt in range(_TORN_RETRIES):
        raw = direct.read_at(descriptor, of.mmp_offset, of.block_size)
        if known is not None and raw == known.raw:
            return known
        try:
            return parse(raw, of)
        except MmpError:
            if attempt == _TORN_RETRIES - 1:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def clear(
    device: str, expected: bytes, wanted: Callable[[], bool] = lambda: True, over: MmpState = MmpState.SEQUENCE
) -> None:
    """Write CLEAN into the MMP block of `device` if it is, re-read just now, byte for byte `expected`. Blocks.

    Holds the device with O_EXCL throughout, flushes its cache before it reads, writes nothing but that one block, and
    reads it back. `wanted` is asked last before the write. Does nothing if `expected` is CLEAN already. FSCK is cleared
    only for `fsckmark`, which says so in `over`. Raises `ClearRefusedError` (nothing was written), `ClearUncertainError`
    (the write or the reading back failed), `DiskError` (the device could not be opened, flushed or read; nothing was
    written).
    """
    try:
        descriptor = direct.open_direct(device, write=True, exclusive=True)
    except OSError as error:
        raise _cannot_open(device, error) from error
    try:
        of, block = _certified(device, descriptor, expected, over)
        if block.state is MmpState.CLEAN:
            return
        if not wanted():
            raise ClearRefusedError("ClearAbandoned", f"{device}: MMP was not cleared: nobody waits for it any more")
        _write_and_read_back(device, descriptor, of, cleaned(block.raw, of))
    finally:
        os.close(descriptor)


def _cannot_open(device: str, error: OSError) -> DiskError:
    if error.errno == errno.EBUSY:
        return ClearRefusedError(
            "DeviceBusy",
            f"{device}: MMP was not cleared: something on this server holds the device (a mount, also in another mount "
            "namespace, e2fsck, LVM, multipath); see `lsblk`, `fuser -v` and let it go",
        )
    return DiskError("DeviceUnreadable", f"{device}: MMP was not cleared: {error}")


def _certified(device: str, descriptor: int, expected: bytes, over: MmpState) -> tuple[Superblock, MmpBlock]:
    """The block as it is now, if it is exactly the certified one and may be cleared."""
    try:
        direct.flush(descriptor)
        of = read_superblock(descriptor)
        if not of.mmp:
            raise ClearRefusedError("MmpDisabled", f"{device}: MMP was not cleared: the file system has no MMP")
        block = read_block(descriptor, of)
    except OSError as error:
        raise DiskError("DeviceUnreadable", f"{device}: MMP was not cleared: {error}") from error
    except (SuperblockError, MmpError) as error:
        raise ClearRefusedError("BlockDamaged", f"{device}: MMP was not cleared: {error}; run e2fsck") from error
    if block.raw != expected:
        raise ClearRefusedError(
            "BlockChanged",
            f"{device}: MMP was not cleared: its block is not the certified one any more (now {block.state}, sequence "
            f"0x{block.sequence:08x} by {block.mark}): somebody writes to it",
        )
    if block.state is MmpState.FSCK and over is not MmpState.FSCK:
        raise ClearRefusedError(
            "FsckRunning", f"{device}: MMP was not cleared: e2fsck holds it ({block.mark}); it decides by itself"
        )
    return of, block


def _write_and_read_back(device: str, descriptor: int, of: Superblock, block: bytes) -> None:
    try:
        direct.write_block(descriptor, of.mmp_offset, block)
        seen = direct.read_at(descriptor, of.mmp_offset, of.block_size)
    except OSError as error:
        raise ClearUncertainError("ClearFailed", f"{device}: clearing MMP: {error}; the block may be either") from error
    if seen != block:
        raise ClearUncertainError("ClearFailed", f"{device}: clearing MMP: the block reads back other than written")

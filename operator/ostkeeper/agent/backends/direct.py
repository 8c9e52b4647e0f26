"""Reading and writing a block device past every cache. Here: O_DIRECT descriptors, aligned reads, BLKFLSBUF, O_EXCL.

Not here: what the bytes mean (`superblock`, `mmp`). Everything here blocks, and blocks for ever on a stalled disk: call
it in the disk's own thread only.

A plain read would fill this kernel's page cache with blocks that the other server changes afterwards; the mount that
follows would believe them (seen: 200 of 200 synced files gone, and fsck clean). So nothing here reads through it.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import time

ALIGNMENT = 4096
"""Bytes. O_DIRECT wants buffer, offset and length aligned to the logical sector: 4096 fits all sectors in use."""
BLKFLSBUF = 0x1261
"""ioctl: write back and drop the device's page cache (linux/fs.h). Needs CAP_SYS_ADMIN."""
BUSY_RETRIES = 5
BUSY_PAUSE_SECONDS = 0.004
"""Another program's O_EXCL probe (a monitor, blkid) lasts microseconds; a mount lasts. So EBUSY is asked again."""


def open_direct(path: str, *, write: bool = False, exclusive: bool = False) -> int:
    """Open a block device with O_DIRECT. Raises OSError; ENOTBLK if `path` is anything but a block device.

    `exclusive` claims it against every mount and every other exclusive opener on this kernel (EBUSY after retries).
    """
    flags = os.O_DIRECT | os.O_CLOEXEC | (os.O_RDWR if write else os.O_RDONLY) | (os.O_EXCL if exclusive else 0)
    if not stat.S_ISBLK(os.stat(path).st_mode):
        raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK), path)
    for attempt in range(BUSY_RETRIES):
        try:
            return os.open(path, flags)
        except OSError as error:
            if error.errno != errno.EBUSY or not exclusive or attempt == BUSY_RETRIES - 1:
                raise
            time.sleep(BUSY_PAUSE_SECONDS)
    raise AssertionError("unreachable: the last attempt returns or raises")


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Read `length` bytes at `offset` through O_DIRECT, whatever their alignment. Raises OSError, EIO if it ends early.

    A device that was cut off or shrunk under us ends early: that is an error, never zeros.
    """
    start = offset - offset % ALIGNMENT
    end = -(-(offset + length) // ALIGNMENT) * ALIGNMENT
    with mmap.mmap(-1, end - start) as buffer:
        count = os.preadv(descriptor, [buffer], start)
        if start + count < offset + length:
            where = f"device ends at byte {start + count}, wanted {length} bytes at {offset}"
            raise OSError(errno.EIO, f"{os.strerror(errno.EIO)} ({where})")
        return buffer[offset - start : offset - start + length]


def write_block(descriptor: int, offset: int, block: bytes) -> None:
    """Write one whole file system block through O_DIRECT and wait until the device says it is stable (fdatasync).

    Exactly `block` and nothing beside it. A file system block is never smaller than the device's sector, so it is
    aligned. Raises OSError; EIO for a short write.
    """
    with mmap.mmap(-1, max(len(block), ALIGNMENT)) as buffer:
        buffer[: len(block)] = block
        view = memoryview(buffer)
        try:
            count = os.pwritev(descriptor, [view[: len(block)]], offset)
        finally:
            view.release()
    if count != len(block):
        raise OSError(errno.EIO, f"short write: {count} of {len(block)} bytes at {offset}")
    os.fdatasync(descriptor)


def flush(descriptor: int) -> None:
    """BLKFLSBUF: write back and drop what this kernel has cached of the device. Raises OSError."""
    fcntl.ioctl(descriptor, BLKFLSBUF, 0)


def flush_cache(path: str) -> None:
    """`flush` on the device, opened for it alone. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)


def opens_exclusively(path: str) -> bool:
    """Whether `open(path, O_EXCL)` succeeds: no mount holds it in any mount namespace of this kernel. Raises OSError.

    `umount` in one namespace while another still holds the mount: gone from our mountinfo, and yet EBUSY here.
    """
    try:
        descriptor = open_direct(path, exclusive=True)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    os.close(descriptor)
    return True

"""The few ioctls that the testbed lives on: loop devices, freezing, and who holds a block device.

Here: numbers, structs and one function an ioctl, blocking. Not here: which disk belongs to whom (`disks`), when one is
cut (`host`), what a double holder means (`monitor`). Numbers are from linux/loop.h and linux/fs.h.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from dataclasses import dataclass

LOOP_MAJOR = 7
_LOOP_SET_STATUS64 = 0x4C04
_LOOP_GET_STATUS64 = 0x4C05
_LOOP_CONFIGURE = 0x4C0A
_LOOP_CTL_GET_FREE = 0x4C82
_FIFREEZE = 0xC0045877
_FITHAW = 0xC0045878
_LO_FLAGS_AUTOCLEAR = 4

_INFO = struct.Struct("=QQQQQIIII64s64s32sQQ")
"""struct loop_info64."""
_CONFIG_HEAD = struct.Struct("=II")
"""The head of struct loop_config: backing fd, block size; loop_info64 and 64 reserved bytes follow."""


class NoLoopDevice(RuntimeError):
    """No loop device could be had. The text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """What LOOP_GET_STATUS64 says."""

    device: int
    inode: int
    """Backing file: device and inode number, which name the image whatever its path."""
    size_limit: int
    """Bytes that reach the image; 0: all of them. 512 on a disk that was cut off."""
    raw: bytes

    @property
    def cut(self) -> bool:
        """Whether this disk was cut off: nothing written to it reaches the image."""
        return self.size_limit != 0


def loop_status(fd: int) -> LoopStatus:
    """Ask an open loop device. Raises `OSError` ENXIO when nothing is behind it."""
    raw = fcntl.ioctl(fd, _LOOP_GET_STATUS64, bytes(_INFO.size))
    fields = _INFO.unpack(raw)
    return LoopStatus(device=fields[0], inode=fields[1], size_limit=fields[4], raw=raw)


def loop_attach(image: str, sector_size: int) -> tuple[int, int]:
    """Put a loop device with sectors of this size (bytes) before a file; (number, read-only descriptor that keeps it).

    The device vanishes with its last user (AUTOCLEAR): our descriptor, or a super block on it. Raises `NoLoopDevice`.
    """
    backing = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(64):
            number = _free_loop()
            if (fd := _configure(number, backing, sector_size)) is not None:
                return number, fd
    finally:
        os.close(backing)
    raise NoLoopDevice(f"64 free loop devices were taken by others before {image} got one; stop other testbeds")


def _free_loop() -> int:
    try:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise NoLoopDevice(f"/dev/loop-control: {error.strerror}; run as root on a kernel with loop devices") from error
    try:
        return fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
    finally:
        os.close(control)


def _configure(number: int, backing: int, sector_size: int) -> int | None:
    """None when somebody else was quicker."""
    try:
        writable = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        info = _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, _LO_FLAGS_AUTOCLEAR, b"testbed", b"", b"", 0, 0)
        fcntl.ioctl(writable, _LOOP_CONFIGURE, _CONFIG_HEAD.pack(backing, sector_size) + info + bytes(64))
        # Kept read-only: a descriptor open for writing would make the device look used to those who ask.
        return os.open(f"/dev/loop{number}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return None
        raise
    finally:
        os.close(writable)


def loop_cut(fd: int) -> None:
    """Cut the disk off: only the first 512 bytes still reach the image. At 4096 the super block would get through."""
    for attempt in range(100):
        raw = bytearray(loop_status(fd).raw)
        struct.pack_into("=Q", raw, 32, 512)
        try:
            fcntl.ioctl(fd, _LOOP_SET_STATUS64, bytes(raw))
            return
        except OSError as error:  # older kernels: pages came back between flush and change
            if error.errno != errno.EAGAIN or attempt == 99:
                raise


def is_held(path: str) -> bool:
    """Whether someone holds this block device exclusively: a super block, a mount in flight, or an O_EXCL writer.

    3.7 microseconds; per device, so that only the host with this loop device is meant. Raises `OSError` (ENXIO, ENOENT).
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        raise
    return False


def freeze(fd: int) -> bool:
    """Freeze the file system behind an open directory; false when it was frozen before."""
    try:
        fcntl.ioctl(fd, _FIFREEZE, 0)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True


def thaw(fd: int) -> None:
    """Thaw it again. Not being frozen is no error."""
    try:
        fcntl.ioctl(fd, _FITHAW, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


@dataclass(frozen=True, slots=True)
class MmpMark:
    """What the MMP block of an ext4 image says: struct mmp_struct of fs/ext4/ext4.h."""

    sequence: int
    node: str
    device: str
    """Name of the loop device that mounted last, such as `loop5`: the only thing that differs between two test hosts."""

    @property
    def clean(self) -> bool:
        """Whether the last owner unmounted."""
        return self.sequence == 0xFF4D4D50


def read_mmp(fd: int, block: int, block_size: int) -> MmpMark:
    """Read the mark from an image (not from a loop device: the image is what all hosts share)."""
    raw = os.pread(fd, 112, block * block_size)
    return MmpMark(
        sequence=struct.unpack_from("<I", raw, 4)[0],
        node=raw[16:80].split(b"\0")[0].decode(errors="replace"),
        device=raw[80:112].split(b"\0")[0].decode(errors="replace"),
    )


def mmp_location(fd: int) -> tuple[int, int]:
    """(MMP block number, block size in bytes), from the super block of an ext4 image. Raises `ValueError` without MMP."""
    raw = os.pread(fd, 1024, 1024)
    incompatible, block = struct.unpack_from("<I", raw, 0x60)[0], struct.unpack_from("<Q", raw, 0x168)[0]
    if not incompatible & 0x100 or not block:
        raise ValueError("this file system has no MMP; make it with mke2fs -O mmp")
    return block, 1024 << struct.unpack_from("<I", raw, 0x18)[0]

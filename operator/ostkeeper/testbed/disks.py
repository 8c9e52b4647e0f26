"""The disks that two servers share: one image a target, and a loop device of its own on it for each server.

Here: making images, attaching and cutting a server's devices, the device paths that both servers see. Not here: ioctl
numbers (`kernel`), the private /dev that shows these paths (`hostinit`), who may mount (the product).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ostkeeper.testbed import kernel
from ostkeeper.testbed.processes import run

IMAGE_MIB = 64
MMP_INTERVAL = 1
"""Seconds between two MMP writes of a mounted target: `mke2fs -E mmp_update_interval`, the least there is."""


@dataclass(frozen=True, slots=True)
class Image:
    """One target on one shared disk."""

    target: str
    """Lustre's name of it, which is also the file system's label: `scratch-OST0000`."""
    path: Path
    sector_size: int
    """Bytes: 512, or 4096. On 4096 a stale page cache of a partner that probed destroys data, on 512 it only misleads."""

    @property
    def wwn(self) -> str:
        """A world wide name that follows from the target's name."""
        return f"0x5000c500{zlib.crc32(self.target.encode()):08x}"

    @property
    def device(self) -> str:
        """The path of the disk, the same on both servers."""
        return f"/dev/disk/by-id/wwn-{self.wwn}"

    @property
    def short(self) -> str:
        """`ost0000`: as the mount point and the object are called."""
        return self.target.rpartition("-")[2].lower()

    @property
    def mount_point(self) -> str:
        """Where its servers mount it."""
        return f"/mnt/{self.short}"


async def make_image(directory: Path, target: str, sector_size: int = 512, mmp_interval: int = MMP_INTERVAL) -> Image:
    """Make an empty ext4 target with MMP, labelled as its target. Raises `CommandFailed` from mke2fs."""
    image = Image(target, directory / f"{target}.img", sector_size)
    with image.path.open("wb") as file:
        file.truncate(IMAGE_MIB << 20)
    # Nothing lazy: a background thread that initialises tables would write to the disk long after the mount.
    extended = f"mmp_update_interval={mmp_interval},lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    options = ["-t", "ext4", "-b", "4096", "-O", "mmp", "-E", extended, "-m", "0", "-N", "2048", "-L", target]
    await run("mke2fs", "-q", "-F", *options, str(image.path))
    return image


class Disk:
    """One server's own loop device on one image, from power on until its last user is gone."""

    def __init__(self, image: Image) -> None:
        """Attach it. Raises `kernel.NoLoopDevice`."""
        self.image = image
        self.number, self._fd = kernel.loop_attach(str(image.path), image.sector_size)

    @property
    def name(self) -> str:
        """`loop5`: as the kernel, sysfs and the MMP block call it."""
        return f"loop{self.number}"

    @property
    def path(self) -> str:
        """Its node in the root namespace's /dev."""
        return f"/dev/{self.name}"

    def cut(self) -> None:
        """Cut the disk off its server, as power does: what is written from now on reaches nothing. May be repeated."""
        if self._fd >= 0:
            kernel.loop_cut(self._fd)

    def held(self) -> bool:
        """Whether the server has a super block on it, or a mount in flight. Claims it for the moment of the question."""
        return self._fd >= 0 and kernel.is_held(self.path)

    def mounted(self) -> bool:
        """Whether the server has a super block on it. Claims nothing, and so disturbs neither mounts nor the monitor."""
        return Path("/sys/fs/ext4", self.name).is_dir()

    def let_go(self) -> None:
        """Close our descriptor: the device vanishes as soon as nothing else uses it. May be repeated."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


async def attach_all(images: Iterable[Image]) -> list[Disk]:
    """A device for each image, or none at all. Raises `kernel.NoLoopDevice`."""
    disks: list[Disk] = []
    try:
        for image in images:
            disks.append(await asyncio.to_thread(Disk, image))
    except BaseException:
        let_go_all(disks)
        raise
    return disks


def let_go_all(disks: Iterable[Disk]) -> None:
    """Let go of each, whatever happens to the others."""
    with contextlib.ExitStack() as stack:
        for disk in disks:
            stack.callback(disk.let_go)

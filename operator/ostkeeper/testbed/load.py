"""The load: a writer in every server, and the check that nothing acknowledged was lost.

Here: what PID 1 has to start, reading acknowledgements, finding the records again. Not here: writing (`loadwriter`),
whether a disk was held twice (`monitor`).

Where a target is mounted, its records are read through that mount. Where it is not, a copy of its image is
mounted, which replays the journal; the image itself is never touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ostkeeper.testbed import loadwriter
from ostkeeper.testbed.disks import Image
from ostkeeper.testbed.host import Host, ServiceSpec
from ostkeeper.testbed.processes import CommandFailed, run

SERVICE = "load"
RATE = 5.0
"""Records a second and target."""
LOCK_SECONDS = 2.0
"""How long to wait for the writer's lock; a frozen target keeps it, but cannot be unmounted either."""
READ_COPY = """
mkdir "$2"
mount -t ext4 -o loop,ro "$1" "$2"
if [ -d "$2"/load ]; then find "$2"/load -type f -exec cat {} +; fi
"""
"""Mounts a copy, which replays its journal, in a mount namespace that takes mount and loop device with it."""


@dataclass(frozen=True, slots=True)
class Records:
    """What was promised and what was found."""

    acknowledged: int
    lost: int
    missing: list[str] = field(default_factory=list)
    """The first ten lost ones: `TARGET BOOT NUMBER`."""


class Load:
    """The load of one world."""

    def __init__(self, directory: Path, images: Iterable[Image], rate: float = RATE) -> None:
        """`directory`: for the acknowledgements. `rate`: records a second and target."""
        self._directory = directory
        self._images = list(images)
        self._rate = rate
        directory.mkdir(parents=True, exist_ok=True)

    def service(self, host: str, images: Sequence[Image]) -> ServiceSpec:
        """The writer of one server. It names its files after the boot, which `Host` fills in for `{boot}`."""
        targets = [f"{image.target}={image.mount_point}" for image in images]
        acknowledgements = str(self._directory / f"{host}.acknowledged")
        script = [sys.executable, "-I", "-S", loadwriter.__file__]
        return ServiceSpec([*script, acknowledgements, "{boot}", str(self._rate), *targets])

    def acknowledged(self) -> dict[str, set[str]]:
        """Target → every acknowledged record, up to now."""
        promised: dict[str, set[str]] = {image.target: set() for image in self._images}
        for path in sorted(self._directory.glob("*.acknowledged")):
            for key in _valid(path.read_text()):
                promised[key.split()[0]].add(key)
        return promised

    async def check(self, hosts: Sequence[Host]) -> Records:
        """Look for every acknowledged record. Raises `CommandFailed` when a copy of an image cannot be read."""
        promised = await asyncio.to_thread(self.acknowledged)  # before looking: what comes later is not asked for
        found = await asyncio.gather(*(self._find(image, hosts) for image in self._images))
        missing = sorted(
            key for image, keys in zip(self._images, found, strict=True) for key in promised[image.target] - keys
        )
        return Records(sum(map(len, promised.values())), len(missing), missing[:10])

    async def _find(self, image: Image, hosts: Sequence[Host]) -> set[str]:
        for _ in range(10):
            holders, written = _holders(image, hosts), _written(image)
            mounted = [host for host in holders if image.target in host.mounts()]
            try:
                if len(mounted) == 1:
                    return await asyncio.to_thread(_read_mounted, mounted[0], image)
                found = await _read_copy(image)
            except OSError:  # unmounted, or its server died, while we read
                continue
            except CommandFailed:
                if holders == _holders(image, hosts) == [] and written == _written(image):
                    raise
                continue
            if len(holders) > 1 or (holders == _holders(image, hosts) == [] and written == _written(image)):
                return found
            await asyncio.sleep(0.2)  # a mount in flight: soon it can be read through that
        raise CommandFailed(f"{image.target}: its records could not be read in ten tries; it never stood still")


def _holders(image: Image, hosts: Iterable[Host]) -> list[Host]:
    """Servers with a super block on it. Not asked by O_EXCL: the monitor would take our question for a holder."""
    return [host for host in hosts for disk in host.disks if disk.image is image and disk.mounted()]


def _written(image: Image) -> int:
    """Changes whenever anybody writes to the image: a mount in flight, or the end of an unmount."""
    return image.path.stat().st_mtime_ns


def _valid(text: str) -> Iterable[str]:
    """The records of a file whose checksum is right; a torn last line is none."""
    for line in text.splitlines():
        key, _, checksum = line.rpartition(" ")
        if checksum == f"{zlib.crc32(key.encode()):08x}" and len(key.split()) == 3:
            yield key


def _read_files(directory: Path) -> set[str]:
    return {key for path in directory.glob("*") for key in _valid(path.read_text(errors="replace"))}


def _read_mounted(host: Host, image: Image) -> set[str]:
    root = Path(f"/proc/{host.pid}/root")
    lock = os.open(root / f"run/testbed/load/{image.short}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.01)
        if image.target not in host.mounts():
            raise OSError(f"{image.target} was unmounted")
        return _read_files(root / f"{image.mount_point.lstrip('/')}/load")
    finally:
        os.close(lock)


async def _read_copy(image: Image) -> set[str]:
    with tempfile.TemporaryDirectory(prefix="ostkeeper-check-") as directory:
        copy, point = str(Path(directory, "copy.img")), str(Path(directory, "mounted"))
        await run("cp", "--sparse=always", str(image.path), copy)
        # On a copy nobody else can be active; without this the mount would wait for 22 s.
        await run("tune2fs", "-f", "-E", "clear_mmp", copy)
        out = await run("unshare", "--mount", "--", "sh", "-euc", READ_COPY, "sh", copy, point)
        return set(_valid(out))

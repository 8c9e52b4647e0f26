"""The safety monitor itself: a process that looks from outside, 40 times a second, whether two servers hold one disk.

Here: the probes and what they mean. Not here: how the world starts and asks it (`monitor`). It knows nothing of the
product, and asks no server: what counts is the kernel's word on each server's own block device.

* A server holds a disk when `open(O_EXCL)` on its loop device says EBUSY: a super block, or a mount still in flight.
* A disk that was cut off (sizelimit) does not count: nothing written there reaches the image.
* Overlap = two servers hold one image, neither cut off, at one moment. Frozen ones count: they will write when thawed.
* Takeover = a server holds an image, its mark stood in the MMP block, and now another mark stands there: someone wrote
  to the raw disk, or mounted, behind its back.

Lines on stdin: {"op": "disks", "disks": [[host, target, image path, loop number], ...]}, or {"op": "status", "id": N},
answered on stdout. A line for each violation is appended to argv[1] the moment it is seen.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from ostkeeper.testbed import kernel

INTERVAL = 0.025
"""Seconds between two samples."""
AGAIN = 4
"""A double holder must be seen this often in a row within a millisecond: an O_EXCL probe of somebody's is no mount."""


@dataclass(slots=True)
class Watched:
    """One server's own device on one image."""

    host: str
    path: str
    name: str
    marked_mount: int = 0
    """The mount (see `mount_id`) during which its own mark stood in the MMP block; 0: none, or that has ended."""
    written: int = -1
    """How many writes the kernel had counted on this device at the last sample."""

    def has_written(self) -> bool:
        """Whether it has since the last sample, as far as anyone can tell."""
        before = self.written
        try:
            self.written = int(Path(f"/sys/block/{self.name}/stat").read_text().split()[4])
        except (OSError, IndexError):
            self.written = -1
        return before < 0 or before != self.written

    def mount_id(self) -> int:
        """Tells this super block from a later one of the same device: the inode that sysfs gave it; 0: there is none.

        Two mounts may follow each other between two samples, with another server's in between. A new one carries the mark
        of whoever had the disk before until its MMP thread has run: that is no takeover.
        """
        try:
            return os.stat(f"/sys/fs/ext4/{self.name}").st_ino
        except OSError:
            return 0


@dataclass(slots=True)
class ImageWatch:
    """One image and all devices on it."""

    target: str
    fd: int
    device: int
    inode: int
    mmp: tuple[int, int] | None
    devices: list[Watched] = field(default_factory=list)
    overlapping: frozenset[str] = frozenset()
    holders: frozenset[str] = frozenset()
    """Who held it at the last sample."""
    gone: frozenset[str] = frozenset()
    """Whose device has gone since: what was written there cannot be told any more."""

    def unseen(self) -> bool:
        """Whether anybody but one holder may have had it since the last sample: no mount and no harm without a write."""
        writers = {one.host for one in self.devices if one.has_written()}
        gone, self.gone = self.gone, frozenset()
        return len(writers | gone | self.holders) > 1

    def holds(self, one: Watched) -> bool:
        """Whether this server could write to this image now, or once it thaws."""
        try:
            if not kernel.is_held(one.path):
                return False
            fd = os.open(one.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False  # the device is gone
        try:
            status = kernel.loop_status(fd)
        except OSError:
            return False
        finally:
            os.close(fd)
        ours = (status.device, status.inode) == (self.device, self.inode)
        return ours and not status.cut


class Watcher:
    """Samples, and remembers what is going on, so that each violation is told once."""

    def __init__(self, violations: TextIO) -> None:
        self._out = violations
        self._images: dict[str, ImageWatch] = {}
        self.samples = 0
        self.overlaps = 0
        self.longest_gap = 0.0
        """Between two samples between which a disk may have changed hands."""
        self._last = time.monotonic()

    def set_disks(self, rows: list[list[Any]]) -> None:
        """The devices that exist now. What is known about those that stay is kept."""
        known = {(d.host, i.target, d.name): d for i in self._images.values() for d in i.devices}
        wanted: dict[str, list[Watched]] = defaultdict(list)
        for host, target, path, number in rows:
            if target not in self._images:
                self._images[target] = _open_image(target, path)
            name = f"loop{number}"
            wanted[target].append(known.get((host, target, name)) or Watched(host, f"/dev/{name}", name))
        for target, image in self._images.items():
            stay = {(one.host, one.name) for one in wanted[target]}
            image.gone |= {one.host for one in image.devices if (one.host, one.name) not in stay}
            image.devices = wanted[target]

    def sample(self) -> None:
        """Look at every disk once."""
        now = time.monotonic()
        gap, self._last = now - self._last, now
        unseen = [image.unseen() for image in self._images.values()]
        if any(unseen):
            self.longest_gap = max(self.longest_gap, gap)
        self.samples += 1
        for image in self._images.values():
            holders = [one for one in image.devices if image.holds(one)]
            image.holders = frozenset(one.host for one in holders)
            self._check_overlap(image, holders)
            self._check_mark(image, holders)

    def _check_overlap(self, image: ImageWatch, holders: list[Watched]) -> None:
        hosts = frozenset(one.host for one in holders)
        if len(hosts) > 1 and hosts != image.overlapping:
            for _ in range(AGAIN - 1):
                if not all(image.holds(one) for one in holders):
                    return
            self._report("held-twice", image.target, sorted(hosts))
        image.overlapping = hosts if len(hosts) > 1 else frozenset()

    def _check_mark(self, image: ImageWatch, holders: list[Watched]) -> None:
        if image.mmp is None:
            return
        for one in image.devices:
            if one not in holders:
                one.marked_mount = 0
        if len(holders) != 1:
            return
        holder = holders[0]
        mount = holder.mount_id()
        mark = kernel.read_mmp(image.fd, *image.mmp)
        if holder.mount_id() != mount:
            return
        if mark.device == holder.name:
            holder.marked_mount = mount
        elif mount and holder.marked_mount == mount and image.holds(holder):
            holder.marked_mount = 0
            other = [one.host for one in image.devices if one.name == mark.device]
            self._report("mark-taken", image.target, sorted({holder.host, *other}), mark=mark.device)

    def _report(self, kind: str, target: str, hosts: list[str], **more: Any) -> None:
        self.overlaps += 1
        when = datetime.now(UTC).isoformat(timespec="microseconds")
        record = {"kind": kind, "target": target, "hosts": hosts, "time": when, "monotonic": time.monotonic(), **more}
        print(json.dumps(record), file=self._out, flush=True)

    def status(self) -> dict[str, Any]:
        """What has been seen so far, and who holds what now."""
        holders = {
            target: [one.host for one in image.devices if image.holds(one)] for target, image in self._images.items()
        }
        return {
            "samples": self.samples,
            "overlaps": self.overlaps,
            "longest_gap": round(self.longest_gap, 4),
            "holders": holders,
        }


def _open_image(target: str, path: str) -> ImageWatch:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stat = os.fstat(fd)
    mmp: tuple[int, int] | None = None
    with contextlib.suppress(ValueError):
        mmp = kernel.mmp_location(fd)
    return ImageWatch(target, fd, stat.st_dev, stat.st_ino, mmp)


def serve(watcher: Watcher) -> None:
    """Sample and answer until stdin ends."""
    pending = b""
    due = time.monotonic()
    while True:
        readable, _, _ = select.select([0], [], [], max(0.0, due - time.monotonic()))
        if readable:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                _answer(watcher, json.loads(line))
        if time.monotonic() >= due:
            watcher.sample()
            due = max(due + INTERVAL, time.monotonic())


def _answer(watcher: Watcher, message: dict[str, Any]) -> None:
    if message["op"] == "disks":
        watcher.set_disks(message["disks"])
        return
    # One more look, so that the answer is about now, and not about 25 ms ago.
    watcher.sample()
    print(json.dumps({"id": message["id"], **watcher.status()}), flush=True)


def main() -> None:
    """Watch until the world hangs up."""
    with contextlib.suppress(OSError):
        os.nice(-10)
    with Path(sys.argv[1]).open("a") as violations:
        serve(Watcher(violations))


if __name__ == "__main__":
    main()

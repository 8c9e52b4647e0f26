"""What else could mount a target on this server: an fstab entry, a running Pacemaker, a boot-time fsck.

Here: looking for them, read only. Not here: what follows: the pair is not armed while there are any (`core`). Blocks on a
stalled root disk: call it in a thread of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ostkeeper.agent.mounts import unescape
from ostkeeper.core.hostevents import DiskRef

FSTAB = Path("/etc/fstab")
PROC = Path("/proc")
_CLUSTER_MANAGERS = ("pacemakerd", "pacemaker-execd", "lrmd")


def find(disks: Iterable[DiskRef], uuids: Mapping[str, str], fstab: Path = FSTAB, proc: Path = PROC) -> tuple[str, ...]:
    """One sentence a hazard. `uuids`: file system UUID by target, where it is known."""
    found = [*_in_fstab(list(disks), uuids, fstab), *_running(proc)]
    return tuple(found[:16])


def _in_fstab(disks: list[DiskRef], uuids: Mapping[str, str], fstab: Path) -> list[str]:
    try:
        lines = fstab.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if len(fields) < 2 or fields[0].startswith("#"):
            continue
        source, place = unescape(fields[0]), unescape(fields[1])
        for disk in disks:
            if os.path.normpath(place) == os.path.normpath(disk.mount_point) or _names(source, disk, uuids):
                checked = ", and has it checked at boot" if len(fields) > 5 and fields[5] != "0" else ""
                found.append(f"{fstab}:{number} mounts {disk.target}{checked}: remove the entry")
    return found


def _names(source: str, disk: DiskRef, uuids: Mapping[str, str]) -> bool:
    tag, _, value = source.partition("=")
    if tag == "LABEL":
        return value.strip('"') == disk.target
    if tag == "UUID":
        return value.strip('"').lower() == uuids.get(disk.target, "")
    return source == disk.source or os.path.realpath(source) == os.path.realpath(disk.source)


def _running(proc: Path) -> list[str]:
    names = set()
    with contextlib.suppress(OSError):
        for entry in proc.iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    names.add((entry / "comm").read_text("utf-8", "replace").strip())
    return [
        f"{name} is running: it can mount targets by itself; stop and disable it"
        for name in _CLUSTER_MANAGERS
        if name in names
    ]

"""Unmount one mount by its identity: the child process behind a Release.

Run as a program, `python -I -S unmount_child.py MOUNT_ID MAJOR:MINOR MOUNT_POINT`, with the standard library only. umount(2)
takes a path and removes what is on top of it; a descriptor of the mount would keep it busy. So the mount table is read in
the instant before the call and right after it, in the process that makes the call, under the target's lock.
"""

from __future__ import annotations

import ctypes
import os
import sys

UMOUNT_NOFOLLOW = 8
BUSY, REFUSED, LOST_RACE = 32, 33, 34
"""Exit codes: umount(2) failed; nothing was done, since the mount is not what the path shows; another mount was removed."""

Row = tuple[int, int, str, str, str]
"""Mount ID, parent's ID, device number, mount point, and what is mounted."""


def read_table() -> list[Row]:
    """The mount table of this namespace."""
    table = []
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file.read().splitlines():
            fields = os.fsdecode(line).split(" ")
            after = fields[fields.index("-") + 1 :]
            table.append((int(fields[0]), int(fields[1]), fields[2], _plain(fields[4]), f"{after[1]} ({after[0]})"))
    return table


def _plain(field: str) -> str:
    for octal, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(octal, char)
    return field


def refusal(table: list[Row], mount_id: int, device: str, place: str) -> str:
    """Why the mount must not be unmounted by this path; empty: it is what the path shows, and nothing is mounted on it."""
    mine = [row for row in table if row[0] == mount_id]
    if not mine or mine[0][2] != device or mine[0][3] != place:
        there = ", ".join(f"{row[4]} as mount {row[0]}" for row in table if row[3] == place) or "nothing"
        return f"{place}: not mounted: mount {mount_id} of device {device} is not there any more; there is {there}"
    above = [row for row in table if row[1] == mount_id]
    if above:
        named = ", ".join(f"{row[4]} on {row[3]}" for row in above)
        return f"{place}: mounted over: {named} is mounted on top of it; unmount that first"
    hiding = [row for row in table if row[0] not in _ancestors(table, mount_id) and _hides(row[3], place)]
    if hiding:
        named = ", ".join(f"{row[4]} on {row[3]}" for row in hiding)
        return f"{place}: mounted over: the path leads to {named}; unmount that first"
    return ""


def _ancestors(table: list[Row], mount_id: int) -> set[int]:
    """The mount itself, what it is mounted on, and so on."""
    parents, found = {row[0]: row[1] for row in table}, set()
    while mount_id in parents and mount_id not in found:
        found.add(mount_id)
        mount_id = parents[mount_id]
    return found


def _hides(above: str, place: str) -> bool:
    """Whether a mount on the one path stands between the root and the other."""
    return above == place or (above != "/" and place.startswith(f"{above}/"))


def main() -> int:
    """Exit 0: that mount is gone."""
    mount_id, device, place = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    libc = ctypes.CDLL(None, use_errno=True)
    path = os.fsencode(place)
    why = refusal(read_table(), mount_id, device, place)
    if why:
        print(f"umount: {why}", file=sys.stderr)
        return REFUSED
    if libc.umount2(path, UMOUNT_NOFOLLOW):
        problem = os.strerror(ctypes.get_errno())
        print(f"umount: {place}: {problem}", file=sys.stderr)
        return BUSY
    if any(row[0] == mount_id for row in read_table()):
        print(
            f"umount: {place}: another mount was put on top in the same instant and was unmounted instead of mount "
            f"{mount_id}: mount it again",
            file=sys.stderr,
        )
        return LOST_RACE
    return 0


if __name__ == "__main__":
    sys.exit(main())

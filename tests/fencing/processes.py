"""Looking at processes through /proc: what we left behind, and what their command lines give away."""

import os
from pathlib import Path


def descendants(root: int | None = None) -> list[int]:
    """Every living process below `root` (default: this one), zombies excluded."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            status = _stat(int(entry.name))
            if status is not None and status[0] != "Z":
                children.setdefault(int(status[1]), []).append(int(entry.name))
    found, queue = [], [os.getpid() if root is None else root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def matching(text: str, root: int | None = None) -> list[int]:
    """Descendants whose command line holds `text`."""
    return [pid for pid in descendants(root) if text in command_line(pid)]


def parent(pid: int) -> int:
    status = _stat(pid)
    return int(status[1]) if status else 0


def alive(pid: int) -> bool:
    status = _stat(pid)
    return status is not None and status[0] != "Z"


def _stat(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None

"""Cleans up behind a world that was killed: the one process that outlives it, for a moment.

Run as a script by `world`; nothing but the standard library. Every other process dies with the world (PDEATHSIG). What
does not is a super block that was frozen at that moment: it, and its loop device, would stay until the next boot of this
machine. Mounting such a device again gives the frozen super block itself, which can then be thawed (tried: 6.18).

argv: the world's directory, then `keep` or `remove`. On stdin: `done` when the world has ended by itself; anything else
means that it was killed. Only loop devices on images below that directory are ever touched.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

DONE = b"done"
PATIENCE_SECONDS = 20.0
"""How long it goes on trying. Processes that are being killed may hold a super block for some 0.4 s."""
THAW = 'mount -t ext4 "$1" "$2" && fsfreeze --unfreeze "$2"'


def frozen_or_held(directory: Path) -> list[str]:
    """Loop devices on images below this directory that still have a super block."""
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        name = backing.parents[1].name
        with contextlib.suppress(OSError):  # it vanished while we looked
            ours = Path(backing.read_text().strip()).is_relative_to(directory)
            if ours and Path("/sys/fs/ext4", name).exists():
                found.append(name)
    return found


def thaw(name: str, point: str) -> None:
    """Thaw a super block that nobody has mounted any more; its mount ends with its namespace."""
    command = ["unshare", "--mount", "--", "sh", "-c", THAW, "sh", f"/dev/{name}", point]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, capture_output=True, timeout=5, check=False)


def clean(directory: Path) -> None:
    """Thaw until nothing is left, or patience is."""
    pause, end = threading.Event(), time.monotonic() + PATIENCE_SECONDS
    pause.wait(0.5)  # let what only dies die by itself
    with tempfile.TemporaryDirectory(prefix="ostkeeper-janitor-") as point:
        while (left := frozen_or_held(directory)) and time.monotonic() < end:
            for name in left:
                thaw(name, point)
            pause.wait(0.2)


def main() -> None:
    """Wait for the world's end; clean up if it was not its own."""
    directory, fate = Path(sys.argv[1]), sys.argv[2]
    if sys.stdin.buffer.read().strip() == DONE:
        return
    clean(directory)
    if fate == "remove":
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()

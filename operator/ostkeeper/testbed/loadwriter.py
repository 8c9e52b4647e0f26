"""The writer inside a server: numbered, checksummed, fsynced records on every target that is mounted here.

Run as a script by PID 1; nothing but the standard library. Here: writing and acknowledging. Not here: checking (`load`).

argv: acknowledgements file (outside the server, so that they outlive it), this boot's name, records a second and
target, then target=mount point for each disk. A record counts as acknowledged once its line stands in that file, which
is after its fsync returned. A target has no open file of ours but during a write, and then its lock is held, which the
server's `umount` takes first: real OSTs have no such users, and an orderly unmount must not fail because of us.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import threading
import time
import zlib
from pathlib import Path

LOCKS = Path("/run/testbed/load")


def record(target: str, boot: str, number: int) -> bytes:
    """One line: target, boot, number, and the CRC-32 of the three."""
    text = f"{target} {boot} {number}"
    return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()


def append(mount_point: str, boot: str, line: bytes) -> bool:
    """Append one record durably, or nothing; false when nothing is mounted there. Raises `OSError`."""
    directory = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.fstat(directory).st_dev == os.stat("/mnt").st_dev:
            return False
        with contextlib.suppress(FileExistsError):
            os.mkdir("load", dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        file = os.open(f"load/{boot}", flags, 0o644, dir_fd=directory)
        try:
            os.write(file, b"\n" + line)  # an earlier line that was torn then spoils itself only
            os.fsync(file)
        finally:
            os.close(file)
    finally:
        os.close(directory)
    return True


def write_target(acknowledgements: int, boot: str, interval: float, target: str, mount_point: str) -> None:
    """Write to one target for ever, whenever it is mounted."""
    lock = os.open(LOCKS / f"{Path(mount_point).name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    number = 0
    while True:
        time.sleep(interval)
        line = record(target, boot, number)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if append(mount_point, boot, line):
                os.write(acknowledgements, line)
                number += 1
        except OSError as error:
            # A read-only, full or dying file system: nothing was acknowledged, so nothing is owed. Part of the line may
            # stand there, so this number is not used again.
            print(f"{target}: record {number}: {error}", flush=True)
            number += 1
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)


def main() -> None:
    """Start a thread for each target, and wait for the end, which is a power cut."""
    path, boot, rate = sys.argv[1:4]
    acknowledgements = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    threads = []
    for pair in sys.argv[4:]:
        target, _, mount_point = pair.partition("=")
        arguments = (acknowledgements, boot, 1 / float(rate), target, mount_point)
        threads.append(threading.Thread(target=write_target, args=arguments))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()

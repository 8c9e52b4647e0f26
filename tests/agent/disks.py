"""Disks for the agent's tests: one image, and a loop device on it for each of two servers. Not here: fixtures (`conftest`).

A mount namespace made by anyone while a test's disk is mounted holds a copy of that mount (which is why the product asks
O_EXCL and does not trust umount). Tests beside this one make such namespaces: so these mounts live in one of their own.
"""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ostkeeper.testbed import kernel

UPDATE_INTERVAL = 1


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def private_mounts() -> Iterator[None]:
    """Run this thread, and all that it starts, in a mount namespace of its own; then return to the one before."""
    cwd, before = os.getcwd(), os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare the mount namespace")
    try:
        run("mount", "--make-rprivate", "/")
        yield
    finally:
        _checked(_libc.unshare(_CLONE_FS), "unshare the working directory from our threads")
        _checked(_libc.setns(before, _CLONE_NEWNS), "return to the mount namespace before")
        os.close(before)
        os.chdir(cwd)


def make_image(path: Path, *options: str, block_size: int = 4096, features: str = "mmp") -> Path:
    with path.open("wb") as file:
        file.truncate(16 << 20)
    extended = f"{f'mmp_update_interval={UPDATE_INTERVAL},' if 'mmp' in features else ''}lazy_itable_init=0,nodiscard"
    base = ["-t", "ext4", "-b", str(block_size), "-O", features, "-E", extended, "-L", "scratch-OST0000", "-N", "1024"]
    run("mke2fs", "-q", "-F", *base, *options, str(path))
    return path


class Server:
    """One server's view of the shared disk: a loop device of its own, and a mount point."""

    def __init__(self, image: Path, mount_point: Path, sector_size: int) -> None:
        self.number, self._fd = kernel.loop_attach(str(image), sector_size)
        self.device = f"/dev/loop{self.number}"
        self.mount_point = mount_point
        mount_point.mkdir()

    def mount(self) -> None:
        run("mount", "-t", "ext4", self.device, str(self.mount_point))

    def unmount(self) -> None:
        run("umount", str(self.mount_point))

    def cut(self) -> None:
        """As a power cut: nothing that is written from now on reaches the image; then the mount goes."""
        kernel.loop_cut(self._fd)
        subprocess.run(["umount", str(self.mount_point)], check=False, capture_output=True)

    def let_go(self) -> None:
        while os.path.ismount(self.mount_point):
            if subprocess.run(["umount", str(self.mount_point)], check=False, capture_output=True).returncode:
                subprocess.run(["umount", "-l", str(self.mount_point)], check=False, capture_output=True)
        os.close(self._fd)


class SharedDisk:
    """One image between two servers."""

    def __init__(self, directory: Path, image: Path, sector_size: int) -> None:
        self.image = image
        self.sector_size = sector_size
        self.oss1 = Server(image, directory / "oss1", sector_size)
        self.oss2 = Server(image, directory / "oss2", sector_size)

    def let_go(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.oss1.let_go)
            stack.callback(self.oss2.let_go)

"""Disks for the agent's tests: one image, and a loop device on it for each of two servers. Not here: fixtures (`conftest`)."""

import contextlib
import os
import subprocess
from pathlib import Path

from ostkeeper.testbed import kernel

UPDATE_INTERVAL = 1


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


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

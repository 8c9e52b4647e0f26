"""Two servers on shared disks, without control plane, agents or relays: what tests of the ground itself stand on.

Here: `two_hosts`, an async context manager that leaves nothing behind, and looks at an image from outside. Not here:
whole worlds (`ostkeeper.testbed.world`).
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ostkeeper.testbed import kernel
from ostkeeper.testbed.disks import Image, make_image
from ostkeeper.testbed.host import Host, HostSpec
from ostkeeper.testbed.hostcontrol import Result
from ostkeeper.testbed.net import Switch
from waiting import wait_for_async

needs_root_and_loop = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/loop-control").exists(),
    reason="needs root and loop devices: run as root on a machine with /dev/loop-control (modprobe loop)",
)


@dataclass
class Lab:
    """Two servers, the disks of both, and every event that was heard."""

    one: Host
    two: Host
    images: list[Image]
    events: list[tuple[str, dict[str, Any]]]


@asynccontextmanager
async def two_hosts(directory: Path, disks: int = 1, sector_size: int = 512) -> AsyncIterator[Lab]:
    """Both servers booted; cut again at the end, whatever state the test left them in."""
    images = [await make_image(directory, f"scratch-OST{n:04x}", sector_size) for n in range(disks)]
    switch = Switch()
    await switch.start()
    events: list[tuple[str, dict[str, Any]]] = []
    specs = [HostSpec(f"oss{n}", n, directory / f"oss{n}", images) for n in (1, 2)]
    for spec in specs:
        spec.directory.mkdir()
    hosts = [Host(spec, switch, lambda host, event: events.append((host.name, event))) for spec in specs]
    try:
        for host in hosts:
            await host.power_on()
        yield Lab(hosts[0], hosts[1], images, events)
    finally:
        for host in hosts:
            await host.power_off()
        await switch.stop()


async def must(host: Host, *argv: str, seconds: float = 30.0) -> str:
    """Run a command in a server that has to succeed, and give its output."""
    result: Result = await host.execute(argv, seconds)
    assert result.code == 0, f"{host.name}: {' '.join(argv)}: exit {result.code}: {result.err}"
    return result.out


async def mount(host: Host, image: Image) -> None:
    """Mount a target as an admin would, who tries again where somebody had the device open by O_EXCL just then."""

    async def tried() -> Result:
        result = await host.execute(("mount", image.device, image.mount_point), 60)
        assert "busy" not in result.err, result.err
        return result

    result = await wait_for_async(tried, 60, f"{host.name} should mount {image.target}")
    assert result.code == 0, f"{host.name}: mount {image.target}: exit {result.code}: {result.err}"


def mark(image: Image) -> kernel.MmpMark:
    """The MMP mark on the image itself."""
    fd = os.open(image.path, os.O_RDONLY)
    try:
        return kernel.read_mmp(fd, *kernel.mmp_location(fd))
    finally:
        os.close(fd)


def clear_mmp(image: Image) -> None:
    """Write MMP clean on the image, as a partner with a certificate does, so that a test need not wait for 22 s."""
    import subprocess

    subprocess.run(["tune2fs", "-f", "-E", "clear_mmp", str(image.path)], check=True, capture_output=True)

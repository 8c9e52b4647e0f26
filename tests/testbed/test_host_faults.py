"""Faults that are not death: hanging, stalled disks, pulled cables, partitions, commands that fail or hang."""

import asyncio
import time
from pathlib import Path

import pytest

from ostkeeper.testbed.disks import Image
from ostkeeper.testbed.host import Host
from ostkeeper.testbed.net import API_PORT, SWITCH_ADDRESS, Cut
from testbed.hostlab import mark, mount, must, needs_root_and_loop, two_hosts
from waiting import wait_for_async

pytestmark = [pytest.mark.contract, needs_root_and_loop]

MMP_UPDATE_SECONDS = 1.0
COUNT = "i=0; until [ -e /run/enough ]; do i=$((i+1)); echo $i; sleep 0.2; done"


async def reaches(host: Host, address: str, port: int) -> bool:
    """Whether a TCP packet gets there and back: refused is an answer, too."""
    probe = f"import socket; s=socket.socket(); s.settimeout(0.3); print(s.connect_ex(({address!r}, {port})))"
    return (await must(host, "python3", "-I", "-S", "-c", probe)).strip() in ("0", "111")


async def comes_to_reach(host: Host, address: str, port: int) -> None:
    """Wait until it does: a neighbour that was just asked for in vain is asked for again only seconds later."""
    await wait_for_async(lambda: reaches(host, address, port), 15, f"{host.name} should reach {address}:{port}")


async def counted(host: Host, image: Image) -> int:
    """How far COUNT has come; it leaves no number out."""
    numbers = [int(line) for line in (await must(host, "cat", f"{image.mount_point}/n")).split()]
    assert numbers == list(range(1, len(numbers) + 1))
    return len(numbers)


async def test_thawed_server_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    async with two_hosts(tmp_path) as lab:
        image = lab.images[0]
        await mount(lab.one, image)
        counter = asyncio.create_task(lab.one.execute(["sh", "-c", f"({COUNT}) > {image.mount_point}/n"]))
        await wait_for_async(lambda: counted(lab.one, image), 10, "it counts")
        await lab.one.hang()
        before, began = mark(image).sequence, time.monotonic()
        await wait_for_async(
            lambda: time.monotonic() > began + 2.5 * MMP_UPDATE_SECONDS, 5, "time for MMP to stand still"
        )
        assert mark(image).sequence == before
        assert not counter.done()
        assert not await reaches(lab.two, lab.one.spec.address, 1)

        await lab.one.thaw()

        reached = await counted(lab.one, image)

        async def counts_on() -> bool:
            return await counted(lab.one, image) > reached

        await wait_for_async(counts_on, 10, "it counts on")
        await must(lab.one, "touch", "/run/enough")
        assert (await counter).code == 0
        assert await counted(lab.one, image) > reached
        await wait_for_async(lambda: mark(image).sequence != before, 5, "MMP advances again")
        await comes_to_reach(lab.two, lab.one.spec.address, 1)


async def test_process_stopped_before_a_hang_stays_stopped_after_it(tmp_path: Path) -> None:
    async with two_hosts(tmp_path) as lab:
        await must(lab.one, "sh", "-c", "sleep 60 & echo $! > /run/pid; kill -STOP $!")
        await lab.one.hang()
        await lab.one.thaw()
        assert "State:\tT" in await must(lab.one, "sh", "-c", "grep State /proc/$(cat /run/pid)/status")


async def test_stalled_disks_stand_still_while_the_server_lives(tmp_path: Path) -> None:
    async with two_hosts(tmp_path) as lab:
        image = lab.images[0]
        await mount(lab.one, image)
        await lab.one.stall()
        before, began = mark(image).sequence, time.monotonic()
        unmount = asyncio.create_task(lab.one.execute(["umount", image.mount_point]))
        await wait_for_async(
            lambda: time.monotonic() > began + 2.5 * MMP_UPDATE_SECONDS, 5, "time for MMP to stand still"
        )
        assert mark(image).sequence == before
        assert not unmount.done()
        await comes_to_reach(lab.two, lab.one.spec.address, 1)

        await lab.one.unstall()

        assert (await unmount).code == 0
        assert mark(image).clean


async def test_partition_drops_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    async with two_hosts(tmp_path) as lab:
        places = {Cut.API: (SWITCH_ADDRESS, API_PORT), Cut.PEER: (lab.two.spec.address, 7845)}
        for cut in (None, *Cut):
            await lab.one.set_partition(frozenset([cut] if cut else []))
            for name, place in places.items():
                if cut in (name, Cut.ALL):
                    assert not await reaches(lab.one, *place)
                else:
                    await comes_to_reach(lab.one, *place)


async def test_partition_stays_over_a_boot(tmp_path: Path) -> None:
    async with two_hosts(tmp_path) as lab:
        await lab.one.set_partition(frozenset([Cut.API]))
        await lab.one.power_off()
        await lab.one.power_on()
        assert not await reaches(lab.one, SWITCH_ADDRESS, API_PORT)


async def test_mount_fails_as_often_as_told_and_then_works(tmp_path: Path) -> None:
    async with two_hosts(tmp_path) as lab:
        image = lab.images[0]
        lab.one.set_command("mount", "fail", 2)
        codes = [(await lab.one.execute(["mount", image.device, image.mount_point])).code for _ in range(3)]
        assert codes == [32, 32, 0]


async def test_hung_mount_keeps_inherited_locks_until_it_is_let_go(tmp_path: Path) -> None:
    async with two_hosts(tmp_path) as lab:
        image = lab.images[0]
        lab.one.set_command("mount", "hang", 1)
        command = f"exec 7>/run/lock-of-target; flock 7; exec mount {image.device} {image.mount_point}"
        hanging = asyncio.create_task(lab.one.execute(["sh", "-c", command]))
        taken = ["flock", "-n", "/run/lock-of-target", "true"]

        async def locked() -> bool:
            return (await lab.one.execute(taken)).code == 1

        await wait_for_async(locked, 15, "the hung mount holds the lock that it inherited")
        assert not hanging.done()
        lab.one.set_command("mount", "ok", 0)
        assert (await hanging).code == 0
        assert lab.one.mounts() == {image.target: image.mount_point}


async def test_hung_mount_dies_with_its_server(tmp_path: Path) -> None:
    async with two_hosts(tmp_path) as lab:
        lab.one.set_command("mount", "hang", 1)
        hanging = asyncio.create_task(lab.one.execute(["mount", lab.images[0].device, "/mnt/ost0000"]))
        await wait_for_async(lambda: _hangs(lab.one), 15, "the mount hangs")
        await lab.one.power_off()
        await asyncio.wait([hanging])
        assert hanging.exception() is not None


async def _hangs(host: Host) -> bool:
    return "ost0000" in await must(host, "ps", "axww") and not list(
        Path(f"/proc/{host.pid}/root/run/testbed").glob("*.hang.*")
    )

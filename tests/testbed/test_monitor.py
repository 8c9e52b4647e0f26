"""The safety monitor can fail, and does not when nothing is wrong."""

import asyncio
import os
import signal
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ostkeeper.testbed import kernel
from ostkeeper.testbed.monitor import DoubleMount, Monitor, Verdict
from testbed.hostlab import Lab, clear_mmp, mount, must, needs_root_and_loop, two_hosts
from waiting import wait_for_async

pytestmark = [pytest.mark.contract, needs_root_and_loop]


@asynccontextmanager
async def monitored(directory: Path, sector_size: int = 512) -> AsyncIterator[tuple[Lab, Monitor]]:
    monitor = Monitor(directory)
    async with two_hosts(directory, sector_size=sector_size) as lab:
        await monitor.start()
        monitor.watch([lab.one, lab.two])
        try:
            yield lab, monitor
        finally:
            await monitor.stop()


async def sampled(monitor: Monitor, more: int = 10) -> Verdict:
    """The verdict after so many further samples."""
    start = (await monitor.verdict()).samples

    async def enough() -> Verdict | None:
        verdict = await monitor.verdict()
        return verdict if verdict.samples >= start + more else None

    verdict = await wait_for_async(enough, 20, f"{more} more samples")
    assert verdict is not None
    return verdict


async def test_overlap_is_seen_when_a_stalled_owner_thaws_after_its_partner_mounted(tmp_path: Path) -> None:
    """MMP cannot see a stalled server: the partner's mount passes the kernel's whole wait. The monitor must."""
    async with monitored(tmp_path) as (lab, monitor):
        image = lab.images[0]
        await mount(lab.one, image)
        (await sampled(monitor)).check()
        await lab.one.stall()
        await mount(lab.two, image)
        await lab.one.unstall()

        verdict = await sampled(monitor)

        assert verdict.holders == {image.target: ["oss1", "oss2"]}
        assert verdict.overlaps[0]["kind"] == "held-twice"
        assert verdict.overlaps[0]["hosts"] == ["oss1", "oss2"]
        assert verdict.overlaps[0]["target"] == image.target
        with pytest.raises(DoubleMount, match=image.target):
            verdict.check()


async def test_mount_in_flight_counts_as_a_holder(tmp_path: Path) -> None:
    async with monitored(tmp_path) as (lab, monitor):
        image = lab.images[0]
        await mount(lab.one, image)
        flight = asyncio.create_task(lab.two.execute(["mount", image.device, image.mount_point]))

        async def seen() -> list[dict[str, object]]:
            return (await monitor.verdict()).overlaps

        overlaps = await wait_for_async(
            seen, 5, "the kernel refuses this mount after 11 s; the monitor sees it at once"
        )
        assert overlaps[0]["hosts"] == ["oss1", "oss2"]
        flight.cancel()


async def test_mark_written_behind_the_back_of_a_holder_is_seen(tmp_path: Path) -> None:
    async with monitored(tmp_path) as (lab, monitor):
        image = lab.images[0]
        await mount(lab.one, image)
        (await sampled(monitor)).check()
        await lab.one.hang()
        fd = os.open(image.path, os.O_RDWR)
        block, size = kernel.mmp_location(fd)
        os.pwrite(fd, struct.pack("32s", lab.two.disks[0].name.encode()), block * size + 80)
        os.close(fd)

        verdict = await sampled(monitor)

        assert [(o["kind"], o["hosts"]) for o in verdict.overlaps] == [("mark-taken", ["oss1", "oss2"])]


@pytest.mark.parametrize("sector_size", [512, 4096])
async def test_cut_server_and_its_successor_are_no_overlap(tmp_path: Path, sector_size: int) -> None:
    async with monitored(tmp_path, sector_size) as (lab, monitor):
        image = lab.images[0]
        await mount(lab.one, image)
        await lab.one.power_off()
        monitor.watch([lab.one, lab.two])
        clear_mmp(image)
        await mount(lab.two, image)
        await lab.one.power_on()
        monitor.watch([lab.one, lab.two])
        verdict = await sampled(monitor)
        verdict.check()
        assert verdict.holders == {image.target: ["oss2"]}


async def test_disk_that_is_cut_off_but_still_mounted_is_no_holder(tmp_path: Path) -> None:
    async with monitored(tmp_path) as (lab, monitor):
        await mount(lab.one, lab.images[0])
        for disk in lab.one.disks:
            disk.cut()
        assert (await sampled(monitor)).holders == {lab.images[0].target: []}


@asynccontextmanager
async def looking_away(monitor: Monitor) -> AsyncIterator[None]:
    """The monitor stands still, as it does where the whole machine does."""
    assert monitor._process is not None
    monitor._process.send_signal(signal.SIGSTOP)
    yield
    monitor._process.send_signal(signal.SIGCONT)


async def test_gap_counts_where_a_disk_may_have_changed_hands_in_it(tmp_path: Path) -> None:
    async with monitored(tmp_path) as (lab, monitor):
        image = lab.images[0]
        await mount(lab.one, image)
        before = (await sampled(monitor)).longest_gap
        began = time.monotonic()
        async with looking_away(monitor):
            await wait_for_async(lambda: time.monotonic() > began + 2.0, 10, "its holder writes every second")
        assert (await sampled(monitor)).longest_gap == before
        async with looking_away(monitor):
            await must(lab.one, "umount", image.mount_point)
            await mount(lab.two, image)
            again = time.monotonic()
            await wait_for_async(lambda: time.monotonic() > again + 2.0, 10, "the other one holds it now")
        assert (await sampled(monitor)).longest_gap > 2.0


async def test_orderly_moves_back_and_forth_are_no_overlap(tmp_path: Path) -> None:
    async with monitored(tmp_path) as (lab, monitor):
        image = lab.images[0]
        for host in (lab.one, lab.two) * 5:
            await mount(host, image)
            await must(host, "umount", image.mount_point)
        (await sampled(monitor)).check()

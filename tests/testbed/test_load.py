"""The load finds every record that was acknowledged, and notices one that is gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ostkeeper.testbed.load import Load
from testbed.hostlab import Lab, clear_mmp, mount, must, needs_root_and_loop, two_hosts
from waiting import wait_for_async

pytestmark = [pytest.mark.contract, needs_root_and_loop]


@asynccontextmanager
async def loaded(directory: Path) -> AsyncIterator[tuple[Lab, Load]]:
    """Two servers, each with a writer since its last boot."""
    async with two_hosts(directory, disks=2) as lab:
        load = Load(directory / "load", lab.images, rate=50)
        for host in (lab.one, lab.two):
            await host.power_off()
            host.spec = replace(host.spec, services={"load": load.service(host.name, lab.images)})
            await host.power_on()
        yield lab, load


async def written(load: Load, target: str, more: int = 20) -> None:
    start = len(load.acknowledged()[target])
    await wait_for_async(
        lambda: len(load.acknowledged()[target]) >= start + more, 30, f"{more} more records on {target}"
    )


async def test_no_acknowledged_record_is_lost_when_power_is_cut_and_the_partner_mounts(tmp_path: Path) -> None:
    async with loaded(tmp_path) as (lab, load):
        image = lab.images[0]
        await mount(lab.one, image)
        await written(load, image.target)
        await lab.one.power_off()
        after_cut = await load.check([lab.one, lab.two])
        assert after_cut.acknowledged >= 20
        assert after_cut.lost == 0
        clear_mmp(image)
        await mount(lab.two, image)
        await written(load, image.target)
        records = await load.check([lab.one, lab.two])
        assert records.acknowledged >= 40
        assert records.lost == 0


async def test_record_that_is_gone_is_reported(tmp_path: Path) -> None:
    async with loaded(tmp_path) as (lab, load):
        image = lab.images[0]
        await mount(lab.one, image)
        await written(load, image.target)
        lock = f"/run/testbed/load/{image.short}.lock"
        await must(lab.one, "flock", lock, "sh", "-c", f"sed -i '/ 2 /d' {image.mount_point}/load/*")
        records = await load.check([lab.one, lab.two])
        assert records.lost == 1
        assert records.missing == [f"{image.target} {lab.one.boot_id} 2"]


async def test_writer_never_keeps_a_target_from_being_unmounted(tmp_path: Path) -> None:
    async with loaded(tmp_path) as (lab, load):
        image = lab.images[0]
        for _ in range(10):
            await mount(lab.one, image)
            await written(load, image.target, more=3)
            checking = asyncio.create_task(load.check([lab.one, lab.two]))
            await must(lab.one, "umount", image.mount_point)
            assert (await checking).lost == 0


async def test_writer_hangs_with_a_stalled_target_and_goes_on_after_it(tmp_path: Path) -> None:
    async with loaded(tmp_path) as (lab, load):
        first, second = lab.images
        await mount(lab.one, first)
        await mount(lab.one, second)
        await written(load, second.target)
        await lab.one.stall()
        assert (await load.check([lab.one, lab.two])).lost == 0
        await lab.one.unstall()
        await written(load, first.target)
        await written(load, second.target)

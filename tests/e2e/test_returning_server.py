"""A server that was fenced boots again: it finds nothing that it may mount, and gets its targets back in order only."""

import pytest

from e2e.world import e2e_world
from ostkeeper.api.failover import Failover

pytestmark = pytest.mark.e2e


def dead_boot(fo: Failover) -> str:
    """The boot that the death certificate is about."""
    assert fo.status is not None
    assert fo.status.certificate is not None
    return fo.status.certificate.boot_id


def answered_by(fo: Failover) -> str:
    assert fo.status is not None
    return fo.status.answered_by


async def test_fenced_server_stays_off_mounts_nothing_when_it_returns_and_may_die_again() -> None:
    async with e2e_world() as w:
        await w.ready()
        await w.verbs.power_cut("oss1")
        first = await w.phase("pair-a", "Complete")
        await w.served(on="oss2")

        def stays_off() -> None:
            assert not any(w.world.plane.outlet(feed.device, feed.outlet) for feed in w.world.plane.feeds("oss1"))

        await w.while_beating("oss2", 3, stays_off)
        assert await w.verdict("oss1") == "Fenced"

        await w.verbs.power_on("oss1")
        await w.judged("oss1", "Healthy")
        question = await w.phase("pair-a", "AwaitingApproval", type_="Failback")

        def waits() -> None:
            assert w.mounted_on("oss1") == []

        await w.while_beating("oss1", 3, waits)
        await w.approve(question.name, "Failback", user="alice")
        back = await w.phase("pair-a", "Complete", type_="Failback")
        assert answered_by(back) == "alice"
        await w.ready()

        await w.verbs.power_cut("oss1", feeds=True)
        second = await w.phase("pair-a", "Complete", after=back.name)
        assert second.spec.type == "Failover"
        assert dead_boot(second) != dead_boot(first)
        await w.served(on="oss2")


async def test_fenced_server_is_powered_on_as_a_standby_and_takes_its_own_back_unasked() -> None:
    spec = {"rejoin": "PowerOn", "failback": {"mode": "Automatic", "soak": "1h"}}
    async with e2e_world(spec=spec) as w:
        await w.ready()
        await w.verbs.crash("oss1")
        await w.phase("pair-a", "Complete", type_="Failover")
        await w.judged("oss1", "Healthy")
        assert w.mounted_on("oss1") == []
        await w.served(on="oss2")
        await w.patch("osspair", "pair-a", {"spec": {"failback": {"soak": "1s"}}})
        back = await w.phase("pair-a", "Complete", type_="Failback")
        assert answered_by(back) == "policy"
        await w.ready()
        w.untouched("oss1")

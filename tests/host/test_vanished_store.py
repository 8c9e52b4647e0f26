"""A state store that has vanished, as on a server whose root is made anew at each boot: what is known elsewhere counts."""

import pytest

from host.rig import BOOT, DEAD_BOOT, OLD_BOOT, Rig, T, grant, holding, oss
from ostkeeper.api.oss import OSS
from ostkeeper.core import hostevents as ev
from ostkeeper.core.events import Seen

pytestmark = pytest.mark.scenario
OWN = {"bootID": OLD_BOOT, "agentStart": "run-0", "epochSeen": 9}


def partner(uptime: int, seen: int = 3) -> OSS:
    return oss("oss2", bootID=DEAD_BOOT, uptimeSeconds=uptime, epochSeen=seen)


def rebooted(epoch: int, **more: object) -> Rig:
    """Its own OSS tells of epoch 9, the store of nothing; the pair grants at this epoch."""
    return Rig(own=OWN, grants=[grant("Serve", epoch)], partner=partner(100), **more).start()  # type: ignore[arg-type]


def test_nothing_is_mounted_before_the_partner_has_reported_again() -> None:
    rig = rebooted(9)
    rig.wait(5)
    assert not rig.all(ev.Mount)
    assert rig.target().reason == "StoreForgotten"
    rig.partner = partner(160, seen=9)
    rig.step(Seen(rig.partner))
    assert rig.one(ev.Mount)


def test_report_of_an_old_etcd_is_no_news_of_the_partner() -> None:
    rig = rebooted(9)
    for uptime in (100, 40):
        rig.step(Seen(partner(uptime)))
    rig.wait(1)
    assert not rig.all(ev.Mount)


def test_epoch_below_the_one_that_its_own_oss_tells_of_is_not_mounted() -> None:
    rig = rebooted(7)
    rig.step(Seen(partner(160)))
    rig.wait(2)
    assert not rig.all(ev.Mount)
    assert "spec.adopt: 9" in rig.target().message


def test_epoch_below_the_one_that_the_partner_has_seen_is_not_mounted() -> None:
    rig = rebooted(9)
    rig.partner = partner(160, seen=12)
    rig.step(Seen(rig.partner))
    rig.wait(2)
    assert not rig.all(ev.Mount)
    assert "spec.adopt: 12" in rig.target().message


def test_new_epoch_allows_it_where_the_partner_is_dead() -> None:
    rig = rebooted(9)
    rig.change(grant("Serve", 11))
    assert rig.one(ev.Mount)


def test_report_says_so_as_a_hazard_and_goes_on_to_say_so() -> None:
    rig = rebooted(9)
    rig.step(Seen(partner(160, seen=9)))
    report = rig.all(ev.Report)[-1].status
    assert report.epoch_seen == 9, "or the next agent with an empty store would know of nothing"
    (hazard,) = report.hazards
    assert "the state store was empty" in hazard


def test_first_agent_of_a_server_and_one_with_its_store_wait_for_nobody() -> None:
    assert Rig(grants=[grant("Serve", 3)]).start().one(ev.Mount)
    kept = Rig(
        own=OWN, stored=holding(OLD_BOOT, epoch=3, mark=""), grants=[grant("Serve", 9)], partner=partner(100)
    ).start()
    assert kept.one(ev.Mount)
    assert kept.all(ev.Report)[-1].status.hazards == ()
    assert kept.machine.host.server.boot_id == BOOT
    assert kept.target().target == T

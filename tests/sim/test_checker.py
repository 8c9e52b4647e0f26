"""The checker sees what no machine saw: orders, readings and acts that nothing stored or real justifies."""

from __future__ import annotations

import pytest

from ostkeeper.api.failover import Certificate, Failover, FeedProof
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.core.diskview import Mark, MmpState
from ostkeeper.core.power import Feed, PowerState
from ostkeeper.sim.config import NAMESPACE, Config, objects_of
from ostkeeper.sim.faults import Fault
from ostkeeper.sim.run import begin
from ostkeeper.sim.world import World

pytestmark = pytest.mark.sim
CONFIG = Config(levels="bmc", pairs=3)
BMC, PARTNER = Feed("bmc-oss1"), Feed("bmc-oss2")
PAIR, T = f"{NAMESPACE}/pair-a", "scratch-OST0000"


@pytest.fixture
def world() -> World:
    """At rest, and nothing wrong."""
    world = World(objects_of(CONFIG), 1, CONFIG.settings)
    world.begin()
    assert world.checker.violations == []
    return world


def until_phase(world: World, phase: str) -> Failover:
    """Let oss1 panic, and stop in a phase of its Failover."""
    begin(world, Fault("host-panics", 0.0, None, ("oss1",)))

    def reached() -> bool:
        return any(found.phase == phase for found in world.store.every(Failover))

    assert world.kernel.run_until(reached, 60.0, 0.002)
    assert world.checker.violations == []
    return world.store.every(Failover)[0]


def leader(world: World) -> str:
    """Who leads."""
    return next(name for name, shell in world.operators.items() if shell.leads)


def seen(world: World) -> list[str]:
    """The rules that were broken, each once."""
    return list(dict.fromkeys(said.split(": ")[1] for said in world.checker.violations))


def test_shot_that_no_failover_justifies_is_seen(world: World) -> None:
    world.checker.leaves(leader(world), BMC, on=False)
    assert seen(world) == ["a shot without grounds"]


def test_shot_before_the_hold_is_durable_is_seen(world: World) -> None:
    until_phase(world, "Holding")
    world.checker.leaves(leader(world), BMC, on=False)
    assert seen(world) == ["a shot without grounds"]


def test_shot_in_fencing_is_none_of_the_partner_s_feeds(world: World) -> None:
    until_phase(world, "Fencing")
    world.checker.leaves(leader(world), PARTNER, on=False)
    assert seen(world) == ["a shot without grounds"]


def test_shot_without_a_read_of_the_pair_is_seen(world: World) -> None:
    until_phase(world, "Fencing")
    world.store.whole_reads.clear()
    world.checker.leaves(leader(world), BMC, on=False)
    assert seen(world) == ["a shot on an old read"]


def test_shot_of_a_server_that_renewed_its_lease_before_the_read_is_seen(world: World) -> None:
    until_phase(world, "Fencing")
    world.store.renewed["oss1"] = world.store.clock() - 4.0
    world.store.whole_reads[leader(world), PAIR] = world.kernel.now
    world.checker.leaves(leader(world), BMC, on=False)
    assert seen(world) == ["a living server is shot"]


def test_renewal_after_the_read_is_nobody_s_fault(world: World) -> None:
    until_phase(world, "Fencing")
    world.store.whole_reads[leader(world), PAIR] = world.kernel.now - 1.0
    world.store.renewed["oss1"] = world.store.clock() - 0.5
    world.checker.leaves(leader(world), BMC, on=False)
    assert seen(world) == []


def test_shot_beside_a_silent_partner_is_seen(world: World) -> None:
    until_phase(world, "Fencing")
    world.store.whole_reads[leader(world), PAIR] = world.kernel.now
    world.store.renewed["oss2"] = world.store.clock() - 12.0
    world.checker.leaves(leader(world), BMC, on=False)
    assert seen(world) == ["a shot that helps nobody"]


def test_shot_long_after_its_failover_is_seen(world: World) -> None:
    until_phase(world, "Relocating")
    world.kernel.run(world.kernel.now + 1.0)
    shooter = leader(world)
    world.store.whole_reads[shooter, PAIR] = world.kernel.now
    world.checker.leaves(shooter, BMC, on=False)
    assert seen(world) == []
    world.kernel.run(world.kernel.now + 3.0)
    world.store.whole_reads[shooter, PAIR] = world.kernel.now
    world.checker.leaves(shooter, BMC, on=False)
    assert seen(world) == ["a shot without grounds"]


def test_shot_of_a_leader_that_lost_its_lease_long_ago_is_seen(world: World) -> None:
    until_phase(world, "Fencing")
    world.store.deposed["op0"] = world.kernel.now - 5.0
    world.store.whole_reads["op0", PAIR] = world.kernel.now
    world.checker.leaves("op0", BMC, on=False)
    assert seen(world) == ["a shot too late"]


def test_order_for_a_feed_that_nobody_declared_is_seen(world: World) -> None:
    world.checker.leaves(leader(world), Feed("pdu-elsewhere", "7"), on=False)
    assert seen(world) == ["an order for nobody's feed"]


def test_power_for_a_server_that_nobody_cut_is_seen(world: World) -> None:
    world.checker.leaves(leader(world), BMC, on=True)
    assert seen(world) == ["power for what nobody cut"]


def test_power_for_a_server_in_hold_is_seen(world: World) -> None:
    until_phase(world, "Fencing")
    world.checker.leaves(leader(world), BMC, on=True)
    assert seen(world) == []  # it rests on a read of a moment ago, as far as anybody can tell
    for operator in world.operators.values():
        operator.pause()
    world.kernel.run(world.kernel.now + 3.0)
    world.checker.leaves("op1", BMC, on=True)
    assert seen(world) == ["power for a server in Hold"]


def sealed(world: World, failover: Failover, began: tuple[float, ...], nonce: str) -> list[str]:
    """What is said of a certificate whose feed was OFF in readings that began then, seconds from its off."""
    proofs, off = world.checker.proofs, world.kernel.now
    assert proofs is not None
    proofs.ordered("op0", BMC, on=False)
    for at in began:
        proofs.read("op0", BMC, off + at, PowerState.OFF)
    feed = FeedProof(device_name=BMC.device, outlet="", state="PoweredOff", reads=3)
    dead = Certificate(node="oss1", boot_id="oss1-boot-1", hold_epoch=43, level="bmc", feeds=(feed,), nonce=nonce)
    proofs.certified(failover, dead, "op0")
    return seen(world)


def test_certificate_of_readings_before_the_off_is_seen(world: World) -> None:
    failover = until_phase(world, "Fencing")
    assert sealed(world, failover, (-0.5, 0.5, 1.0), "") == ["a certificate without proof"]


def test_one_reading_that_is_answered_twice_counts_once(world: World) -> None:
    failover = until_phase(world, "Fencing")
    assert sealed(world, failover, (0.5, 0.5, 1.0), "") == ["a certificate without proof"]


def test_certificate_upon_an_answer_from_before_the_off_is_seen(world: World) -> None:
    failover = until_phase(world, "Fencing")
    report = world.store.find(OSS, "oss2")
    assert report is not None
    assert report.status is not None
    assert report.status.nonce is not None
    assert sealed(world, failover, (0.5, 1.0, 1.5), report.status.nonce.value) == ["a certificate on another answer"]


def test_decision_while_more_servers_are_late_than_the_fuse_lets_pass_is_seen(world: World) -> None:
    failover = until_phase(world, "Fencing")
    assert world.checker.proofs is not None
    for server in ("oss3", "oss5"):
        world.store.renewed[server] = world.store.clock() - 9.0
    world.checker.proofs.decided(failover)
    assert seen(world) == ["decided unasked while many are late"]


def test_clearing_under_a_writer_and_under_e2fsck_is_seen(world: World) -> None:
    world.checker.clears("oss2", T, MmpState.FSCK, world.hosts["oss1"].mark(T), stale=True)
    assert seen(world) == [
        "MMP cleared under a writer",
        "MMP cleared under e2fsck",
        "MMP cleared over a stale page cache",
        "MMP cleared uncertified",
    ]


def test_clearing_over_a_third_hosts_mark_and_mounting_beside_it_are_seen(world: World) -> None:
    world.checker.clears("oss2", T, MmpState.SEQUENCE, Mark("oss1", "sdq"), stale=False)
    world.checker.beside_a_third_host("oss2", T)
    assert "MMP cleared over a third host's mark" in seen(world)
    assert "mounted beside a third host" in seen(world)


def test_machine_that_is_stopped_for_nothing_is_seen(world: World) -> None:
    assert world.checker.permits is not None
    world.checker.permits.stops("oss1", "oss1-boot-1", (T,))
    assert seen(world) == ["a machine is stopped for nothing"]


def test_machine_whose_target_is_served_elsewhere_may_be_stopped(world: World) -> None:
    pair = world.store.find(OSSPair, PAIR)
    assert pair is not None
    assert pair.status is not None
    theirs = tuple(grant.target for grant in pair.status.assignments if grant.node == "oss2")
    assert world.checker.permits is not None
    world.checker.permits.stops("oss1", "oss1-boot-1", theirs)
    assert seen(world) == []

"""The nights on which mutants are hunted: each gives one way of being broken its occasion, and is well without it.

Here: a world and faults, with times that a seed draws. Not here: the ways of being broken (`broken`), the hunt (`mutants`).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from ostkeeper.sim.config import Config, Settings
from ostkeeper.sim.faults import Fault

Night = Callable[[Random], tuple[Config, tuple[Fault, ...]]]


def _at(random: Random, least: float, most: float) -> float:
    return round(random.uniform(least, most), 2)


def dies(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server hangs and goes on much later."""
    return Config(levels=random.choice(("pdus,bmc", "bmc"))), (Fault("host-hangs", _at(random, 1, 4), 70.0, ("oss1",)),)


def dies_on_pdus(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """The same where two PDUs are all there is."""
    return Config(levels="pdus"), dies(random)[1]


def dies_unseen(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """It hangs, and its one fence device falls silent once it is suspected."""
    silent = Fault("device-silent", _at(random, 9.0, 11.5), 60.0, ("bmc-oss1",))
    return Config(levels="bmc"), (Fault("host-hangs", 1.0, 70.0, ("oss1",)), silent)


def dies_for_good(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server loses its power, and nobody repairs it."""
    return Config(), (Fault("host-loses-power", _at(random, 1, 4), None, ("oss1",)),)


def asked_for_good(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """Manual, and nobody ever answers."""
    return Config(mode="Manual"), dies_for_good(random)[1]


def dies_unseen_for_good(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server hangs for good, and its one fence device falls silent for a while once it is suspected."""
    silent = Fault("device-silent", _at(random, 9.0, 11.5), 60.0, ("bmc-oss1",))
    return Config(levels="bmc"), (Fault("host-hangs", 1.0, None, ("oss1",)), silent)


def dies_beside_a_lost_disk(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server with two targets hangs, and its partner has lost the LUN of one of them until much later."""
    gone = Fault("disk-gone", 1.0, _at(random, 60, 70), ("oss2", "scratch-OST0000"))
    return Config(targets=random.choice((3, 5))), (gone, Fault("host-hangs", _at(random, 20, 24), 110.0, ("oss1",)))


def refused_before_a_restart(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """The partner's reports are refused under a new leader, and a person says Restart."""
    return Config(mode="Manual", levels="bmc"), (
        Fault("host-panics", 1.0, 170.0, ("oss1",)),
        Fault("reports-refused", _at(random, 14, 16), None, ("oss2",)),
        Fault("operator-restarts", 17.0, None, ("op1",)),
        Fault("operator-restarts", 17.0, None, ("op2",)),
        Fault("answers", _at(random, 42, 46), None, ("Restart",)),
    )


def refused_before_it_acts(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server hangs, a person is asked, and the reports of its partner are refused before the policy acts by itself."""
    config = Config(mode="Manual", automatic_after=40.0)
    refused = Fault("reports-refused", _at(random, 22, 25), 110.0, ("oss2",))
    news = Fault("disk-gone", 25.0, 40.0, ("oss2", "scratch-OST0001"))
    return config, (Fault("host-hangs", _at(random, 1, 3), 120.0, ("oss1",)), refused, news)


def asked(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """Manual, and nobody answers before the night is over."""
    return Config(mode="Manual"), (Fault("host-panics", _at(random, 1, 4), 40.0, ("oss1",)),)


def answered(answer: str) -> Night:
    """Manual, and a person answers."""

    def night(random: Random) -> tuple[Config, tuple[Fault, ...]]:
        return Config(mode="Manual"), (
            Fault("host-panics", 1.0, 60.0, ("oss1",)),
            Fault("answers", _at(random, 12, 16), None, (answer,)),
        )

    return night


def moved(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A planned move of a target."""
    config = Config(failback="Automatic")
    return config, (Fault("edit", _at(random, 1, 4), 40.0, ("scratch-ost0000.serveFrom=Partner",)),)


def moved_twice(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """Unmounted and mounted again; then moved."""
    first = Fault("edit", 1.0, _at(random, 8, 12), ("scratch-ost0000.desired=Unmounted",))
    return Config(), (first, Fault("edit", _at(random, 20, 24), 50.0, ("scratch-ost0000.serveFrom=Partner",)))


def isolated_beside_a_liar(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server that nobody reaches writes on, its BMC lies, and a person says: Failover."""
    return Config(levels="bmc", mode="Manual"), (
        Fault("cut", 1.0, 80.0, ("oss1", "all")),
        Fault("device-lying", 1.5, 80.0, ("bmc-oss1",)),
        Fault("answers", _at(random, 30, 36), None, ("Failover",)),
    )


def stuck(answer: str) -> Night:
    """It hangs, its BMC takes orders and switches nothing; in Blocked a person answers."""

    def night(random: Random) -> tuple[Config, tuple[Fault, ...]]:
        return Config(levels="bmc"), (
            Fault("host-hangs", 1.0, 75.0, ("oss1",)),
            Fault("device-stuck", 0.5, 60.0, ("bmc-oss1",)),
            Fault("answers", _at(random, 20, 25), None, (answer,)),
        )

    return night


def dead_and_silent(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """It is dead, no device answers, and a person has looked: ConfirmDead."""
    return Config(levels="bmc"), (
        Fault("host-loses-power", 1.0, 110.0, ("oss1",)),
        Fault("answers", _at(random, 11, 13), None, ("Failover",)),
        Fault("answers", _at(random, 45, 50), None, ("ConfirmDead",)),
    )


def waits(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """MMP is not to be cleared."""
    return Config(mmp="Wait"), dies(random)[1]


def dies_on_a_lossy_pdu(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server hangs while a PDU loses packets: its off ends later than the other's."""
    lossy = Fault("device-lossy", 0.5, 60.0, ("pdu-right",))
    return Config(levels="pdus"), (Fault("host-hangs", _at(random, 1, 4), 70.0, ("oss1",)), lossy)


def answers_all_the_same(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """Its disks stall, its BMC lies, a person says Failover; its partner alone still reaches it."""
    return Config(levels="bmc", mode="Manual", nodes=False), (
        Fault("disks-stall", _at(random, 1, 3), 110.0, ("oss1",)),
        Fault("device-lying", 0.5, 120.0, ("bmc-oss1",)),
        Fault("cut", 1.0, 110.0, ("oss1", "api")),
        Fault("answers", 12.0, None, ("Failover",)),
        Fault("answers", 45.0, None, ("Failover",)),
    )


def beats_all_the_same(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """Its disks stall, its BMC lies, its partner does not reach it; its agent stood still, and goes on after the shot."""
    return Config(levels="bmc", settle=5.0, nodes=False), (
        Fault("disks-stall", 1.0, 110.0, ("oss1",)),
        Fault("device-lying", 0.5, 120.0, ("bmc-oss1",)),
        Fault("cut", 1.0, 110.0, ("oss1", "oss2")),
        Fault("agent-pauses", 1.0, _at(random, 10.0, 11.5), ("oss1",)),
    )


def adopted_on_a_wrong_word(random: Random, restored: str = "etcd-restored") -> tuple[Config, tuple[Fault, ...]]:
    """A target has moved; etcd is restored from before that while the agent that has it is dead, and a person says adopt."""
    return Config(levels="bmc", mode="Manual"), (
        Fault(restored, 0.5, _at(random, 18, 20), ()),
        Fault("edit", 1.0, None, ("scratch-ost0000.serveFrom=Partner",)),
        Fault("agent-dies", _at(random, 14, 16), 80.0, ("oss2",)),
        Fault("edit", _at(random, 45, 50), None, ("pair-a.adopt=all",)),
    )


def adopted_after_a_raised_restore(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """The same, restored with a raised revision."""
    return adopted_on_a_wrong_word(random, "etcd-restored-raised")


def fails_at_home(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A target is wanted again, and cannot be mounted at first."""
    return Config(), (
        Fault("edit", 1.0, 8.0, ("scratch-ost0000.desired=Unmounted",)),
        Fault("mounts-fail", 5.0, _at(random, 20, 30), ("oss1",)),
    )


def returns_under_fire(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server is seen alive again while its off is under way."""
    device = Fault("device-slow", 0.5, 60.0, ("bmc-oss1",))
    return Config(levels="bmc"), (Fault("host-hangs", 1.0, _at(random, 9.2, 11.8), ("oss1",)), device)


def shot_in_vain(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """The one device falls silent before the shot leaves."""
    silent = Fault("device-silent", _at(random, 6.0, 9.0), 40.0, ("bmc-oss1",))
    return Config(levels="bmc"), (Fault("host-hangs", 1.0, 70.0, ("oss1",)), silent)


def lies_alone(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A BMC that was never drilled lies, its server hangs, and a person says Failover; later the server goes on."""
    config = Config(levels="bmc", mode="Manual", wiring="Declared", settings=Settings(drilled=False))
    return config, (
        Fault("device-lying", 0.5, 100.0, ("bmc-oss1",)),
        Fault("host-hangs", _at(random, 1, 3), 70.0, ("oss1",)),
        Fault("answers", _at(random, 15, 18), None, ("Failover",)),
    )


def load_tells(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """One of two PDUs lies, and its meter does not; the server hangs, and goes on later."""
    lies = Fault("device-lying", 0.5, 100.0, ("pdu-left",))
    return Config(levels="pdus"), (lies, Fault("host-hangs", _at(random, 1, 4), 80.0, ("oss1",)))


def switches_late(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server hangs, and its BMC switches it off seconds after it has acknowledged the order."""
    late = Fault("device-late", 0.5, 100.0, ("bmc-oss1",))
    return Config(levels="bmc", settle=0.5), (late, Fault("host-hangs", _at(random, 1, 4), 80.0, ("oss1",)))


def filtered(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """Nobody reaches TCP 7845 of a server since before its boot; then its disks stall and it loses the API server."""
    config = Config(levels="bmc", nodes=False, settings=Settings(boot_time=(3.0, 4.0)))
    at = _at(random, 45, 50)
    return config, (
        Fault("witness-filtered", 0.5, 140.0, ("oss1",)),
        Fault("host-reboots", 1.0, None, ("oss1",)),
        Fault("disks-stall", at, 130.0, ("oss1",)),
        Fault("cut", at, 130.0, ("oss1", "api")),
    )


def hiccup(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """Three of six servers stand still at about the same time, and go on."""
    return Config(pairs=3, levels="bmc"), tuple(
        Fault("host-hangs", _at(random, 1.0, 2.0), 20.0, (host,)) for host in ("oss1", "oss3", "oss5")
    )


def one_after_the_other(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """Three of six servers die, each when the one before has been dealt with."""
    times = (1.0, _at(random, 25, 30), _at(random, 50, 55))
    return Config(pairs=3, levels="bmc", rejoin="Manual"), tuple(
        Fault("host-panics", at, 110.0, (host,)) for at, host in zip(times, ("oss1", "oss3", "oss5"), strict=True)
    )


def dies_as_the_other_is_back(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server was fenced and is back; then its partner, which serves everything, dies."""
    settings = Settings(boot_time=(20.0, 25.0))
    return Config(levels="bmc", partner_soak=120.0, settings=settings), (
        Fault("host-panics", 1.0, 20.0, ("oss1",)),
        Fault("host-panics", _at(random, 75, 85), 130.0, ("oss2",)),
    )


def both_hang(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server hangs; when it is about to be shot its partner hangs, too."""
    return Config(levels="bmc"), (
        Fault("host-hangs", 1.0, 60.0, ("oss1",)),
        Fault("host-hangs", _at(random, 9.5, 12.0), 50.0, ("oss2",)),
    )


def api_outage(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """The API server is away for a while; an agent is paused as it comes back."""
    back = _at(random, 25, 30)
    return Config(levels="bmc"), (
        Fault("api-down", 5.0, back, ()),
        Fault("host-hangs", back - 3.0, back + 9.0, ("oss1",)),
    )


def checked_by_hand(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server dies, and somebody runs e2fsck on what it left behind, on its partner."""
    return Config(levels="bmc"), (
        Fault("host-panics", 1.0, 70.0, ("oss1",)),
        Fault("e2fsck", _at(random, 3.0, 8.0), 60.0, ("scratch-OST0000", "oss2")),
    )


def third_host_comes(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server dies; a host outside of the site mounts what it left behind, and dies, too."""
    return Config(levels="bmc"), (
        Fault("host-dies", 1.0, 90.0, ("oss1",)),
        Fault("third-host-dies", _at(random, 3.0, 8.0), 80.0, ("scratch-OST0000",)),
    )


def cannot_let_go(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """One of its two targets hangs as it is unmounted; a person has the server shot, whose BMC does nothing."""
    return Config(levels="bmc", targets=3), (
        Fault("umounts-hang", 1.0, 100.0, ("oss1",)),
        Fault("device-stuck", 1.0, 90.0, ("bmc-oss1",)),
        Fault("edit", 2.0, None, ("scratch-ost0000.serveFrom=Partner",)),
        Fault("answers", _at(random, 15, 20), None, ("Failover",)),
    )


def drilled_too_early(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A person asks for a drill, and the server cannot be emptied."""
    return Config(levels="bmc"), (
        Fault("umounts-hang", 0.5, 60.0, ("oss1",)),
        Fault("drill", _at(random, 1, 4), 80.0, ("oss1",)),
    )


def answered_unread(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server dies, and its partner's agent stands still when the last nonce is asked."""
    at = _at(random, 9.5, 12.0)
    return Config(levels="bmc"), (
        Fault("host-panics", 1.0, 70.0, ("oss1",)),
        Fault("agent-pauses", at, at + 3.0, ("oss2",)),
    )


def retired(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """An OST is unmounted, then deleted."""
    return Config(), (Fault("retire", _at(random, 1, 10), None, ("scratch-OST0000",)),)


def deleted_in_service(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """The OST of a mounted target is deleted by mistake, and created again much later."""
    return Config(), (Fault("delete", _at(random, 1, 10), 40.0, ("OST/scratch-ost0000",)),)


def breaks_while_it_shoots(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server dies, and the pair's machine breaks and begins anew while it gathers its proofs."""
    return Config(levels="bmc"), (
        Fault("host-panics", 1.0, 80.0, ("oss1",)),
        Fault("machine-breaks", _at(random, 10, 15), None, ("pair-a",)),
    )


def leads_to_its_partner(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server hangs, and the address of its BMC leads to its partner's board."""
    return Config(levels="bmc"), (
        Fault("host-hangs", 2.0, 70.0, ("oss1",)),
        Fault("bmc-misled", _at(random, 1.0, 9.0), 50.0, ("bmc-oss1", "oss2")),
    )


def unit_replaced(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """A server hangs, and another unit has taken over the address of one of its PDUs."""
    return Config(levels="pdus"), (
        Fault("host-hangs", 2.0, 70.0, ("oss1",)),
        Fault("pdu-replaced", _at(random, 1.0, 9.0), 50.0, ("pdu-left",)),
    )


def one_unit_twice(random: Random) -> tuple[Config, tuple[Fault, ...]]:
    """Two objects stand for one PDU, which probes have found to be well; then a server hangs."""
    return Config(levels="pdus", wiring="Declared", mmp="Wait"), (
        Fault("declared-twice", 1.0, 70.0, ("pdu-left", "pdu-right")),
        Fault("host-hangs", _at(random, 20, 30), 90.0, ("oss1",)),
    )


def boards_of(kind: str) -> Night:
    """Two boards have one system UUID, the address of a BMC leads to the other board, and its server hangs."""

    def night(random: Random) -> tuple[Config, tuple[Fault, ...]]:
        return Config(levels="bmc", wiring="Declared", mode="Manual"), (
            Fault(kind, 1.0, 90.0, ("oss1", "oss2")),
            Fault("bmc-misled", _at(random, 8.0, 12.0), 80.0, ("bmc-oss1", "oss2")),
            Fault("host-hangs", 30.0, 100.0, ("oss1",)),
            Fault("answers", 42.0, None, ("Failover",)),
        )

    return night

"""Simulated operators around the real machines: they lead, lose, pause, break, and do what the real shell does."""

from __future__ import annotations

from typing import Any

import pytest

from ostkeeper.api.failover import Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.core.pair import PairMachine
from ostkeeper.core.power import Feed
from ostkeeper.sim.kernel import Actor
from ostkeeper.sim.network import API
from ostkeeper.sim.packets import Ordered
from ostkeeper.sim.process import SIM_TERMS
from sim.floor import World

pytestmark = pytest.mark.sim
HOME = {"scratch-OST0000": "oss1", "scratch-OST0001": "oss2"}


def at_rest(seed: int = 1) -> World:
    """Adopted, armed, and told from here on."""
    world = World(seed)
    assert world.until(lambda: world.served_by() == HOME and world.trusted() and armed(world))
    world.tell_all()
    return world


def armed(world: World) -> bool:
    """Whether Automatic acts by itself."""
    conditions = world.pair.status.conditions if world.pair.status else ()
    return any((c.type, c.status) == ("Armed", "True") for c in conditions)


def sent_by(world: World, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str, str]]:
    """From here on: when which operator ordered which device, off or on."""
    orders: list[tuple[float, str, str]] = []
    order = world.devices.order

    def spy(sender: str, feed: Feed, on: bool, *rest: Any) -> None:
        orders.append((world.kernel.now, sender, f"{feed} {'on' if on else 'off'}"))
        order(sender, feed, on, *rest)

    monkeypatch.setattr(world.devices, "order", spy)
    return orders


def test_dead_server_is_fenced_and_its_partner_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    world = at_rest()
    orders = sent_by(world, monkeypatch)
    world.devices.press("oss1", False)
    assert world.until(lambda: world.served_by() == dict.fromkeys(HOME, "oss2"))
    assert sorted(what for _, _, what in orders[:2]) == ["pdu-left/1 off", "pdu-right/1 off"]
    assert world.store.refusals == []


def test_same_seed_gives_the_same_night_and_another_seed_another() -> None:
    nights = []
    for seed in (7, 7, 8):
        world = at_rest(seed)
        world.devices.press("oss1", False)
        world.run(60.0)
        nights.append((world.kernel.events, world.said))
    assert nights[0] == nights[1]
    assert nights[0] != nights[2]


def test_only_one_leads_and_a_killed_leader_is_followed() -> None:
    world = at_rest()
    (leader,) = world.leaders()
    world.operators[leader].kill()
    assert world.leaders() == []
    assert world.until(lambda: world.leaders() != [], limit=2.0 * SIM_TERMS.lease_duration)
    world.operators[leader].start()
    world.run(20.0)
    assert world.leaders() != [leader]
    assert len(world.leaders()) == 1


def test_paused_leader_is_followed_and_wakes_up_as_a_standby() -> None:
    world = at_rest()
    (leader,) = world.leaders()
    world.operators[leader].pause()
    assert world.until(lambda: world.leaders() not in ([], [leader]), limit=30.0)
    world.run(120.0)
    world.operators[leader].resume()
    world.run(1.0)
    assert leader not in world.leaders()
    assert any("leads no longer" in said and leader in said for said in world.said)


def test_leader_paused_between_its_last_look_and_the_packet_never_sends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = at_rest()
    (leader,) = world.leaders()
    world.devices.press("oss1", False)
    late: list[bool] = []
    order = world.devices.order

    def spy(
        sender: str,
        feed: Feed,
        on: bool,
        deadline: float,
        answered: Ordered,
        actor: Actor | None = None,
        identity: str = "",
    ) -> None:
        def answer(ok: bool, sent: bool, why: str) -> None:
            if deadline < began:
                late.append(sent)
            answered(ok, sent, why)

        began = world.kernel.now
        order(sender, feed, on, deadline, answer, actor, identity)

    def pause_at_the_shot(who: str, what: str) -> None:
        if what.startswith("cuts") and not late:
            world.operators[who].pause()

    monkeypatch.setattr(world.devices, "order", spy)
    world.trace = pause_at_the_shot
    assert world.until(lambda: world.leaders() == [], limit=60.0)
    world.run(2.0)
    world.operators[leader].resume()
    world.run(0.1)
    assert late == [False, False], "both feeds of the level, and no packet of either"


def test_operator_without_the_api_server_does_nothing_and_forgives_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = at_rest()
    orders = sent_by(world, monkeypatch)
    world.store.go_down()
    world.run(60.0)
    world.store.come_up()
    world.run(60.0)
    assert orders == []
    assert world.store.every(Failover) == ()


def test_operator_that_is_cut_off_shoots_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    world = at_rest()
    orders = sent_by(world, monkeypatch)
    (leader,) = world.leaders()
    world.network.cut(leader, API)
    world.run(60.0)
    assert orders == []
    assert world.leaders() not in ([], [leader])


def test_history_that_goes_back_begins_a_new_term_and_lists_anew() -> None:
    world = at_rest()
    backup = world.store.backup()
    (leader,) = world.leaders()
    process = world.operators[leader].process
    assert process is not None
    world.run(30.0)
    world.store.restore(backup)
    pair = world.pair
    world.run(10.0)
    assert process.seats["scratch/pair-a"].machine is not None
    assert "." in process.seats["scratch/pair-a"].machine.view.term
    assert process.index.pairs["scratch/pair-a"].version >= pair.version
    assert world.until(lambda: armed(world))


def test_machine_that_breaks_is_told_and_replaced_by_one_that_knows_all(monkeypatch: pytest.MonkeyPatch) -> None:
    world = at_rest()
    told: list[str] = []
    step, broke = PairMachine.step, [False]

    def once(self: PairMachine, event: Any, now: float) -> Any:
        if not broke[0]:
            broke[0] = True
            raise RuntimeError("a bug of ours")
        return step(self, event, now)

    for shell in world.operators.values():
        shell.habits.broken = lambda who, error: told.append(f"{who}: {error}")
    monkeypatch.setattr(PairMachine, "step", once)
    world.run(5.0)
    assert [t.partition(": ")[2] for t in told] == ["a bug of ours"]
    world.devices.press("oss1", False)
    assert world.until(lambda: world.served_by() == dict.fromkeys(HOME, "oss2"))


def test_probes_find_a_device_that_falls_silent_and_trust_it_again() -> None:
    world = at_rest()
    world.devices.devices["pdu-left"].silent = True
    assert world.until(lambda: not world.trusted(), limit=90.0)
    found = world.store.find(FenceDevice, "scratch/pdu-left")
    assert found is not None
    assert found.status is not None
    assert found.status.conditions[0].reason == "DeviceSilent"
    world.devices.devices["pdu-left"].silent = False
    assert world.until(world.trusted, limit=900.0)


def test_quiet_minute_costs_few_events_and_no_writes() -> None:
    world = at_rest()
    world.run(30.0)
    (before, version) = world.kernel.events, world.pair.version
    world.run(60.0)
    assert world.pair.version == version
    assert world.kernel.events - before < 420, "idle timers"

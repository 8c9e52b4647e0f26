"""The simulated API server, its watches and the way to it: what a caller and a watcher may rely on, and what they may not."""

from __future__ import annotations

from typing import Any

import pytest

from ostkeeper.api.common import Condition
from ostkeeper.api.oss import OSS, OSSSpec, OSSStatus, PairRef
from ostkeeper.core.events import Beat, Outcome
from ostkeeper.ports import Written
from ostkeeper.sim.kernel import Actor, Kernel
from ostkeeper.sim.network import EVERYONE, Client, Network
from ostkeeper.sim.store import LEASE, Canary, Store
from ostkeeper.sim.watches import SWEEP, Watches

pytestmark = pytest.mark.sim


class World:
    """A store with its watches, and two OSS."""

    def __init__(self, seed: int = 1) -> None:
        self.kernel = Kernel(seed)
        self.network = Network(self.kernel)
        self.store = Store(self.kernel)
        self.watches = Watches(self.kernel, self.network, self.store)
        self.heard: list[tuple[str, str, Any]] = []
        self.actor = Actor("op1")
        for name in ("oss1", "oss2"):
            self.create(name)

    def create(self, name: str) -> Written:
        spec = OSSSpec(pair=PairRef(namespace="scratch", name="pair-a"))
        return self.store.create(OSS.model_validate({"metadata": {"name": name}, "spec": spec}), "op1")

    def report(self, node: str, uptime: int) -> Written:
        return self.store.report(node, OSSStatus(boot_id="b", uptime_seconds=uptime), node)

    def listen(self, *kinds: str, prompt: bool = True) -> None:
        subscription = self.watches.subscribe("op1", self.actor, self.hear, prompt)
        for kind in kinds:
            subscription.watch(kind)
        self.subscription = subscription

    def hear(self, kind: str, key: str, news: Any) -> None:
        self.heard.append((kind, key, news))

    def uptimes(self, node: str) -> list[int]:
        """What was heard of one server's uptime, in order."""
        told = [news for kind, key, news in self.heard if (kind, key) == ("OSS", node) and news is not None]
        return [oss.status.uptime_seconds for oss in told if oss.status]

    def find(self, node: str) -> OSS:
        found = self.store.find(OSS, node)
        assert found is not None
        return found


@pytest.fixture
def world() -> World:
    return World()


def test_write_on_an_older_version_is_a_conflict_and_changes_nothing(world: World) -> None:
    old = world.find("oss1").version
    world.report("oss1", 1)
    written = world.store.replace_status(OSS, "oss1", old, OSSStatus(boot_id="x"), "op1")
    assert written.outcome is Outcome.CONFLICT
    status = world.find("oss1").status
    assert status is not None
    assert status.boot_id == "b"


def test_write_that_changes_nothing_keeps_the_version(world: World) -> None:
    world.report("oss1", 1)
    version = world.find("oss1").version
    assert world.report("oss1", 1).outcome is Outcome.OK
    assert world.find("oss1").version == version


def test_object_of_the_same_name_is_another_one(world: World) -> None:
    before = world.find("oss1").metadata.uid
    world.store.delete(OSS, "oss1", "somebody")
    assert world.create("oss1").outcome is Outcome.OK
    assert world.create("oss1").outcome is Outcome.CONFLICT
    assert world.find("oss1").metadata.uid != before


def test_report_of_an_agent_keeps_what_the_operator_wrote(world: World) -> None:
    world.store.oss_ready("oss1", Condition(type="Ready", status="True"), "op1")
    world.report("oss1", 5)
    status = world.find("oss1").status
    assert status is not None
    assert [c.status for c in status.conditions] == ["True"]


def test_stream_keeps_its_order_while_it_lags(world: World) -> None:
    world.listen("OSS")
    world.kernel.run(1.0)
    world.watches.of("op1")[0].slow = 2.0
    for uptime in range(1, 20):
        world.report("oss1", uptime)
        world.kernel.run(world.kernel.now + 0.1)
    assert world.uptimes("oss1")[-1:] != [19], "it does not lag at all"
    world.kernel.run(20.0)
    assert world.uptimes("oss1") == list(range(1, 20))


def test_kinds_overtake_each_other() -> None:
    firsts = set()
    for seed in range(20):
        world = World(seed)
        world.listen("OSS", LEASE)
        world.kernel.run(1.0)
        world.heard.clear()
        world.report("oss1", 1)
        world.store.beat("oss1", "b", "", None)
        world.kernel.run(2.0)
        firsts.add(world.heard[0][0])
    assert firsts == {"OSS", LEASE}


def test_broken_stream_of_objects_lists_what_is_there_now(world: World) -> None:
    world.listen("OSS")
    world.kernel.run(1.0)
    world.watches.interrupt(world.watches.of("op1")[0], until=10.0)
    for uptime in (1, 2, 3):
        world.report("oss1", uptime)
    world.kernel.run(9.0)
    assert world.uptimes("oss1") == []
    world.kernel.run(20.0)
    assert world.uptimes("oss1") == [3]


def test_broken_stream_of_leases_brings_all_that_it_missed(world: World) -> None:
    world.listen(LEASE)
    world.kernel.run(1.0)
    world.network.cut("api", "op1")
    for _ in range(3):
        world.store.beat("oss1", "b", "", None)
    world.kernel.run(9.0)
    assert world.heard == []
    world.network.heal("api", "op1")
    world.kernel.run(20.0)
    assert [news.version for _, _, news in world.heard if isinstance(news, Beat)] == ["1003", "1004", "1005"]


def test_operator_sees_a_ghost_until_its_sweep_and_an_agent_sees_none(world: World) -> None:
    agent: list[str] = []
    theirs = world.watches.subscribe("oss2", Actor("agent"), lambda _kind, key, news: agent.append(f"{key} {news}"))
    theirs.watch("OSS", "oss1")
    world.listen("OSS", prompt=False)
    world.kernel.run(1.0)
    world.watches.break_all()
    world.store.delete(OSS, "oss1", "somebody")
    world.kernel.run(7.0)
    assert "oss1 None" in agent
    world.kernel.run(10.0 + SWEEP)
    assert ("OSS", "oss1", None) in world.heard


def test_stream_is_deaf_after_a_restore_until_it_lists(world: World) -> None:
    world.listen("OSS")
    backup = world.store.backup()
    for uptime in (1, 2, 3):
        world.report("oss1", uptime)
    world.kernel.run(1.0)
    world.store.restore(backup)
    world.report("oss1", 77)
    world.kernel.run(2.0)
    assert world.uptimes("oss1")[-1] == 3
    world.subscription.relist()
    world.kernel.run(4.0)
    assert world.uptimes("oss1")[-1] == 77


def test_sleeper_is_shown_at_once_what_it_missed(world: World) -> None:
    world.listen("OSS")
    world.kernel.run(1.0)
    world.subscription.sleep()
    world.report("oss1", 1)
    world.kernel.run(2.0)
    assert world.uptimes("oss1") == []
    world.subscription.wake()
    assert world.uptimes("oss1") == [1]


def test_paused_subscriber_hears_late_and_in_order(world: World) -> None:
    world.listen("OSS")
    world.kernel.run(1.0)
    world.kernel.pause(world.actor)
    for uptime in (1, 2):
        world.report("oss1", uptime)
    world.kernel.run(5.0)
    assert world.uptimes("oss1") == []
    world.kernel.resume(world.actor)
    world.kernel.run(5.0)
    assert world.uptimes("oss1") == [1, 2]


def client(world: World) -> Client:
    return Client(world.kernel, world.network, world.store, "op1", world.actor)


def test_answer_that_is_lost_was_carried_out_all_the_same(world: World) -> None:
    answers: list[Written | None] = []
    world.store.lossy = 1.0
    client(world).call(lambda: world.report("oss1", 9), answers.append, 2.0)
    world.kernel.run(5.0)
    assert answers == [None]
    status = world.find("oss1").status
    assert status is not None
    assert status.uptime_seconds == 9


def test_call_into_a_cut_link_is_never_carried_out_and_answered_in_time(world: World) -> None:
    answers: list[tuple[float, Written | None]] = []
    world.network.cut("op1", EVERYONE, one_way=True)
    client(world).call(lambda: world.report("oss1", 9), lambda got: answers.append((world.kernel.now, got)), 2.0)
    world.kernel.run(5.0)
    assert answers == [(2.0, None)]
    assert world.find("oss1").status is None


def test_request_of_a_caller_that_died_arrives(world: World) -> None:
    answers: list[Written | None] = []
    client(world).call(lambda: world.report("oss1", 9), answers.append, 2.0)
    world.kernel.kill(world.actor)
    world.kernel.run(5.0)
    assert answers == []
    assert world.find("oss1").status is not None


def test_two_cuts_of_one_link_need_two_healings(world: World) -> None:
    network = world.network
    network.cut("op1", "api")
    network.cut("api", EVERYONE)
    network.heal("op1", "api")
    assert not network.reaches("api", "op1")
    network.heal("api", EVERYONE)
    assert network.reaches("api", "op1")


def test_canary_comes_after_every_lease_that_was_renewed_before(world: World) -> None:
    world.listen(LEASE)
    world.kernel.run(1.0)
    for song in range(1, 9):
        world.store.beat("oss1", "b", "", None)
        world.store.sing("op1", song)
    world.kernel.run(3.0)
    kinds = [type(news) for _, _, news in world.heard]
    assert kinds == [Beat, Canary] * 8

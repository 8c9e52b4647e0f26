"""One task a pair: what each machine is shown, in which order, and what becomes of one that breaks or whose pair is gone.

The machine here only writes down its events; the real one has its own tests (`core`).
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api import objects as good
from ostkeeper.api import OSS, OST, FenceDevice, OSSPair
from ostkeeper.api.common import Resource
from ostkeeper.controller import supervisor as module
from ostkeeper.controller.clock import SystemClock
from ostkeeper.controller.index import Index
from ostkeeper.controller.objects import Parser
from ostkeeper.controller.perform import Performer
from ostkeeper.controller.supervisor import Supervisor
from ostkeeper.core.events import (
    Beat,
    Beaten,
    Claims,
    Deposed,
    Effect,
    Event,
    Gone,
    Led,
    NodeSeen,
    NodeState,
    PoliciesTried,
    Seen,
    Tell,
    Tick,
)
from ostkeeper.core.heartbeats import Heartbeats
from ostkeeper.ports import Cluster
from waiting import wait_for_async

pytestmark = pytest.mark.scenario
Json = dict[str, Any]


class Diary:
    """A machine that decides nothing. `breaks_on`: it raises when it is shown an event that this accepts, once."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.wake_at = math.inf
        self.events: list[Event] = []
        self.breaks_on: Callable[[Event], bool] = lambda _: False

    def step(self, event: Event | Tick, now: float) -> list[Effect]:
        self.events.append(event)
        if self.breaks_on(event):
            raise AssertionError("a bug of ours")
        return []

    def short(self) -> list[str]:
        """The events, by the names of what they are about."""
        return [_short(event) for event in self.events]


def _short(event: Event) -> str:
    match event:
        case Seen(found):
            return f"seen {found.kind} {found.name}"
        case Gone(kind, key):
            return f"gone {kind} {key}"
        case Claims(problems):
            return f"claims {' '.join(p.reason for p in problems)}".strip()
        case Beaten(beat):
            return f"beaten {beat.node}"
        case NodeSeen(node):
            return f"node {node.name}"
        case Led(term):
            return f"led {term}"
        case _:
            return type(event).__name__


class Told:
    """Takes Tell and nothing else."""

    def __init__(self) -> None:
        self.told: list[Tell] = []

    async def tell(self, tell: Tell) -> None:
        self.told.append(tell)


class House:
    """A supervisor, its diaries, and objects that get versions as the API server gives them."""

    def __init__(self) -> None:
        self.diaries: list[Diary] = []
        self.told = Told()
        self.heartbeats = Heartbeats()
        self._version = 0
        told: Any = self.told
        cluster: Cluster = told
        self.supervisor = Supervisor(
            Index(Parser()), self.heartbeats, SystemClock(), cluster, self._machine, self._performer
        )

    def _machine(self, key: str, _: Heartbeats) -> Diary:
        self.diaries.append(Diary(key))
        return self.diaries[-1]

    def _performer(self, key: str, inbox: "asyncio.Queue[Event]") -> Performer:
        nothing: Any = None
        return Performer(key, inbox, nothing, nothing, SystemClock(), lambda _: True, lambda: None, lambda _: None)

    def show(self, kind: type[Resource], manifest: Json, generation: int = 1) -> None:
        self._version += 1
        name = manifest["metadata"]["name"]
        meta = {"uid": f"uid-{kind.kind}-{name}", "resourceVersion": str(self._version), "generation": generation}
        scope = {"namespace": "scratch"} if kind.namespaced else {}
        self.supervisor.show(kind, manifest | {"metadata": manifest["metadata"] | meta | scope})

    def show_all(self) -> None:
        """A sound pair, in an order that is none."""
        self.show(OST, good.ost())
        self.show(OSSPair, good.pair())
        for device in devices():
            self.show(FenceDevice, device)
        self.show(OSS, good.oss())

    async def written(self, last: str, diary: int = 0) -> list[str]:
        """Wait until a diary ends with this; return what it holds."""
        await wait_for_async(
            lambda: len(self.diaries) > diary and self.diaries[diary].short()[-1:] == [last],
            5,
            f"{last!r} is the last that machine {diary} is told",
            step=0.005,
        )
        return self.diaries[diary].short()


def devices() -> list[Json]:
    pdus = [
        {"metadata": {"name": name}, "spec": {"snmpPDU": {"address": f"192.0.2.{at}", "credentialsSecretName": "s"}}}
        for at, name in ((21, "pdu-left"), (22, "pdu-right"))
    ]
    bmcs = [
        {"metadata": {"name": f"bmc-oss{at}"}, "spec": {"ipmi": {"address": f"192.0.2.1{at}", "credentialsSecretName": "s"}}}
        for at in (1, 2)
    ]  # fmt: skip
    return [*pdus, *bmcs]


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    made = House()
    try:
        yield made
    finally:
        await made.supervisor.close()


GREETING = [
    "claims",
    "seen OSSPair pair-a",
    "seen FenceDevice bmc-oss1",
    "seen FenceDevice bmc-oss2",
    "seen FenceDevice pdu-left",
    "seen FenceDevice pdu-right",
    "seen OSS oss1",
    "seen OST scratch-ost0000",
]


async def test_new_machine_is_shown_its_claims_first_and_the_leadership_last() -> None:
    async with house() as made:
        made.supervisor.led("t1")
        made.supervisor.policies(PoliciesTried(in_force=True))
        made.supervisor.node(NodeState("oss1", "True", "1"))
        made.supervisor.node(NodeState("elsewhere", "True", "1"))
        made.show_all()
        assert await made.written("led t1.2") == [*GREETING, "node oss1", "PoliciesTried", "led t1.2"]


async def test_claims_come_before_the_object_that_they_are_about() -> None:
    async with house() as made:
        made.show_all()
        await made.written(GREETING[-1])
        rival = good.changed(good.ost("rival"), {"spec.index": 1, "spec.mountPoint": "/mnt/ost0001"})
        made.show(OST, rival)
        said = await made.written("seen OST rival")
        assert said[len(GREETING) :] == ["claims DuplicateDevice DuplicateDevice", "seen OST rival"]
        made.supervisor.gone("OST", "scratch/rival")
        said = await made.written("gone OST scratch/rival")
        assert said[len(GREETING) + 2 :] == ["claims", "gone OST scratch/rival"]


async def test_news_that_change_no_spec_wait_for_nothing_and_concern_their_pair_only() -> None:
    async with house() as made:
        made.show_all()
        made.show(OSSPair, good.changed(good.pair("pair-b"), {"spec.nodes[0].name": "x1", "spec.nodes[1].name": "x2"}))
        await made.written(GREETING[-1])
        made.show(OST, good.ost() | {"status": {"state": "Mounted"}})
        assert (await made.written("seen OST scratch-ost0000"))[-1:] == ["seen OST scratch-ost0000"]
        made.supervisor.beaten(Beat("oss2", "boot-1", "9"))
        await made.written("beaten oss2")
        assert not any(word.startswith(("beaten", "seen OST")) for word in made.diaries[1].short())


async def test_pair_that_names_another_device_is_shown_it() -> None:
    async with house() as made:
        made.show_all()
        made.show(
            FenceDevice,
            good.bmc("bmc-new") | {"spec": {"ipmi": {"address": "192.0.2.99", "credentialsSecretName": "s"}}},
        )
        await made.written(GREETING[-1])
        feeds = {"spec.nodes[0].fencing[1].feeds[0].deviceName": "bmc-new"}
        made.show(OSSPair, good.changed(good.pair(), feeds), generation=2)
        said = await made.written(GREETING[-1])
        await wait_for_async(
            lambda: "seen FenceDevice bmc-new" in made.diaries[0].short(), 5, "the new device is shown"
        )
        assert said[: len(GREETING)] == GREETING


async def test_broken_machine_is_told_of_and_replaced_by_one_that_knows_all_that_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RESTART_FIRST", 0.01)
    async with house() as made:
        made.supervisor.led("t1")
        made.show_all()
        await made.written("led t1.2")
        made.diaries[0].breaks_on = lambda event: isinstance(event, Beaten)
        made.heartbeats.seen(Beat("oss1", "boot-1", "7"), 1.0)
        made.supervisor.beaten(Beat("oss1", "boot-1", "7"))
        assert await made.written("led t1.3", 1) == [*GREETING, "beaten oss1", "led t1.3"], (
            "its nonces are not the old ones"
        )
        (tell,) = made.told.told
        assert (tell.reason, tell.uid, tell.type) == ("MachineBroken", "uid-OSSPair-pair-a", "Warning")
        assert "a bug of ours" in tell.message


async def test_deleted_pair_ends_its_task_and_leaves_the_fuse_and_the_budget() -> None:
    async with house() as made:
        made.show_all()
        await made.written(GREETING[-1])
        assert made.heartbeats.servers["oss1"].groups == (
            "filesystem/scratch",
            "power/scratch/pdu-left",
            "power/scratch/pdu-right",
        )
        made.heartbeats.out["oss1"] = "pair-a-42"
        made.supervisor.gone("OSSPair", "scratch/pair-a")
        made.supervisor.led("t1")
        assert made.heartbeats.servers == {}
        assert made.heartbeats.out == {}
        made.show(OSSPair, good.pair())
        said = await made.written("led t1.2", 1)
        assert said[0] == "claims"
        assert "led t1.1" not in made.diaries[0].short()


async def test_server_that_no_pair_names_any_more_leaves_the_fuse_and_the_budget() -> None:
    async with house() as made:
        made.show_all()
        await made.written(GREETING[-1])
        made.heartbeats.out["oss2"] = "pair-a-42"
        replaced = good.changed(good.pair(), {"spec.nodes[1].name": "oss9"})
        made.show(OSSPair, replaced, generation=2)
        servers = made.heartbeats.servers
        await wait_for_async(lambda: set(servers) == {"oss1", "oss9"}, 5, "the pair names oss9 in place of oss2")
        assert made.heartbeats.out == {}


async def test_deleted_node_is_told_to_its_pair_and_to_no_machine_that_begins_later() -> None:
    async with house() as made:
        made.show_all()
        await made.written(GREETING[-1])
        made.supervisor.node(NodeState("oss1", "Unknown", "1"))
        made.supervisor.node_gone("oss1")
        await made.written("gone Node oss1")
        made.supervisor.gone("OSSPair", "scratch/pair-a")
        made.show(OSSPair, good.pair())
        await wait_for_async(
            lambda: len(made.diaries) > 1 and "seen OSSPair pair-a" in made.diaries[1].short(), 5, "a machine begins"
        )
        assert "node oss1" not in made.diaries[1].short()


async def test_fuse_does_not_count_servers_in_maintenance_or_certified_dead() -> None:
    async with house() as made:
        made.show_all()
        await made.written(GREETING[-1])
        fenced = [{"node": "oss2", "failover": "pair-a-7", "bootID": "b"}]
        made.show(OSSPair, good.pair() | {"status": {"epoch": 1, "fenced": fenced}})
        excused = {name: server.excused for name, server in made.heartbeats.servers.items()}
        assert excused == {"oss1": False, "oss2": True}
        made.show(OSSPair, good.changed(good.pair(), {"spec.maintenance": ["oss1"]}), generation=2)
        excused = {name: server.excused for name, server in made.heartbeats.servers.items()}
        assert excused == {"oss1": True, "oss2": False}


async def test_bad_object_becomes_a_problem_and_its_last_good_version_stays() -> None:
    async with house() as made:
        made.show_all()
        await made.written(GREETING[-1])
        made.show(OST, good.changed(good.ost(), {"spec.index": "many"}), generation=2)
        await made.written("claims BadObject")
        claims = made.diaries[0].events[-1]
        assert isinstance(claims, Claims)
        (problem,) = claims.problems
        assert (problem.key, problem.targets) == ("scratch/scratch-ost0000", ("scratch-OST0000",))
        assert "spec.index" in problem.message
        assert made.supervisor.index.osts["scratch/scratch-ost0000"].spec.index == 0
        made.show(OST, good.ost(), generation=3)
        await made.written("seen OST scratch-ost0000")
        assert made.diaries[0].short()[-2:] == ["claims", "seen OST scratch-ost0000"]


async def test_bad_device_spares_the_servers_that_it_feeds() -> None:
    async with house() as made:
        made.show_all()
        await made.written(GREETING[-1])
        made.show(FenceDevice, {"metadata": {"name": "pdu-left"}, "spec": {"snmpPDU": 7}}, generation=2)
        await made.written("claims BadObject")
        claims = made.diaries[0].events[-1]
        assert isinstance(claims, Claims)
        assert claims.problems[0].nodes == ("oss1", "oss2")


async def test_end_of_the_leadership_is_told_to_all_and_starts_no_clock() -> None:
    async with house() as made:
        made.show_all()
        await made.written(GREETING[-1])
        started = made.heartbeats.started
        made.supervisor.deposed()
        await made.written("Deposed")
        assert isinstance(made.diaries[0].events[-1], Deposed)
        assert made.heartbeats.started == started
        made.supervisor.led("t2")
        await made.written("led t2.1")
        assert made.heartbeats.started > started


async def test_restored_etcd_forgets_the_leases_and_begins_a_term_of_its_own() -> None:
    """Versions that went back would look like leases that never move again."""
    async with house() as made:
        made.show_all()
        await made.written(GREETING[-1])
        made.supervisor.led("t1")
        await made.written("led t1.1")
        made.heartbeats.seen(Beat("oss1", "boot-1", "900"), 1.0)
        made.supervisor.went_back()
        await made.written("led t1.2")
        made.heartbeats.seen(Beat("oss1", "boot-1", "20"), 2.0)
        assert made.heartbeats.seen(Beat("oss1", "boot-1", "21"), 3.0), "a renewal after the restore counts"
        made.supervisor.went_back()
        await made.written("led t1.3")


async def test_restored_etcd_makes_no_leader_of_one_that_does_not_lead() -> None:
    async with house() as made:
        made.show_all()
        await made.written(GREETING[-1])
        made.supervisor.went_back()
        assert not [said for said in made.diaries[0].short() if said.startswith("led")]

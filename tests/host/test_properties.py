"""What holds of the agent's machine whatever is seen, in which order, and whenever the agent is restarted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st

from core.drawn import drawn
from host import rig
from host.rig import BOOT, CLEAN, CLUSTER, HERE, STILL, Eager, Rig, T, grant, oss, record
from ostkeeper.api.osspair import OSSPair
from ostkeeper.core import hostevents as ev
from ostkeeper.core.events import Seen, Tick
from ostkeeper.core.host import HostMachine
from ostkeeper.core.hoststate import Server

pytestmark = pytest.mark.scenario

MOST = 60
"""Examples of each."""


@dataclass
class Table(Rig):
    """A world that carries mounts, unmounts and the store out at once, and remembers what the pair ever said."""

    said: list[tuple[float, str, str, int]] = field(default_factory=list)
    """When the pair began to say so: second, intent, node, epoch."""
    epochs: dict[str, int] = field(default_factory=dict)
    records: dict[str, ev.Mounted] = field(default_factory=dict)
    acts: list[str] = field(default_factory=list)

    def start(self, first: OSSPair | None = None) -> Table:
        if first is not None:
            for seen in (oss("oss1"), first, *self.osts, *filter(None, [self.partner])):
                self.step(Seen(seen))
            self.step(ev.ClusterKnown(CLUSTER))
            self.look()
            self.wait(1.0, 0.5)
        super().start()
        return self

    def change(self, *grants: dict[str, Any], **status: Any) -> None:
        g = grants[0]
        self.said.append((self.now, g["intent"], g["node"], g["epoch"]))
        super().change(*grants, **status)

    def _answer(self, effect: ev.HostEffect) -> ev.HostEvent | None:
        match effect:
            case ev.Remember():
                self.epochs |= effect.epochs
                for name, kept in effect.mounts.items():
                    self.records.pop(name, None)
                    if kept is not None:
                        self.records[name] = kept
                return ev.Stored(effect.op, True)
            case ev.Mount():
                began = self.machine.host.read_began
                live = [s for s in self.said if s[0] <= self.now]
                assert live[-1][1:3] == ("Serve", "oss1"), f"mounted under {live[-1]}, read at {began}"
                self.acts.append("mount")
                self.mounts[T] = HERE[T]
                self.look()
                return ev.MountEnded(effect.op, T, True)
            case ev.Unmount():
                assert self.said[-1][1:3] == ("Release", "oss1"), f"unmounted under {self.said[-1]}"
                self.acts.append("unmount")
                self.mounts = {}
                self.look()
                return ev.UnmountEnded(effect.op, T, True)
            case ev.CheckRelease():
                return ev.ReleaseChecked(effect.op, T, free=T not in self.mounts, clean=True)
            case _:
                return super()._answer(effect)

    def restart(self, first: OSSPair | None = None) -> None:
        """The agent is another process; the store, the mounts and the boot are what they were.

        `first`: what it sees of the pair before anything newer, from an API server that lags.
        """
        stored = ev.Remembered({CLUSTER: dict(self.epochs)}, dict(self.records))
        self.machine = HostMachine(Server("oss1", BOOT, rig.BOARD, "run-2", "0.1.0"), stored, "")
        self.start(first)

    def end(self) -> tuple[object, ...]:
        """What has to be the same in the end."""
        self.wait(6.0, 0.5)
        released, asked = self.target().released, self.grants[0]["intent"] == "Release"
        return T in self.mounts, self.target().state, released.epoch if asked and released else 0


def table(*first: dict[str, Any], **world: Any) -> Table:
    made = Table(grants=[*first], **world)
    made.said.append((made.now, first[0]["intent"], first[0]["node"], first[0]["epoch"]))
    return made


TOLD = st.lists(
    st.tuples(st.sampled_from(("Serve", "Hold", "Release")), st.sampled_from(("oss1", "oss2"))), min_size=1, max_size=4
)


def plot(told: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Legal grants, one epoch after the other: a target goes over only after this server's Release."""
    grants, here = [grant("Serve", 3)], True
    for nth, (intent, node) in enumerate(told):
        mine = node == "oss1" or (here and grants[-1]["intent"] != "Release")
        grants.append(grant(intent if mine else "Serve", 4 + nth, "oss1" if mine else "oss2"))
        here = mine
    return grants


def play(
    world: Table, grants: list[dict[str, Any]], old: list[int], restarts: list[int], *, lagging: bool = False
) -> tuple[object, ...]:
    """The grants one by one; after each, older versions of the pair again, or a restart (into the last but one, if it lags)."""
    past: list[OSSPair] = []
    for nth, one in enumerate(grants):
        if nth:
            world.change(one)
        past.append(world.pair)
        world.wait(2.0, 0.5)
        if nth in old:
            for pair in past:
                world.step(Seen(pair))
            world.wait(1.0, 0.5)
            world.step(Seen(world.pair))
        if nth in restarts:
            world.restart(past[max(0, len(past) - 2)] if lagging else None)
    return world.end()


NTH = st.lists(st.integers(0, 4), max_size=3)


@drawn(
    TOLD,
    NTH,
    most=MOST,
    examples=[
        ([("Release", "oss1"), ("Hold", "oss1")], [2]),
        ([("Release", "oss1"), ("Serve", "oss1"), ("Release", "oss1"), ("Serve", "oss1")], [4]),
    ],
)
def test_older_versions_of_the_pair_never_widen_a_permission_and_change_no_end(
    told: list[tuple[str, str]], old: list[int]
) -> None:
    grants = plot(told)
    assert play(table(grants[0]).start(), grants, old, []) == play(table(grants[0]).start(), grants, [], [])


@drawn(
    TOLD,
    NTH,
    st.booleans(),
    most=MOST,
    examples=[
        ([("Release", "oss1")], [0], False),
        ([("Release", "oss1"), ("Serve", "oss1")], [2], True),
    ],
)
def test_restart_of_the_agent_at_any_point_changes_no_mount_and_no_end(
    told: list[tuple[str, str]], restarts: list[int], lagging: bool
) -> None:
    grants = plot(told)
    world, plain = table(grants[0]).start(), table(grants[0]).start()
    assert play(world, grants, [], restarts, lagging=lagging) == play(plain, grants, [], [])
    assert world.acts == plain.acts


@drawn(
    st.permutations(range(5)),
    st.sampled_from(("Serve", "Hold", "Release")),
    st.booleans(),
    most=MOST,
    examples=[([2, 1, 0, 3, 4], "Release", True), ([4, 3, 2, 1, 0], "Serve", True)],
)
def test_order_in_which_an_agent_first_sees_its_world_does_not_matter(
    order: list[int], intent: str, mounted: bool
) -> None:
    stored = ev.Remembered({CLUSTER: {rig.UUID: 3}}, {T: record()}) if mounted else ev.Remembered()
    worlds = []
    for sequence in (range(5), order):
        world = table(grant(intent, 3), mounts=dict(HERE) if mounted else {}, stored=stored)
        world.epochs, world.records = {rig.UUID: 3}, dict(stored.mounts)
        world.step(Seen(oss("oss1")))
        world.step(Seen(world.pair))
        facts: list[Any] = [
            lambda w=world: (w.step(Seen(w.osts[0])), w.look()),  # an agent says what is mounted of disks that it knows
            lambda w=world: w.step(Seen(w.partner)),
            lambda w=world: w.step(ev.ClusterKnown(CLUSTER)),
            lambda w=world: w.step(ev.Renewed(w.now)),
            lambda w=world: w.read(),
        ]
        for nth in sequence:
            facts[nth]()
        world.look()
        worlds.append((world.end(), world.acts))
    assert worlds[0] == worlds[1]


@drawn(TOLD, most=MOST, examples=[([("Release", "oss1"), ("Serve", "oss1"), ("Hold", "oss1")],)])
def test_woken_for_nothing_the_agent_asks_for_nothing(told: list[tuple[str, str]]) -> None:
    grants = plot(told)
    world = table(grants[0])
    world.machine = Eager(world.machine.host.server, world.stored)  # one that skips plans would hide it
    world.start()
    for one in grants:
        world.change(one)
        world.wait(3.0, 0.5)
        for _ in range(2):
            assert world.machine.step(Tick(), world.now) == []


@drawn(st.sampled_from(("Serve", "Hold", "Release")), st.booleans(), st.sampled_from((CLEAN, STILL)), most=MOST)
def test_agent_without_faults_comes_to_what_the_pair_says_and_stays_there(
    intent: str, mounted: bool, disk: ev.Reading
) -> None:
    own = disk._replace(mark=rig.MINE) if disk.ordinary else disk
    stored = ev.Remembered({CLUSTER: {rig.UUID: 3}}, {T: record()})
    world = table(grant(intent, 4), mounts=dict(HERE) if mounted else {}, stored=stored, disk=own)
    world.epochs, world.records = {rig.UUID: 3}, {T: record()}
    world.start()
    here, _, released = world.end()
    wanted = {"Serve": True, "Hold": mounted, "Release": False}[intent]
    assert here == wanted
    assert (released == 4) == (intent == "Release")
    acts = list(world.acts)
    world.wait(30.0, 1.0)
    assert world.acts == acts

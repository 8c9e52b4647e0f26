"""What happened, as lines that a person reads: time and event, and after `>` what the machine did about it, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ostkeeper.api.failover import Failover
from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.core import events as e
from ostkeeper.core.power import Feed, PowerState

if TYPE_CHECKING:
    from core.world import World

MUTED = (e.WriteOST, e.WriteOSSReady, e.CreateOSS, e.Prepare, e.ProveWatch, e.Tell)
"""Mirrors and sessions: they change nothing that a server may do."""


class WorldLog:
    """Lines of one run. `muted` while the pair comes to rest."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lines: list[str] = []
        self.muted = False
        self.read: dict[Feed, PowerState] = {}
        """What each feed read last."""

    def fault(self, text: str) -> None:
        """Something happens to the floor, or a person does something."""
        if not self.muted:
            self.lines.append(f"{self.world.now - self.world.zero:6.1f}s  ! {text}")

    def world_says(self, text: str) -> None:
        """What came of an event on the floor, beside what the machine did."""
        if not self.muted:
            self.lines.append(f"{self.world.now - self.world.zero:6.1f}s  * {text}")

    def stepped(self, event: e.Event, effects: Iterable[e.Effect]) -> None:
        """The machine took an event in. Only what it did something about is worth a line, and a feed that reads anew.

        A round like the one before it is not.
        """
        given = list(effects)
        said = effect_lines(given, self.world.zero)
        news = False
        if isinstance(event, e.PowerRead):
            news = self.read.get(event.feed) != event.reading.state
            self.read[event.feed] = event.reading.state
        quiet: tuple[type, ...] = (e.ReadPower, *MUTED) if self.world.api_up else (e.ReadPower, e.ReadAll, *MUTED)
        again = isinstance(event, e.Tick | e.PowerRead) and all(isinstance(x, quiet) for x in given)
        if self.muted or not (news or (said and not again)):
            return
        self.lines.append(f"{self.world.now - self.world.zero:6.1f}s  {event_line(event)}")
        self.lines += [f"           > {line}" for line in ([] if again else said)]


def event_line(event: e.Event) -> str:
    """One event in a few words."""
    match event:
        case e.Wrote(outcome=outcome, detail=detail):
            return "wrote" if outcome is e.Outcome.OK else f"not written: {outcome.value} ({detail})"
        case e.Read(snapshot=snapshot):
            return "read all" if snapshot else "could not read"
        case e.Acked(feed=feed, ok=ok, detail=detail):
            return f"{feed} acknowledged" if ok else f"{feed} did not acknowledge: {detail}"
        case e.PowerRead(feed=feed, reading=reading):
            return f"{feed} reads {reading.state.name}"
        case e.Beaten(beat):
            return f"heartbeat of {beat.boot_id}"
        case e.Seen(obj):
            return f"saw {obj.kind} {obj.name}"
        case e.Tick():
            return "time"
        case e.Gone(kind, key):
            return f"{kind} {key.rsplit('/', 1)[-1]} is gone"
        case e.Proven():
            return "the watch is proven alive"
        case e.Led(term):
            return f"leads as {term}"
        case e.NodeSeen(node):
            return f"Node {node.name} is {node.ready}"
        case _:
            return type(event).__name__


def effect_lines(effects: Iterable[e.Effect], zero: float) -> list[str]:
    """The effects that matter, one line each; readings of one moment on one line."""
    lines, reads = [], []
    for effect in effects:
        match effect:
            case e.WritePair(why="conditions") | e.WritePair(why="well again"):
                pass
            case e.WritePair(status=status, why=why):
                lines.append(f"write pair, epoch {status.epoch}: {why}")
            case e.CreateFailover(failover=failover, why=why):
                lines.append(f"create {failover.name}: {why}")
            case e.DeleteFailover(key=key):
                lines.append(f"delete {key.rpartition('/')[2]}")
            case e.WriteFailover(status=status, why=why):
                lines.append(f"write {status.phase}: {why}")
            case e.ReadAll():
                lines.append("read all")
            case e.CutPower(feed=feed, deadline=deadline):
                lines.append(f"cut {feed}, by {deadline - zero:.1f}s or not at all")
            case e.PowerOn(feed=feed, why=why):
                lines.append(f"power on {feed}: {why}")
            case e.ReadPower(feed=feed):
                reads.append(str(feed))
            case _:
                assert isinstance(effect, MUTED), effect
    return lines + ([f"read {', '.join(reads)}"] if reads else [])


def truth(world: World) -> list[str]:
    """How it ended: power, mounts, phases, epoch; and that nothing was ever mounted twice."""
    floor = world.floor
    said = []
    for s in floor.servers.values():
        targets = ", ".join(sorted(t.split("-")[-1] for t, m in s.mounts.items() if m.done)) or "nothing"
        said.append(f"{s.name} {s.system}" + (f", has {targets} mounted" if s.could_write else ""))
    pair = world.store.find(OSSPair, "pair-a")
    if pair is None or pair.status is None:
        return [*said, "there is no OSSPair with a status", f"mounted twice: {'; '.join(floor.overlaps) or 'never'}"]
    status = pair.status
    grants = ", ".join(f"{a.target.split('-')[-1]} {a.intent} {a.node} at {a.epoch}" for a in status.assignments)
    said.append(f"epoch {status.epoch}; {grants}")
    for fo in world.store.every(Failover):
        said.append(f"{fo.name} {fo.spec.type} of {fo.spec.node}: {fo.phase}; {fo.status.message if fo.status else ''}")
    said.append(f"mounted twice: {'; '.join(floor.overlaps) or 'never'}")
    return said


__all__ = ["OSS", "FenceDevice", "OSSPair", "WorldLog", "effect_lines", "event_line", "truth"]

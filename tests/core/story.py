"""Scenarios as text: a pair at rest, what happens to it and when, what the machine did and why, how it ended.

A file has a comment, a `given` line, perhaps a `start` line (the moment at which an operator was lost; see `interrupted`),
lines `TIME ! EVENT` (what happens; times in seconds) and an `until` line: those are the input. All other lines are what
came of it, and are compared; `make scenario FILE=PATH` plays a file that has only the input.
`pytest tests/scenarios --rewrite` writes them anew; its diff is reviewed like code. Here:
the words. Not here: what they do to the floor (`machines`) and the world (`world`).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core import lost, mishaps, upkeep
from core.apistore import RefusedError
from core.interrupted import begin
from core.machines import Mount
from core.pairs import at_rest, build
from core.world import PAIR, World
from core.worldlog import truth
from ostkeeper.api.failover import Approval, Failover
from ostkeeper.api.fencedevice import FeedReading, FenceDevice
from ostkeeper.api.oss import OSS
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core import events as e

EVENT = re.compile(r"^\s*([\d.]+)s\s+! (.*)$")
SPEC_WORDS = {
    "failback": ("failback", "mode"),
    "soak": ("failback", "soak"),
    "maxParallel": ("failback", "maxParallel"),
}
FAILOVER_WORDS = (
    "automaticAfter",
    "wiring",
    "soleWitness",
    "mmp",
    "partnerSoak",
    "releaseTimeout",
    "releaseFailed",
    "bootTimeout",
)


@dataclass
class Story:
    """The input of one scenario."""

    comment: list[str] = field(default_factory=list)
    given: str = "Automatic"
    start: str = ""
    """In the middle of what it begins; empty: at rest."""
    events: list[tuple[float, str]] = field(default_factory=list)
    until: float = 60.0


def read(text: str) -> Story:
    """The input part of a scenario file."""
    story = Story()
    for line in text.splitlines():
        if line.startswith("#"):
            story.comment.append(line)
        elif line.startswith("given"):
            story.given = line[5:].strip()
        elif line.startswith("start"):
            story.start = line[5:].strip()
        elif line.startswith("until"):
            story.until = _until(line)
        elif found := EVENT.match(line):
            story.events.append((float(found[1]), found[2]))
        elif "!" in line.partition(">")[0].partition("#")[0]:
            raise ValueError(f"{line!r}: an event is TIMEs ! WORDS, such as `5.0s ! oss1 panics`")
    return story


def _until(line: str) -> float:
    try:
        return float(line[5:].strip().rstrip("s"))
    except ValueError:
        raise ValueError(f"{line!r}: until takes seconds, such as `until 3600s`") from None


def tell(story: Story) -> tuple[str, World]:
    """Run it; return the whole file as it should be, and the world at its end."""
    world = world_of(story.given, story.start)
    for when, words in story.events:
        world.clock.at(world.zero + when, lambda w=words: happen(world, w))  # type: ignore[misc]
    world.run(story.until)
    start = [f"start  {story.start}"] if story.start else []
    lines = [*story.comment, f"given  {story.given}", *start, *world.log.lines, f"until  {story.until:g}s"]
    lines += [f"end    {line}" for line in truth(world)]
    return "\n".join(line.replace("scratch-OST", "OST") for line in lines) + "\n", world


def world_of(given: str, start: str = "") -> World:
    """The world that a `given` line names: phrases between semicolons; with `start`, in the middle of something."""
    how: dict[str, Any] = {"spec": {}, "failover": {}, "confirm": {}}
    fresh: list[str] = []
    for phrase in (p.strip() for p in given.split(";")):
        _phrase(how, fresh, phrase)
    failover = how.pop("failover")
    if confirm := how.pop("confirm"):
        failover["confirm"] = confirm
    played = start.startswith("lost after ")
    if start and not played:
        return begin(build(**how, **failover), start, happen)
    world = (
        at_rest(**how, **failover)
        if "not adopted" not in fresh
        else _new(build(**how, adopted=False, **failover), fresh)
    )
    return lost.begin(world, start, happen) if played else world


def _new(world: World, fresh: list[str]) -> World:
    """A pair that nobody has adopted yet."""
    for phrase in fresh:
        if found := re.fullmatch(r"(\w+) has (OST\w+) mounted", phrase):
            target = f"scratch-{found[2]}"
            world.floor.servers[found[1]].mounts[target] = Mount(0, done=True)
            world.floor.disks[target].dirty, world.floor.disks[target].mark = True, found[1]
    world.start_operator()
    return world


def _phrase(how: dict[str, Any], fresh: list[str], phrase: str) -> None:
    word, _, rest = phrase.partition(" ")
    if phrase in ("Automatic", "Manual", "Observe"):
        how["failover"]["mode"] = phrase
    elif word in ("levels", "homes"):
        how[word] = tuple(rest.replace(",", " ").split())
    elif word in FAILOVER_WORDS:
        how["failover"][word] = rest
    elif word == "validFor":
        how["failover"]["approval"] = {"validFor": rest}
    elif word in ("rounds", "interval", "settle"):
        how["confirm"][word] = int(rest) if word == "rounds" else rest
    elif word in SPEC_WORDS:
        outer, inner = SPEC_WORDS[word]
        how["spec"].setdefault(outer, {})[inner] = int(rest) if word == "maxParallel" else rest
    elif word == "rejoin":
        how["spec"][word] = rest
    elif phrase.startswith("boards report "):
        how["board"] = phrase.removeprefix("boards report ")
    elif word == "acceptUnidentified":
        how["failover"][word] = rest.replace(",", " ").split()
    elif phrase == "no Nodes":
        how["nodes"] = False
    elif phrase == "not drilled":
        how["drilled"] = False
    elif phrase == "not adopted" or " has " in phrase:
        fresh.append(phrase)
    else:
        raise ValueError(f"given: {phrase!r} means nothing")


# --- what happens


def happen(world: World, words: str) -> None:
    """One event. Raises ValueError for words that mean nothing."""
    world.log.fault(words)
    for pattern, act in VERBS:
        if found := re.fullmatch(pattern, words):
            act(world, *found.groups())
            world.floor.settle_power()
            return
    raise ValueError(f"{words!r} means nothing")


SERVER_WORDS: dict[str, dict[str, object]] = {
    "loses its mains": {"mains": False},
    "gets its mains back": {"mains": True},
    "hangs": {"system": "hung"},
    "goes on": {"system": "running"},
    "panics": {"system": "panicked"},
    "agent dies": {"agent": False},
    "agent starts": {"agent": True},
    "loses the API": {"api_link": False},
    "reaches the API": {"api_link": True},
    "loses the LAN": {"lan_link": False},
    "is back on the LAN": {"lan_link": True},
    "has its port 7845 filtered": {"filtered": True},
    "loses its disks": {"disk_link": False},
    "sees its disks again": {"disk_link": True},
    "disks stall": {"stalled": True},
    "disks go on": {"stalled": False},
    "cannot unmount": {"stuck_unmount": True},
    "can unmount": {"stuck_unmount": False},
    "reports errors": {"errors": True},
    "reports no errors": {"errors": False},
    "is another board": {"board": "board-new"},
    "has an fstab entry": {"hazards": ("OST0000 stands in /etc/fstab",)},
}


def _server(world: World, name: str, words: str) -> None:
    server = world.floor.servers[name]
    world.floor.write_blocks()
    for attribute, value in SERVER_WORDS[words].items():
        setattr(server, attribute, value)


def _reset(world: World, name: str) -> None:
    world.floor.reset(world.floor.servers[name])


def _boot_time(world: World, name: str, wait: str) -> None:
    world.floor.servers[name].boot_time = float(wait)


def _device(world: World, name: str, fault: str) -> None:
    world.floor.devices[name].fault = "" if fault == "well" else fault


def _no_sign(world: World, name: str) -> None:
    world.floor.devices[name].has_sign = False


def _watts(world: World, name: str, watts: str) -> None:
    world.floor.devices[name].watts = float(watts)


def _device_restarts(world: World, name: str, outlets: str | None) -> None:
    world.floor.restart_device(world.floor.devices[name], bool(outlets))


def _answer(world: World, by: str, answer: str) -> None:
    fo = world.last
    assert fo.status is not None
    approval = Approval.model_validate({"answer": answer, "evidence": fo.status.evidence, "by": by})
    try:
        world.store.edit(Failover, fo.name, approval=approval.wire())
    except RefusedError as refusal:
        world.log.world_says(f"refused: {refusal}")


def _api(world: World, words: str) -> None:
    world.set_api(words == "comes back")


def _operator(world: World, words: str) -> None:
    if words == "crashes":
        world.crash_operator()
    elif words == "starts":
        world.start_operator()
    elif words == "freezes":
        world.sleeper = world.freeze_operator()
        world.operator, world.leader = None, ""
    elif world.sleeper is not None:
        world.thaw_operator(world.sleeper)


def _other_leads(world: World) -> None:
    world.leader = "another"


def _write_fault(world: World, fault: str) -> None:
    """The next write that matters ends in a certain way."""
    words = {"conflicts": "conflict", "fails": "failed", "is lost": "lost", "crashes the operator": "crash"}

    def hook(write: e.Effect) -> str:
        if isinstance(write, e.WriteOST | e.WriteOSSReady | e.CreateOSS):
            return ""
        world.write_hook = lambda _: ""
        return words[fault]

    world.write_hook = hook


def _edit(world: World, kind: str, name: str | None, text: str) -> None:
    kinds: dict[str, tuple[type[Any], str]] = {
        "pair": (OSSPair, PAIR),
        "ost": (OST, f"scratch-ost{name}"),
        "device": (FenceDevice, name or ""),
    }
    model, key = kinds[kind]
    world.store.edit(model, key, **json.loads(text))


def _epoch_seen(world: World, name: str, epoch: str) -> None:
    world.floor.servers[name].epoch_seen = int(epoch)


def _probed(world: World, name: str, state: str) -> None:
    """The prober writes down what a BMC reads."""
    old = world.store.get(FenceDevice, name)
    assert old.status is not None
    readings = (FeedReading(state="PoweredOff" if state == "OFF" else "PoweredOn"),)
    world.store.put(old.model_copy(update={"status": old.status.model_copy(update={"feeds": readings})}))


def _swap(world: World, one: str, other: str) -> None:
    """Two cords are swapped: the outlet that is declared for one server feeds the other one."""
    a, b = world.floor.servers[one], world.floor.servers[other]
    a.feeds, b.feeds = (b.feeds[0], *a.feeds[1:]), (a.feeds[0], *b.feeds[1:])


def _swap_both(world: World, one: str, other: str) -> None:
    """All cords are swapped: each server hangs on the outlets that are declared for the other one."""
    a, b = world.floor.servers[one], world.floor.servers[other]
    a.feeds, b.feeds = b.feeds, a.feeds


def _meter(world: World) -> None:
    """The PDUs measure the load of each outlet, and a probe has shown it."""
    world.floor.metered = True
    for name in ("left", "right"):
        old = world.store.get(FenceDevice, name)
        assert old.status is not None
        feeds = tuple(
            FeedReading(outlet=outlet, state="PoweredOn", watts=world.floor.load(name, outlet)) for outlet in ("1", "2")
        )
        world.store.put(old.model_copy(update={"status": old.status.model_copy(update={"feeds": feeds})}))


def _single(world: World, name: str, place: str) -> None:
    """A server hangs on one of its feeds only: the other supply is dead."""
    server = world.floor.servers[name]
    server.feeds = (server.feeds[0],) if place == "left" else (server.feeds[1],)


def _third(world: World, name: str) -> None:
    """A server has a supply that nobody declared."""
    server = world.floor.servers[name]
    world.floor.devices["left"].outlets["9"] = True
    server.feeds = (*server.feeds, ("left", "9"))


def _foreign(world: World, name: str, target: str) -> None:
    """An admin mounts something by hand."""
    world.floor.servers[name].mounts[f"scratch-{target}"] = Mount(0, done=True, foreign=True)


def _policies(world: World, words: str) -> None:
    world.policies = words == "are in force"
    world.tell(world.operator, e.PoliciesTried(world.policies))


def _claim(world: World, node: str) -> None:
    world.set_problems(
        e.Problem(
            "OSSPair", "scratch/pair-a", "FeedFeedsTwoServers", f"outlet 1 feeds {node} and another", nodes=(node,)
        )
    )


def _claim_disk(world: World, target: str) -> None:
    world.set_problems(
        e.Problem("OST", "scratch/other", "DiskClaimedTwice", f"its disk is {target}'s", targets=(target,))
    )


def _unclaim(world: World) -> None:
    world.set_problems()


def _late_group(world: World, count: str) -> None:
    """Servers of other pairs, silent at the same moment."""
    from ostkeeper.core.heartbeats import Server as Watched

    assert world.operator is not None
    for i in range(int(count)):
        world.operator.heartbeats.servers[f"other{i}"] = Watched(2.0, ("filesystem/scratch",))


def _others_fresh(world: World) -> None:
    assert world.operator is not None
    for name in [n for n in world.operator.heartbeats.servers if n.startswith("other")]:
        del world.operator.heartbeats.servers[name]


Act = Callable[..., None]
VERBS: list[tuple[str, Act]] = [
    (rf"(oss\d) ({'|'.join(SERVER_WORDS)})", _server),
    (r"(oss\d) resets", _reset),
    (r"(oss\d) takes ([\d.]+)s to boot", _boot_time),
    (r"(oss\d) has seen epoch (\d+)", _epoch_seen),
    (r"(oss\d) has only its (left|right) supply", _single),
    (r"(oss\d) has a supply that nobody declared", _third),
    (r"(oss\d) and (oss\d) have their left cords swapped", _swap),
    (r"an admin mounts (OST\w+) on (oss\d)", lambda w, t, n: _foreign(w, n, t)),
    (r"(left|right|bmc-oss\d) is (silent|stuck|lying|deaf|slow|unopenable|reads-on|well)", _device),
    (r"(left|right|bmc-oss\d) has no sign of reboots", _no_sign),
    (r"(left|right) measures ([\d.]+) W", _watts),
    (r"(left|right) reboots(, outlets on)?", _device_restarts),
    (r"the prober sees (bmc-oss\d) (OFF|ON)", _probed),
    (r"(ann|bob) answers (\w+)", _answer),
    (r"the API (goes away|comes back)", _api),
    (r"another operator leads", _other_leads),
    (r"the operator (crashes|starts|freezes|thaws)", _operator),
    (r"the next write (conflicts|fails|is lost|crashes the operator)", _write_fault),
    (r"edit (pair|ost|device)(?: ([\w.-]+))? (\{.*\})", _edit),
    (r"the policies (are in force|are gone)", _policies),
    (r"(\d+) other servers fall silent", _late_group),
    (r"the other servers are fresh again", _others_fresh),
    (r"(oss\d) and (oss\d) have both cords swapped", _swap_both),
    (r"the PDUs measure the load of their outlets", _meter),
    (r"another object claims a feed of (oss\d)", _claim),
    (r"another object claims the disk of (OST\w+)", lambda w, t: _claim_disk(w, f"scratch-{t}")),
    (r"nothing else claims it any more", _unclaim),
    *mishaps.VERBS,
    *upkeep.VERBS,
]


def check(path: Path, *, rewrite: bool) -> tuple[str, str, World]:
    """What the file says and what came of it; the file is written anew where that is asked for."""
    before = path.read_text()
    after, world = tell(read(before))
    if rewrite and before != after:
        path.write_text(after)
    return before, after, world


def main() -> int:
    """Play one scenario file and print its story. Exit status: 0 played, 1 a double mount or a refused write, 2 unusable."""
    parser = argparse.ArgumentParser(
        prog="make scenario FILE=PATH", description="Plays one scenario file, prints its story."
    )
    parser.add_argument("file", type=Path)
    path: Path = parser.parse_args().file
    try:
        text, world = tell(read(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        sys.stderr.write(f"{path}: {error}\n")
        return 2
    sys.stdout.write(text)
    seen = [*(f"mounted twice: {overlap}" for overlap in world.floor.overlaps), *map(str, world.store.refusals)]
    sys.stderr.write("".join(f"{path}: {what}\n" for what in seen))
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(main())

__all__ = ["OSS", "Story", "check", "happen", "read", "tell", "world_of"]

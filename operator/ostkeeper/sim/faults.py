"""What may go wrong: one table of kinds, each with the sentence by which people name it, and what a fault of it is.

Here: names, sentences, what is outside of the fault model and why. Not here: how a fault is made to happen in a world
(`levers`), which ones a seed draws (`draw`).

Outside of the fault model, because no operator could see it; no seeded run combines these:

* A feed that reads OFF while its server has power (a liar, or a cord that was moved after its drill), beside anything that
  keeps that server from writing: a hang, a panic, stalled disks, a mount that is not done. Power is the only proof of death;
  what lies about it is caught by whatever moves, and here nothing does. Inside of the model: a lone BMC that was never drilled,
  since its OFF proves nothing without somebody who accepts that; and an outlet whose load is measured.
* A person's ConfirmDead for a server that has power, under the same circumstances. The word stands in for the power
  reading; the disk, the heartbeat and the network still veto it, as far as they can move.
* A person who mounts, or runs e2fsck, by hand, past the agent, or a third host that mounts, while the owner's MMP stands
  still. The kernel's own MMP is all there is then.
* etcd restored from a backup while an agent has lost its state file, too: then nobody knows of the higher epoch.
* An array that lands writes later than `settle`; clocks that run wrong by over half a percent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault."""

    name: str
    sentence: str
    """As people say it; {host}, {device}, {operator}, {pair}, {target}, {object}, {a} and {b} are filled in, in this order."""
    lasts: bool = False
    """It goes on until it is ended; else it happens once."""
    ended: str = ""
    """What is said when it ends."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """What its arguments are."""
        return tuple(re.findall(r"\{(\w+)\}", self.sentence))

    def says(self, args: tuple[str, ...], *, end: bool = False) -> str:
        """The sentence about these subjects."""
        text = self.ended if end and self.ended else self.sentence
        named = text.format(**dict(zip(self.subjects, args, strict=False)))
        return f"no longer: {named}" if end and not self.ended else named


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one run. Times in seconds from the run's second 0."""

    kind: str
    at: float
    until: float | None = None
    """When it ends; None: when the run's faults all end."""
    args: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """As people say it."""
        return KINDS[self.kind].says(self.args)

    def wire(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"kind": self.kind, "at": self.at, "until": self.until, "args": list(self.args)}

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Fault:
        """From JSON."""
        return cls(raw["kind"], raw["at"], raw.get("until"), tuple(raw.get("args", ())))


_KINDS = (
    # servers
    Kind("host-dies", "host {host} dies", True, "host {host} is repaired"),
    Kind("host-loses-power", "host {host} loses its power", True, "host {host} has power again"),
    Kind("host-panics", "host {host} panics", True, "somebody resets host {host}"),
    Kind("host-hangs", "host {host} hangs", True, "host {host} goes on"),
    Kind("host-reboots", "host {host} reboots"),
    Kind("host-on-by-hand", "somebody powers host {host} on"),
    Kind("host-off-by-hand", "somebody powers host {host} off"),
    Kind("host-other-board", "host {host} comes back on another board", True, "host {host} has its own board again"),
    Kind("disks-stall", "disks of host {host} stall", True, "disks of host {host} go on"),
    Kind("disks-lost", "host {host} loses its disks", True, "host {host} sees its disks again"),
    Kind("disk-gone", "host {host} loses the disk of {target}", True, "host {host} sees the disk of {target} again"),
    Kind("disk-errors", "host {host} has disk errors", True, "host {host} has no disk errors any more"),
    Kind("site-dark", "the site loses its power", True, "the site has power again"),
    # agents
    Kind("agent-dies", "agent of {host} dies", True, "agent of {host} starts"),
    Kind("agent-restarts", "agent of {host} restarts"),
    Kind("agent-pauses", "agent of {host} is paused", True, "agent of {host} goes on"),
    Kind("agent-forgets", "agent of {host} loses its state"),
    Kind("agent-corrupt", "state of the agent of {host} is corrupt"),
    Kind(
        "reports-refused",
        "reports of {host} are refused",
        True,
        "reports of {host} are taken again",
    ),
    Kind("mounts-slow", "mounts on {host} take long", True, "mounts on {host} are quick again"),
    Kind("mounts-hang", "mounts on {host} hang", True, "mounts on {host} go on"),
    Kind("mounts-fail", "mounts on {host} fail", True, "mounts on {host} work again"),
    Kind("umounts-hang", "unmounts on {host} hang", True, "unmounts on {host} go on"),
    Kind("hand-mount", "somebody mounts {target} on {host}", True, "somebody unmounts {target} on {host}"),
    Kind("e2fsck", "somebody runs e2fsck on {target} on {host}", True, "e2fsck of {target} on {host} ends"),
    # a host that is none of the pair, and sees its LUNs
    Kind("third-host", "a third host mounts {target}", True, "the third host unmounts {target}"),
    Kind(
        "third-host-dies", "a third host mounts {target} and dies", True, "somebody runs e2fsck on {target} after that"
    ),
    # network
    Kind("witness-filtered", "TCP 7845 of {host} is filtered", True, "TCP 7845 of {host} is open again"),
    Kind("cut", "{a} is cut off from {b}", True, "{a} reaches {b} again"),
    Kind("cut-one-way", "{a} is not heard by {b}", True, "{a} is heard by {b} again"),
    # fence devices
    Kind("device-silent", "{device} silent", True, "{device} answers again"),
    Kind("device-slow", "{device} slow", True, "{device} is quick again"),
    Kind("device-lossy", "{device} lossy", True, "{device} loses no packets any more"),
    Kind("device-stuck", "{device} stuck", True, "{device} switches again"),
    Kind("device-lying", "{device} lying", True, "{device} tells the truth again"),
    Kind("device-reads-on", "{device} reads-on", True, "{device} reads the truth again"),
    Kind("device-late", "{device} switches late", True, "{device} switches at once again"),
    Kind("device-meter-lags", "meters of {device} lag", True, "meters of {device} keep up again"),
    Kind("device-wrong-password", "{device} wrong-password", True, "{device} takes the password again"),
    Kind("device-reboots", "{device} reboots"),
    Kind("device-reboots-on", "{device} reboots with its outlets on"),
    Kind("bmc-misled", "{device} leads to the board of {host}", True, "{device} leads to the declared board again"),
    Kind("pdu-replaced", "{device} is replaced by another unit", True, "{device} is the declared unit again"),
    Kind("declared-twice", "{a} is declared again as {b}", True, "{b} is declared as itself again"),
    Kind(
        "boards-alike",
        "a firmware update gives {a} and {b} one system UUID",
        True,
        "{a} and {b} have system UUIDs of their own again",
    ),
    Kind(
        "boards-unset",
        "a firmware update unsets the system UUIDs of {a} and {b}",
        True,
        "the system UUIDs of {a} and {b} are set again",
    ),
    Kind("cords-swapped", "cords of {a} and {b} swapped", True, "cords of {a} and {b} are as declared again"),
    # operators
    Kind("operator-dies", "operator {operator} dies", True, "operator {operator} starts"),
    Kind("operator-pauses", "operator {operator} is paused", True, "operator {operator} goes on"),
    Kind("operator-restarts", "operator {operator} restarts"),
    Kind("leader-dies", "the leader dies", True, "the leader starts again"),
    Kind("leader-pauses", "the leader is paused", True, "the leader goes on"),
    Kind("machine-breaks", "the machine of {pair} breaks"),
    # the API server
    Kind("api-down", "the API server is down", True, "the API server is up"),
    Kind("api-slow", "the API server is slow", True, "the API server is quick again"),
    Kind("answers-lost", "answers of the API server are lost", True, "answers of the API server arrive again"),
    Kind("conflicts", "others write the same objects", True, "nobody else writes the objects any more"),
    Kind("watches-break", "watches of {a} break"),
    Kind("watches-lag", "watches of {a} lag", True, "watches of {a} keep up again"),
    Kind("etcd-restored", "etcd is restored from a backup", True, "etcd is what it was at the backup"),
    Kind(
        "etcd-restored-raised",
        "etcd is restored from a backup with a raised revision",
        True,
        "etcd is what it was at the backup but for its revision",
    ),
    # people
    Kind("answers", "people answer {object}"),
    Kind("answers-late", "people answer {object} to what is no longer asked"),
    Kind("answers-twice", "people answer {object} twice"),
    Kind("edit", "somebody sets {object}", True, "somebody takes back {object}"),
    Kind("delete", "somebody deletes {object}", True, "somebody creates {object} again"),
    Kind("retire", "somebody retires {target}"),
    Kind("drill", "somebody drills {host}", True, "somebody puts {host} back into service"),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}


def parse(words: str, at: float = 0.0, until: float | None = None) -> Fault:
    """What a person wrote, such as `host oss1 dies` or `bmc-oss1 silent`. Raises ValueError that lists what is understood."""
    plain = " ".join(words.split())
    for kind in _KINDS:
        pattern = re.sub(r"\\\{\w+\\\}", r"(\\S+)", re.escape(kind.sentence))
        if found := re.fullmatch(pattern, plain):
            return Fault(kind.name, at, until, found.groups())
    known = "\n  ".join(kind.sentence for kind in _KINDS)
    raise ValueError(f"{words!r} is not a fault that the simulator knows; those are:\n  {known}")

"""What a seed draws: a world, and the faults of one night; never those that are outside of the fault model.

Here: weights, subjects, times, and which faults do not go together (`faults` says why). Not here: what a fault does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random

from ostkeeper.sim.config import Config, draw_config, pair_name, servers_of
from ostkeeper.sim.faults import KINDS, Fault

NIGHT = 30.0
"""Faults begin within so many seconds."""
LONGEST = 30.0
"""And last so many at most, unless they last until the end of the night."""

WEIGHTS: dict[str, int] = {
    "host-dies": 10,
    "host-loses-power": 10,
    "host-panics": 10,
    "host-hangs": 12,
    "host-reboots": 5,
    "host-on-by-hand": 3,
    "host-off-by-hand": 3,
    "host-other-board": 1,
    "disks-stall": 5,
    "disks-lost": 3,
    "disk-gone": 8,
    "disk-errors": 2,
    "site-dark": 2,
    "agent-dies": 5,
    "agent-restarts": 4,
    "agent-pauses": 6,
    "agent-forgets": 3,
    "agent-corrupt": 1,
    "reports-refused": 5,
    "mounts-slow": 5,
    "mounts-hang": 3,
    "mounts-fail": 3,
    "umounts-hang": 3,
    "hand-mount": 2,
    "e2fsck": 3,
    "third-host": 2,
    "third-host-dies": 3,
    "witness-filtered": 4,
    "cut": 14,
    "cut-one-way": 5,
    "device-silent": 6,
    "device-slow": 4,
    "device-lossy": 4,
    "device-stuck": 5,
    "device-lying": 3,
    "device-reads-on": 3,
    "device-late": 4,
    "device-meter-lags": 4,
    "device-wrong-password": 3,
    "device-reboots": 3,
    "device-reboots-on": 4,
    "cords-swapped": 2,
    "bmc-misled": 4,
    "pdu-replaced": 3,
    "declared-twice": 2,
    "boards-alike": 1,
    "boards-unset": 1,
    "operator-dies": 3,
    "operator-pauses": 4,
    "operator-restarts": 2,
    "leader-dies": 5,
    "leader-pauses": 8,
    "machine-breaks": 4,
    "api-down": 5,
    "api-slow": 4,
    "answers-lost": 5,
    "conflicts": 4,
    "watches-break": 5,
    "watches-lag": 5,
    "etcd-restored": 3,
    "etcd-restored-raised": 3,
    "answers": 10,
    "answers-late": 3,
    "answers-twice": 2,
    "edit": 10,
    "delete": 3,
    "retire": 3,
    "drill": 4,
}
THIRD_HOSTS = ("third-host", "third-host-dies")
BLINDING = frozenset({"device-lying", "cords-swapped"})
"""A feed that reads OFF while its server has power."""
FREEZING = frozenset(
    {
        "host-hangs", "host-panics", "host-dies", "disks-stall", "disks-lost", "mounts-slow", "mounts-hang", "mounts-fail",
        "disk-gone", "host-reboots", "host-on-by-hand", "host-off-by-hand", "site-dark", "host-loses-power", "hand-mount", "delete",
        "edit", "retire", "etcd-restored", "etcd-restored-raised", "drill", "umounts-hang", "answers", "host-other-board",
        "disk-errors",
        *THIRD_HOSTS,
        "boards-alike", "boards-unset",
    }
)  # fmt: skip
"""What keeps a server that has power from writing to what it holds, now or soon: not beside a liar."""
RESTORING = frozenset({"etcd-restored", "etcd-restored-raised"})
FORGETTING = frozenset({"agent-forgets", "agent-corrupt", "host-other-board"})
"""Not beside etcd restored: then nobody would know of the higher epoch."""
BOARDS = frozenset({"boards-alike", "boards-unset", "host-other-board"})
"""What changes the system UUID of a board: one of these at a time."""
FROZEN = frozenset(
    {"host-hangs", "host-panics", "disks-stall", "disks-lost", "disk-gone", "disk-errors", "mounts-slow", "mounts-hang"}
)
"""What lets an owner's MMP stand still: not beside somebody who mounts by hand, or from a third host."""
REPLIES = frozenset({"answers", "answers-late", "answers-twice"})
"""What people say. Not in a run that nobody attends."""
ANSWERS = ("Failover", "Failover", "Failover", "Restart", "Dismiss", "ConfirmDead", "Failback")
EDITS = (
    "{pair}.mode=Observe",
    "{pair}.mode=Manual",
    "{pair}.mode=Automatic",
    "{pair}.paused=true",
    "{pair}.maintenance={host}",
    "{pair}.adopt=what was seen",
    "{pair}.mmp=Wait",
    "{pair}.heartbeat=4s",
    "{ost}.desired=Unmounted",
    "{ost}.desired=Unmounted",
    "{ost}.serveFrom=Partner",
    "{ost}.serveFrom=Partner",
    "{ost}.homeNode=other",
    "{device}.address=elsewhere",
)


PARTNER_BLIND = 0.03
"""How often a server panics while its partner has no disks: two faults that are drawn together too rarely otherwise."""
NIGHTS = 20
"""Seeds that share a world: it has to come to rest but once for all of them (`days`)."""


def day_of(seed: int) -> int:
    """Which world a seed's night is of."""
    return seed // NIGHTS


UNATTENDED = 3
"""In one of so many runs nobody answers a question and nobody repairs anything (`unattended`)."""


def attended(seed: int) -> bool:
    """Whether people answer and repair in the run of this seed."""
    return seed % UNATTENDED != 0


def draw(seed: int) -> tuple[Config, tuple[Fault, ...]]:
    """The world and the faults of one seed."""
    config = draw_config(Random(f"day {day_of(seed)}"))
    faults = draw_faults(Random(seed), config)
    return config, faults if attended(seed) else tuple(fault for fault in faults if fault.kind not in REPLIES)


def draw_faults(random: Random, config: Config) -> tuple[Fault, ...]:
    """One to six faults, in the order in which they begin."""
    faults: list[Fault] = []
    wanted = random.choice((1, 1, 2, 2, 3, 3, 4, 5, 6))
    for _ in range(4 * wanted):
        if len(faults) == wanted:
            break
        kind = random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        others = [fault.kind for fault in faults]
        if (fits(kind, others) or sole_liar(kind, others, config)) and _possible(kind, config):
            faults.append(draw_fault(random, config, kind))
    if random.random() < PARTNER_BLIND and not any(_excludes(f.kind, "host-panics") for f in faults):
        faults += _panic_beside_lost_disks(random, config)
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _panic_beside_lost_disks(random: Random, config: Config) -> list[Fault]:
    """A server panics while its partner has lost its disks, or loses them a little later: nobody can take over."""
    pair = random.randrange(config.pairs)
    one, other = random.sample(servers_of(config)[2 * pair : 2 * pair + 2], 2)
    panic, lost = draw_fault(random, config, "host-panics"), draw_fault(random, config, "disks-lost")
    at = round(panic.at + random.uniform(-20.0, 20.0), 2)
    lost = replace(lost, at=max(1.0, at), until=None if lost.until is None else max(1.0, at) + lost.until - lost.at)
    return [replace(panic, args=(one,)), replace(lost, args=(other,))]


def fits(kind: str, beside: Iterable[str]) -> bool:
    """Whether this fault and the others are inside of the fault model."""
    return not any(_excludes(kind, other) or _excludes(other, kind) for other in beside)


def sole_liar(kind: str, beside: Iterable[str], config: Config) -> bool:
    """Whether a BMC lies beside faults that no liar else may stand beside: it proves nothing, since it is alone and not drilled."""
    kinds = (kind, *beside)
    alone = config.levels == "bmc" and not config.settings.drilled and "device-lying" in kinds
    others = [k for k in kinds if k != "device-lying"]
    inside = FREEZING - {"drill", "hand-mount", "edit", "delete", "etcd-restored", "host-other-board"}
    return (
        alone
        and "cords-swapped" not in kinds
        and kinds.count("device-lying") == 1
        and all((k in inside or k not in FREEZING) and fits(k, [o for o in others if o != k]) for k in others)
    )


def _excludes(kind: str, other: str) -> bool:
    if kind in BLINDING:
        return other in FREEZING or other in BLINDING
    if kind in BOARDS and other in BOARDS:
        return True
    if kind in ("hand-mount", "e2fsck", *THIRD_HOSTS):
        return other in FROZEN
    return kind in RESTORING and (other in FORGETTING or other in RESTORING)


def _possible(kind: str, config: Config) -> bool:
    """Whether there is anything to which it could happen, and whether it is inside of the fault model here."""
    if kind == "cords-swapped":
        return "pdus" in config.levels and not config.settings.drilled and config.wiring == "Drilled"
    if kind == "bmc-misled":
        return "bmc" in config.levels
    if kind in ("pdu-replaced", "declared-twice"):
        return "pdus" in config.levels
    if kind == "device-lying":
        return config.settings.adopted
    return "pdus" in config.levels if kind in ("device-reboots-on", "device-meter-lags") else True


def draw_fault(random: Random, config: Config, kind: str) -> Fault:
    """One fault of a kind: when, for how long, to whom."""
    at = round(random.uniform(1.0, NIGHT), 2)
    until = None
    if KINDS[kind].lasts and random.random() < 0.75:
        until = round(at + random.uniform(0.5, LONGEST), 2)
    return Fault(kind, at, until, _args(random, config, kind))


def _args(random: Random, config: Config, kind: str) -> tuple[str, ...]:
    if kind in _SPECIAL:
        return _SPECIAL[kind](random, config)
    return tuple(_subject(random, config, subject) for subject in KINDS[kind].subjects)


def devices_of(config: Config) -> tuple[str, ...]:
    """The names of all fence devices."""
    bmcs = tuple(f"bmc-{server}" for server in servers_of(config)) if "bmc" in config.levels else ()
    return (*bmcs, "pdu-left", "pdu-right") if "pdus" in config.levels else bmcs


def operators_of(config: Config) -> tuple[str, ...]:
    """The names of all candidates."""
    return tuple(f"op{number}" for number in range(1, config.settings.operators + 1))


def _subject(random: Random, config: Config, subject: str) -> str:
    match subject:
        case "host":
            return random.choice(servers_of(config)[:2] if random.random() < 0.7 else servers_of(config))
        case "device":
            return random.choice(devices_of(config))
        case "operator":
            return random.choice(operators_of(config))
        case "pair":
            return pair_name(random.randrange(config.pairs))
        case "target":
            return f"scratch-OST{random.randrange(config.pairs * config.targets):04x}"
        case _:
            return random.choice((*servers_of(config), *operators_of(config)))


def _cut(random: Random, config: Config) -> tuple[str, ...]:
    """Two ends of a cut: mostly a server and the API, sometimes anybody and anybody, or all."""
    shape = random.randrange(8)
    if shape < 3:
        return random.choice(servers_of(config)), "api"
    if shape < 4:
        return random.choice(servers_of(config)), "all"
    if shape < 5:
        return servers_of(config)[0], servers_of(config)[1]
    if shape < 6:
        return random.choice(operators_of(config)), random.choice(devices_of(config))
    return random.choice(operators_of(config)), random.choice(("api", "all"))


def _two_servers(random: Random, config: Config) -> tuple[str, ...]:
    return servers_of(config)[:2]


def _misled(random: Random, config: Config) -> tuple[str, ...]:
    """The BMC of one server leads to another's; mostly its partner's."""
    one, other = random.sample(servers_of(config)[:2] if random.random() < 0.7 else servers_of(config), 2)
    return f"bmc-{one}", other


def _edit(random: Random, config: Config) -> tuple[str, ...]:
    index = random.randrange(config.pairs * config.targets)
    return (
        random.choice(EDITS).format(
            pair=pair_name(index // config.targets),
            host=_subject(random, config, "host"),
            ost=f"scratch-ost{index:04x}",
            device=_subject(random, config, "device"),
        ),
    )


def _delete(random: Random, config: Config) -> tuple[str, ...]:
    index = random.randrange(config.pairs * config.targets)
    kinds = (
        f"OST/scratch-ost{index:04x}",
        f"OSSPair/{pair_name(index // config.targets)}",
        f"FenceDevice/{_subject(random, config, 'device')}",
        "Failover/open",
        f"OSS/{_subject(random, config, 'host')}",
    )
    return (random.choice(kinds),)


def _disk_gone(random: Random, config: Config) -> tuple[str, ...]:
    """A server, and a target of its pair; most often of the first pair, to which most happens."""
    pair = 0 if random.random() < 0.7 else random.randrange(config.pairs)
    target = pair * config.targets + random.randrange(config.targets)
    return random.choice(servers_of(config)[2 * pair : 2 * pair + 2]), f"scratch-OST{target:04x}"


def _answer(random: Random, config: Config) -> tuple[str, ...]:
    return (random.choice(ANSWERS),)


_SPECIAL: dict[str, Callable[[Random, Config], tuple[str, ...]]] = {
    "cut": _cut,
    "cut-one-way": _cut,
    "cords-swapped": _two_servers,
    "disk-gone": _disk_gone,
    "boards-alike": _two_servers,
    "boards-unset": _two_servers,
    "bmc-misled": _misled,
    "declared-twice": lambda random, _: random.choice((("pdu-left", "pdu-right"), ("pdu-right", "pdu-left"))),
    "pdu-replaced": lambda random, _: (random.choice(("pdu-left", "pdu-right")),),
    "edit": _edit,
    "delete": _delete,
    "answers": _answer,
    "answers-late": _answer,
    "answers-twice": _answer,
    "device-meter-lags": lambda random, _: (random.choice(("pdu-left", "pdu-right")),),
    "device-reboots-on": lambda random, _: (random.choice(("pdu-left", "pdu-right")),),
}
"""Kinds whose arguments are not simply one subject after the other."""

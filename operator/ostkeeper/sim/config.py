"""What a simulated world is made of: a site (the objects, as a person would apply them) and settings (how the floor behaves).

Here: `Site` and `Settings`, which `World` takes from whoever has them: a user's manifests, or a seeded run; and `Config`,
the few numbers and words that a seeded run is drawn as, from which both are made. All of it is frozen and can be written
as JSON. Not here: what goes wrong (`faults`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from random import Random
from typing import Any, Literal

from ostkeeper.api.fencedevice import FenceDevice
from ostkeeper.api.osspair import OSSPair
from ostkeeper.api.ost import OST
from ostkeeper.core.power import Feed

NAMESPACE = "scratch"
Groups = tuple[tuple[Feed, ...], ...]
"""Power paths: a server has power while in each group at least one feed is on."""
MAINS = Feed("mains")
"""A feed that nobody switches: a supply that hangs on no declared outlet."""


@dataclass(frozen=True, slots=True)
class Site:
    """All objects of one cluster, and how the cables really run."""

    pairs: tuple[OSSPair, ...]
    osts: tuple[OST, ...]
    devices: tuple[FenceDevice, ...]
    nodes: tuple[str, ...] = ()
    """Servers that have a Kubernetes Node."""
    policies: bool = True
    """Whether the admission policies are in force."""
    wires: Mapping[str, Groups] = field(default_factory=dict)
    """By server, where its power really comes from. A server that is not named is wired as declared."""

    def wires_of(self, server: str) -> Groups:
        """Where a server's power really comes from: as it is said, else as its pair declares it."""
        if server in self.wires:
            return self.wires[server]
        return next((declared_wires(pair, server) for pair in self.pairs if server in pair.servers), ())


def declared_wires(pair: OSSPair, server: str) -> Groups:
    """The wiring under which every declared level does what it says: cut all its feeds, and the server is dark."""
    return tuple(
        tuple(Feed(feed.device_name, feed.outlet or "") for feed in level.feeds) for level in pair.fencing_of(server)
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """How the floor and its people behave while nothing is wrong. Times in seconds."""

    operators: int = 2
    """Candidates for the leadership."""
    drift: float = 0.0
    """Clocks of operators and servers run wrong by at most this share of a second a second."""
    boot_time: tuple[float, float] = (40.0, 80.0)
    """From power to a running agent: at least and at most."""
    update_interval: float = 5.0
    """MMP's update interval."""
    fast: float = 0.5
    """Between two readings of a disk while a nonce is open; a real agent takes 0.1 s, which costs events."""
    round_trip: bool = False
    """Every object that is committed goes through its wire form and has to come back equal."""
    adopted: bool = True
    """It begins at rest: adopted, mounted at home, known to everybody. Else as on the day of the install."""
    drilled: bool = True
    """It begins with every level proven by a drill."""
    trusted: bool = True
    """It begins with every fence device trusted by its probes."""
    signs: bool = True
    """PDUs have a sign of their own reboots."""
    watts: bool = True
    """PDUs measure the load of each outlet."""
    late: float = 0.5
    """The share of cut mounts of which the array lands something up to 1.5 s later."""


Levels = Literal["pdus,bmc", "bmc,pdus", "bmc", "pdus"]


@dataclass(frozen=True, slots=True)
class Config:
    """One seeded run, but for its faults. Times in seconds."""

    pairs: int = 1
    targets: int = 2
    """OSTs of each pair; their homes alternate."""
    levels: Levels = "pdus,bmc"
    mode: Literal["Observe", "Manual", "Automatic"] = "Automatic"
    automatic_after: float | None = None
    mmp: Literal["ClearWhenCertified", "Wait"] = "ClearWhenCertified"
    wiring: Literal["Drilled", "Declared"] = "Drilled"
    heartbeat: float = 2.0
    """Interval; the time-out is five times as long."""
    rounds: int = 3
    settle: float = 2.0
    release_timeout: float = 20.0
    release_failed: Literal["Ask", "Fence"] = "Ask"
    boot_timeout: float = 90.0
    partner_soak: float = 20.0
    failback: Literal["Manual", "Automatic"] = "Manual"
    failback_soak: float = 20.0
    rejoin: Literal["Manual", "PowerOn"] = "PowerOn"
    nodes: bool = True
    """The servers have Node objects."""
    settings: Settings = field(default_factory=Settings)

    def wire(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Config:
        """From JSON. Raises TypeError for a field that does not exist."""
        given = dict(raw)
        settings = dict(given.pop("settings", {}))
        if "boot_time" in settings:
            settings["boot_time"] = tuple(settings["boot_time"])
        return cls(**given, settings=Settings(**settings))

    def differences(self) -> dict[str, Any]:
        """What is not as by default: how a run is told in one line."""
        plain = Config()
        mine = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "settings"}
        said = {name: value for name, value in mine.items() if value != getattr(plain, name)}
        settings = {f.name: getattr(self.settings, f.name) for f in fields(self.settings)}
        return said | {name: v for name, v in settings.items() if v != getattr(plain.settings, name)}


def servers_of(config: Config) -> tuple[str, ...]:
    """The names of all servers: two a pair."""
    return tuple(f"oss{number}" for number in range(1, 2 * config.pairs + 1))


def objects_of(config: Config) -> Site:
    """The objects of a seeded run, as a person would apply them."""
    servers = servers_of(config)
    devices = [_device(f"bmc-{server}", bmc=True) for server in servers if "bmc" in config.levels]
    if "pdus" in config.levels:
        devices += [_device("pdu-left", bmc=False), _device("pdu-right", bmc=False)]
    return Site(
        pairs=tuple(_pair(config, place) for place in range(config.pairs)),
        osts=tuple(_ost(config, index) for index in range(config.pairs * config.targets)),
        devices=tuple(devices),
        nodes=servers if config.nodes else (),
    )


def pair_name(place: int) -> str:
    """The name of the pair at a place: pair-a, pair-b, ..."""
    return f"pair-{chr(ord('a') + place)}"


def _meta(name: str) -> dict[str, str]:
    return {"name": name, "namespace": NAMESPACE}


def _device(name: str, *, bmc: bool) -> FenceDevice:
    where = {"address": f"{name}.example", "credentialsSecretName": "power"}
    probe = {"interval": "30s", "sampleCount": 20}
    return FenceDevice.parse(
        {"metadata": _meta(name), "spec": {"ipmi" if bmc else "snmpPDU": where, "requestTimeout": "2s", "probe": probe}}
    )


def _fencing(config: Config, server: str) -> list[dict[str, Any]]:
    outlet = server.removeprefix("oss")
    feeds: dict[str, list[dict[str, str]]] = {
        "pdus": [{"deviceName": name, "outlet": outlet} for name in ("pdu-left", "pdu-right")],
        "bmc": [{"deviceName": f"bmc-{server}"}],
    }
    return [{"name": level, "feeds": feeds[level]} for level in config.levels.split(",")]


def _pair(config: Config, place: int) -> OSSPair:
    servers = servers_of(config)[2 * place : 2 * place + 2]
    failover: dict[str, Any] = {
        "mode": config.mode,
        "wiring": config.wiring,
        "mmp": config.mmp,
        "confirm": {"rounds": config.rounds, "interval": "500ms", "settle": _duration(config.settle)},
        "releaseTimeout": _duration(config.release_timeout),
        "releaseFailed": config.release_failed,
        "bootTimeout": _duration(config.boot_timeout),
        "partnerSoak": _duration(config.partner_soak),
    }
    if config.automatic_after is not None:
        failover["automaticAfter"] = _duration(config.automatic_after)
    spec = {
        "nodes": [{"name": server, "fencing": _fencing(config, server)} for server in servers],
        "heartbeat": {"interval": _duration(config.heartbeat), "timeout": _duration(5 * config.heartbeat)},
        "failover": failover,
        "failback": {"mode": config.failback, "soak": _duration(config.failback_soak)},
        "rejoin": config.rejoin,
    }
    return OSSPair.parse({"metadata": _meta(pair_name(place)), "spec": spec})


def _ost(config: Config, index: int) -> OST:
    place, number = divmod(index, config.targets)
    servers = servers_of(config)[2 * place : 2 * place + 2]
    name = f"scratch-ost{index:04x}"
    spec = {
        "fileSystem": "scratch",
        "index": index,
        "pairName": pair_name(place),
        "homeNode": servers[number % 2],
        "backend": {"ext4": {"device": f"/dev/disk/by-id/{name}"}},
        "mountPoint": f"/mnt/ost{index:04x}",
    }
    return OST.parse({"metadata": _meta(name), "spec": spec})


def _duration(number: float) -> str:
    return f"{round(number * 1000)}ms"


def draw_config(random: Random) -> Config:
    """Draw a run's world: mostly one pair that acts by itself, sometimes anything else that is allowed."""
    pick = random.choice
    levels: Levels = pick(("pdus,bmc", "pdus,bmc", "bmc,pdus", "bmc", "pdus"))
    mode: Literal["Observe", "Manual", "Automatic"] = pick(("Automatic",) * 7 + ("Manual",) * 2 + ("Observe",))
    settings = Settings(
        operators=pick((2, 2, 2, 3)),
        drift=pick((0.0, 0.001, 0.005)),
        boot_time=pick(((20.0, 40.0), (40.0, 80.0))),
        update_interval=pick((5.0, 5.0, 2.0)),
        round_trip=random.random() < 0.02,
        adopted=random.random() < 0.9,
        drilled=random.random() < 0.9,
        signs=random.random() < 0.9,
        watts=random.random() < 0.5,
    )
    return Config(
        pairs=pick((1,) * 17 + (2, 2, 3)),
        targets=pick((1, 2, 2, 2, 3)),
        levels=levels,
        mode=mode,
        automatic_after=pick((None, 15.0)) if mode == "Manual" else None,
        mmp=pick(("ClearWhenCertified", "ClearWhenCertified", "Wait")),
        wiring=pick(("Drilled", "Drilled", "Declared")),
        heartbeat=pick((2.0, 2.0, 1.0, 3.0)),
        rounds=pick((3, 3, 1, 2)),
        settle=pick((2.0, 2.0, 5.0)),
        failback=pick(("Manual", "Automatic")),
        rejoin=pick(("PowerOn", "PowerOn", "Manual")),
        nodes=random.random() < 0.7,
        release_failed=pick(("Ask", "Ask", "Fence")),
        settings=settings,
    )

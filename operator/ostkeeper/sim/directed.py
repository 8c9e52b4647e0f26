"""Nights that are directed: each takes steps between phases that random ones take rarely, or are known by.

Here: one night for each group of steps, and the steps that no night can take, each with its reason; together they are all
that `api.phases` allows. Not here: how steps are counted (`coverage`), random nights (`draw`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ostkeeper.api.phases import ALL_TYPES
from ostkeeper.sim.config import Config, Settings
from ostkeeper.sim.faults import Fault
from ostkeeper.sim.run import Result, simulate

TRIES = 8
"""Seeds that a night is played with until it has taken its steps: some of them take milliseconds."""


@dataclass(frozen=True, slots=True)
class Directed:
    """One night, and the steps that it is there for."""

    name: str
    type: str
    steps: tuple[str, ...]
    """As `From>To`; of the type."""
    config: Config
    faults: tuple[Fault, ...]

    @property
    def edges(self) -> tuple[str, ...]:
        """As `coverage.every_edge` names them."""
        return tuple(f"{self.type}: {step}" for step in self.steps)

    def play(self) -> Iterator[Result]:
        """Seed by seed, until all its steps were taken."""
        left = set(self.edges)
        for seed in range(1, TRIES + 1):
            result = simulate(self.config, self.faults, seed)
            yield result
            left -= {edge for edge, count in result.transitions.items() if count}
            if not left:
                return


def _night(type_: str, name: str, steps: str, config: Config, *faults: Fault) -> Directed:
    return Directed(name, type_, tuple(steps.split()), config, faults)


def _at(at: float, kind: str, *args: str, until: float | None = None) -> Fault:
    return Fault(kind, at, until, args)


PANIC = _at(1.0, "host-panics", "oss1", until=60.0)
AWAY = _at(1.0, "edit", "scratch-ost0000.serveFrom=Partner", until=12.0)
"""A target is moved to its partner; from then on it ought to be at home again."""
SICK = _at(1.0, "disk-errors", "oss1", until=120.0)
MANUAL, BMC = Config(mode="Manual"), Config(levels="bmc")
UNDRILLED = Settings(drilled=False)

NIGHTS: tuple[Directed, ...] = (
    _night(
        "Failover",
        "a server dies, and its partner takes over",
        ">Holding Holding>Fencing Fencing>Relocating Relocating>Recovering Recovering>Complete",
        BMC,
        PANIC,
    ),
    _night("Failover", "a server dies in Observe", ">Observed", Config(mode="Observe"), PANIC),
    _night(
        "Failover",
        "a person says Failover",
        ">AwaitingApproval AwaitingApproval>Holding",
        MANUAL,
        PANIC,
        _at(12.0, "answers", "Failover"),
    ),
    _night(
        "Failover",
        "a server is back before anybody has answered",
        "AwaitingApproval>Aborted",
        MANUAL,
        _at(1.0, "host-hangs", "oss1", until=30.0),
    ),
    _night(
        "Failover",
        "a server is back before anything was cut, and its leader is gone",
        "Holding>Aborted",
        BMC,
        _at(1.0, "host-hangs", "oss1", until=20.3),
        _at(9.245, "api-slow", until=12.8),
        _at(10.8, "leader-dies", until=11.8),
    ),
    _night(
        "Failover",
        "a server is back while its off is under way",
        "Fencing>Aborted",
        BMC,
        _at(1.0, "host-hangs", "oss1", until=9.6),
        _at(0.5, "device-slow", "bmc-oss1", until=60.0),
    ),
    _night(
        "Failover",
        "a person says Restart",
        "Fencing>PoweringOn PoweringOn>Recovering",
        Config(mode="Manual", levels="bmc"),
        _at(1.0, "host-panics", "oss1", until=90.0),
        _at(12.0, "answers", "Restart"),
    ),
    _night(
        "Failover",
        "a person says Restart, and it does not come back",
        "PoweringOn>Aborted",
        Config(mode="Manual", levels="bmc", boot_timeout=30.0),
        _at(1.0, "host-dies", "oss1", until=90.0),
        _at(12.0, "answers", "Restart"),
    ),
    _night(
        "Failover",
        "a BMC is silent for a while",
        "Fencing>Blocked Blocked>Fencing",
        BMC,
        PANIC,
        _at(8.0, "device-silent", "bmc-oss1", until=40.0),
    ),
    _night(
        "Failover",
        "a BMC is silent, and a person says Dismiss",
        "Blocked>Aborted",
        BMC,
        PANIC,
        _at(8.0, "device-silent", "bmc-oss1", until=60.0),
        _at(20.0, "answers", "Dismiss"),
    ),
    _night(
        "Failover",
        "a server and its BMC are dark, and a person says ConfirmDead",
        "Blocked>Relocating",
        BMC,
        _at(1.0, "host-loses-power", "oss1", until=110.0),
        _at(11.0, "answers", "Failover"),
        _at(45.0, "answers", "ConfirmDead"),
    ),
    _night(
        "Failover",
        "a person says Restart, and the partner's reports are refused under a new leader",
        "Holding>Blocked Blocked>Holding",
        Config(levels="bmc", settings=UNDRILLED),
        _at(1.0, "host-panics", "oss1", until=120.0),
        _at(16.0, "reports-refused", "oss2", until=90.0),
        _at(17.0, "operator-restarts", "op1"),
        _at(17.0, "operator-restarts", "op2"),
        _at(45.0, "answers", "Restart"),
    ),
    _night(
        "Drill",
        "a drill proves the wiring",
        ">Fencing Fencing>Complete",
        Config(settings=UNDRILLED),
        _at(1.0, "drill", "oss1", until=150.0),
    ),
    _night(
        "Drill",
        "a drill finds a relay that does not switch",
        "Fencing>Aborted",
        Config(levels="bmc", settings=UNDRILLED),
        _at(1.0, "drill", "oss1", until=150.0),
        _at(10.0, "device-stuck", "bmc-oss1", until=100.0),
    ),
    _night(
        "Switchover",
        "a target is moved because somebody says so",
        ">Relocating Relocating>Recovering Recovering>Complete",
        Config(),
        AWAY,
    ),
    _night(
        "Switchover",
        "a target is to be moved in Observe",
        ">Observed",
        Config(mode="Observe"),
        _at(1.0, "edit", "scratch-ost0000.serveFrom=Partner", until=30.0),
    ),
    _night(
        "Switchover",
        "a server is sick, and a person lets its targets move",
        ">AwaitingApproval AwaitingApproval>Relocating",
        MANUAL,
        SICK,
        _at(40.0, "answers", "Failback"),
    ),
    _night(
        "Switchover",
        "a server is sick, and a person says Dismiss",
        "AwaitingApproval>Aborted",
        MANUAL,
        SICK,
        _at(40.0, "answers", "Dismiss"),
    ),
    _night(
        "Switchover",
        "a target cannot be unmounted where it is",
        "Relocating>Aborted",
        Config(),
        _at(0.5, "umounts-hang", "oss1", until=60.0),
        _at(1.0, "edit", "scratch-ost0000.serveFrom=Partner", until=70.0),
    ),
    _night(
        "Failback",
        "a target may go home, and a person lets it",
        ">AwaitingApproval AwaitingApproval>Relocating Relocating>Recovering Recovering>Complete",
        BMC,
        AWAY,
        _at(30.0, "answers", "Failback"),
        _at(50.0, "answers", "Failback"),
    ),
    _night(
        "Failback",
        "a target may go home, and a person says Dismiss",
        "AwaitingApproval>Aborted",
        BMC,
        AWAY,
        _at(30.0, "answers", "Dismiss"),
        _at(50.0, "answers", "Dismiss"),
    ),
    _night(
        "Failback",
        "a target goes home by itself, and cannot be unmounted where it is",
        ">Relocating Relocating>Aborted",
        Config(failback="Automatic"),
        AWAY,
        _at(8.0, "umounts-hang", "oss2", until=120.0),
    ),
    _night(
        "Failback",
        "a target may go home in Observe",
        ">Observed",
        Config(),
        _at(1.0, "edit", "scratch-ost0000.serveFrom=Partner", until=20.0),
        _at(12.0, "edit", "pair-a.mode=Observe", until=60.0),
    ),
)

_BETWEEN = (
    "a leader that is lost between two writes that follow each other within milliseconds, beside an agent whose reports are "
    "refused; scenarios/reports_that_are_refused_block_{} has it"
)
NEVER: dict[str, str] = {
    "Failover: Relocating>Blocked": _BETWEEN.format("a_relocation_and_it_goes_on_when_they_are_taken"),
    "Failover: PoweringOn>Blocked": _BETWEEN.format("a_restart_and_a_dismiss_ends_it"),
    "Failover: Blocked>PoweringOn": _BETWEEN.format("a_restart_and_it_goes_on_when_they_are_taken"),
    "Failover: Relocating>Complete": (
        "a deposed leader's certificate that is stored after its successor's abort: a call to the simulated API server is over "
        "before a takeover can be; scenarios/certificate_that_comes_after_its_targets_were_given_back_moves_nothing has it"
    ),
    **dict.fromkeys(
        (f"{type_}: >Aborted" for type_ in ALL_TYPES),
        "the slot is lost in the one call between the object and its first phase: no lever strikes there; "
        "scenarios/adopt_takes_the_slot_of_a_failover_that_never_began has it",
    ),
}
"""The steps that no simulated night can take, with the reason."""

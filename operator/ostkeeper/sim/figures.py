"""What many runs amount to: counts that can be added, and the JSON that `make soak` and `make test` leave behind.

Here: adding and writing. Not here: running (`run`), how runs are spread over processes (`soak`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostkeeper.sim.coverage import add

if TYPE_CHECKING:
    from ostkeeper.sim.run import Result


@dataclass(slots=True)
class Figures:
    """Of any number of runs."""

    runs: int = 0
    seed: int = 0
    """The first."""
    seconds: float = 0.0
    """Of wall clock."""
    events: int = 0
    violations: int = 0
    """Runs in which something was seen that must never be."""
    unserved_at_end: int = 0
    """Runs in which a target that could be served was not, in the end."""
    faults: dict[str, int] = field(default_factory=dict)
    transitions: dict[str, int] = field(default_factory=dict)
    mutants: dict[str, int] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    """By seed, the first thing that was wrong."""

    def take(self, result: Result) -> None:
        """Count one run."""
        self.runs += 1
        self.events += result.events
        self.violations += bool(result.violations)
        self.unserved_at_end += bool(result.unserved)
        for fault in result.faults:
            self.faults[fault.kind] = self.faults.get(fault.kind, 0) + 1
        add(self.transitions, result.transitions)
        if not result.ok:
            self.failed[result.seed] = (*result.violations, *result.unserved)[0]

    def wire(self) -> dict[str, Any]:
        """As `build/sim.json` has it."""
        return {
            "runs": self.runs,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "violations": self.violations,
            "unserved_at_end": self.unserved_at_end,
            "faults": dict(sorted(self.faults.items())),
            "transitions": dict(sorted(self.transitions.items())),
            "mutants": dict(sorted(self.mutants.items())),
        }


def total(parts: Iterable[Figures]) -> Figures:
    """All parts as one, as if they had run one after the other: whoever ran them side by side knows better."""
    whole = Figures(seed=-1)
    for part in parts:
        whole.runs += part.runs
        whole.events += part.events
        whole.violations += part.violations
        whole.unserved_at_end += part.unserved_at_end
        whole.seconds += part.seconds
        if part.runs:
            whole.seed = part.seed if whole.seed < 0 else min(whole.seed, part.seed)
        add(whole.faults, part.faults)
        add(whole.transitions, part.transitions)
        whole.mutants.update(part.mutants)
        whole.failed.update(part.failed)
    whole.seed = max(whole.seed, 0)
    return whole


def parsed(raw: Mapping[str, Any]) -> Figures:
    """From what `wire` wrote."""
    return Figures(
        runs=raw["runs"],
        seed=raw["seed"],
        seconds=raw["seconds"],
        violations=raw["violations"],
        unserved_at_end=raw["unserved_at_end"],
        faults=dict(raw["faults"]),
        transitions=dict(raw["transitions"]),
        mutants=dict(raw["mutants"]),
    )


def write(figures: Figures, path: Path) -> None:
    """Write the JSON file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures.wire(), indent=1) + "\n", "utf-8")


def read(path: Path) -> Figures:
    """Read the JSON file."""
    return parsed(json.loads(path.read_text("utf-8")))

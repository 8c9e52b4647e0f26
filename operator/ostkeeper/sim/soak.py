"""Many seeds over all processors: `python -m ostkeeper.sim.soak --runs N --seed S`, behind `make soak`.

Here: chunks, processes, progress, the file that is left behind, the exit status. Not here: what one run does (`run`), what a
mutant is (`mutants`). Exit status: 0 all well; 1 something was seen that must never be; 2 a target was not served in the
end; 3 a mutant was not found.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ostkeeper.sim import directed, mutants, shrink
from ostkeeper.sim.coverage import add, merged, never_taken
from ostkeeper.sim.days import ABREAST, run_seeds
from ostkeeper.sim.draw import NIGHTS
from ostkeeper.sim.figures import Figures, total, write

CHUNK = ABREAST * NIGHTS
"""Seeds that a process takes at a time, at the most."""
SHRUNK = 3
"""Nights that failed of which the smallest form is looked for."""
EVERY = 1.0
"""Seconds between two lines of progress."""


def run_chunk(seeds: tuple[int, int]) -> Figures:
    """Run the seeds from the first up to, and without, the second."""
    figures = Figures(seed=seeds[0])
    began = time.monotonic()
    for result in run_seeds(*seeds):
        figures.take(result)
    figures.seconds = time.monotonic() - began
    return figures


def chunks(runs: int, seed: int) -> Iterator[tuple[int, int]]:
    """Seeds in chunks of whole days, but for the first and the last one."""
    first, beyond = seed, seed + runs
    while first < beyond:
        end = min(beyond, (first // CHUNK + 1) * CHUNK)
        yield first, end
        first = end


def soak(runs: int, seed: int, processes: int, shown: Callable[[Figures], None] = lambda _: None) -> Figures:
    """Run so many seeds from one on; `shown` is told how far it is."""
    whole, began = Figures(seed=seed), time.monotonic()
    with multiprocessing.Pool(processes) as pool:
        for part in pool.imap_unordered(run_chunk, chunks(runs, seed)):
            whole = total((whole, part))
            whole.seed, whole.seconds = seed, time.monotonic() - began
            shown(whole)
    return whole


def directed_steps() -> dict[str, int]:
    """The steps between phases that directed nights take: counted beside those of the seeds."""
    return merged(result.transitions for night in directed.NIGHTS for result in night.play())


def hunt_all(processes: int) -> dict[str, int]:
    """Each mutant, and in which run it was found; 0: it was not."""
    with multiprocessing.Pool(processes) as pool:
        found = pool.map(mutants.hunt, list(mutants.MUTANTS), chunksize=1)
    return dict(zip(mutants.MUTANTS, found, strict=True))


class Progress:
    """One line on a terminal, now and then a line elsewhere."""

    def __init__(self, runs: int) -> None:
        self._runs, self._next = runs, 0.0

    def __call__(self, figures: Figures) -> None:
        """Show how far it is."""
        terminal = sys.stderr.isatty()
        now = time.monotonic()
        if now < self._next and figures.runs < self._runs:
            return
        self._next = now + (EVERY if terminal else 30 * EVERY)
        rate = figures.runs / max(figures.seconds, 0.001)
        left = (self._runs - figures.runs) / max(rate, 0.001)
        line = (
            f"{figures.runs:,} of {self._runs:,} runs, {rate:.0f}/s, {left:.0f} s left; "
            f"violations {figures.violations}, unserved {figures.unserved_at_end}"
        )
        print(f"\r\x1b[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)


def told(figures: Figures) -> list[str]:
    """What a person reads in the end."""
    lines = [
        f"{figures.runs:,} runs from seed {figures.seed} in {figures.seconds:.0f} s, {figures.events:,} events, "
        f"{sum(figures.faults.values()):,} faults of {len(figures.faults)} kinds",
        f"violations: {figures.violations}; unserved at the end: {figures.unserved_at_end}",
    ]
    lines += [f"  seed {seed}: {what}" for seed, what in sorted(figures.failed.items())[:20]]
    missed = [edge for edge in never_taken(figures.transitions) if edge not in directed.NEVER]
    lines.append(
        f"steps between phases: {len(figures.transitions)} seen, {len(missed)} never; {len(directed.NEVER)} that no night can "
        "take (sim/directed.py says why)"
    )
    lines += [f"  never: {edge}" for edge in missed]
    for name, runs in sorted(figures.mutants.items()):
        lines.append(f"mutant {name}: {f'found in run {runs}' if runs else 'NOT FOUND'}")
    return lines


def status(figures: Figures) -> int:
    """The exit status."""
    if figures.violations:
        return 1
    if figures.unserved_at_end:
        return 2
    return 0 if all(figures.mutants.values()) else 3


def shrunk(seed: int, folder: Path) -> Path:
    """Shrink a night that failed, and write it: moved to tests/sim/found/ it is replayed for ever."""
    path = folder / f"seed-{seed}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(shrink.write(shrink.shrink(seed)))
    return path


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m ostkeeper.sim.soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000, help="how many seeds (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the first (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one a processor")
    parser.add_argument("--out", type=Path, default=Path("build/sim.json"), help="default: %(default)s")
    parser.add_argument("--nights-only", action="store_true", help="neither hunt mutants nor play the directed nights")
    given = parser.parse_args()
    figures = soak(given.runs, given.seed, given.processes, Progress(given.runs))
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if not given.nights_only:
        add(figures.transitions, directed_steps())
        figures.mutants = hunt_all(given.processes)
    write(figures, given.out)
    print("\n".join(told(figures)))
    print(f"written: {given.out}")
    for seed in sorted(figures.failed)[:SHRUNK]:
        print(f"written: {shrunk(seed, given.out.parent)}")
    return status(figures)


if __name__ == "__main__":
    sys.exit(main())

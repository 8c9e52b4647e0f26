"""Seeded nights: nothing that must never be, and everything served in the end. Prints the seed that fails."""

import os
import subprocess
import sys

import pytest

from ostkeeper.sim.figures import read, write
from sim.parts import PARTS

pytestmark = pytest.mark.sim

RUNS = int(os.environ.get("OSTKEEPER_SIM_RUNS", "2000"))
"""Seeds 1 to this one, the same in every `make test`; `make soak` runs more."""
CHUNKS = 10
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_night_breaks_a_rule_or_leaves_a_target_unserved(chunk: int) -> None:
    """In a process of their own: each night is a fork of it, and it is a fifth of this one's size."""
    part, size = PARTS / f"part-{chunk}.json", RUNS // CHUNKS
    which = ["--runs", str(size), "--seed", str(1 + chunk * size), "--processes", "1", "--nights-only"]
    soak = [sys.executable, "-m", "ostkeeper.sim.soak", *which, "--out", str(part)]
    done = subprocess.run(soak, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nonce more: {' '.join(soak)}"
    figures = read(part)
    figures.seconds /= WORKERS  # so much longer do all of them take
    write(figures, part)

"""The operators of a world: processes in the switch's namespace that can be killed, stopped, and caught in a phase.

Here: their processes. Not here: what they do (`controller`), nor the entry by which one stops itself right after the
write of a phase was acknowledged (`operator_entry`): it reads `PHASE:kill` or `PHASE:stop` from `OSTKEEPER_TESTBED_WHEN`
at its start, so that who is named is started anew; and from the file that `OSTKEEPER_TESTBED_WHEN_FILE` and the phase name at
any time, so that with no name whoever comes first is caught, and nobody is started anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from ostkeeper.api.failover import Phase
from ostkeeper.testbed.processes import daemon, end, in_network_of

WHEN = "OSTKEEPER_TESTBED_WHEN"
WHEN_FILE = "OSTKEEPER_TESTBED_WHEN_FILE"
ACTIONS = ("kill", "stop")
STOP_SECONDS = 3.0
"""How long an operator may take to end when the world does."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a program is started: words, and what is added to the environment."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


CommandFor = Callable[[str, Path], Command]
"""(name of the operator or server, its kubeconfig) → how it is started."""


class Operators:
    """All operators of one world, by name: op-1, op-2, ..."""

    def __init__(self, directory: Path, names: Sequence[str], command: Callable[[str], Command]) -> None:
        """`directory`: for logs, and for what is asked of them."""
        self.names = tuple(names)
        self._directory = directory
        self._command = command
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        directory.mkdir(parents=True, exist_ok=True)

    async def start(self, netns_pid: int, names: Sequence[str] = (), when: str = "") -> None:
        """Start those that do not run. `when`: PHASE:kill or PHASE:stop, from its start on."""
        for name in names or self.names:
            self._known(name)
            if self.state(name) != "dead":
                continue
            command = self._command(name)
            own = {"TMPDIR": str(self._directory), WHEN: when, WHEN_FILE: str(self._when_file)}
            env = {**os.environ, **command.env, **own}
            argv = in_network_of(netns_pid, *command.argv)
            self._processes[name] = await daemon(*argv, log=self._directory / f"{name}.log", env=env)

    async def stop_all(self) -> None:
        """End them all: with a word first, then without. May be repeated."""
        for process in self._processes.values():
            _signal_group(process, signal.SIGCONT)
        await asyncio.gather(*(end(process, STOP_SECONDS) for process in self._processes.values()))

    async def kill(self, name: str) -> None:
        """SIGKILL, its workers included, as a container that is killed."""
        self._known(name)
        if process := self._processes.get(name):
            _signal_group(process, signal.SIGKILL)
            await process.wait()

    def pause(self, name: str) -> None:
        """SIGSTOP, its workers included, as a machine that is suspended."""
        self._known(name)
        if process := self._processes.get(name):
            _signal_group(process, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT: it goes on in the middle of what it did."""
        self._known(name)
        if process := self._processes.get(name):
            _signal_group(process, signal.SIGCONT)

    async def arm(self, netns_pid: int, names: Sequence[str], phase: str, action: str) -> None:
        """Have one kill or stop itself when its write of this phase was acknowledged.

        Those that are named are started anew for it, so arm them before the fault: a leader that is restarted gives up
        its lease. With no name it is the first that writes this phase, once, and nobody is started anew; what was
        ordered for other phases stands.
        Raises `ValueError` for a phase or an action that there is not, and has then done nothing.
        """
        if action not in ACTIONS:
            raise ValueError(f"--when goes with {' and '.join(ACTIONS)}, not with {action!r}")
        if phase not in get_args(Phase):
            raise ValueError(f"no phase {phase!r}; there are {', '.join(get_args(Phase))}")
        for name in names:
            self._known(name)
        if names:
            await asyncio.gather(*(self.kill(name) for name in names))
            await self.start(netns_pid, names, f"{phase}:{action}")
        else:
            self._when_file.with_suffix(".new").write_text(f"{phase}:{action}\n")
            self._when_file.with_suffix(".new").rename(order_file(self._when_file, phase))

    def state(self, name: str) -> str:
        """`running`, `stopped` or `dead`."""
        process = self._processes.get(name)
        if process is None or process.returncode is not None:
            return "dead"
        with contextlib.suppress(OSError, IndexError):
            letter = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
            return {"T": "stopped", "Z": "dead"}.get(letter, "running")
        return "dead"

    @property
    def _when_file(self) -> Path:
        return (self._directory / "when").absolute()

    def _known(self, name: str) -> None:
        if name not in self.names:
            raise ValueError(f"no operator {name!r}; there are {', '.join(self.names)}")


def order_file(when_file: Path, phase: str) -> Path:
    """Where the order for a phase stands: one file each, so that all phases of a failover can be ordered before it."""
    return when_file.with_name(f"{when_file.name}.{phase}")


def _signal_group(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)

"""The safety monitor, as the world starts and asks it.

Here: the monitor's process, the list of disks it watches, its verdict. Not here: the probes and what they mean
(`monitorloop`). It runs in an interpreter of its own, so that nothing that keeps the world busy makes it look away.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostkeeper.testbed.host import Host
from ostkeeper.testbed.processes import WITH_US, end


class MonitorGone(RuntimeError):
    """The monitor does not answer: nobody knows whether a disk was mounted twice, so the run has failed."""


class DoubleMount(AssertionError):
    """A disk could be written by two servers at one moment. The text says which disk, which servers, when."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the monitor has seen since it was started."""

    samples: int
    longest_gap: float
    """Seconds between two samples at most, of those between which more than one server has written to a disk, or one that
    did not hold it: how short an overlap could have been missed. A machine that stood still misses none."""
    overlaps: list[dict[str, Any]]
    """Each violation: `kind` (held-twice or mark-taken), `target`, `hosts`, `time`, `monotonic`."""
    holders: dict[str, list[str]]
    """Target → the servers that hold its disk now, mounts in flight included."""

    def check(self) -> None:
        """Raise `DoubleMount` unless no disk was ever held twice, and `MonitorGone` when nobody looked."""
        if self.overlaps:
            raise DoubleMount(f"{len(self.overlaps)} times two servers could write to one disk: {self.overlaps}")
        if not self.samples:
            raise MonitorGone("the monitor has not taken a single sample, so it proves nothing")


class Monitor:
    """One monitor process for one world."""

    def __init__(self, directory: Path) -> None:
        """Violations are written to `directory`/overlaps.jsonl, one JSON object a line."""
        self.violations = directory / "overlaps.jsonl"
        self._log = directory / "monitor.log"
        self._process: asyncio.subprocess.Process | None = None
        self._next_id = 0
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Start it, and wait for its first answer. Raises `MonitorGone`."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*WITH_US, sys.executable, "-P", "-m", "ostkeeper.testbed.monitorloop", str(self.violations)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        await self.verdict()

    async def stop(self) -> None:
        """End it. May be repeated."""
        process, self._process = self._process, None
        if process is not None:
            await end(process)

    def watch(self, hosts: Iterable[Host]) -> None:
        """Tell it which devices there are now. Call it whenever a server got or lost its disks."""
        rows = [
            [host.name, disk.image.target, str(disk.image.path), disk.number] for host in hosts for disk in host.disks
        ]
        self._tell({"op": "disks", "disks": rows})

    async def verdict(self) -> Verdict:
        """Ask what it has seen. Raises `MonitorGone` when it is dead or gives no answer within 10 s."""
        async with self._lock:
            self._next_id += 1
            self._tell({"op": "status", "id": self._next_id})
            answer = await self._answer()
        return Verdict(answer["samples"], answer["longest_gap"], self._read_violations(), answer["holders"])

    async def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        while True:
            try:
                line = await asyncio.wait_for(self._process.stdout.readline(), 10)
            except TimeoutError as error:
                raise MonitorGone(f"the monitor gave no answer within 10s; see {self._log}") from error
            if not line:
                raise MonitorGone(f"the monitor has died; see {self._log}")
            answer: dict[str, Any] = json.loads(line)
            if answer["id"] == self._next_id:  # an answer to a question that was given up is passed over
                return answer

    def _tell(self, message: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None or self._process.returncode is not None:
            raise MonitorGone(f"the monitor does not run; see {self._log}")
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def _read_violations(self) -> list[dict[str, Any]]:
        if not self.violations.exists():
            return []
        return [json.loads(line) for line in self.violations.read_text().splitlines()]

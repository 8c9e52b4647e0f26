"""Processes of the testbed that must not outlive it.

Here: running a command to its end, starting a daemon that dies with us (PDEATHSIG), entering a namespace. Not here: the
processes inside a server, which are its own init's children (`hostinit`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
"""Prefix by which a process is killed when the testbed is, even by SIGKILL. Start it from the event loop's thread."""


class CommandFailed(RuntimeError):
    """A command ended with an error. The text holds command, exit code and what it said."""


async def run(*argv: str, stdin: str = "", within: float = 30.0) -> str:
    """Run to the end and give its output. `within`: seconds. Raises `CommandFailed`, also for a time-out."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), within)
    except (TimeoutError, asyncio.CancelledError) as error:
        process.kill()
        await process.wait()
        if isinstance(error, asyncio.CancelledError):
            raise
        raise CommandFailed(f"{' '.join(argv)}: no end after {within:g}s; killed") from error
    if process.returncode != 0:
        said = (err or out).decode(errors="replace").strip()
        raise CommandFailed(f"{' '.join(argv)}: exit {process.returncode}: {said}")
    return out.decode(errors="replace")


async def daemon(
    *argv: str, log: Path | None = None, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> asyncio.subprocess.Process:
    """Start a process that dies with us. Its output is appended to `log` (none: dropped), Ctrl-C does not reach it."""
    target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        return await asyncio.create_subprocess_exec(
            *WITH_US,
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=target,
            stderr=target,
            env=env,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    finally:
        os.close(target)


def in_network_of(pid: int, *argv: str) -> tuple[str, ...]:
    """The command, run in the network namespace of a process. Everything else stays as it is."""
    return ("nsenter", "-t", str(pid), "-n", "--", *argv)


async def end(process: asyncio.subprocess.Process, grace: float = 0.0) -> None:
    """End a process that we started: SIGTERM and `grace` seconds first, if any, then SIGKILL. May be repeated."""
    if process.returncode is None and grace > 0:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await process.wait()


def descendants(pid: int) -> list[int]:
    """This process and all its children's children, as the root PID namespace numbers them; parents first."""
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{one}/task"):
                children = Path(f"/proc/{one}/task/{thread}/children").read_text()
                queue.extend(int(child) for child in children.split())
    return found

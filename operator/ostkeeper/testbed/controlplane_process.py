"""Children that do not outlive their parent: how etcd, kube-apiserver and the relay are started and killed.

Here: start in a namespace, die with the parent, kill and reap. Not here: which servers, with which flags.
Plain `subprocess`, not asyncio's: an asyncio child dies with its event loop, and a control plane outlives many.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal is sent when the *thread* that forked ends, so start children from one that stays."""

Child = subprocess.Popen[bytes]


def die_with_parent() -> Callable[[], None]:
    """Return a preexec_fn: the child gets SIGKILL when the calling thread ends, be it by SIGKILL. Survives exec."""
    parent = os.getpid()

    def arm() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died between fork and prctl: nobody is left to send the signal
            os._exit(1)

    return arm


def inside(netns_pid: int | None) -> list[str]:
    """Return the words that put a command into the network namespace of a process; none for our own.

    nsenter execs in place for a network namespace: the child's pid is the command's own.
    """
    return [] if netns_pid is None else ["nsenter", "--target", str(netns_pid), "--net", "--"]


def spawn(command: Sequence[str], directory: Path, log: Path, pass_fds: Sequence[int] = ()) -> Child:
    """Start `command` in `directory`, its output appended to `log`; it sees no terminal, and no Ctrl-C of ours."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(),
            pass_fds=pass_fds,
        )


async def kill(child: Child) -> None:
    """SIGKILL and reap. What the servers have acknowledged is in the page cache, which outlives them."""
    child.kill()
    while child.poll() is None:
        await asyncio.sleep(0.005)


async def freeze(child: Child) -> None:
    """SIGSTOP, and wait until every thread has stopped: from then on it changes no file. `thaw` ends it."""
    child.send_signal(signal.SIGSTOP)
    while not all(_stopped(task) for task in Path(f"/proc/{child.pid}/task").iterdir()):
        await asyncio.sleep(0.002)


def thaw(child: Child) -> None:
    """SIGCONT after `freeze`."""
    child.send_signal(signal.SIGCONT)


def _stopped(task: Path) -> bool:
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
    except OSError:
        return True  # the thread has ended


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, for an error's text."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"(no log: {error})"

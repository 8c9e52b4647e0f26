"""Children that do not outlive their parent: how etcd, kube-apiserver and the relay are started and killed.

Here: start in a namespace, die with the parent, kill and reap. Not here: which servers, with which flags.
Plain `subprocess`, not asyncio's as in `processes`: an asyncio child dies with its event loop, and a control plane
outlives many (one a test).
"""

import asyncio
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ostkeeper.testbed.processes import WITH_US, in_network_of

Child = subprocess.Popen[bytes]


def spawn(
    command: Sequence[str], netns_pid: int | None, directory: Path, log: Path, pass_fds: Sequence[int] = ()
) -> Child:
    """Start `command` in `directory`, in the network namespace of `netns_pid` (None: ours), output appended to `log`.

    It is killed when the calling *thread* ends (PDEATHSIG, prctl(2)): call from one that stays. It sees no terminal,
    and no Ctrl-C of ours. setpriv and nsenter exec in place, so the child's pid is the command's own.
    """
    placed = command if netns_pid is None else in_network_of(netns_pid, *command)
    with log.open("ab") as output:
        return subprocess.Popen(
            [*WITH_US, *placed],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
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

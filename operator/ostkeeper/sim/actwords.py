"""What an agent is about to do, in words, for the trace of a run. Not here: anything that is done."""

from __future__ import annotations

from ostkeeper.api.oss import OSSStatus
from ostkeeper.core import hostevents as ev


def in_words(effect: ev.HostEffect) -> str:
    """For the trace."""
    match effect:
        case ev.Report(status=status):
            return f"reports {_report_in_words(status)}"
        case ev.Mount(target=target, why=why) | ev.Unmount(target=target, why=why):
            return f"{type(effect).__name__.lower()} {target}: {why}"
        case ev.StopMachine(why=why):
            return f"stops this machine: {why}"
        case _:
            return f"{effect}"


def _report_in_words(status: OSSStatus) -> str:
    targets = " ".join(f"{t.target}:{t.state}@{t.epoch}{f'({t.reason})' if t.reason else ''}" for t in status.targets)
    disks = " ".join(f"{d.target}:{d.state}" for d in status.disks)
    nonce = f" nonce {status.nonce.value}" if status.nonce else ""
    return f"{targets} | {disks} | peer {status.peer.state}{nonce}"

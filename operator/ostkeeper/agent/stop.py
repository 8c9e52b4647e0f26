"""Stopping this machine at once, without syncing or unmounting anything. Here: how. Not here: when (`core.permission`)."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
from pathlib import Path

log = logging.getLogger(__name__)
SYSRQ = Path("/proc/sysrq-trigger")


def stop_machine(command: str) -> str:
    """Run the command; without one, sysrq `b`: an immediate reboot, no sync, no unmount (kernel admin-guide/sysrq).

    Returns what went wrong; empty when the order was given. Writing to /proc/sysrq-trigger needs root and ignores
    kernel.sysrq. Blocks at most for the start of the command.
    """
    try:
        if command:
            subprocess.Popen(shlex.split(command), stdin=subprocess.DEVNULL, start_new_session=True)
        else:
            descriptor = os.open(SYSRQ, os.O_WRONLY)
            os.write(descriptor, b"b")
            os.close(descriptor)
    except (OSError, ValueError) as error:
        return f"the machine could not be stopped: {error}; it is tried again every second. CUT ITS POWER"
    return ""

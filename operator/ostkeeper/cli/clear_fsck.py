"""`ostkeeper clear-fsck`: clear the MMP block that a killed e2fsck left, after both servers looked, and run e2fsck again.

Here: arguments, what is printed, the target's lock around it. Not here: what is looked at and written (`agent.fsckmark`).
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

EPILOG = """\
1. Set `desired: Unmounted` on the OST, so that no agent mounts it in between.
2. On one server:  ostkeeper clear-fsck DEVICE                    it watches 12 s and prints words
3. On the other:   ostkeeper clear-fsck DEVICE --partner WORDS    it does the same, clears, and runs e2fsck -f DEVICE
If the other server has no power (you made sure):  ostkeeper clear-fsck DEVICE --partner-off NAME
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "clear-fsck",
        help="on a server: clear what a killed e2fsck left in MMP, and run e2fsck again",
        description=__doc__.splitlines()[0] if __doc__ else "",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("device", help="the OST's block device on this server")
    partner = parser.add_mutually_exclusive_group()
    partner.add_argument("--partner", default="", metavar="WORDS", help="what clear-fsck printed on the other server")
    partner.add_argument(
        "--partner-off", default="", metavar="NAME", help="the other server (its `uname -n`) has no power: your word"
    )
    parser.add_argument("--target", default="", help="name of the target (default: the volume label)")
    parser.add_argument("--lock-dir", type=Path, default=Path("/run/ostkeeper"), help="as of the agent")
    parser.add_argument(
        "--e2fsck-options", default="", metavar="OPTIONS", help="beside -f, such as --e2fsck-options=-y"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look; with the other server's words, clear and check. Exit 3: refused, nothing was written; else that of e2fsck."""
    from ostkeeper.agent import fsckmark
    from ostkeeper.agent.backends.base import DiskError
    from ostkeeper.agent.locks import LockHeldError, Locks

    try:
        seen = fsckmark.look(arguments.device)
        if not arguments.partner and not arguments.partner_off:
            print(
                f"{seen.device}: FSCK, left by {seen.block.mark}; it stands still, and no process of {seen.node} holds it"
            )
            print(f"Nothing was written. On the other server:\n  ostkeeper clear-fsck DEVICE --partner {seen.words}")
            return 0
        why = fsckmark.refusal(seen, arguments.partner, arguments.partner_off)
        if why:
            return _refused(why)
        with Locks(arguments.lock_dir / "locks").take(arguments.target or seen.label, "clear") as lock:
            fsckmark.clear(seen)
            print(f"{seen.device}: MMP cleared; e2fsck -f runs", flush=True)
            command = ["e2fsck", "-f", *shlex.split(arguments.e2fsck_options), seen.device]
            return subprocess.run(command, check=False, pass_fds=(lock.fileno,)).returncode
    except (DiskError, LockHeldError, OSError, ValueError) as error:
        return _refused(str(error))


def _refused(why: str) -> int:
    print(f"ostkeeper clear-fsck: {why}\nNothing was written.", file=sys.stderr)
    return 3

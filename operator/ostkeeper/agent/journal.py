"""The agent's log: its start, what it mounts and unmounts, and every refusal, failure and hazard once.

What lasts is logged when it begins, when its reason changes and when it is over; attempts that fail for the same reason
are not repeated.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TypeVar

from ostkeeper.agent.identity import Identity
from ostkeeper.api.oss import OSSStatus
from ostkeeper.core import hostevents as ev

log = logging.getLogger("ostkeeper.agent")
EndedT = TypeVar("EndedT", ev.MountEnded, ev.UnmountEnded)
_SILENT = ("", "Waiting")
"""Reasons that pass by themselves within moments."""


class Journal:
    """What was logged last, by subject."""

    def __init__(self) -> None:
        self._targets: dict[str, tuple[str, str]] = {}
        self._failed: dict[str, str] = {}
        self._hazards: tuple[str, ...] = ()
        self._refusal = ""

    def starts(self, version: str, identity: Identity, state: Path) -> None:
        """A run begins."""
        log.info(
            "ostkeeper agent %s starts on %s, boot %s, board %s; state in %s",
            version,
            identity.node,
            identity.boot_id,
            identity.system_uuid,
            state,
        )

    def begins(self, order: ev.Mount | ev.Unmount) -> None:
        """An act begins; not told again while it is tried again after the same failure."""
        verb = "mount" if isinstance(order, ev.Mount) else "unmount"
        level = logging.DEBUG if order.target in self._failed else logging.INFO
        log.log(level, "%s %s on %s: %s", verb, order.target, order.mount_point, order.why)

    def ended(self, ended: EndedT) -> EndedT:
        """An act has ended."""
        verb = "mount" if isinstance(ended, ev.MountEnded) else "unmount"
        if ended.ok:
            self._failed.pop(ended.target, None)
            log.info("%s of %s: done", verb, ended.target)
        elif self._failed.get(ended.target) != ended.reason:
            self._failed[ended.target] = ended.reason
            log.warning(
                "%s of %s failed: %s: %s; tried again, slower each time",
                verb,
                ended.target,
                ended.reason,
                ended.message,
            )
        return ended

    def reports(self, status: OSSStatus) -> None:
        """A report is written: what in it is news to whoever reads the log."""
        for target in status.targets:
            said = (target.state, "" if target.reason in _SILENT else target.reason)
            if self._targets.get(target.target, ("", "")) != said:
                self._targets[target.target] = said
                level = logging.WARNING if said[1] or said[0] in ("ForeignMount", "Failed", "Refused") else logging.INFO
                detail = f": {target.message}" if said[1] else ""
                log.log(level, "%s is %s%s", target.target, target.state, detail)
        for hazard in status.hazards:
            if hazard not in self._hazards:
                log.warning("hazard: %s", hazard)
        for hazard in self._hazards:
            if hazard not in status.hazards:
                log.info("no longer a hazard: %s", hazard)
        self._hazards = status.hazards
        if status.refusal != self._refusal:
            self._refusal = status.refusal
            if status.refusal:
                log.error("this agent serves nothing: %s", status.refusal)
            else:
                log.info("this agent serves again")

"""The agent's log: what lasts is logged when it begins and when it is over, and not each time that it is tried or reported."""

import logging
from pathlib import Path

import pytest

from ostkeeper.agent.identity import Identity
from ostkeeper.agent.journal import Journal
from ostkeeper.api.oss import OSSStatus
from ostkeeper.core import hostevents as ev

pytestmark = pytest.mark.scenario
T = "scratch-OST0000"


def status(state: str, reason: str = "", message: str = "", **more: object) -> OSSStatus:
    target = {"target": T, "state": state, "reason": reason, "message": message}
    return OSSStatus.model_validate({"targets": [target], **more})


def test_start_names_version_node_boot_board_and_state(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ostkeeper.agent")
    Journal().starts("0.1.0", Identity("oss1", "boot-1", "board-1"), Path("/var/lib/ostkeeper"))
    assert caplog.messages == [
        "ostkeeper agent 0.1.0 starts on oss1, boot boot-1, board board-1; state in /var/lib/ostkeeper"
    ]


def test_refusal_is_logged_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ostkeeper.agent")
    journal = Journal()
    for seconds in range(3):
        journal.reports(status("Refused", "MMPActive", f"{T}: mounted elsewhere, {seconds}"))
    journal.reports(status("Mounted"))
    assert caplog.messages == [f"{T} is Refused: {T}: mounted elsewhere, 0", f"{T} is Mounted"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_failure_is_logged_once_however_often_it_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ostkeeper.agent")
    journal, order = Journal(), ev.Unmount(1, T, "/mnt/ost0", "Release at epoch 7", 12)
    for _ in range(3):
        journal.begins(order)
        journal.ended(ev.UnmountEnded(1, T, False, "MountedOver", "adminfs is mounted on top"))
    journal.begins(order)
    journal.ended(ev.UnmountEnded(1, T, True))
    assert caplog.messages == [
        f"unmount {T} on /mnt/ost0: Release at epoch 7",
        f"unmount of {T} failed: MountedOver: adminfs is mounted on top; tried again, slower each time",
        f"unmount of {T}: done",
    ]


def test_hazards_and_a_refusal_of_everything_are_logged_when_they_begin_and_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "ostkeeper.agent")
    journal = Journal()
    for _ in range(2):
        journal.reports(
            OSSStatus.model_validate({"hazards": ["pacemakerd is running"], "refusal": "WrongBoard: another"})
        )
    journal.reports(OSSStatus())
    assert caplog.messages == [
        "hazard: pacemakerd is running",
        "this agent serves nothing: WrongBoard: another",
        "no longer a hazard: pacemakerd is running",
        "this agent serves again",
    ]

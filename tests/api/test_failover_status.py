"""A Failover's status, as the API server referees it: the certificate. The phases stand in `test_failover_phases.py`."""

from typing import Any

import pytest

from api.objects import CONFIRMATION, Api, Json, Refusal, api, certificate, changed, confirmed, failover, fresh
from ostkeeper.testbed.controlplane import ControlPlane
from ostkeeper.testbed.identities import ONCALL

pytestmark = pytest.mark.contract

FENCING = {"phase": "Fencing", "evidence": "e1", "holdEpoch": 9}
OFF = {"deviceName": "bmc-oss1", "outlet": "", "state": "PoweredOff", "reads": 3}
DISK = {"target": "scratch-OST0000", "state": "Still"}
BY_HAND = {"feeds": [], "level": "", "confirmedBy": "alice"}

SOUND: list[tuple[str, Json]] = [
    ("every feed off in every round", {}),
    ("read in more rounds than asked for", {"feeds": [OFF | {"reads": 5}]}),
    ("disks that stand still", {"disks": [DISK, {"target": "scratch-OST0002", "state": "Clean"}], "clearMMP": True}),
]
UNSOUND: list[tuple[Json, str, str]] = [
    # what the certificate claims, the field that is named, the reason that is given
    ({"feeds": []}, "certificate.feeds", "UNKNOWN is never OFF"),
    ({"feeds": [OFF | {"state": "Unknown"}]}, "certificate.feeds", "UNKNOWN is never OFF"),
    ({"feeds": [OFF | {"state": "PoweredOn"}]}, "certificate.feeds", "UNKNOWN is never OFF"),
    ({"feeds": [OFF | {"reads": 0}]}, "certificate.feeds", "UNKNOWN is never OFF"),
    ({"feeds": [OFF | {"reads": 2}]}, "certificate.feeds", "in as many rounds as the policy asks for"),
    ({"feeds": [OFF | {"deviceName": "bmc-oss2"}]}, "certificate.feeds", "every feed of one level of spec.policy"),
    ({"feeds": [OFF | {"outlet": "2"}]}, "certificate.feeds", "every feed of one level of spec.policy"),
    ({"level": "pdus"}, "certificate.feeds", "every feed of one level of spec.policy"),
    ({"disks": [DISK | {"state": "Advancing"}]}, "certificate.disks", "what moves is alive"),
    ({"disks": [DISK | {"state": "Fsck"}]}, "certificate.disks", "what e2fsck holds is being written"),
    ({"disks": []}, "certificate.disks", "are missing: the server held targets"),
    ({"bootID": "8888"}, "status.certificate", "must be of the boot in spec.evidence.bootID"),
    ({"holdEpoch": 8}, "status.certificate", "of the Hold in status.holdEpoch"),
    ({"holdEpoch": 10}, "status.certificate", "of the Hold in status.holdEpoch"),
    (BY_HAND, "certificate.confirmedBy", "must be who answered ConfirmDead"),
    ({"confirmedBy": "alice"}, "certificate.confirmedBy", "must be who answered ConfirmDead"),
    ({"disks": [DISK | {"state": "Unreadable"}]}, "certificate.disks", "what cannot be read proves nothing"),
    (BY_HAND | {"confirmedBy": ""}, "certificate.feeds", "UNKNOWN is never OFF"),
    (BY_HAND | {"clearMMP": True}, "certificate.clearMMP", "must be false where a person's word"),
    ({"node": "oss2"}, "status.certificate", "must name spec.node"),
    ({"holdEpoch": 0}, "status.certificate", "no certificate without a durable Hold"),
]


async def fencing(admin: Api) -> str:
    """Create a Failover of epoch 7 in the phase Fencing, its Hold at epoch 9; return its name."""
    name = fresh("pair-") + "-7"
    await admin.create(failover(name))
    await admin.status("Failover", name, {"phase": "Holding", "evidence": "e1"})
    await admin.status("Failover", name, FENCING)
    return name


@pytest.mark.parametrize("claims", [case[1] for case in SOUND], ids=[case[0] for case in SOUND])
async def test_certificate_is_admitted(plane: ControlPlane, claims: dict[str, Any]) -> None:
    async with api(plane) as admin:
        name = await fencing(admin)
        await admin.status("Failover", name, {"phase": "Relocating", "certificate": certificate(**claims)})


@pytest.mark.parametrize(("claims", "field", "reason"), UNSOUND, ids=[f"{c[2]}-{i}" for i, c in enumerate(UNSOUND)])
async def test_certificate_that_proves_nothing_is_refused(
    plane: ControlPlane, claims: dict[str, Any], field: str, reason: str
) -> None:
    async with api(plane) as admin:
        name = await fencing(admin)
        with Refusal(field, reason):
            await admin.status("Failover", name, {"phase": "Relocating", "certificate": certificate(**claims)})
        assert (await admin.get("Failover", name))["status"] == FENCING


async def test_two_feeds_of_a_level_are_both_asked_for(plane: ControlPlane) -> None:
    level = {"name": "pdus", "feeds": [{"deviceName": d, "outlet": "1"} for d in ("pdu-left", "pdu-right")]}
    left, right = (
        {"deviceName": f"pdu-{d}", "outlet": "1", "state": "PoweredOff", "reads": 3} for d in ("left", "right")
    )
    async with api(plane) as admin:
        name = fresh("pair-") + "-7"
        await admin.create(changed(failover(name), {"spec.policy.levels": [level]}))
        await admin.status("Failover", name, {"phase": "Holding"})
        await admin.status("Failover", name, FENCING)
        with Refusal("certificate.feeds", "every feed of one level"):
            half = certificate(level="pdus", feeds=[left])
            await admin.status("Failover", name, {"phase": "Relocating", "certificate": half})
        whole = certificate(level="pdus", feeds=[left, right])
        await admin.status("Failover", name, {"phase": "Relocating", "certificate": whole})


@pytest.mark.parametrize("edit", [None, {"digest": "d2"}, {"bootID": "8888"}, {"clearMMP": True}], ids=str)
async def test_certificate_is_never_edited(plane: ControlPlane, edit: Json | None) -> None:
    async with api(plane) as admin:
        name = await fencing(admin)
        await admin.status("Failover", name, {"certificate": certificate()})
        with Refusal("status.certificate", "never edited and never taken back"):
            await admin.status("Failover", name, {"certificate": edit})
        await admin.status("Failover", name, {"phase": "Relocating", "message": "the rest of the status goes on"})


async def test_status_does_not_vanish_once_it_was_set(plane: ControlPlane) -> None:
    async with api(plane) as admin:
        name = await fencing(admin)
        with Refusal("status", "must not vanish"):
            await admin.status("Failover", name, None)


async def test_hold_epoch_does_not_go_back(plane: ControlPlane) -> None:
    async with api(plane) as admin:
        name = await fencing(admin)
        for older in (8, None):
            with Refusal("status.holdEpoch", "must not go back"):
                await admin.status("Failover", name, {"holdEpoch": older})
        await admin.status("Failover", name, {"holdEpoch": 10})


async def blocked(admin: Api, plane: ControlPlane, answer: str = "ConfirmDead") -> str:
    """Create a Failover that is Blocked and that alice has answered; return its name."""
    name = await fencing(admin)
    await admin.status("Failover", name, {"phase": "Blocked"})
    async with api(plane, ONCALL.user) as alice:
        await alice.patch("Failover", name, {"spec": {"approval": CONFIRMATION | {"answer": answer}}})
    return name


async def test_word_of_the_person_who_gave_it_stands_in_for_power_readings(plane: ControlPlane) -> None:
    async with api(plane) as admin:
        name = await blocked(admin, plane)
        for word in (confirmed() | {"confirmedBy": "bob"}, certificate()):
            with Refusal("status.certificate", "ConfirmDead" if "confirmedBy" in word else "needs confirmedBy"):
                await admin.status("Failover", name, {"phase": "Relocating", "certificate": word})
        await admin.status("Failover", name, {"phase": "Relocating", "certificate": confirmed()})


async def test_another_answer_than_confirm_dead_confirms_no_death(plane: ControlPlane) -> None:
    async with api(plane) as admin:
        name = await blocked(admin, plane, answer="Restart")
        with Refusal("certificate.confirmedBy", "must be who answered ConfirmDead"):
            await admin.status("Failover", name, {"phase": "Relocating", "certificate": confirmed()})


async def test_mmp_is_cleared_only_where_the_policy_says_so(plane: ControlPlane) -> None:
    async with api(plane) as admin:
        for allowed in (False, True):
            name = fresh("pair-") + "-7"
            await admin.create(changed(failover(name), {"spec.policy.clearMMP": allowed}))
            await admin.status("Failover", name, {"phase": "Holding"})
            await admin.status("Failover", name, FENCING)
            clearing: Json = {"phase": "Relocating", "certificate": certificate(clearMMP=True)}
            if not allowed:
                with Refusal("certificate.clearMMP", "must be false where spec.policy.clearMMP is"):
                    await admin.status("Failover", name, clearing)
                clearing["certificate"]["clearMMP"] = False
            await admin.status("Failover", name, clearing)


async def test_restart_of_a_server_whose_partner_reads_nothing_needs_no_disks(plane: ControlPlane) -> None:
    async with api(plane) as admin:
        name = await fencing(admin)
        await admin.status("Failover", name, {"phase": "PoweringOn", "certificate": certificate(disks=[])})


async def test_certificate_without_targets_needs_no_disks(plane: ControlPlane) -> None:
    async with api(plane) as admin:
        name = fresh("pair-") + "-7"
        await admin.create(changed(failover(name), {"spec.targets": []}))
        await admin.status("Failover", name, {"phase": "Holding"})
        await admin.status("Failover", name, FENCING)
        await admin.status("Failover", name, {"phase": "Relocating", "certificate": certificate(disks=[])})


DECISIONS: list[tuple[Json, str, str]] = [
    # the policy, the answer ("": none), the reason that Holding is refused with ("": it is taken)
    ({"mode": "Automatic"}, "", ""),
    ({"mode": "Manual", "automaticAfter": "5m"}, "", ""),
    ({"mode": "Manual"}, "Failover", ""),
    ({"mode": "Manual"}, "Restart", ""),
    ({"mode": "Manual"}, "", "must not become Holding unasked in this mode"),
    ({"mode": "Manual"}, "Dismiss", "must not become Holding unasked in this mode"),
    ({"mode": "Observe"}, "", "must not become Holding unasked in this mode"),
    ({"mode": "Observe"}, "Failover", "in mode Observe, which says what it would do and does nothing"),
    ({"mode": "Observe", "automaticAfter": "5m"}, "", "in mode Observe"),
]


@pytest.mark.parametrize(("policy", "word", "reason"), DECISIONS)
async def test_hold_rests_on_a_decision(plane: ControlPlane, policy: Json, word: str, reason: str) -> None:
    async with api(plane) as admin, api(plane, ONCALL.user) as alice:
        name = fresh("decided-") + "-7"
        await admin.create(changed(failover(name), {f"spec.policy.{field}": value for field, value in policy.items()}))
        await admin.status("Failover", name, {"phase": "AwaitingApproval", "evidence": "e1"})
        if word:
            await alice.patch("Failover", name, {"spec": {"approval": CONFIRMATION | {"answer": word}}})
        if not reason:
            await admin.status("Failover", name, {"phase": "Holding"})
            return
        with Refusal("status.phase", reason):
            await admin.status("Failover", name, {"phase": "Holding"})


async def test_answer_that_lapsed_lets_nothing_be_held(plane: ControlPlane) -> None:
    async with api(plane) as admin, api(plane, ONCALL.user) as alice:
        name = fresh("lapsed-") + "-7"
        await admin.create(changed(failover(name), {"spec.policy.mode": "Manual"}))
        await admin.status("Failover", name, {"phase": "AwaitingApproval", "evidence": "e1"})
        await alice.patch("Failover", name, {"spec": {"approval": CONFIRMATION | {"answer": "Failover"}}})
        await admin.status("Failover", name, {"evidence": "e2"})
        with Refusal("status.phase", "to the current status.evidence"):
            await admin.status("Failover", name, {"phase": "Holding"})


@pytest.mark.parametrize("type_", ["Switchover", "Failback"])
async def test_nothing_is_moved_in_mode_observe(plane: ControlPlane, type_: str) -> None:
    async with api(plane) as admin:
        name = fresh("observed-") + "-7"
        await admin.create(changed(failover(name, type_), {"spec.policy.mode": "Observe"}))
        with Refusal("status.phase", "in mode Observe"):
            await admin.status("Failover", name, {"phase": "Relocating"})
        await admin.status("Failover", name, {"phase": "Observed"})

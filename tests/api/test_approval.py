"""Who may answer a Failover, when, with what, and under which name. alice may approve, bob may look, carol may patch."""

import pytest

from api.objects import CAROL, Api, Json, Refusal, api, changed, failover, fresh
from ostkeeper.testbed.controlplane import ControlPlane
from ostkeeper.testbed.identities import ADMIN, ONCALL, OPERATOR, VIEWER

pytestmark = pytest.mark.contract

WAYS: dict[str, list[Json]] = {
    "AwaitingApproval": [{"phase": "AwaitingApproval", "evidence": "e1"}],
    "Holding": [{"phase": "Holding", "evidence": "e1"}],
    "Blocked": [
        {"phase": "Holding"},
        {"phase": "Fencing", "holdEpoch": 9},
        {"phase": "Blocked", "evidence": "e1", "holdEpoch": 9},
    ],
    "Blocked before the Hold": [
        {"phase": "Holding"},
        {"phase": "Fencing", "holdEpoch": 0},
        {"phase": "Blocked", "evidence": "e1", "holdEpoch": 0},
    ],
    "Aborted": [{"phase": "AwaitingApproval", "evidence": "e1"}, {"phase": "Aborted"}],
}


async def standing(admin: Api, way: str = "AwaitingApproval", type_: str = "Failover") -> str:
    """Create a Failover and take it to where `way` ends; return its name."""
    name = fresh("ask-") + "-7"
    await admin.create(failover(name, type_))
    for status in WAYS[way]:
        await admin.status("Failover", name, status)
    return name


def answer(word: str = "Failover", by: str = ONCALL.user, evidence: str = "e1", note: str = "") -> Json:
    return {"spec": {"approval": {"answer": word, "evidence": evidence, "by": by} | ({"note": note} if note else {})}}


async def test_user_with_the_verb_approve_answers(plane: ControlPlane) -> None:
    async with api(plane) as admin, api(plane, ONCALL.user) as alice:
        name = await standing(admin)
        after = await alice.patch("Failover", name, answer(note="its console shows a panic"))
    assert after["spec"]["approval"]["by"] == "alice"


async def test_name_of_who_answers_is_filled_in_where_it_was_left_out(plane: ControlPlane) -> None:
    nameless = changed(answer(), {"spec.approval": {"answer": "Failover", "evidence": "e1"}})
    async with api(plane) as admin, api(plane, ONCALL.user) as alice:
        name = await standing(admin)
        after = await alice.patch("Failover", name, nameless)
    assert after["spec"]["approval"] == answer()["spec"]["approval"]


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        (VIEWER.user, "cannot patch resource"),
        (CAROL.user, "carol may not answer"),
        (OPERATOR.user, "ostkeeper-operator may not answer"),
    ],
)
async def test_user_without_the_verb_approve_is_refused(plane: ControlPlane, user: str, reason: str) -> None:
    async with api(plane) as admin, api(plane, user) as other:
        name = await standing(admin)
        with Refusal("failovers", reason, status=403):
            await other.patch("Failover", name, answer(by=user))
        assert "approval" not in (await admin.get("Failover", name))["spec"]


async def test_answer_under_another_name_is_refused(plane: ControlPlane) -> None:
    async with api(plane) as admin, api(plane, ONCALL.user) as alice:
        name = await standing(admin)
        with Refusal("spec.approval.by", "must be the name that the API server knows you by, alice", status=403):
            await alice.patch("Failover", name, answer(by="bob"))


async def test_failover_is_not_created_with_an_answer_even_by_an_admin(plane: ControlPlane) -> None:
    async with api(plane) as admin:
        answered = changed(failover(fresh("born-") + "-7"), {"spec.approval": answer(by="admin")["spec"]["approval"]})
        with Refusal("spec.approval", "an answer follows a question"):
            await admin.create(answered)


async def test_other_changes_need_no_verb_approve(plane: ControlPlane) -> None:
    async with api(plane) as admin, api(plane, ONCALL.user) as alice, api(plane, CAROL.user) as carol:
        name = await standing(admin)
        await alice.patch("Failover", name, answer())
        await carol.patch("Failover", name, {"metadata": {"labels": {"shift": "night"}}})


ANSWERS: list[tuple[str, str, str, str]] = [
    # where the Failover stands, its type, the answer, the reason it is refused with ("": it is taken)
    ("AwaitingApproval", "Failover", "Failover", ""),
    ("AwaitingApproval", "Failover", "Restart", ""),
    ("AwaitingApproval", "Failover", "Dismiss", ""),
    ("AwaitingApproval", "Failback", "Failback", ""),
    ("AwaitingApproval", "Failback", "Dismiss", ""),
    ("AwaitingApproval", "Switchover", "Failback", ""),
    ("Blocked", "Failover", "ConfirmDead", ""),
    ("Blocked", "Failover", "Restart", ""),
    ("Blocked", "Failover", "Dismiss", ""),
    ("AwaitingApproval", "Failover", "ConfirmDead", "is none for this phase"),
    ("Blocked", "Failover", "Failover", "is none for this phase"),
    ("Blocked before the Hold", "Failover", "ConfirmDead", "only after the Hold was written"),
    ("AwaitingApproval", "Failover", "Failback", "is none for this type"),
    ("AwaitingApproval", "Failback", "Failover", "is none for this type"),
    ("AwaitingApproval", "Switchover", "Restart", "is none for this type"),
    ("AwaitingApproval", "Switchover", "Failover", "is none for this type"),
    ("AwaitingApproval", "Failover", "Yes", 'supported values: "Failover", "Restart", "Dismiss"'),
    ("Holding", "Failover", "Failover", "nothing is asked in this one"),
    ("Aborted", "Failover", "Failover", "nothing is asked in this one"),
]


@pytest.mark.parametrize(("way", "type_", "word", "reason"), ANSWERS)
async def test_answer_is_taken_where_it_is_asked_for(
    plane: ControlPlane, way: str, type_: str, word: str, reason: str
) -> None:
    async with api(plane) as admin, api(plane, ONCALL.user) as alice:
        name = await standing(admin, way, type_)
        if not reason:
            await alice.patch("Failover", name, answer(word))
            return
        with Refusal("spec.approval", reason):
            await alice.patch("Failover", name, answer(word))


async def test_answer_to_other_evidence_is_refused(plane: ControlPlane) -> None:
    async with api(plane) as admin, api(plane, ONCALL.user) as alice:
        name = await standing(admin)
        with Refusal("spec.approval.evidence", "is not the current status.evidence"):
            await alice.patch("Failover", name, answer(evidence="e0"))


async def test_answer_is_not_changed_or_withdrawn_while_its_evidence_stands(plane: ControlPlane) -> None:
    async with api(plane) as admin, api(plane, ONCALL.user) as alice:
        name = await standing(admin)
        await alice.patch("Failover", name, answer())
        for second in (answer("Dismiss"), answer(note="more"), {"spec": {"approval": None}}):
            with Refusal("spec.approval", "is not changed or withdrawn"):
                await alice.patch("Failover", name, second)


async def test_lapsed_answer_is_replaced_by_one_to_the_new_evidence(plane: ControlPlane) -> None:
    async with api(plane) as admin, api(plane, ONCALL.user) as alice, api(plane, ADMIN.user) as boss:
        name = await standing(admin)
        await alice.patch("Failover", name, answer())
        await admin.status("Failover", name, {"evidence": "e2"})
        with Refusal("spec.approval", "is not changed or withdrawn"):
            await alice.patch("Failover", name, {"spec": {"approval": None}})
        after = await boss.patch("Failover", name, answer("Dismiss", by=ADMIN.user, evidence="e2"))
    assert after["spec"]["approval"]["answer"] == "Dismiss"

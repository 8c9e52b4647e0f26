"""The referee in Python says what the API server says: the same tables of writes, judged by `core.referee` without a server.

The neighbouring files hold the real server against these tables; here the simulator's is. Not here: who may write.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from api.objects import CONFIRMATION, Json, certificate, changed, confirmed, failover, oss, ost, pair
from api.test_approval import ANSWERS, WAYS, answer
from api.test_bad_manifests import BAD, GOOD
from api.test_failover_phases import PHASES, paths
from api.test_failover_status import DECISIONS, FENCING, SOUND, UNSOUND
from api.test_immutable import IMMUTABLE, MUTABLE
from api.test_pair_status import ADMITTED, REFUSED, SERVING, held
from ostkeeper.api import OSS, OST, Failover, FenceDevice, OSSPair, phases
from ostkeeper.api.common import Model, Resource
from ostkeeper.core import referee, twins
from ostkeeper.core.twins import Twins

pytestmark = pytest.mark.scenario

KINDS: dict[str, type[Resource]] = {kind.kind: kind for kind in (OSSPair, Failover, OST, OSS, FenceDevice)}


def refusal(before: Json | None, after: Json) -> str:
    """What the schema (pydantic) or a rule refuses `after` with; empty: taken."""
    kind = KINDS[after["kind"]]
    try:
        return referee.refusal(kind.parse(before) if before else None, kind.parse(after))
    except ValidationError as schema:
        return f"schema: {schema}"


def in_status(status: Json | None) -> Json:
    return pair() | ({"status": status} if status is not None else {})


@pytest.mark.parametrize(("before", "changes"), [case[1:] for case in ADMITTED], ids=[case[0] for case in ADMITTED])
def test_pair_status_is_taken_as_by_the_api_server(before: Json, changes: Json) -> None:
    assert refusal(in_status(before), in_status(changed(before, changes))) == ""


@pytest.mark.parametrize(
    ("before", "changes", "reason"), [(c[0], c[1], c[3]) for c in REFUSED], ids=[c[3][:50] for c in REFUSED]
)
def test_pair_status_is_refused_as_by_the_api_server(before: Json, changes: Json, reason: str) -> None:
    told = refusal(in_status(before), in_status(changed(before, changes)))
    by_schema = reason.startswith(("Required value", "must have at most"))
    assert reason in told or (by_schema and told.startswith("schema"))


def test_status_that_vanishes_is_refused() -> None:
    assert "must not vanish" in refusal(in_status(SERVING), in_status(None))
    assert "must not vanish" in refusal(failover() | {"status": FENCING}, failover())


def test_epoch_jumps_to_what_a_person_adopts_and_no_further() -> None:
    before = changed(in_status(SERVING), {"spec.adopt": 5000})
    assert "unless a person's spec.adopt says so" in refusal(before, changed(before, {"status.epoch": 5002}))
    assert refusal(before, changed(before, {"status.epoch": 5001})) == ""


def test_server_that_holds_targets_is_not_dropped() -> None:
    before = in_status(held("Release"))
    assert "lacks a server that holds targets" in refusal(before, changed(before, {"spec.nodes[0].name": "oss9"}))


def relocating(claims: Json) -> Json:
    return failover() | {"status": FENCING | {"phase": "Relocating", "certificate": certificate(**claims)}}


@pytest.mark.parametrize("claims", [case[1] for case in SOUND], ids=[case[0] for case in SOUND])
def test_certificate_is_taken_as_by_the_api_server(claims: Json) -> None:
    assert refusal(failover() | {"status": FENCING}, relocating(claims)) == ""


@pytest.mark.parametrize(
    ("claims", "reason"), [(c[0], c[2]) for c in UNSOUND], ids=[f"{c[2]}-{i}" for i, c in enumerate(UNSOUND)]
)
def test_certificate_is_refused_as_by_the_api_server(claims: Json, reason: str) -> None:
    assert reason in refusal(failover() | {"status": FENCING}, relocating(claims))


@pytest.mark.parametrize("edit", [None, {"digest": "d2"}, {"bootID": "8888"}, {"clearMMP": True}], ids=str)
def test_certificate_is_never_edited(edit: Json | None) -> None:
    before = failover() | {"status": FENCING | {"certificate": certificate()}}
    after = failover() | {"status": FENCING | ({"certificate": certificate(**edit)} if edit else {})}
    assert "never edited and never taken back" in refusal(before, after)


def test_hold_epoch_does_not_go_back() -> None:
    before = failover() | {"status": FENCING}
    assert "holdEpoch: must not go back" in refusal(before, changed(before, {"status.holdEpoch": 8}))
    assert refusal(before, changed(before, {"status.holdEpoch": 10})) == ""


@pytest.mark.parametrize("type_", phases.ALL_TYPES)
def test_phases_follow_as_the_table_says(type_: str) -> None:
    start = failover(type_=type_)
    for source in paths(type_):
        before = start | ({"status": at(source, type_, source)} if source else {})
        allowed = {phase for phase in PHASES if not refusal(before, start | {"status": at(phase, type_, source)})}
        assert allowed == {phase for phase in PHASES if phases.may_follow(source, phase, type_)}, source


def at(phase: str, type_: str, source: str) -> Json:
    """A status in this phase, with all that the phase asks for; the certificate was there in `source`, if that is a phase."""
    if not source:
        return {"phase": phase}
    proof = {"holdEpoch": 9, "certificate": certificate(confirmedBy="alice")} if type_ == "Failover" else {}
    return {"phase": phase, **proof}


@pytest.mark.parametrize("phase", ["Relocating", "PoweringOn"])
def test_nothing_moves_or_is_powered_on_before_the_death_is_certified(phase: str) -> None:
    before = failover() | {"status": FENCING}
    assert "certificate: is missing" in refusal(before, changed(before, {"status.phase": phase}))


def test_blocked_failover_relocates_on_a_persons_word_only() -> None:
    before = failover() | {"status": FENCING | {"phase": "Blocked"}}
    assert "needs confirmedBy to go from Blocked to Relocating" in refusal(before, relocating({}))
    before, after = (changed(object_, {"spec.approval": CONFIRMATION}) for object_ in (before, word()))
    assert refusal(before, after) == ""


def word() -> Json:
    return failover() | {"status": FENCING | {"phase": "Relocating", "certificate": confirmed()}}


@pytest.mark.parametrize("said", [{}, {"answer": "Restart"}, {"by": "bob"}])
def test_nobody_elses_word_stands_in_for_power_readings(said: Json) -> None:
    after = changed(word(), {"spec.approval": CONFIRMATION | said}) if said else word()
    before = after | {"status": FENCING | {"phase": "Blocked"}}
    assert "must be who answered ConfirmDead" in refusal(before, after)


@pytest.mark.parametrize(("policy", "answered_with", "reason"), DECISIONS)
def test_hold_rests_on_a_decision(policy: Json, answered_with: str, reason: str) -> None:
    before = asked("AwaitingApproval", "Failover")
    before = changed(before, {f"spec.policy.{field}": value for field, value in policy.items()})
    if answered_with:
        before = answered(before, word=answered_with)
    told = refusal(before, changed(before, {"status.phase": "Holding"}))
    assert reason in told if reason else told == ""


@pytest.mark.parametrize("type_", ["Switchover", "Failback"])
def test_nothing_is_moved_in_mode_observe(type_: str) -> None:
    before = changed(failover(type_=type_), {"spec.policy.mode": "Observe"})
    assert "in mode Observe" in refusal(before, before | {"status": {"phase": "Relocating"}})
    assert refusal(before, before | {"status": {"phase": "Observed"}}) == ""


def test_mmp_is_cleared_only_where_the_policy_says_so() -> None:
    before = failover() | {"status": FENCING}
    assert refusal(before, relocating({"clearMMP": True})) == ""
    before, after = (changed(o, {"spec.policy.clearMMP": False}) for o in (before, relocating({"clearMMP": True})))
    assert "must be false where spec.policy.clearMMP is" in refusal(before, after)


def test_pinned_board_is_replaced_by_the_one_that_a_person_accepted_and_by_no_other() -> None:
    boards = [{"node": "oss1", "systemUUID": f"board-{n}"} for n in range(4)]
    before = changed(in_status(SERVING | {"boards": boards[1:2]}), {"spec.acceptBoards": boards[2:3]})
    assert "must keep the machine that is pinned" in refusal(before, changed(before, {"status.boards": boards[3:4]}))
    assert refusal(before, changed(before, {"status.boards": boards[2:3]})) == ""
    empty = in_status({"epoch": 41, "boards": boards[1:2]})
    assert refusal(empty, changed(empty, {"spec.nodes[0].name": "oss9", "status.boards": []})) == ""


def test_blocked_failover_relocates_again_by_the_certificate_that_it_had() -> None:
    certified = FENCING | {"phase": "Blocked", "certificate": certificate()}
    before = failover() | {"status": certified}
    assert refusal(before, changed(before, {"status.phase": "Relocating"})) == ""


def asked(way: str, type_: str) -> Json:
    status: Json = {}
    for step in WAYS[way]:
        status |= step
    return failover(type_=type_) | {"status": status}


@pytest.mark.parametrize(("way", "type_", "word", "reason"), ANSWERS)
def test_answer_is_judged_as_by_the_api_server(way: str, type_: str, word: str, reason: str) -> None:
    before = asked(way, type_)
    told = refusal(before, changed(before, {"spec.approval": answer(word)["spec"]["approval"]}))
    if reason:
        assert reason in told or (told.startswith("schema") and "supported values" in reason)
    else:
        assert told == ""


def answered(before: Json, **how: Any) -> Json:
    return changed(before, {"spec.approval": answer(**how)["spec"]["approval"]})


def test_answer_is_not_changed_while_its_evidence_stands_and_is_replaced_once_it_lapsed() -> None:
    before = asked("AwaitingApproval", "Failover")
    assert "is not the current status.evidence" in refusal(before, answered(before, evidence="e0"))
    first = answered(before)
    for second in (answered(before, word="Dismiss"), answered(before, note="more"), before):
        assert "is not changed or withdrawn" in refusal(first, second)
    lapsed = changed(first, {"status.evidence": "e2"})
    assert refusal(first, lapsed) == ""
    assert refusal(lapsed, answered(lapsed, word="Dismiss", evidence="e2")) == ""


@pytest.mark.parametrize(("manifest", "path", "value", "reason"), [(c[0], c[1], c[2], c[4]) for c in BAD])
def test_manifest_is_refused_as_by_the_api_server(manifest: Json, path: str, value: Any, reason: str) -> None:
    told = refusal(None, changed(manifest, {path: value}))
    assert told, reason
    assert told.startswith("schema") or reason in told or reason.startswith("is 5s")


@pytest.mark.parametrize(("manifest", "path", "value"), GOOD, ids=[f"{c[1]} {c[2]}"[:60] for c in GOOD])
def test_manifest_at_the_edge_is_taken_as_by_the_api_server(manifest: Json, path: str, value: Any) -> None:
    assert refusal(None, changed(manifest, {path: value})) == ""


@pytest.mark.parametrize(("manifest", "change", "field"), IMMUTABLE, ids=[f"{c[0]['kind']} {c[1]}" for c in IMMUTABLE])
def test_change_is_refused_as_immutable(manifest: Json, change: Json, field: str) -> None:
    told = refusal(manifest, merged(manifest, change))
    assert field in told
    assert "is immutable" in told


@pytest.mark.parametrize(("manifest", "change"), MUTABLE, ids=[str(list(c[1])) for c in MUTABLE])
def test_change_is_admitted(manifest: Json, change: Json) -> None:
    assert refusal(manifest, merged(manifest, change)) == ""


def merged(manifest: Json, change: Json) -> Json:
    """The manifest after a merge patch of its spec: null takes away, objects are merged."""

    def merge(old: Any, new: Any) -> Any:
        if not isinstance(new, dict):
            return new
        base = old if isinstance(old, dict) else {}
        both = base | {key: merge(base.get(key), value) for key, value in new.items()}
        return {key: value for key, value in both.items() if value is not None}

    return manifest | {"spec": merge(manifest["spec"], change)}


def test_all_that_the_tables_start_from_is_taken() -> None:
    for good in (pair(), ost(), oss(), failover()):
        assert refusal(None, good) == ""


def test_every_rule_of_every_model_has_its_twin() -> None:
    """A class that gets its first rule needs a table in `twins`; one more rule in a class fails at import."""

    def subclasses(cls: type[Model]) -> list[type[Model]]:
        return [found for sub in cls.__subclasses__() for found in (sub, *subclasses(sub))]

    rules = sorted(
        rule.rule for cls in subclasses(Model) if cls.__module__.startswith("ostkeeper.") for rule in cls.rules
    )
    tables = [table for table in vars(twins).values() if isinstance(table, Twins)]
    assert len(rules) == sum(len(table.alone) + len(table.change) + len(table.born) for table in tables)


def test_two_kinds_are_not_compared() -> None:
    with pytest.raises(TypeError, match="OST ost is compared with the OSS oss1"):
        referee.refusal(OSS.parse(oss()), OST.parse(ost("ost")))

"""The verdict table: each rule is hit by a test that names it, and by its neighbour it is missed."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from ostkeeper.core.verdict import RULES, Life, Witnesses, judge

pytestmark = pytest.mark.scenario

F, L, S, U = Life.FRESH, Life.LATE, Life.STALE, Life.UNKNOWN
DEAD = Witnesses(heartbeat=S, node=S, disk=S, network=S)
"""Nobody sees it, its partner is fresh."""

TABLE: dict[str, tuple[Witnesses, str]] = {
    "fenced": (replace(DEAD, fenced=True), "Fenced"),
    "shared-fault": (Witnesses(F, F, F, F, S, shared=True), "SharedFault"),
    "sick": (Witnesses(F, F, F, F, S), "Sick"),
    "kubelet": (Witnesses(F, S, F, F), "Degraded"),
    "healthy": (Witnesses(F, F, F, F), "Healthy"),
    "absent": (replace(DEAD, absent=True), "Absent"),
    "late": (replace(DEAD, heartbeat=L), "Suspect"),
    "unwatched": (replace(DEAD, heartbeat=U), "Suspect"),
    "serving": (replace(DEAD, disk=F, network=F), "Degraded"),
    "isolated": (replace(DEAD, disk=F), "Isolated"),
    "agent-gone": (replace(DEAD, network=F), "Sick"),
    "alone": (replace(DEAD, partner=S), "Suspect"),
    "idle": (replace(DEAD, holds=False), "Silent"),
    "blind": (replace(DEAD, disk=U), "Suspect"),
    "failed": (DEAD, "Failed"),
}
"""By rule: witnesses that hit it, and the verdict."""


@pytest.mark.parametrize("name", [rule.name for rule in RULES])
def test_rule_is_hit_by_its_own_witnesses(name: str) -> None:
    witnesses, verdict = TABLE[name]
    hit = next(rule for rule in RULES if rule.when(witnesses))
    assert (hit.name, hit.verdict) == (name, verdict)


def test_rules_are_fifteen_at_most_and_the_last_one_always_matches() -> None:
    assert len(RULES) <= 15
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert RULES[-1].when(Witnesses(F, F, F, F))


NEIGHBOURS = [
    ("a shared fault of a silent server is no shared fault", replace(DEAD, lustre=S, shared=True), "Failed"),
    ("errors of a late server do not show that it lives", Witnesses(L, S, S, S, S), "Suspect"),
    ("faults of both, one of which is late, do not either", Witnesses(L, S, S, S, S, shared=True), "Suspect"),
    ("a kubelet that nobody knows says nothing", Witnesses(F, U, F, F), "Healthy"),
    ("a server without a Node can fail", replace(DEAD, node=U), "Failed"),
    ("a fresh heartbeat outweighs POST", Witnesses(F, F, F, F, absent=True), "Healthy"),
    ("a kubelet that moves keeps the server", replace(DEAD, node=F), "Sick"),
    ("kubelet and disk move: serving", replace(DEAD, node=F, disk=F), "Degraded"),
    ("kubelet and disk moved a moment ago: perhaps", replace(DEAD, node=F, disk=F, lasting=False), "Suspect"),
    ("a network that answered a moment ago is no life", replace(DEAD, network=F, lasting=False), "Suspect"),
    ("a kubelet that moved a moment ago is no life", replace(DEAD, node=F, lasting=False), "Suspect"),
    ("a disk that moved a moment ago is no isolation yet", replace(DEAD, disk=F, lasting=False), "Suspect"),
    ("a network that nobody can judge blocks", replace(DEAD, network=U), "Suspect"),
    ("isolation is seen although the partner is silent", replace(DEAD, disk=F, partner=S), "Isolated"),
    ("an idle server with a blind partner is nobody's business", replace(DEAD, holds=False, disk=U), "Silent"),
    ("a fenced server that is not seen again stays fenced", replace(DEAD, fenced=True, absent=True), "Fenced"),
]


@pytest.mark.parametrize(("why", "witnesses", "verdict"), NEIGHBOURS, ids=[n[0] for n in NEIGHBOURS])
def test_neighbour_of_a_rule_gets_another_verdict(why: str, witnesses: Witnesses, verdict: str) -> None:
    assert judge(witnesses).name == verdict, why


ALL = [
    Witnesses(h, n, d, w, lustre, shared, p, fenced, absent, holds, lasting)
    for h, n, d, w, lustre in product((F, L, S, U), (F, S, U), (F, S, U), (F, S, U), (F, S, U))
    for shared, fenced, absent, holds, lasting in product((False, True), repeat=5)
    for p in (F, S)
]
DEADLY = ("Isolated", "Failed")
"""Verdicts upon which a Failover is opened."""


def test_every_combination_of_witnesses_has_a_verdict_with_a_sentence() -> None:
    for witnesses in ALL:
        verdict = judge(witnesses, "oss1", "oss2")
        assert "oss1" in verdict.sentence
        assert "{" not in verdict.sentence


def test_failed_needs_every_witness_against_it() -> None:
    """UNKNOWN is never a death, and neither is silence that the partner cannot vouch for."""
    for w in ALL:
        if judge(w).name == "Failed":
            assert (w.heartbeat, w.disk, w.network, w.partner) == (S, S, S, F)
            assert w.node is not F
            assert w.holds
            assert not w.absent


def test_automatic_verdict_never_gets_deadlier_when_a_witness_turns_fresh() -> None:
    for w in ALL:
        if judge(w).name == "Failed":
            continue
        for turned in (replace(w, heartbeat=F), replace(w, node=F), replace(w, disk=F), replace(w, network=F)):
            assert judge(turned).name != "Failed", (w, turned)


def test_unknown_witness_never_makes_a_failure() -> None:
    for w in ALL:
        for turned in (replace(w, heartbeat=U), replace(w, disk=U), replace(w, network=U)):
            assert judge(turned).name != "Failed", (w, turned)

"""The phases: the API server and `api.phases` agree on every step, of every type, allowed or not."""

import asyncio
from collections import deque
from typing import get_args

import pytest

from api.objects import CONFIRMATION, Api, Json, Refusal, api, certificate, confirmed, failover, fresh
from ostkeeper.api import phases
from ostkeeper.api.failover import Phase, Type
from ostkeeper.testbed.controlplane import ControlPlane
from ostkeeper.testbed.controlplane_client import ApiError
from ostkeeper.testbed.identities import ADMIN, ONCALL

PHASES: tuple[str, ...] = get_args(Phase)


def paths(type_: str) -> dict[str, list[str]]:
    """Return the shortest way to each phase that a Failover of `type_` can reach."""
    found: dict[str, list[str]] = {"": []}
    todo = deque([""])
    while todo:
        source = todo.popleft()
        for target in PHASES:
            if target not in found and phases.may_follow(source, target, type_):
                found[target] = [*found[source], target]
                todo.append(target)
    return found


@pytest.mark.scenario
def test_table_names_the_types_and_phases_of_the_model_and_reaches_all_of_them() -> None:
    assert set(phases.ALL_TYPES) == set(get_args(Type))
    assert set().union(*(paths(type_) for type_ in phases.ALL_TYPES)) == {"", *PHASES}
    assert {edge.source for edge in phases.EDGES}.isdisjoint(phases.TERMINAL)
    assert len({(edge.source, edge.target) for edge in phases.EDGES}) == len(phases.EDGES)


@pytest.mark.scenario
@pytest.mark.parametrize("type_", phases.ORDERLY)
def test_orderly_move_never_reaches_a_phase_that_cuts_power(type_: str) -> None:
    assert set(paths(type_)).isdisjoint({"Holding", "Fencing", "Blocked", "PoweringOn"})


@pytest.mark.scenario
def test_failover_never_fences_before_it_held() -> None:
    assert not phases.may_follow("AwaitingApproval", "Fencing", "Failover")
    assert not phases.may_follow("", "Fencing", "Failover")


@pytest.mark.contract
@pytest.mark.parametrize("type_", phases.ALL_TYPES)
async def test_api_server_allows_the_steps_of_the_table_and_no_other(plane: ControlPlane, type_: str) -> None:
    async with api(plane) as admin:
        answers = await asyncio.gather(*(_steps_from(admin, type_, way) for way in paths(type_).values()))
    allowed = {step for answer in answers for step in answer}
    table = {
        (source, target) for source in paths(type_) for target in PHASES if phases.may_follow(source, target, type_)
    }
    assert allowed == table


async def _steps_from(admin: Api, type_: str, way: list[str]) -> set[tuple[str, str]]:
    """Go to the end of `way`; return the steps that the server would then take."""
    name = fresh("walk-") + "-7"
    await admin.create(failover(name, type_))
    for phase in way:
        await _step(admin, name, type_, phase, dry_run=False)
    source = way[-1] if way else ""
    allowed, told = set(), []
    for target in PHASES:
        try:
            await _step(admin, name, type_, target, dry_run=True)
            allowed.add((source, target))
        except ApiError as refusal:
            told.append(refusal.message)
    unclear = [words for words in told if "status.phase" not in words or f"for type {type_}" not in words]
    assert not unclear
    return allowed


async def _step(admin: Api, name: str, type_: str, phase: str, dry_run: bool) -> None:
    """Write this phase with all that it needs. Nothing but the phase may be what a refusal is about."""
    status: Json = {"phase": phase}
    if type_ == "Failover":
        before = await admin.get("Failover", name)
        if phase in phases.CERTIFIED and "certificate" not in before.get("status", {}):
            word = before.get("status", {}).get("phase") == "Blocked"
            status |= {"holdEpoch": 9, "certificate": certificate(confirmedBy=ADMIN.user) if word else certificate()}
        if phase == "Blocked":
            status |= {"holdEpoch": 9, "evidence": "e1"}
    await admin.status("Failover", name, status, dry_run)
    if phase == "Blocked" and not dry_run:
        answer = {"answer": "ConfirmDead", "evidence": "e1", "by": ADMIN.user}
        await admin.patch("Failover", name, {"spec": {"approval": answer}})


@pytest.mark.contract
@pytest.mark.parametrize("phase", ["Relocating", "PoweringOn"])
async def test_nothing_moves_or_is_powered_on_before_the_death_is_certified(plane: ControlPlane, phase: str) -> None:
    name = fresh("uncertified-") + "-7"
    async with api(plane) as admin:
        await admin.create(failover(name))
        for before in ("Holding", "Fencing"):
            await admin.status("Failover", name, {"phase": before})
        with Refusal("status.certificate", "is missing"):
            await admin.status("Failover", name, {"phase": phase})


@pytest.mark.contract
async def test_blocked_failover_relocates_on_a_persons_word_only(plane: ControlPlane) -> None:
    name = fresh("blocked-") + "-7"
    async with api(plane) as admin:
        await admin.create(failover(name))
        for before in ("Holding", "Fencing", "Blocked"):
            await admin.status("Failover", name, {"phase": before})
        with Refusal("status.certificate", "needs confirmedBy to go from Blocked to Relocating"):
            await admin.status("Failover", name, {"phase": "Relocating", "certificate": certificate()})
        await admin.status("Failover", name, {"evidence": "e1", "holdEpoch": 9})
        async with api(plane, ONCALL.user) as alice:
            await alice.patch("Failover", name, {"spec": {"approval": CONFIRMATION}})
        await admin.status("Failover", name, {"phase": "Relocating", "certificate": confirmed()})


@pytest.mark.contract
async def test_blocked_failover_relocates_again_by_the_certificate_that_it_had(plane: ControlPlane) -> None:
    name = fresh("again-") + "-7"
    async with api(plane) as admin:
        await admin.create(failover(name))
        for before in ("Holding", "Fencing"):
            await admin.status("Failover", name, {"phase": before})
        held = {"holdEpoch": 9, "certificate": certificate()}
        for phase in ("Relocating", "Blocked", "Relocating"):
            await admin.status("Failover", name, held | {"phase": phase})

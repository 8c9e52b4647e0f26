"""The pair's status, as the API server referees it: epochs and assignments. Each refusal stands beside what is admitted."""

from typing import Any

import pytest

from api.objects import ABSENT, Api, Json, Refusal, api, changed, fresh, oss, pair
from ostkeeper.testbed.controlplane import ControlPlane

pytestmark = pytest.mark.contract

ADOPTED = {"adopted": {"nonce": "n1"}}
CERTIFIED = {"certificate": {"failover": "pair-a-42", "digest": "d1", "node": "oss1"}}


def released(node: str, epoch: int) -> Json:
    return {"released": {"node": node, "epoch": epoch}}


def held(intent: str, epoch: int = 43) -> Json:
    """Return a status in which OST0000 was told to `intent`, at epoch 43."""
    told = {"epoch": epoch, "assignments[0].intent": intent, "assignments[0].epoch": epoch}
    return changed(SERVING, told | {"activeFailover": "pair-a-42"})


def assigned(**fields: Any) -> Json:
    """Return the changes that give OST0000 another assignment, at epoch 45."""
    return {"epoch": 45, "assignments[0].epoch": 45} | {f"assignments[0].{name}": new for name, new in fields.items()}


SERVING: Json = {
    "epoch": 41,
    "activeFailover": "",
    "assignments": [
        {"target": "scratch-OST0000", "node": "oss1", "intent": "Serve", "epoch": 40, "warrant": ADOPTED},
        {"target": "scratch-OST0001", "node": "oss2", "intent": "Serve", "epoch": 41, "warrant": ADOPTED},
    ],
}
THIRD = {"target": "scratch-OST0002", "node": "oss2", "intent": "Serve", "epoch": 45, "warrant": ADOPTED}

BOARD = {"node": "oss1", "systemUUID": "board-1"}
PINNED: Json = SERVING | {"boards": [BOARD]}


def of(**fields: Any) -> Json:
    """Return the warrant of a certificate with other claims."""
    return changed(CERTIFIED, {f"certificate.{name}": value for name, value in fields.items()})


MOVED = assigned(node="oss2", intent="Serve", warrant=CERTIFIED)


def many(count: int) -> list[Json]:
    """Return so many assignments, the two of SERVING first."""
    more = [THIRD | {"target": f"scratch-OST{index:04x}"} for index in range(2, count)]
    return [*SERVING["assignments"], *more]


ADMITTED: list[tuple[str, Json, Json]] = [
    # what it shows, the status before, what is changed
    ("an epoch that stays", SERVING, {"activeFailover": "pair-a-42"}),
    ("an epoch that rises", SERVING, {"epoch": 42}),
    ("an epoch that rises by 1000", SERVING, {"epoch": 1041}),
    ("a Hold at a higher epoch", SERVING, assigned(intent="Hold")),
    ("a Hold that is renewed", held("Hold"), {"epoch": 45, "assignments[0].epoch": 45}),
    ("a new target", SERVING, {"epoch": 45, "assignments": [*SERVING["assignments"], THIRD]}),
    ("from Hold to the partner, certified", held("Hold"), assigned(node="oss2", intent="Serve", warrant=CERTIFIED)),
    (
        "from Release to the partner, released",
        held("Release"),
        assigned(node="oss2", intent="Serve", warrant=released("oss1", 43)),
    ),
    (
        "found mounted on the partner, adopted upon a person's word",
        SERVING,
        assigned(node="oss2", warrant={"adopted": {"nonce": "n2"}}) | {"adopted": 44},
    ),
    ("a slot that is freed", held("Hold"), {"activeFailover": ""}),
    ("a slot that is freed with the relocation", held("Hold"), MOVED | {"activeFailover": ""}),
    (
        "a certificate that stays when the slot is another's",
        changed(held("Hold"), MOVED | {"activeFailover": ""}),
        {"activeFailover": "pair-a-46"},
    ),
    ("a board that is pinned for the first time", SERVING, {"boards": [BOARD]}),
    (
        "a retired target that goes from Release",
        held("Release"),
        {"epoch": 44, "assignments": SERVING["assignments"][1:]},
    ),
    (
        "the last target of a pair that goes from Release",
        changed(held("Release"), {"assignments[1]": ABSENT}),
        {"epoch": 44, "assignments": []},
    ),
    ("64 targets", SERVING, {"epoch": 45, "assignments": many(64)}),
    ("a Restart: back to itself, certified", held("Hold"), assigned(intent="Serve", warrant=CERTIFIED)),
]
REFUSED: list[tuple[Json, Json, str, str]] = [
    # the status before, what is changed, the field that is named, the reason that is given
    (SERVING, {"epoch": 40}, "status.epoch", "must not go back"),
    (SERVING, {"epoch": ABSENT}, "status.epoch", "Required value"),
    (SERVING, {"epoch": 1042}, "status.epoch", "must not jump by more than 1000"),
    (SERVING, {"assignments": ABSENT}, "status.assignments", "must not lose a target"),
    (SERVING, {"assignments": []}, "status.assignments", "must not lose a target"),
    (SERVING, {"assignments[1]": ABSENT}, "status.assignments", "must not lose a target"),
    (SERVING, {"epoch": 45, "assignments[1]": ABSENT}, "status.assignments", "must not lose a target"),
    (held("Hold"), {"epoch": 45, "assignments[0]": ABSENT}, "status.assignments", "must not lose a target"),
    (held("Release"), {"assignments[0]": ABSENT}, "status.assignments", "must not lose a target"),
    (
        changed(held("Release"), {"activeFailover": "pair-a-40", "assignments[1].intent": "Hold"}),
        {"epoch": 45, "assignments[0]": ABSENT},
        "status.assignments",
        "while a Failover holds targets",
    ),
    (SERVING, {"epoch": 45, "assignments": many(65)}, "status.assignments", "must have at most 64 items"),
    (SERVING, {"assignments": [*SERVING["assignments"], THIRD]}, "status.assignments", "an epoch above status.epoch"),
    (SERVING, {"assignments[0].intent": "Hold"}, "epoch", "must rise with every change of node or intent"),
    (
        SERVING,
        {"assignments[0].epoch": 39},
        "epoch",
        "must rise with every change of node or intent, and never go back",
    ),
    (held("Hold"), assigned(node="oss2", warrant=ADOPTED), "warrant", "only with a new warrant"),
    (SERVING, assigned(node="oss2", warrant=CERTIFIED), "warrant", "the target was not in Hold"),
    (held("Release"), assigned(node="oss2", warrant=CERTIFIED), "warrant", "the target was not in Hold"),
    (held("Hold"), assigned(node="oss2", warrant=of(node="oss2")), "warrant", "of the server that has the target"),
    (held("Hold"), assigned(node="oss2", warrant=of(node=ABSENT)), "warrant", "of the server that has the target"),
    (held("Hold"), assigned(node="oss2", warrant=of(failover="pair-a-30")), "assignments", "of another Failover"),
    (held("Hold"), assigned(intent="Serve", warrant=of(failover="pair-a-30")), "assignments", "of another Failover"),
    (held("Hold"), {"activeFailover": "pair-a-43"}, "status.activeFailover", "the slot is freed (empty) before"),
    (
        SERVING,
        assigned(node="oss2", warrant={"adopted": {"nonce": "n2"}}),
        "status.assignments",
        "no new word of a person's",
    ),
    (
        SERVING | {"adopted": 40},
        assigned(node="oss2", warrant={"adopted": {"nonce": "n2"}}),
        "status.assignments",
        "no new word of a person's",
    ),
    (PINNED, {"boards[0].systemUUID": "another"}, "status.boards", "must keep the machine that is pinned"),
    (PINNED, {"boards": []}, "status.boards", "must keep the machine that is pinned"),
    (PINNED, {"boards": ABSENT}, "status.boards", "must keep the machine that is pinned"),
    (SERVING, assigned(node="oss2", warrant=released("oss1", 40)), "warrant", "is not the release of the last"),
    (held("Release"), assigned(node="oss2", warrant=released("oss1", 40)), "warrant", "is not the release of the last"),
    (held("Release"), assigned(node="oss2", warrant=released("oss2", 43)), "warrant", "is not the release of the last"),
    (held("Hold"), assigned(node="oss2", warrant=ADOPTED | CERTIFIED), "warrant", "must have exactly one of: adopted"),
    (held("Hold"), assigned(node="oss3", warrant=CERTIFIED), "spec.nodes", "lacks a server that holds targets"),
]


async def pair_with(admin: Api, status: Json) -> str:
    name = fresh("status-")
    await admin.create(pair(name))
    await admin.status("OSSPair", name, status)
    return name


def merge(before: Json, changes: Json) -> Json:
    """Return the merge patch that turns `before` into its changed self."""
    after = changed(before, changes)
    return after | {field: None for field in before if field not in after}


@pytest.mark.parametrize(("before", "changes"), [case[1:] for case in ADMITTED], ids=[case[0] for case in ADMITTED])
async def test_status_is_admitted(plane: ControlPlane, before: Json, changes: Json) -> None:
    async with api(plane) as admin:
        name = await pair_with(admin, before)
        written = await admin.status("OSSPair", name, merge(before, changes))
    assert written["status"] == changed(before, changes)


@pytest.mark.parametrize(
    ("before", "changes", "field", "reason"), REFUSED, ids=[f"{case[3][:50]}-{i}" for i, case in enumerate(REFUSED)]
)
async def test_status_is_refused_and_nothing_has_changed(
    plane: ControlPlane, before: Json, changes: Json, field: str, reason: str
) -> None:
    async with api(plane) as admin:
        name = await pair_with(admin, before)
        with Refusal(field, reason):
            await admin.status("OSSPair", name, merge(before, changes))
        assert (await admin.get("OSSPair", name))["status"] == before


async def test_status_does_not_vanish_once_it_was_set(plane: ControlPlane) -> None:
    async with api(plane) as admin:
        name = await pair_with(admin, SERVING)
        with Refusal("status", "must not vanish"):
            await admin.status("OSSPair", name, None)


async def test_no_report_and_no_adoption_uses_up_the_epochs(plane: ControlPlane) -> None:
    most = 2**52
    name = fresh("most-")
    async with api(plane) as admin:
        await admin.create(pair(name))
        await admin.status("OSSPair", name, {"epoch": 1})
        with Refusal("spec.adopt", "should be less than or equal to 4503599627370496"):
            await admin.patch("OSSPair", name, {"spec": {"adopt": most + 1}})
        await admin.patch("OSSPair", name, {"spec": {"adopt": most}})
        await admin.status("OSSPair", name, {"epoch": most + 1})
        await admin.status("OSSPair", name, {"epoch": most + 4})
        server = fresh("oss-")
        await admin.create(oss(server))
        with Refusal("status.epochSeen", "should be less than or equal to 4503599627370496"):
            await admin.status("OSS", server, {"epochSeen": most + 1})
        with Refusal("status.epochSeen", "should be greater than or equal to 0"):
            await admin.status("OSS", server, {"epochSeen": -1})
        await admin.status("OSS", server, {"epochSeen": most})


async def test_epoch_jumps_to_what_a_person_adopts_and_no_further(plane: ControlPlane) -> None:
    """After etcd was restored from long ago the agents have seen epochs far above the API's."""
    async with api(plane) as admin:
        name = await pair_with(admin, SERVING)
        await admin.patch("OSSPair", name, {"spec": {"adopt": 5000}})
        with Refusal("status.epoch", "unless a person's spec.adopt says so"):
            await admin.status("OSSPair", name, {"epoch": 5002})
        await admin.status("OSSPair", name, {"epoch": 5001})


async def test_server_that_holds_targets_is_not_dropped_and_an_empty_one_is(plane: ControlPlane) -> None:
    replaced = changed(pair(), {"spec.nodes[0].name": "oss9"})["spec"]["nodes"]
    async with api(plane) as admin:
        name = await pair_with(admin, held("Release"))
        with Refusal("spec.nodes", "lacks a server that holds targets"):
            await admin.patch("OSSPair", name, {"spec": {"nodes": replaced}})
        empty = changed(held("Release"), assigned(node="oss2", intent="Serve", warrant=released("oss1", 43)))
        await admin.status("OSSPair", name, empty)
        await admin.patch("OSSPair", name, {"spec": {"nodes": replaced}})


async def test_pinned_board_is_replaced_by_the_one_that_a_person_accepted_and_by_no_other(plane: ControlPlane) -> None:
    async with api(plane) as admin:
        name = await pair_with(admin, PINNED)
        await admin.patch("OSSPair", name, {"spec": {"acceptBoards": [{"node": "oss1", "systemUUID": "board-2"}]}})
        with Refusal("status.boards", "spec.acceptBoards"):
            await admin.status("OSSPair", name, {"boards": [{"node": "oss1", "systemUUID": "board-3"}]})
        await admin.status("OSSPair", name, {"boards": [{"node": "oss1", "systemUUID": "board-2"}]})


async def test_board_of_a_server_that_left_the_pair_is_forgotten(plane: ControlPlane) -> None:
    replaced = changed(pair(), {"spec.nodes[0].name": "oss9"})["spec"]["nodes"]
    async with api(plane) as admin:
        name = await pair_with(admin, {"epoch": 41, "boards": [BOARD]})
        await admin.patch("OSSPair", name, {"spec": {"nodes": replaced}})
        await admin.status("OSSPair", name, {"boards": []})

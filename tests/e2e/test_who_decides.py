"""Who decides: in Manual nothing moves before a person has answered what stands there; in Observe nothing moves at all."""

import pytest

from e2e.world import E2E, e2e_world
from ostkeeper.api.rules import LOOK_AGAIN
from ostkeeper.testbed.controlplane import ControlPlaneError
from waiting import wait_for_async

pytestmark = pytest.mark.e2e


def nothing_moved(w: E2E) -> None:
    """No feed is off, and nobody but its home has a target mounted."""
    w.untouched("oss1")
    w.untouched("oss2")
    assert w.mounted_on("oss2") == w.homed_at("oss2")


async def lapsed(w: E2E, name: str) -> str:
    """Let an answer lapse, and give its evidence. One to a question that is another one meanwhile is given again."""

    async def so() -> str:
        fo = await w.failover(name)
        assert fo.status is not None
        approval = fo.spec.approval
        if approval and any("an answer lapsed" in entry.message for entry in fo.status.timeline):
            return approval.evidence
        if approval is None or approval.evidence != fo.status.evidence:
            await w.answer(name, "Failover")
        return ""

    return await wait_for_async(so, 60, "an answer that cannot be acted upon should lapse", step=0.2)


async def test_answer_lapses_and_nothing_moves_before_one_that_stands() -> None:
    """One that could not be acted upon in time is worth nothing; an answer to what is no longer so is refused at once."""
    async with e2e_world(mode="Manual", spec={"failover": {"approval": {"validFor": "4s"}}}) as w:
        await w.ready()
        await w.verbs.hang("oss1")
        asked = await w.phase("pair-a", "AwaitingApproval")
        await w.patch("osspair", "pair-a", {"spec": {"maintenance": ["oss2"]}})
        await w.observed()
        old = await lapsed(w, asked.name)
        again = await w.failover(asked.name)
        assert again.status is not None
        assert asked.status is not None
        assert again.status.asked > asked.status.asked
        with pytest.raises(ControlPlaneError, match=LOOK_AGAIN):
            await w.answer(asked.name, "Restart", evidence=old)

        await w.patch("osspair", "pair-a", {"spec": {"maintenance": []}})
        await w.observed()
        await w.while_beating("oss2", 4, lambda: nothing_moved(w))
        assert (await w.failover(asked.name)).phase == "AwaitingApproval"

        await w.approve(asked.name, "Failover", user="alice")
        fo = await w.phase("pair-a", "Complete")
        assert fo.status is not None
        assert fo.status.answered_by == "alice"
        await w.served(on="oss2")


async def test_dismissed_question_moves_nothing_and_is_not_asked_again() -> None:
    async with e2e_world(mode="Manual") as w:
        await w.ready()
        await w.verbs.hang("oss1")
        asked = await w.phase("pair-a", "AwaitingApproval")
        await w.approve(asked.name, "Dismiss")
        await w.phase("pair-a", "Aborted")
        await w.while_beating("oss2", 4, lambda: nothing_moved(w))
        assert len(await w.failovers()) == 1


async def test_observe_says_what_it_would_do_and_moves_nothing() -> None:
    async with e2e_world(mode="Observe") as w:
        await w.ready()
        await w.verbs.crash("oss1")
        fo = await w.phase("pair-a", "Observed")
        assert fo.status is not None
        assert "would fence oss1" in fo.status.message
        await w.while_beating("oss2", 5, lambda: nothing_moved(w))
        assert [one.name for one in await w.failovers()] == [fo.name]
        status = (await w.pair()).status
        assert status is not None
        assert {a.node for a in status.assignments if a.target in fo.spec.targets} == {"oss1"}


async def test_restart_boots_the_server_again_and_it_keeps_its_targets() -> None:
    async with e2e_world(mode="Manual") as w:
        await w.ready()
        await w.verbs.hang("oss1")
        before = w.world.hosts["oss1"].boot_id
        asked = await w.phase("pair-a", "AwaitingApproval")
        await w.approve(asked.name, "Restart")
        await w.phase("pair-a", "Complete", within=90)
        await w.served(on=dict.fromkeys(w.homed_at("oss1"), "oss1"), within=90)
        assert w.world.hosts["oss1"].boot_id != before

"""Another machine boots under a server's name: it is nobody until a person accepts it."""

import pytest

from e2e.world import E2E, e2e_world
from ostkeeper.testbed.controlplane import ControlPlaneError
from ostkeeper.testbed.identities import ONCALL, VIEWER
from waiting import wait_for_async

pytestmark = pytest.mark.e2e


async def refused(w: E2E) -> bool:
    report = (await w.oss("oss1")).status
    return report is not None and report.refusal.startswith("WrongBoard")


async def test_another_board_gets_no_lease_and_no_target_until_a_person_accepts_it() -> None:
    async with e2e_world() as w:
        await w.ready()
        board = await w.verbs.board_replace("oss1")
        await w.verbs.power_cut("oss1")
        await w.phase("pair-a", "Complete")
        await w.served(on="oss2")
        last = await w.lease("oss1")

        await w.verbs.power_on("oss1")
        await w.true("Stalled", words=(board,), reason="AnotherBoard")

        async def nobody() -> None:
            assert await w.lease("oss1") == last
            assert w.mounted_on("oss1") == []

        await w.while_beating("oss2", 4, nobody)
        await wait_for_async(lambda: refused(w), 60, "the agent on that board should say why it does nothing", step=0.2)

        accepted = {"spec": {"acceptBoards": [{"node": "oss1", "systemUUID": board}]}}
        with pytest.raises(ControlPlaneError, match=VIEWER.user):
            await w.patch("osspair", "pair-a", accepted, user=VIEWER.user)
        await w.patch("osspair", "pair-a", accepted, user=ONCALL.user)
        await w.judged("oss1", "Healthy")
        question = await w.phase("pair-a", "AwaitingApproval", type_="Failback")
        await w.approve(question.name, "Failback")
        await w.ready(armed=False)

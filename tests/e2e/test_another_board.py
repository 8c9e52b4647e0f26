"""Another machine boots under a server's name: it is nobody until a person accepts it."""

import pytest

from e2e.world import e2e_world
from ostkeeper.testbed.controlplane import ControlPlaneError
from ostkeeper.testbed.identities import ONCALL, VIEWER

pytestmark = pytest.mark.e2e


async def test_another_board_gets_no_lease_and_no_target_until_a_person_accepts_it() -> None:
    async with e2e_world() as w:
        await w.ready()
        board = await w.verbs.board_replace("oss1")
        await w.verbs.power_cut("oss1")
        await w.phase("pair-a", "Complete")
        await w.served(on="oss2")
        last = await w.lease("oss1")

        await w.verbs.power_on("oss1")
        stalled = await w.true("Stalled")
        assert stalled.reason == "AnotherBoard"
        assert board in stalled.message

        async def nobody() -> None:
            assert await w.lease("oss1") == last
            assert w.mounted_on("oss1") == []

        await w.while_beating("oss2", 4, nobody)
        report = (await w.oss("oss1")).status
        assert report is not None
        assert report.refusal.startswith("WrongBoard")

        accepted = {"spec": {"acceptBoards": [{"node": "oss1", "systemUUID": board}]}}
        with pytest.raises(ControlPlaneError, match=VIEWER.user):
            await w.patch("osspair", "pair-a", accepted, user=VIEWER.user)
        await w.patch("osspair", "pair-a", accepted, user=ONCALL.user)
        await w.judged("oss1", "Healthy")
        question = await w.phase("pair-a", "AwaitingApproval", type_="Failback")
        await w.approve(question.name, "Failback")
        await w.ready(armed=False)

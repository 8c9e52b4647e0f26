"""Alice's answers in the demo: what changes under her hands makes her look again, and nothing else does."""

import json
from typing import Any, cast

import pytest

from demo.floors import failover, scene
from ostkeeper.api.rules import LOOK_AGAIN, NOT_ASKED
from ostkeeper.testbed.processes import CommandFailed
from ostkeeper.testbed.scene import Scene
from ostkeeper.testbed.story import DemoFailedError, Story

pytestmark = pytest.mark.scenario
ASKED = "pair-b-7"


class Desk:
    """Stage and observer of a story whose API server refuses the first answers in these words; the question is another then."""

    def __init__(self, *refusals: str) -> None:
        self.observer = self
        self.refusals = list(refusals)
        self.answered: list[str] = []
        self.said: list[str] = []
        self.scene = self._asks()

    def _asks(self) -> Scene:
        asked = failover(ASKED, "AwaitingApproval")
        asked["status"]["evidence"] = f"e{len(self.answered) + 1}"
        return scene(failovers=[asked])

    async def shell(self, command: str, user: str = "") -> str:
        if " patch " in command:
            self.answered.append(json.loads(command.partition("-p ")[2].strip("'"))["spec"]["approval"]["evidence"])
            if self.refusals:
                self.scene = self._asks()
                raise CommandFailed(f"{command}: exit 1: {self.refusals.pop(0)}")
            self.scene = scene(failovers=[failover(ASKED, "Holding")])
        return ""

    async def look(self) -> Scene:
        return self.scene

    async def until(self, why: str, condition: Any, seconds: float) -> Scene:
        assert condition(self.scene), why
        return self.scene

    def say(self, text: str) -> None:
        self.said.append(text)


async def approve(desk: Desk) -> str:
    return await Story(cast("Any", None), cast("Any", desk))._approve("Failover", "pair-b")


@pytest.mark.parametrize("words", [LOOK_AGAIN, NOT_ASKED])
async def test_answer_that_is_refused_as_the_question_has_changed_is_given_to_the_one_that_stands(words: str) -> None:
    desk = Desk(words)
    assert await approve(desk) == ASKED
    assert desk.answered == ["e1", "e2"]
    assert len(desk.said) == 1, "the audience is told why she looks again"


async def test_answer_that_is_refused_for_another_reason_fails_the_demo() -> None:
    with pytest.raises(CommandFailed, match="forbidden"):
        await approve(Desk("alice is forbidden to answer"))


async def test_question_that_changes_with_every_look_fails_the_demo() -> None:
    with pytest.raises(DemoFailedError, match="alice could not answer it"):
        await approve(Desk(*[LOOK_AGAIN] * 99))

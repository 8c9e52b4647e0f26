"""Silence of everybody at once is no death: the servers, or the API server itself, cannot be heard for a while.

Clients are served through it all; when everybody is heard again, nobody was shot and nothing has moved.
"""

import pytest

from e2e.patience import while_leading, while_writing
from e2e.world import E2E, e2e_world

pytestmark = pytest.mark.e2e

THREE_TIMEOUTS = 18.0
A_MINUTE = 60.0


def serving_at_home(w: E2E) -> None:
    """Every feed is on, and every server has mounted what is its own."""
    for host in w.world.layout.hosts:
        w.untouched(host)
        assert w.mounted_on(host) == w.homed_at(host)


async def test_nobody_is_shot_while_all_servers_are_cut_off_from_the_api_server() -> None:
    async with e2e_world() as w:
        await w.ready()
        for host in w.world.layout.hosts:
            await w.verbs.partition(host, "api")
        await w.true("Stalled", reason="BothSilent")
        await while_leading(w, THREE_TIMEOUTS, lambda: serving_at_home(w))
        for host in w.world.layout.hosts:
            await w.verbs.heal(host)
        await w.ready()
        serving_at_home(w)
        assert await w.failovers() == []


async def test_nobody_is_shot_after_the_api_server_was_away_for_a_minute() -> None:
    async with e2e_world() as w:
        await w.ready()
        await w.verbs.apiserver("stop")
        await while_writing(w, A_MINUTE, lambda: serving_at_home(w))
        await w.verbs.apiserver("start")
        await w.renewed("oss1")
        await w.while_beating("oss2", 5, lambda: serving_at_home(w))
        await w.ready()
        assert await w.failovers() == []

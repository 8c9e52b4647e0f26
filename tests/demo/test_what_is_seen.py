"""What a scene says of the floor, and which sentences tell what has changed."""

from dataclasses import replace
from typing import Any

import pytest

from demo.floors import failover, ost, pair, scene, server
from ostkeeper.testbed.scene import FeedSeen, Scene, changes, verdicts_of

pytestmark = pytest.mark.scenario
ZERO, ONE = "scratch-OST0000", "scratch-OST0001"


def at_home() -> Scene:
    servers = [server("oss1", [ZERO]), server("oss2", [ONE])]
    return scene(servers, [ost(0, "oss1", "oss1", "Mounted"), ost(1, "oss2", "oss2", "Mounted")])


def test_all_at_home_is_seen_when_it_is_said_and_true() -> None:
    assert at_home().at_home(["pair-a"])


def test_mounted_elsewhere_than_said_is_not_serving() -> None:
    servers = [server("oss1"), server("oss2", [ZERO, ONE])]
    said = [ost(0, "oss1", "oss1", "Mounted"), ost(1, "oss2", "oss2", "Mounted")]
    assert not scene(servers, said).serving(["pair-a"])


def test_mounted_twice_is_not_serving() -> None:
    servers = [server("oss1", [ZERO]), server("oss2", [ZERO, ONE])]
    said = [ost(0, "oss1", "oss1", "Mounted"), ost(1, "oss2", "oss2", "Mounted")]
    assert not scene(servers, said).serving(["pair-a"])


def test_served_by_the_partner_is_serving_but_not_at_home() -> None:
    there = scene([server("oss1"), server("oss2", [ZERO])], [ost(0, "oss1", "oss2", "Mounted")])
    assert there.serving(["pair-a"])
    assert not there.at_home(["pair-a"])


def test_pair_without_osts_is_not_serving() -> None:
    assert not scene([server("oss1")]).serving(["pair-a"])


def test_failover_that_was_known_before_is_not_the_one_that_was_opened() -> None:
    seen = scene(failovers=[failover("pair-a-9", "Complete"), failover("pair-a-11", "Fencing")])
    assert seen.opened(frozenset({"pair-a-9"}), "Failover", "pair-a") == "pair-a-11"
    assert seen.opened(seen.names(), "Failover", "pair-a") == ""
    assert seen.opened(frozenset(), "Drill", "pair-a") == ""


def test_only_what_waits_for_an_answer_asks() -> None:
    seen = scene(failovers=[failover("pair-a-9", "Aborted"), failover("pair-a-11", "AwaitingApproval")])
    assert seen.asking("Failover", "pair-a") == "pair-a-11"
    assert seen.asking("Failback", "pair-a") == ""


def test_condition_comes_with_its_reason() -> None:
    seen = scene(pairs=[pair("pair-a", {"oss1": "Healthy"}, armed="False")])
    assert seen.condition("pair-a", "Armed") == (False, "not drilled")
    assert seen.condition("pair-b", "Armed")[0] is False


def test_verdicts_are_those_of_all_pairs() -> None:
    both = [pair("pair-a", {"oss1": "Fenced", "oss2": "Healthy"}), pair("pair-b", {"oss3": "Suspect"})]
    assert verdicts_of(both) == {"oss1": "Fenced", "oss2": "Healthy", "oss3": "Suspect"}


@pytest.mark.parametrize(
    ("what", "condition"),
    [
        ({}, "runs"),
        ({"hung": True}, "hangs"),
        ({"cut_off": True}, "cut off"),
        ({"running": False, "crashed": True}, "crashed"),
        ({"running": False}, "boots"),
        ({"running": False, "powered": False, "crashed": True}, "no power"),
    ],
)
def test_condition_of_a_server_is_the_worst_that_is_true(what: dict[str, Any], condition: str) -> None:
    assert server("oss1", **what).condition == condition


def test_nothing_is_told_when_nothing_has_changed() -> None:
    assert changes(at_home(), at_home()) == []


def test_power_cut_and_takeover_are_told_in_order() -> None:
    before = at_home()
    dark = (FeedSeen("pdu-left/1", False), FeedSeen("pdu-right/1", False))
    dead = replace(before.servers[0], running=False, powered=False, feeds=dark, mounts=(), verdict="Failed")
    taken = replace(before.servers[1], mounts=(ZERO, ONE))
    after = replace(before, servers=(dead, taken))
    assert changes(before, after) == [
        "oss1: pdu-left/1, pdu-right/1 off",
        "oss1 has no power",
        "oss1 has lost OST0000",
        "oss2 has mounted OST0000",
        "operator: oss1 is Failed",
    ]


def test_orderly_unmount_is_told_as_one() -> None:
    before = at_home()
    after = replace(before, servers=(replace(before.servers[0], mounts=()), before.servers[1]))
    assert changes(before, after) == ["oss1 has unmounted OST0000"]


def test_each_timeline_entry_is_told_once() -> None:
    first, second = ("2026-11-23T10:00:00Z", "Holding", "unasked"), ("2026-11-23T10:00:01Z", "Fencing", "level pdus")
    before = scene(failovers=[failover("pair-a-7", "Holding", first)])
    after = scene(failovers=[failover("pair-a-7", "Fencing", first, second)])
    assert changes(before, after) == ["pair-a-7 Fencing: level pdus"]
    assert changes(after, after) == []

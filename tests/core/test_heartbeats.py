"""Staleness: on the observer's clock, only as far as the canary proves; the amnesty, and the fuse."""

from __future__ import annotations

import pytest

from ostkeeper.core.events import Beat
from ostkeeper.core.heartbeats import CANARY_GAP, FUSE_PATIENCE, FUSE_REST, Heartbeats, Server, newer

pytestmark = pytest.mark.scenario


def beat(version: int, node: str = "oss1", boot: str = "boot1") -> Beat:
    return Beat(node, boot, str(version), "1", ())


def watched(until: float, *, beats: bool = True) -> Heartbeats:
    """Both servers renew every 2 s from 100 s on, the canary every second."""
    hb = Heartbeats()
    hb.restart(100.0)
    for second in range(100, int(until) + 1):
        if beats and second % 2 == 0:
            for node in ("oss1", "oss2"):
                hb.seen(beat(second, node), float(second))
        hb.proven(float(second), second + 0.1)
    return hb


def test_first_sight_of_a_lease_is_no_movement() -> None:
    hb = Heartbeats()
    hb.restart(100.0)
    assert not hb.seen(beat(1), 100.5)
    assert not hb.pulses["oss1"].moved


def test_same_or_older_version_is_no_movement() -> None:
    hb = watched(110.0)
    assert not hb.seen(beat(110), 111.0)
    assert not hb.seen(beat(104), 111.0)
    assert hb.pulses["oss1"].changed_at == 110.0


def test_versions_are_compared_as_numbers() -> None:
    assert newer("1000", "999")
    assert not newer("999", "1000")


def test_lease_grows_stale_only_as_far_as_the_canary_reaches() -> None:
    hb = watched(110.0)
    hb.proven(112.0, 112.1)
    assert hb.stale_for("oss1") == 2.0
    assert hb.unseen_for("oss1", 140.0) == 30.0
    assert hb.stale_for("oss1") == 2.0, "time alone proves nothing: the watch may be dead"


def test_gap_in_the_canary_starts_every_clock_again() -> None:
    hb = watched(110.0)
    late = 110.0 + CANARY_GAP + 10
    hb.proven(late, late + 0.1)
    assert hb.stale_for("oss1") == 0.0
    assert not hb.pulses["oss1"].moved, "what was seen before the gap says nothing about now"
    assert not hb.renewed_since("oss1", 90.0)


def test_short_gap_in_the_canary_is_none() -> None:
    hb = watched(110.0)
    hb.proven(110.0 + CANARY_GAP, 113.1)
    assert hb.stale_for("oss1") == CANARY_GAP


def test_canary_that_comes_back_late_proves_only_what_was_before_it_was_written() -> None:
    hb = watched(110.0)
    hb.proven(111.0, 119.0)
    assert hb.stale_for("oss1") == 1.0


def test_server_that_was_never_seen_is_stale_since_the_clocks_started() -> None:
    hb = watched(112.0)
    assert hb.stale_for("oss9") == 12.0
    assert not hb.known("oss9")


def test_one_renewal_after_a_moment_may_have_begun_before_it() -> None:
    hb = watched(110.0)
    hb.proven(111.0, 111.1)
    hb.seen(beat(111), 111.2)
    assert not hb.renewed_since("oss1", 110.5)
    hb.seen(beat(113), 113.0)
    assert hb.renewed_since("oss1", 110.5)


def test_renewal_is_late_after_one_and_a_half_intervals() -> None:
    hb = watched(110.0)
    assert not hb.late("oss1", 2.0, 113.0)
    assert hb.late("oss1", 2.0, 113.1)


def fused(late: int, of: int, excused: int = 0) -> str:
    """`of` servers of one file system, of which the first `late` are late; the last `excused` of those are excused."""
    hb = Heartbeats()
    hb.restart(100.0)
    for i in range(of):
        hb.seen(beat(1, f"s{i}"), 100.0)
        hb.seen(beat(2, f"s{i}"), 105.0 if i < late else 109.9)
        hb.servers[f"s{i}"] = Server(2.0, ("filesystem/scratch",), excused=late - excused <= i < late)
    return hb.fuse("s0", 110.0)


@pytest.mark.parametrize(("late", "of", "open_"), [(1, 4, False), (2, 4, False), (3, 4, True), (3, 100, False)])
def test_fuse_opens_above_two_or_ten_percent(late: int, of: int, open_: bool) -> None:
    assert bool(fused(late, of)) == open_


def test_fuse_opens_above_ten_percent_of_a_large_site() -> None:
    assert not fused(10, 100)
    assert "11 of 100" in fused(11, 100)


def test_fuse_does_not_count_the_certified_and_those_in_maintenance() -> None:
    assert not fused(4, 6, excused=2)


def test_fuse_counts_a_power_domain_of_its_own() -> None:
    hb = Heartbeats()
    hb.restart(100.0)
    for i in range(4):
        hb.servers[f"s{i}"] = Server(2.0, (f"filesystem/f{i}", "power/scratch/left"))
    assert "power/scratch/left" in hb.fuse("s0", 110.0)


def test_fuse_names_those_who_are_late() -> None:
    assert "s0, s1, s2" in fused(3, 4)


def returning(count: int, *, at: float, of: int = 20) -> Heartbeats:
    """All servers are late at 110 s; so many of them have come back at a later second, and stay."""
    hb = Heartbeats()
    hb.restart(100.0)
    for i in range(of):
        hb.seen(beat(1, f"s{i}"), 100.0)
        hb.servers[f"s{i}"] = Server(2.0, ("filesystem/scratch",))
    hb.watch_fuse(110.0)
    come_back(hb, range(of - count, of), at)
    return hb


def come_back(hb: Heartbeats, numbers: range, at: float) -> None:
    for i in numbers:
        hb.seen(beat(int(at * 10), f"s{i}"), at)
    hb.watch_fuse(at)


def test_fuse_stays_open_while_the_last_servers_still_come_back() -> None:
    hb = returning(18, at=200.0)
    assert "20 of 20 servers" in hb.fuse("s0", 200.0)
    come_back(hb, range(1, 20), 230.0)
    assert hb.fuse("s0", 230.0 + FUSE_REST - 1), "only one is missing, but not for long"


def test_fuse_closes_when_the_rest_has_been_fresh_for_a_while() -> None:
    hb = returning(19, at=200.0)
    for second in range(202, 200 + int(FUSE_REST) + 2, 2):
        come_back(hb, range(1, 20), float(second))
    assert not hb.fuse("s0", 200.0 + FUSE_REST)


def test_fuse_closes_for_those_who_stay_away_when_nobody_has_come_back_for_long() -> None:
    hb = returning(18, at=200.0)
    for second in range(202, 200 + int(FUSE_PATIENCE) + 2, 2):
        come_back(hb, range(2, 20), float(second))
        assert hb.fuse("s0", second + 0.0) or second >= 200 + FUSE_PATIENCE
    assert not hb.fuse("s0", 200.0 + FUSE_PATIENCE)


def test_canary_opens_the_fuse_although_no_pair_asks_while_many_are_late() -> None:
    hb = Heartbeats()
    hb.restart(100.0)
    for i in range(4):
        hb.seen(beat(1, f"s{i}"), 100.0)
        hb.servers[f"s{i}"] = Server(2.0, ("filesystem/scratch",))
    hb.proven(102.0, 104.0)
    come_back(hb, range(1, 4), 105.0)
    assert "4 of 4 servers" in hb.fuse("s0", 105.0)


def paused(*, last: float, resumed: float) -> Heartbeats:
    """oss1 dies right after 110 s. oss2 renews until `last`; what it wrote after 110 s, and the canaries, come in a burst."""
    hb = watched(110.0)
    songs = [float(second) for second in range(111, int(resumed) + 1)]
    renewals = [float(second) for second in range(112, int(last) + 1, 2)]
    for at in sorted([*songs, *renewals]):
        if at in renewals:
            hb.seen(beat(int(at), "oss2"), resumed)
        if at in songs:
            hb.proven(at, resumed)
    return hb


def test_renewals_that_come_late_in_a_burst_are_no_younger_than_what_the_canary_says() -> None:
    moment = 110.0 + 2.0
    hb = paused(last=114.0, resumed=114.5)
    assert hb.horizon == 114.0
    assert hb.pulses["oss2"].changed_at == 114.5, "it looks fresh"
    assert not hb.renewed_since("oss2", moment), "112 began before the first that oss1 missed, and 114 may have"
    hb.seen(beat(116, "oss2"), 116.0)
    assert hb.renewed_since("oss2", moment), "114 was committed after 113 s, so 116 began after that"


def test_two_that_fall_silent_together_do_not_outlive_each_other_because_the_watch_was_late() -> None:
    hb = watched(110.0)
    hb.seen(beat(111, "oss2"), 113.1)  # both were committed before the first renewal that oss1 missed
    hb.seen(beat(112, "oss2"), 113.1)
    for song in (111.0, 112.0, 113.0):
        hb.proven(song, 113.1)
    assert not hb.renewed_since("oss2", 112.0)


def test_renewals_after_the_clocks_started_again_count_only_once_the_canary_is_seen() -> None:
    hb = watched(110.0)
    hb.proven(120.0, 120.1)
    for version, at in ((130, 120.2), (131, 120.2), (132, 120.3)):
        hb.seen(beat(version, "oss2"), at)
    assert not hb.renewed_since("oss2", 120.1), "they may be older than the gap"
    hb.proven(121.0, 121.1)
    hb.seen(beat(133, "oss2"), 122.0)
    hb.seen(beat(134, "oss2"), 124.0)
    assert hb.renewed_since("oss2", 120.1)

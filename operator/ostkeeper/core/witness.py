"""What stands beside the OFF of a fencing level: no death rests on one device that could lie alone.

The answer is a word, as a certificate and `Armed` give it; empty: nothing does.
"""

from __future__ import annotations

from ostkeeper.api.failover import Failover, LevelSnapshot
from ostkeeper.core.armed import ACCEPTED, DRILLED, LOAD, SECOND, borne_out_by
from ostkeeper.core.campaign import Rounds
from ostkeeper.core.power import Feed
from ostkeeper.core.view import View


def beside(fo: Failover, level: LevelSnapshot, rounds: Rounds) -> str:
    """What bears out that the level read OFF in complete rounds."""
    if level.drilled:
        return DRILLED
    if len({feed.device_name for feed in level.feeds}) > 1:
        return SECOND
    if _fell(level, rounds):
        return LOAD
    return ACCEPTED if fo.spec.policy.sole_witness == "Accept" else ""


def _fell(level: LevelSnapshot, rounds: Rounds) -> bool:
    """Whether the meters of all feeds show no load any more, and one of them showed some before."""
    for feed in level.feeds:
        reading = rounds.got.get(Feed(feed.device_name, feed.outlet))
        if reading is None or reading.watts is None or not reading.watts <= feed.load.residue_watts:
            return False
    return any(f.watts is not None and f.watts > f.load.residue_watts for f in level.feeds)


def lacking(level: LevelSnapshot) -> str:
    """Why a level that read OFF proves nothing."""
    devices = ", ".join(sorted({feed.device_name for feed in level.feeds}))
    return f"{devices} alone reads OFF: the level was never drilled, no measured load fell, and failover.soleWitness is Refuse"


def said(view: View) -> str:
    """For an armed pair: what each level's OFF would be borne out by."""
    assert view.pair is not None
    return "; ".join(
        f"{node}: "
        + ", ".join(f"{lv.name} {borne_out_by(view, node, lv) or 'asks a person'}" for lv in view.pair.fencing_of(node))
        for node in view.pair.servers
    )

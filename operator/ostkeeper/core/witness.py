"""What stands beside the OFF of a fencing level: no death rests on one device that could lie alone.

The answer is a word, as a certificate and `Armed` give it; empty: nothing does.
"""

from __future__ import annotations

from ostkeeper.api.failover import Failover, LevelSnapshot
from ostkeeper.core.armed import ACCEPTED, DRILLED, SECOND, borne_out_by
from ostkeeper.core.view import View


def beside(fo: Failover, level: LevelSnapshot) -> str:
    """What bears out that the level read OFF in complete rounds.

    A measured load that fell does not: the same device measures it, and with a crossed cord it was another server's.
    """
    if level.drilled:
        return DRILLED
    if len({feed.device_name for feed in level.feeds}) > 1:
        return SECOND
    return ACCEPTED if fo.spec.policy.sole_witness == "Accept" else ""


def lacking(level: LevelSnapshot) -> str:
    """Why a level that read OFF proves nothing."""
    devices = ", ".join(sorted({feed.device_name for feed in level.feeds}))
    return f"{devices} alone reads OFF: the level was never drilled, and failover.soleWitness is Refuse"


def said(view: View) -> str:
    """For an armed pair: what each level's OFF would be borne out by."""
    assert view.pair is not None
    return "; ".join(
        f"{node}: "
        + ", ".join(f"{lv.name} {borne_out_by(view, node, lv) or 'asks a person'}" for lv in view.pair.fencing_of(node))
        for node in view.pair.servers
    )

"""How long a Failover waits for an agent that renews its lease and does not answer, and what follows.

Holding, Relocating, PoweringOn and an abort need an answer of the living agents to this leader's nonce before they write an
assignment. Past the limit the Failover is Blocked, with a message that names the agent and the reason; it leaves Blocked by itself
once the agent answers.
"""

from __future__ import annotations

from typing import Any

from ostkeeper.api.failover import Failover, Phase
from ostkeeper.core import fencing
from ostkeeper.core.able import unanswered
from ostkeeper.core.campaign import Campaign
from ostkeeper.core.events import Effect
from ostkeeper.core.verdict import evidence_digest
from ostkeeper.core.view import View
from ostkeeper.core.writes import write_failover

UNDONE = {
    "Holding": "{node} was not fenced",
    "Fencing": "{node} is to get its targets back",
    "Relocating": "{node} is certified dead, and nothing was moved",
    "PoweringOn": "{node} has no power, and was not powered on",
}
"""What is said of the server, by the phase in which an agent did not answer."""


def overdue(view: View, c: Campaign, agents: tuple[str, ...], now: float) -> str:
    """Why the answer of these agents is not waited for any longer; empty: the limit has not passed."""
    if not agents:
        return ""
    limit = view.timeout() + fencing.NONCE_PATIENCE
    if view.waited(c.phase_since, now) <= limit:
        view.wake_by(max(c.phase_since, view.heartbeats.started) + limit + 0.001)
        return ""
    return "; ".join(
        view.unreported(node) or f"the agent of {node} has not answered nonce {_asked(view)}" for node in agents
    )


def _asked(view: View) -> str:
    nonce = view.status.nonce if view.status else None
    return nonce.value if nonce is not None else "(none)"


def ask(view: View, fo: Failover, c: Campaign, agents: tuple[str, ...], now: float) -> list[Effect]:
    """Ask these agents; past the limit the Failover is Blocked. In Blocked it keeps asking."""
    late = "" if fo.phase == "Blocked" else overdue(view, c, agents, now)
    return block(view, fo, late) if late else fencing.ask_term(view, now)


def block(view: View, fo: Failover, why: str) -> list[Effect]:
    """Blocked for want of an agent's answer. Nothing is undone."""
    assert fo.status is not None
    asked = fo.status.asked + 1
    undone = UNDONE[fo.phase].format(node=fo.spec.node)
    message = f"{why}. {undone}. Resumes when the agent answers; read the agent's log. Restart or Dismiss?"
    update: dict[str, Any] = {
        "missing": (why[:1024],),
        "asked": asked,
        "evidence": evidence_digest(fo.spec.evidence, asked),
    }
    return write_failover(view, fo, message, phase="Blocked", **update)


def resume(view: View, fo: Failover, now: float) -> list[Effect]:
    """Leave Blocked for the phase in which an agent did not answer, once all have answered.

    A person's answer has lapsed by then: where nothing but that answer allows a Hold, it ends, and the question is asked again.
    """
    status = fo.status
    assert status is not None
    if view.busy:
        return []
    if unanswered(view, now):
        return fencing.ask_term(view, now)
    policy = fo.spec.policy
    phase: Phase = "Holding"
    asks = policy.mode != "Automatic" and (policy.mode != "Manual" or policy.automatic_after is None)
    if status.certificate is None and asks:
        return write_failover(view, fo, "the agents have answered: the question is asked again", phase="Aborted")
    if status.certificate is not None:
        phase = "PoweringOn" if status.answer == "Restart" else "Relocating"
    return write_failover(view, fo, "the agents have answered", phase=phase, missing=())

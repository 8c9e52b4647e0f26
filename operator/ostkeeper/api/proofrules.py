"""Rules on a Failover that tie its Hold to a decision, and its death certificate to what it is about.

Here: what has to be so at the moment of one write, within one Failover. Each rule looks at the write that brings the thing, so
that what is stored already is not judged again. Not here: the certificate by itself, the phases and the answers (`rules`).
"""

from ostkeeper.api.common import Rule


def _or_empty(owner: str, field: str) -> str:
    return f"(has({owner}.{field}) ? {owner}.{field} : '')"


_CERTIFICATE = "self.status.certificate"
_NOT_NEW = f"!has(self.status) || !has({_CERTIFICATE}) || (has(oldSelf.status) && has(oldSelf.status.certificate))"
"""CEL for "this write brings no certificate"."""
_NOT_ENTERED = "!has(self.status) || (has(oldSelf.status) && oldSelf.status.phase == self.status.phase)"
"""CEL for "this write enters no phase"."""
_ANSWERED = (
    "(has(self.spec.approval) && self.spec.approval.answer in ['Failover', 'Restart'] && has(oldSelf.status)"
    f" && self.spec.approval.evidence == {_or_empty('oldSelf.status', 'evidence')})"
)

DECIDED = (
    Rule(
        rule=f"{_NOT_ENTERED} || self.status.phase != 'Holding' || self.spec.policy.mode == 'Automatic'"
        f" || (self.spec.policy.mode == 'Manual' && has(self.spec.policy.automaticAfter)) || {_ANSWERED}",
        path=".status.phase",
        message="must not become Holding unasked in this mode: it takes an answer (spec.approval: Failover or Restart) to the"
        " current status.evidence, or mode Automatic, or automaticAfter",
    ),
    Rule(
        rule=f"{_NOT_ENTERED} || self.spec.policy.mode != 'Observe' || self.spec.type == 'Drill'"
        " || !(self.status.phase in ['Holding', 'Relocating'])",
        path=".status.phase",
        message="must not become Holding or Relocating in mode Observe, which says what it would do and does nothing",
    ),
)
BOUND = (
    Rule(
        rule=f"{_NOT_NEW} || ({_or_empty(_CERTIFICATE, 'bootID')} == {_or_empty('self.spec.evidence', 'bootID')}"
        f" && has(self.status.holdEpoch) && {_CERTIFICATE}.holdEpoch == self.status.holdEpoch)",
        path=".status.certificate",
        message="must be of the boot in spec.evidence.bootID and of the Hold in status.holdEpoch: it proves the death of no"
        " other boot, and nothing about another Hold",
    ),
    Rule(
        rule=f"{_NOT_NEW} || !has({_CERTIFICATE}.clearMMP) || !{_CERTIFICATE}.clearMMP || self.spec.policy.clearMMP",
        path=".status.certificate.clearMMP",
        message="must be false where spec.policy.clearMMP is: the policy is Wait, or the feeds were not proven",
    ),
    Rule(
        rule=f"{_NOT_NEW} || !has({_CERTIFICATE}.confirmedBy) || (has(oldSelf.status) && oldSelf.status.phase == 'Blocked'"
        " && has(self.spec.approval) && self.spec.approval.answer == 'ConfirmDead'"
        f" && self.spec.approval.by == {_CERTIFICATE}.confirmedBy)",
        path=".status.certificate.confirmedBy",
        message="must be who answered ConfirmDead (spec.approval) while it was Blocked: nobody else's word stands in for"
        " power readings",
    ),
    Rule(
        rule=f"{_NOT_NEW} || self.status.phase != 'Relocating' || !has(self.spec.targets)"
        f" || self.spec.targets.size() == 0 || (has({_CERTIFICATE}.disks) && {_CERTIFICATE}.disks.size() > 0)",
        path=".status.certificate.disks",
        message="are missing: the server held targets (spec.targets), and nothing moves that the partner has not read",
    ),
)

"""Every combination of the witnesses and what the pair does about it, as a golden file, and what has to hold for all of it.

`pytest tests/core/test_verdict_expansion.py --rewrite` blesses `verdict.golden.txt`; its diff is reviewed like code. The
principles that head the file are the tests below, by the same sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest

from core.expansion import ALL, ALONE, BOTH, POLICIES, Case, F, L, Policy, Row, S, Stage, U, cases, row_of
from core.pairs import at_rest
from ostkeeper.core.acts import DEADLINESS, FOUND_ALIVE, Act
from ostkeeper.core.verdict import RULES

pytestmark = pytest.mark.scenario
GOLDEN = Path(__file__).with_name("verdict.golden.txt")
ASKED = DEADLINESS[Act.ASK_FENCE]

Principle = Callable[[Row, Policy, Act], bool]
PRINCIPLES: dict[str, Principle] = {
    "Power is cut unasked only in Automatic, with the fuse closed, of a server that is not in maintenance, and only if Failed.": (
        lambda row, policy, act: (
            act is not Act.FENCE
            or (policy.mode == "Automatic" and not policy.fuse_open and not policy.maintenance and _is(row, "Failed"))
        )
    ),
    "A server of which any witness shows life is never Failed.": (
        lambda row, _, act: not _is(row, "Failed") or not {F, L} & {*row.case.witnesses[:4]}
    ),
    "Unknown is never counted as dead: Failed takes a stale heartbeat, a still disk and a silent network.": (
        lambda row, _, act: not _is(row, "Failed") or (row.case.heartbeat, row.case.disk, row.case.network) == (S, S, S)
    ),
    "Observe says what it sees, and neither asks nor acts.": (
        lambda row, policy, act: policy.mode != "Observe" or act in (Act.NOTHING, Act.WAIT, Act.TELL)
    ),
    "Manual never cuts power unasked, and moves targets only out of a maintenance that a person asked for.": (
        lambda row, policy, act: (
            policy.mode != "Manual" or (act is not Act.FENCE and (act is not Act.MOVE or policy.maintenance))
        )
    ),
    "Who is only late, not watched for long enough, or may still be booting is waited for.": (
        lambda row, _, act: row.verdict.rule not in ("late", "unwatched", "absent", "alone") or act is Act.WAIT
    ),
    "Of whom nobody can say whether it writes, a person is asked at most: nothing shows life, and the fuse is closed.": (
        lambda row, policy, act: (
            row.verdict.rule != "blind"
            or act is Act.WAIT
            or (
                act is Act.ASK_FENCE
                and row.verdict.witnesses.lasting
                and F not in row.case.witnesses[:4]
                and not policy.fuse_open
            )
        )
    ),
    "While the partner is silent, too, nobody's power is cut and nobody is asked about it.": (
        lambda row, _, act: row.case.section != ALONE or row.case.heartbeat in (F, L) or DEADLINESS[act] < ASKED
    ),
    "A fault that both servers see moves nothing but out of a maintenance.": (
        lambda row, policy, act: not _is(row, "SharedFault") or policy.maintenance or act is Act.TELL
    ),
    "A server that is certified dead is left alone.": (
        lambda row, _, act: not _is(row, "Fenced") or act is Act.NOTHING
    ),
    "A server that renews its heartbeat and serves is left alone, but for a maintenance.": (
        lambda row, policy, act: not _is(row, "Healthy") or policy.maintenance or act is Act.NOTHING
    ),
}


def _is(row: Row, verdict: str) -> bool:
    return row.verdict.name == verdict


@cache
def rows() -> tuple[Row, ...]:
    """All of them, once a process."""
    world = at_rest()
    assert world.operator is not None
    stage = Stage(world.operator.machine.view, world.now)
    return tuple(row_of(stage, case) for case in cases())


# --- the file


def golden() -> str:
    """The whole file."""
    return "\n".join([*_heading(), *(line for section, *_ in ALL for line in _section(section)), ""])


def _heading() -> Iterator[str]:
    yield "# What is made of a server, for every combination of its witnesses, and what the pair does about it."
    yield f"# {len(rows())} combinations. Principles, checked against each of them:"
    yield from (f"# * {sentence}" for sentence in PRINCIPLES)
    yield "# * More evidence of life never has a server's power cut unasked. It may have a person asked about one that lives and"
    yield f"#   serves nobody ({', '.join(FOUND_ALIVE)})."
    yield "#"
    yield "# Rules, in their order; the first that matches decides. An example of its sentence:"
    examples = {row.verdict.rule: row.verdict.sentence for row in reversed(rows())}
    yield from (f"# {rule.name:<13} {rule.verdict:<12} {examples[rule.name]}" for rule in RULES)
    yield "#"
    yield "# Witnesses: F fresh, L late, S stale, U unknown. Acts in each mode: nothing against it / fuse open / in maintenance /"
    yield "# both; one word where they are all the same. - nothing, wait, tell, move, fence; with ?: a person is asked first."


def _section(section: str) -> Iterator[str]:
    yield ""
    yield f"== {section}"
    yield "boot     heart node disk net lustre  verdict      rule           Observe | Manual | Automatic"
    yield from (_line(row) for row in rows() if row.case.section == section)


def _line(row: Row) -> str:
    case = row.case
    states = "".join(f"{life.value[0]:<{width}}" for life, width in zip(case.witnesses, (6, 5, 5, 4, 8), strict=True))
    pairs = zip(POLICIES, row.acts, strict=True)
    acts = (_acts([act for _, act in each]) for _, each in groupby(pairs, lambda pair: pair[0].mode))
    return f"{case.boot:<9}{states}{row.verdict.name:<13}{row.verdict.rule:<15}{' | '.join(acts)}"


def _acts(acts: list[Act]) -> str:
    return str(acts[0]) if len({*acts}) == 1 else " / ".join(map(str, acts))


def test_every_combination_is_decided_as_written_down(rewrite: bool) -> None:
    now = golden()
    if rewrite:
        GOLDEN.write_text(now)
    assert GOLDEN.read_text().splitlines() == now.splitlines(), (
        "look at the diff; bless it with --rewrite if it is right"
    )


# --- what has to hold for all of it


def test_there_are_a_thousand_combinations_and_each_gets_one_verdict_one_rule_and_a_sentence() -> None:
    assert len(rows()) == len({row.case for row in rows()}) >= 1000
    verdict_of_rule = {rule.name: rule.verdict for rule in RULES}
    assert len(RULES) <= 15
    for row in rows():
        assert verdict_of_rule[row.verdict.rule] == row.verdict.name
        assert "oss1" in row.verdict.sentence
        assert len(row.verdict.sentence) > 15
        assert not set("{}") & set(row.verdict.sentence)
        assert len(row.acts) == len(POLICIES)


def test_every_rule_decides_something() -> None:
    used = {row.verdict.rule for row in rows()}
    assert [rule.name for rule in RULES if rule.name not in used] == []


@pytest.mark.parametrize("sentence", PRINCIPLES)
def test_principle_holds_for_every_combination_under_every_policy(sentence: str) -> None:
    holds = PRINCIPLES[sentence]
    against = [
        f"{_line(row)} under {policy}: {act}"
        for row in rows()
        for policy, act in zip(POLICIES, row.acts, strict=True)
        if not holds(row, policy, act)
    ]
    assert against == []


def test_more_evidence_of_life_never_makes_an_act_deadlier_but_for_a_question_about_one_that_lives() -> None:
    compared = 0
    for less, more in _livelier():
        for policy, before, after in zip(POLICIES, less.acts, more.acts, strict=True):
            compared += 1
            if DEADLINESS[after] <= DEADLINESS[before]:
                continue
            told = f"{_line(less)}\n{_line(more)}\n{policy}: {before} becomes {after}"
            assert after is Act.ASK_FENCE, told
            assert more.verdict.name in FOUND_ALIVE, told
    assert compared > 10_000


def test_with_the_disk_still_and_all_silent_the_server_is_shot_so_that_the_principles_have_something_to_forbid() -> (
    None
):
    fenced = [row for row in rows() if Act.FENCE in row.acts]
    assert fenced
    assert all(row.case.section != BOTH or row.case.lustre is S for row in fenced)


LIVELIER = ((S, U), (S, L), (L, F), (S, F), (U, F))
"""From less to more evidence of life; unknown is no more evidence of death than stale."""


def _livelier() -> Iterator[tuple[Row, Row]]:
    """All rows that differ in one witness of life. Errors that its own agent reports (Lustre) are no sign of death."""
    known = {row.case: row for row in rows()}
    for row in rows():
        for name in ("heartbeat", "node", "disk", "network"):
            for less, more in LIVELIER:
                other = known.get(_with(row.case, name, more.value)) if getattr(row.case, name) is less else None
                if other is not None:
                    yield row, other


def _with(case: Case, witness: str, state: str) -> Case:
    fields = {name: getattr(case, name) for name in Case.__dataclass_fields__}
    return Case(**(fields | {witness: type(F)(state)}))

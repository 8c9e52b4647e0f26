"""README.md says what is so: each command, target, path, reason and phase that it names exists, and none is left out."""

import argparse
import re
from typing import Any, get_args

import pytest
import yaml

from docs import phase_diagram, readme, vocabulary
from ostkeeper.api.crdgen import KINDS
from ostkeeper.api.failover import Answer, Phase
from ostkeeper.api.osspair import Mode
from ostkeeper.api.phases import ANSWERABLE
from ostkeeper.cli.main import parser
from ostkeeper.fencing.pdu_families import FAMILIES

pytestmark = pytest.mark.scenario

CAMEL = re.compile(r"[A-Z][a-z]+[A-Z][A-Za-z]*|[A-Z]{2,}[a-z]\w*")
EXAMPLES = [yaml.safe_load(block.text) for block in readme.blocks("yaml")]
BLOCKED_BY = (
    ("core/fencing.py", ("confirm", "vetoes", "disk_proofs", "spared")),
    ("core/able.py", ("partner_unable", "_soaking", "changed_device")),
    ("core/campaign.py", ("_judge",)),
    ("core/devices.py", ("expected", "wrong", "_no_board", "_nothing_told", "_untold")),
    ("core/view.py", ("reads_all", "board_refusal", "unreported")),
    ("core/waiting.py", ("overdue",)),
    ("core/blocked.py", ("_confirm_dead",)),
    ("core/witness.py", ("lacking",)),
)
"""Where the sentences are made that can stand in `status.missing` of a Failover."""
NOT_IN_BLOCKED = ("confirmed that", "s after the off")
"""Sentences of these functions that say something else, or are the tail of one that is explained."""


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """The whole command line: the testbed's verbs are only there when it is the testbed that is typed."""
    monkeypatch.setattr("sys.argv", ["ostkeeper", "testbed"])
    return parser()


def subcommands(of: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    groups = [action for action in of._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: command for group in groups for name, command in group.choices.items()}


def leaf(top: argparse.ArgumentParser, words: list[str]) -> argparse.ArgumentParser:
    """Return the parser of the innermost sub-command that these words name."""
    for word in words:
        top = subcommands(top).get(word, top)
    return top


def test_every_ostkeeper_command_in_readme_is_taken_by_the_command_line(command_line: argparse.ArgumentParser) -> None:
    found = [words for words in readme.commands("ostkeeper") if len(words) > 1 and "..." not in words]
    assert len(found) > 10
    for words in found:
        chosen = leaf(command_line, words[1:])
        known = {option for action in (*command_line._actions, *chosen._actions) for option in action.option_strings}
        assert not [word for word in words if word.startswith("--") and word != "--" and word not in known], words
        if chosen is not command_line and len(words) > 2:
            command_line.parse_args(words[1:])


def test_options_of_the_command_table_exist(command_line: argparse.ArgumentParser) -> None:
    rows = [row for row in readme.section("Commands").splitlines() if row.startswith("| `ostkeeper ")]
    for row in rows:
        program = leaf(command_line, readme.inline_codes(row)[0].split()[1:])
        known = {option for action in program._actions for option in action.option_strings}
        assert set(re.findall(r"--[a-z-]+", row)) <= known, row


def test_every_sub_command_is_documented(command_line: argparse.ArgumentParser) -> None:
    for name in subcommands(command_line):
        assert f"`ostkeeper {name}`" in readme.section("Commands"), f"{name} is not in README.md, under Commands"


def test_every_verb_of_the_testbed_is_documented(command_line: argparse.ArgumentParser) -> None:
    section = readme.section("See it: two commands")
    for verb in subcommands(subcommands(command_line)["testbed"]):
        assert re.search(rf"\b{verb}\b", section), f"ostkeeper testbed {verb} is not in README.md"


def test_every_make_target_in_readme_is_listed_by_make_help_and_the_other_way_round() -> None:
    makefile = (readme.ROOT / "Makefile").read_text("utf-8")
    offered = set(re.findall(r"^([a-z-]+):.*?## ", makefile, re.MULTILINE)) - {"help"}
    named = {words[1] for words in readme.commands("make") if len(words) > 1}
    assert named == offered


def test_every_path_in_readme_exists() -> None:
    named = set(re.findall(r"(?<![\w/.-])(?:deploy|crds|operator|tests)(?:/[\w.-]+)*", readme.text()))
    paths = {path for path in named if "/" in path or path == "crds"}
    assert {"deploy/samples", "deploy/fill-in-name", "deploy/agent", "crds"} <= paths
    missing = [path for path in sorted(paths) if not (readme.ROOT / path).exists()]
    assert not missing


def test_everything_that_kubectl_is_to_apply_by_kustomize_is_a_kustomization() -> None:
    applied = re.findall(r"kubectl apply -k (\S+?)[`\s]", readme.text())
    assert "deploy" in applied
    for path in applied:
        assert (readme.ROOT / path / "kustomization.yaml").exists(), path


def test_every_link_within_readme_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", readme.prose(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = set(re.findall(r"\]\(#([^)]+)\)", readme.text()))
    assert links
    assert links <= anchors


def test_every_reason_in_readme_is_written_in_the_source() -> None:
    deployed = "".join(path.read_text("utf-8") for path in (readme.ROOT / "deploy").rglob("*.yaml"))
    known = vocabulary.constants() | {kind.kind for kind in KINDS} | set(re.findall(r"^kind: (\w+)$", deployed, re.M))
    systemd = {"KillMode", "ProtectSystem", "PrivateTmp"}
    words = {word for word in readme.inline_codes() if CAMEL.fullmatch(word)} - systemd
    assert len(words) > 60
    assert not words - known


def test_every_reason_that_the_product_gives_is_explained() -> None:
    explained = set(readme.inline_codes())
    missing = {reason: file for reason, file in vocabulary.reasons().items() if reason not in explained}
    assert not missing


def test_reasons_are_read_from_the_source_at_all() -> None:
    assert {"EpochRegressed", "StoreCorrupt", "FeedFeedsTwoServers", "DeviceSilent", "BothSilent"} <= set(
        vocabulary.reasons()
    )


def test_every_phase_is_explained_and_none_that_is_not_one() -> None:
    cells = readme.first_cells(readme.section("How a failover goes"))
    named = {word for cell in cells for word in readme.inline_codes(cell)}
    assert named | {"Observed"} == set(get_args(Phase))
    assert "`Observed`" in readme.section("How a failover goes")


def test_every_answer_is_explained_where_it_is_taken() -> None:
    rows = [row.split("|") for row in readme.section("Answering").splitlines() if row.startswith("| `")]
    assert {row[1].strip(" `") for row in rows} == set(get_args(Answer))
    assert all(any(phase in row[2] for phase in ANSWERABLE) for row in rows)


def test_every_mode_is_named_in_the_example_of_a_pair() -> None:
    (pair,) = [block.text for block in readme.blocks("yaml") if "kind: OSSPair" in block.text]
    assert all(f"{mode}" in pair for mode in get_args(Mode))


def test_phase_diagram_has_exactly_the_edges_of_the_planner() -> None:
    (shown,) = readme.blocks("mermaid")
    assert shown.text == phase_diagram.mermaid(), "paste what `.venv/bin/python tests/docs/phase_diagram.py` prints"


@pytest.mark.parametrize(("file", "functions"), BLOCKED_BY, ids=[file for file, _ in BLOCKED_BY])
def test_every_sentence_that_can_stand_in_blocked_is_explained(file: str, functions: tuple[str, ...]) -> None:
    explained = [code for cell in readme.first_cells(readme.section("Blocked")) for code in readme.inline_codes(cell)]
    for sentence in vocabulary.sentences(file, *functions):
        if sentence not in NOT_IN_BLOCKED:
            assert any(code in sentence for code in explained), (
                f"{sentence!r} ({file}) is not under Blocked in README.md"
            )


def test_every_sentence_under_blocked_is_one_that_the_product_says() -> None:
    said = " ".join(path.read_text("utf-8") for path in vocabulary.files())
    plain = re.sub(r"\{[^{}]*\}", "", re.sub(r'"\s*f?"', "", said))
    for cell in readme.first_cells(readme.section("Blocked")):
        for sentence in readme.inline_codes(cell):
            verb = re.fullmatch(r"is (Unreadable|Unknown|not read) for", sentence)
            assert verb or sentence in plain, f"README.md explains {sentence!r} under Blocked; nothing says that"


def test_object_identifiers_of_the_pdu_are_those_that_the_driver_uses() -> None:
    family, shown = FAMILIES["apc-rpdu2"], readme.section("Moving an OST by hand, when the API server is down")
    (base,) = re.findall(r"^OUTLETS=([\d.]+)", shown, re.MULTILINE)
    for part, oid in ((".4.1.5", family.control), (".3.1.5", family.status), (".3.1.6", family.pending)):
        assert base + part == ".".join(map(str, oid or ()))
        assert f"$OUTLETS{part}.1 " in shown
    assert f"$OUTLETS.4.1.5.1 i {family.control_off}" in shown
    assert f"# {family.status_off} is OFF, {family.status_on} is ON" in shown
    assert f"# {family.pending_none}: no command is pending" in shown


def test_by_hand_the_order_is_power_wait_mmp_flush_mount() -> None:
    """The order is the whole safety of it: a change of the text must not shuffle it."""
    shown = readme.section("Moving an OST by hand, when the API server is down")
    order = (
        "chassis power status",
        "Wait five seconds",
        "e2mmpstatus $DEV",
        "blockdev --flushbufs $DEV && mount -t lustre",
    )
    places = [shown.index(step) for step in order]
    assert places == sorted(places)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.kind for kind in KINDS])
def test_each_kind_has_one_example_that_its_model_takes_without_a_field_that_is_not_one(kind: Any) -> None:
    (example,) = [document for document in EXAMPLES if document["kind"] == kind.kind]
    parsed = kind.parse(example)
    lost = sorted(_paths(example["spec"]) - _paths(parsed.spec.wire()))
    assert not lost, "the model does not know these"


def test_every_example_is_one_of_the_five_kinds() -> None:
    assert sorted(document["kind"] for document in EXAMPLES) == sorted(kind.kind for kind in KINDS)


def _paths(value: Any, at: str = "") -> set[str]:
    if isinstance(value, dict):
        return {path for name, inner in value.items() for path in _paths(inner, f"{at}.{name}")}
    if isinstance(value, list):
        return {path for number, inner in enumerate(value) for path in _paths(inner, f"{at}[{number}]")}
    return {at}


@pytest.mark.parametrize("name", ["DECISIONS.md", "CHANGELOG.md"])
def test_other_documents_stand_at_the_top_level(name: str) -> None:
    assert (readme.ROOT / name).read_text("utf-8").startswith("# ")


def test_decisions_have_date_choice_because_rejected_and_look_again() -> None:
    entries = re.split(r"^## ", (readme.ROOT / "DECISIONS.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert len(entries) > 10
    for entry in entries:
        title, *lines = entry.strip().splitlines()
        assert re.match(r"\d{4}-\d\d-\d\d ", title), title
        assert 3 <= len(lines) <= 6, f"{title}: {len(lines)} lines; 3 to 6"
        for word in ("Because", "Rejected", "Again when"):
            assert re.search(rf"\b{word}:", entry), f"{title}: no {word}"

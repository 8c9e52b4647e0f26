"""`ostkeeper simulate` on real manifests: what it tells, what it refuses, and how it ends."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from ostkeeper.cli.main import main
from ostkeeper.cli.nights import site_of
from ostkeeper.sim import fmea
from ostkeeper.sim.config import Settings
from ostkeeper.sim.faults import Fault
from ostkeeper.sim.night import simulate
from simulate.sites import write_site

pytestmark = pytest.mark.sim
SAMPLES = str(Path(__file__).parents[2] / "deploy" / "samples")
CALM = Settings()


@pytest.fixture(name="site", scope="session")
def _site(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_site(tmp_path_factory.mktemp("site"), 1)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    """Exit status and the JSON."""
    status = main(["simulate", *words, "-o", "json"])
    return status, json.loads(capsys.readouterr().out)


def test_dead_server_of_an_automatic_pair_is_fenced_and_its_osts_are_served_again(
    site: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, night = told(capsys, "-f", site, "--fault", "host oss1 dies")
    assert status == 0
    assert {ost["node"] for ost in night["osts"]} == {"oss2"}
    assert [(fo["type"], fo["phase"], fo["answered_by"]) for fo in night["failovers"]] == [
        ("Failover", "Complete", "policy")
    ]
    words = [line["words"] for line in night["lines"]]
    assert words[0] == "host oss1 dies"
    assert any("read OFF in 3 rounds" in line for line in words)
    away = [ost for ost in night["osts"] if ost["home"] == "oss1"]
    assert all(10 < ost["away"] < 40 and ost["spans"] for ost in away)
    assert night["violations"] == []


def test_pair_of_40_osts_is_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, night = told(capsys, "-f", write_site(tmp_path, 1, 40), "--fault", "host oss1 dies")
    assert status == 0
    assert [ost["node"] for ost in night["osts"]] == ["oss2"] * 40


def test_more_osts_than_a_pair_holds_are_refused_with_the_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "-f", write_site(tmp_path, 1, 65), "--fault", "host oss1 dies"]) == 2
    assert "OSSPair scratch/pair-0: 65 OSTs name it, and a pair holds 64 targets at most" in capsys.readouterr().err


def test_dead_server_of_a_manual_pair_waits_for_a_person_and_the_exit_status_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, night = told(capsys, "-f", SAMPLES, "--fault", "host oss1 dies")
    assert status == 1
    assert any("Failover, Restart or Dismiss?" in wait for wait in night["waits"])
    assert [ost["back"] for ost in night["osts"] if ost["home"] == "oss1"] == [None, None]


def test_person_who_answers_has_it_served_again(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--fault", "host oss1 dies", "--fault", "people answer Failover", "--at", "40s"]
    status, night = told(capsys, "-f", SAMPLES, *words)
    assert status == 0
    assert {ost["node"] for ost in night["osts"]} == {"oss2"}


def test_fault_that_ends_is_told_with_its_end(site: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--fault", "bmc-oss1 silent", "--at", "5", "--until", "20s"]
    _, night = told(capsys, "-f", site, *words)
    faults = [(line["at"], line["words"]) for line in night["lines"] if line["sort"] == "fault"]
    assert faults == [(5.0, "bmc-oss1 silent"), (20.0, "bmc-oss1 answers again")]


def test_same_seed_tells_the_same_night_and_another_one_another(site: str) -> None:
    mine, _ = site_of([site])
    fault = (Fault("host-dies", 10.0, None, ("oss1",)),)
    first, again, other = (simulate(mine, fault, CALM, seed) for seed in (3, 3, 4))
    assert first == again
    assert first.lines != other.lines


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--fault", "host oss9 dies"), "there is no server oss9; there are oss1, oss2"),
        (("--fault", "host oss1 explodes"), "did you mean 'host {host} dies'?"),
        (("--fault", "pdu-x silent"), "there is no fence device pdu-x"),
        (("--fault", "host oss1 dies", "--at", "soon"), "--at: 'soon' is not a duration"),
        (("--fault", "host oss1 hangs", "--at", "5m", "--until", "2m"), "it has to end later"),
        ((), "give one --fault at least, or --fmea"),
    ],
)
def test_words_that_nobody_understands_are_refused_with_what_they_could_be(
    site: str, words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "-f", site, *words]) == 2
    assert why in capsys.readouterr().err


class Page(HTMLParser):
    """Which tags a page has, and what it would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "rect", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag


def test_page_is_whole_and_loads_nothing(site: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "-f", site, "--fault", "host oss1 dies", "-o", "html"]) == 0
    text = capsys.readouterr().out
    page = Page()
    page.feed(text)
    assert (page.open, page.loads) == ([], [])
    assert "host oss1 dies" in text


def test_every_single_fault_of_a_site_gets_its_row_and_the_same_with_the_servers_swapped(site: str) -> None:
    mine, _ = site_of([site])
    todo = [job for job in fmea.jobs(mine) if len(job.faults) == 1]
    rows = [row for job in todo for row in fmea.play(job, CALM)]
    by_fault = {row.faults[0]: row for row in rows}
    assert len(by_fault) == len(rows) == len(fmea.faults_of(mine.pairs[0], mine.devices, mine.osts))
    assert by_fault["host oss1 dies"].ok
    assert by_fault["host oss2 dies"].decided == "the operator"
    assert by_fault["bmc-oss2 silent"].decided == "nobody had to"
    stalled = by_fault["disks of host oss2 stall"]
    assert not stalled.ok
    assert "oss2" in stalled.why
    assert "oss1" not in stalled.faults[0]
    assert not any(row.violations for row in rows)


def test_pairs_that_differ_in_names_only_are_played_once(tmp_path: Path) -> None:
    one, _ = site_of([write_site(tmp_path, 1)])
    many, problems = site_of([write_site(tmp_path, 50)])
    assert problems == ()
    alone, together = fmea.jobs(one), fmea.jobs(many)
    across = [job for job in together if len(job.site.pairs) == 2]
    assert len(together) - len(across) == len(alone)
    assert 0 < len(across) <= 24
    assert sum(len(job.stands_for) for job in together if job not in across) == 50 * sum(
        len(job.stands_for) for job in alone
    )


def test_pair_of_another_shape_is_played_by_itself(tmp_path: Path) -> None:
    folder = write_site(tmp_path, 2)
    path = Path(folder) / "site.yaml"
    documents = list(yaml.safe_load_all(path.read_text()))
    next(d for d in documents if d["metadata"]["name"] == "pair-1")["spec"]["failover"]["mode"] = "Manual"
    path.write_text(yaml.safe_dump_all(documents))
    site, _ = site_of([folder])
    played = {job.site.pairs[0].name for job in fmea.jobs(site) if len(job.site.pairs) == 1}
    assert played == {"pair-0", "pair-1"}


def test_row_under_other_names_says_those_names_and_no_others() -> None:
    row = fmea.Row(("pair-a",), ("host oss1 dies",), 2, ("ost1",), None, "nobody can", "pair-a-42: oss1 and oss10")
    other = row.renamed({"oss1": "oss2", "oss2": "oss1", "pair-a": "pair-b", "ost1": "ost9"})
    assert (other.pairs, other.faults, other.unserved) == (("pair-b",), ("host oss2 dies",), ("ost9",))
    assert other.why == "pair-b-42: oss2 and oss10"

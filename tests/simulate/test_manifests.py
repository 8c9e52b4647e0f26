"""Manifests from files: everything that is wrong is told at once, with file, object, field and reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ostkeeper.cli.manifests import ManifestError, load

pytestmark = pytest.mark.sim
SAMPLES = str(Path(__file__).parents[2] / "deploy" / "samples")


def refusal(folder: Path, text: str) -> str:
    """What is said of one file."""
    (folder / "site.yaml").write_text(text)
    with pytest.raises(ManifestError) as raised:
        load([str(folder)])
    return str(raised.value)


def sample(name: str) -> str:
    return (Path(SAMPLES) / name).read_text()


def test_samples_are_read_and_foreign_kinds_are_skipped() -> None:
    found = load([SAMPLES])
    assert [pair.key for pair in found.pairs] == ["scratch/pair-a"]
    assert len(found.osts) == 4
    assert len(found.devices) == 4
    assert "Namespace scratch" in found.skipped


def test_list_is_opened(tmp_path: Path) -> None:
    items = [each for name in ("pair.yaml", "osts.yaml") for each in yaml.safe_load_all(sample(name))]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items}))
    found = load([str(tmp_path / "all.yaml")])
    assert (len(found.pairs), len(found.osts)) == (1, 4)


def test_every_fault_is_told_with_file_object_field_and_reason(tmp_path: Path) -> None:
    wrong = (
        sample("pair.yaml")
        .replace("mode: Manual", "mode: Sometimes")
        .replace("name: oss1\n", "name: oss1\n      colour: red\n")
    )
    said = refusal(
        tmp_path, wrong + "---\n" + "apiVersion: ostkeeper.dev/v1alpha1\nkind: OST\nmetadata: {name: x}\nspec: {}\n"
    )
    assert "site.yaml, document 1: OSSPair pair-a: spec.failover.mode: Input should be 'Observe', 'Manual'" in said
    assert "OSSPair pair-a: spec.nodes[0].colour: no such field" in said
    assert "site.yaml, document 2: OST x: spec.fileSystem: Field required" in said


def test_object_that_is_declared_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(sample("pair.yaml"))
    said = refusal(tmp_path, sample("pair.yaml"))
    assert f"site.yaml: OSSPair default/pair-a is declared in {tmp_path}/a.yaml, too" in said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{]", "not YAML"),
        ("- 1", "not an object but a list"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}", "nothing to simulate"),
        ("apiVersion: ostkeeper.dev/v1\nkind: OST\nmetadata: {name: x}", "ostkeeper.dev/v1 is not served"),
        ("apiVersion: ostkeeper.dev/v1alpha1\nkind: OSS\nmetadata: {name: x}", "the operator makes this kind itself"),
    ],
)
def test_file_that_declares_nothing_usable_is_refused(tmp_path: Path, text: str, why: str) -> None:
    assert why in refusal(tmp_path, text)


def test_folder_without_manifests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no file in there ends in \.yaml"):
        load([str(tmp_path)])

"""The generated CRDs: the same as in `crds/`, structural, described, and with defaults only where GitOps cannot see them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from api.objects import Json, pair
from ostkeeper.api import OSSPair, crdgen

pytestmark = pytest.mark.scenario

CRDS = Path(__file__).parents[2] / "crds"


def root(kind: str) -> Json:
    (crd,) = [crdgen.crd(model) for model in crdgen.KINDS if model.kind == kind]
    schema: Json = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Json, path: str) -> Iterator[tuple[str, Json]]:
    """Yield every schema below `schema` with its path; the items of a list are `path[]`."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def everything() -> list[tuple[str, Json]]:
    return [found for model in crdgen.KINDS for found in nodes(root(model.kind), model.kind)]


def test_crds_in_the_repository_are_what_the_models_say() -> None:
    assert crdgen.differences(CRDS) == [], "run `make crds`"


def test_check_fails_and_says_which_file_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crdgen.main([str(tmp_path)]) == 0
    assert crdgen.main([str(tmp_path), "--check"]) == 0
    stale = tmp_path / "ostkeeper.dev_osts.yaml"
    stale.write_text(stale.read_text().replace("maxLength: 255", "maxLength: 254"))
    (tmp_path / "ostkeeper.dev_osses.yaml").unlink()
    assert crdgen.main([str(tmp_path), "--check"]) == 1
    told = capsys.readouterr().err
    assert "ostkeeper.dev_osts.yaml: differs; run `make crds`" in told
    assert "ostkeeper.dev_osses.yaml: missing" in told


def test_another_process_generates_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ostkeeper.api.crdgen", str(tmp_path)]
    subprocess.run(command, check=True, env={"PYTHONHASHSEED": "1"})
    assert crdgen.differences(tmp_path) == []


def test_every_field_is_described() -> None:
    silent = [
        path
        for path, schema in everything()
        if "description" not in schema and not path.endswith(("[]", ".apiVersion", ".kind", ".metadata"))
    ]
    assert silent == []


def test_no_default_stands_in_a_list_or_in_status() -> None:
    defaults = [path for path, schema in everything() if "default" in schema]
    assert [path for path in defaults if "[]" in path or ".status" in path] == []
    assert "OSSPair.spec.heartbeat" in defaults


def test_default_of_an_object_is_given_in_full() -> None:
    spec = root("OSSPair")["properties"]["spec"]["properties"]
    assert spec["heartbeat"]["default"] == {"interval": "2s", "timeout": "10s"}
    assert spec["failover"]["default"]["confirm"] == {"rounds": 3, "interval": "500ms", "settle": "2s"}
    assert "automaticAfter" not in spec["failover"]["default"]


def test_everything_that_grows_has_a_bound() -> None:
    """Without one the API server counts with the largest possible, and a rule is over its budget."""
    boundless = [path for path, schema in everything() if schema["type"] == "array" and "maxItems" not in schema]
    assert boundless == []


def test_schema_is_structural() -> None:
    text = yaml.safe_dump([crdgen.crd(model) for model in crdgen.KINDS])
    for foreign in ("$ref", "anyOf", "title:", "prefixItems", "'null'", "additionalProperties"):
        assert foreign not in text


def test_defaults_that_the_schema_leaves_to_lists_are_filled_in_when_read() -> None:
    sparse = pair()
    sparse["spec"]["unhealthyConditions"] = [{"type": "ReadonlyFilesystem", "status": "True"}]
    read = OSSPair.parse(sparse)
    assert read.spec.unhealthy_conditions[0].duration == "60s"
    assert read.spec.failover.boot_timeout == "15m"

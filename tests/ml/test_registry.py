"""Artefacts are plain, deterministic and refused when changed; versions are promoted and rolled back."""

import zipfile
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ml.registry import ModelRegistry, RegistryError, pack, unpack
from warehouse.door import Warehouse

STATE = {
    "numbers": np.array([1.5, np.nan, -np.inf]),
    "words": np.array(["a", "ü😀"]),
    "empty": np.zeros((0, 3)),
    "nested": {"model": b"\x00cbm", "list": [1, 2.5, None, True, "x'y\n"], "scalar": np.float64(0.1)},
}


def test_a_state_comes_back_as_it_was() -> None:
    restored = unpack(pack(STATE))
    np.testing.assert_array_equal(restored["numbers"], STATE["numbers"])
    assert list(restored["words"]) == ["a", "ü😀"]
    assert restored["empty"].shape == (0, 3)
    assert restored["nested"] == {"model": b"\x00cbm", "list": [1, 2.5, None, True, "x'y\n"], "scalar": 0.1}


def test_the_order_of_keys_does_not_matter() -> None:
    assert pack(STATE) == pack(dict(reversed(list(STATE.items()))))


def test_what_could_run_code_is_refused() -> None:
    with pytest.raises(RegistryError, match="holds objects"):
        pack({"array": np.array([object()])})
    with pytest.raises(RegistryError, match="cannot be stored"):
        pack({"model": object()})


def test_a_changed_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.write_bytes(pack(STATE))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["nested/model.cbm"] = b"evil"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(RegistryError, match="was changed"):
        unpack(path.read_bytes())
    with pytest.raises(RegistryError, match="damaged"):
        unpack(b"not a zip")


@pytest.fixture
def registry(warehouse: Warehouse, tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(warehouse, tmp_path / "models")


def save(registry: ModelRegistry, day: date, figure: float, *, promote: bool = True):
    return registry.save(
        "scoring", {"figure": figure}, as_of_date=day, parameters={}, metrics={"brier": 0.1}, promote=promote
    )


def test_the_champion_of_a_date_is_the_newest_promoted_by_then(registry: ModelRegistry) -> None:
    first = save(registry, date(2018, 1, 2), 1.0)
    second = save(registry, date(2018, 1, 9), 2.0)
    save(registry, date(2018, 1, 16), 3.0, promote=False)
    assert registry.champion("scoring", date(2018, 1, 1)) is None
    assert registry.champion("scoring", date(2018, 1, 8)).version == first.version
    assert registry.champion("scoring", date(2018, 2, 1)).version == second.version
    assert registry.newest("scoring", date(2018, 2, 1)).status == "challenger"
    # A model for an earlier date, trained later, does not take over what is in charge now.
    backfilled = save(registry, date(2018, 1, 5), 4.0)
    assert backfilled.status == "retired"
    assert registry.champion("scoring", date(2018, 2, 1)).version == second.version
    assert registry.champion("scoring", date(2018, 1, 8)).version == backfilled.version


def test_one_content_is_one_version(registry: ModelRegistry) -> None:
    assert save(registry, date(2018, 1, 2), 1.0) == save(registry, date(2018, 1, 2), 1.0)
    assert save(registry, date(2018, 1, 3), 1.0).version != save(registry, date(2018, 1, 2), 1.0).version


def test_roll_back_puts_the_version_before_in_charge(registry: ModelRegistry) -> None:
    first = save(registry, date(2018, 1, 2), 1.0)
    with pytest.raises(RegistryError, match="no earlier version"):
        registry.roll_back("scoring")
    second = save(registry, date(2018, 1, 9), 2.0)
    assert registry.roll_back("scoring").version == first.version
    assert registry.champion("scoring", date(2018, 2, 1)).version == first.version
    assert registry.version("scoring", second.version).status == "challenger"


def test_a_missing_or_changed_file_is_refused(registry: ModelRegistry, tmp_path: Path) -> None:
    version = save(registry, date(2018, 1, 2), 1.0)
    assert registry.load(version)["figure"] == 1.0
    path = tmp_path / "models" / f"{version.sha256}.zip"
    path.write_bytes(path.read_bytes().replace(b"1.0", b"9.0"))
    with pytest.raises(RegistryError, match="was changed"):
        registry.load(version)
    with pytest.raises(RegistryError, match="is missing"):
        registry.load(replace(version, sha256="0" * 64))


def test_mlflow_holds_the_run_the_version_and_the_alias(warehouse: Warehouse, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    registry = ModelRegistry(warehouse, tmp_path / "models", uri)
    first = save(registry, date(2018, 1, 2), 1.0)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    name = next(iter(client.search_registered_models())).name

    def aliases() -> dict[str, str]:
        versions = client.get_registered_model(name).aliases
        return {alias: client.get_model_version(name, version).tags["version"] for alias, version in versions.items()}

    assert aliases() == {"champion": first.version}
    lost = save(registry, date(2018, 1, 8), 3.0, promote=False)
    assert aliases() == {"champion": first.version, "challenger": lost.version}
    second = save(registry, date(2018, 1, 9), 2.0)
    assert aliases() == {"champion": second.version}
    registry.roll_back("scoring")
    assert aliases() == {"champion": first.version, "challenger": second.version}
    assert name.endswith(".scoring")
    champion = client.get_model_version_by_alias(name, "champion")
    assert champion.tags["sha256"] == first.sha256
    assert champion.tags["as_of_date"] == "2018-01-02"
    run = client.get_run(first.run_id)
    assert run.data.metrics["brier"] == 0.1
    assert [item.path for item in client.list_artifacts(first.run_id)] == [f"{first.sha256}.zip"]

"""Artefacts are plain, deterministic and refused when changed; versions are promoted and rolled back."""

import errno
import socket
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ml import mlflow_mirror
from ml.mlflow_mirror import MirrorError
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
        "scoring", {"figure": figure}, as_of_date=day, parameters={"seed": 7}, metrics={"brier": 0.1}, promote=promote
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


def test_of_promotions_on_one_date_the_last_counts_and_is_rolled_back_first(registry: ModelRegistry) -> None:
    day = date(2018, 1, 2)
    # Enough of them that no order of hashes is the order of promotions.
    versions = [save(registry, day, float(figure)).version for figure in range(6)]
    versions.append(versions.pop(2))
    assert save(registry, day, 2.0).version == versions[-1]
    assert [version.version for version in registry.promoted("scoring", day)] == versions[::-1]
    for version in versions[-2::-1]:
        assert registry.roll_back("scoring").version == version
        assert registry.champion("scoring", day).version == version


def test_trainings_that_end_at_once_leave_one_champion(registry: ModelRegistry, warehouse: Warehouse) -> None:
    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(lambda figure: save(registry, date(2018, 1, 2), float(figure)), range(24)))
    found = warehouse.read_frame("select version, status, promotion_number from predictions.model_versions")
    assert sorted(found["version"]) == sorted(version.version for version in saved)
    assert sorted(found["promotion_number"]) == list(range(1, 25))
    [in_charge] = found["promotion_number"][found["status"] == "champion"]
    assert in_charge == 24


def test_an_archive_that_cannot_be_stored_leaves_the_champion_and_nothing_else(
    registry: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save(registry, date(2018, 1, 2), 1.0)
    before = sorted(path.name for path in (tmp_path / "models").iterdir())

    def half(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(RegistryError, match=r"cannot be stored in .*No space left on device.*make room"):
        save(registry, date(2018, 1, 9), 2.0)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == before
    assert registry.champion("scoring", date(2018, 2, 1)) == first


def test_a_missing_or_changed_file_is_refused(registry: ModelRegistry, tmp_path: Path) -> None:
    version = save(registry, date(2018, 1, 2), 1.0)
    assert registry.load(version)["figure"] == 1.0
    path = tmp_path / "models" / f"{version.sha256}.zip"
    path.write_bytes(path.read_bytes().replace(b"1.0", b"9.0"))
    with pytest.raises(RegistryError, match="was changed"):
        registry.load(version)
    with pytest.raises(RegistryError, match="is missing"):
        registry.load(replace(version, sha256="0" * 64))
    path.unlink()
    path.mkdir()
    with pytest.raises(RegistryError, match="cannot be read"):
        registry.load(version)


def test_a_folder_without_rights_is_named(
    registry: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = save(registry, date(2018, 1, 2), 1.0)

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    # Tests may run as root, whom no rights stop. A folder that may not be entered does not even say what is there.
    for name in ("stat", "open", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(RegistryError, match=r"cannot be read .*Permission denied"):
        registry.load(version)
    with pytest.raises(RegistryError, match=r"cannot be stored in .*Permission denied"):
        save(registry, date(2018, 1, 9), 2.0)
    assert registry.champion("scoring", date(2018, 2, 1)) == version


def test_mlflow_holds_the_run_the_version_and_the_alias(warehouse: Warehouse, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    registry = ModelRegistry(warehouse, tmp_path / "models", uri)
    assert registry.mirror("scoring") == 0
    first = save(registry, date(2018, 1, 2), 1.0)
    assert (registry.behind("scoring"), registry.mirror("scoring"), registry.behind("scoring")) == (1, 1, 0)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    name = next(iter(client.search_registered_models())).name

    def aliases() -> dict[str, str]:
        versions = client.get_registered_model(name).aliases
        return {alias: client.get_model_version(name, version).tags["version"] for alias, version in versions.items()}

    assert aliases() == {"champion": first.version}
    lost = save(registry, date(2018, 1, 8), 3.0, promote=False)
    registry.mirror("scoring")
    assert aliases() == {"champion": first.version, "challenger": lost.version}
    second = save(registry, date(2018, 1, 9), 2.0)
    registry.mirror("scoring")
    assert aliases() == {"champion": second.version}
    registry.roll_back("scoring")
    registry.mirror("scoring")
    assert aliases() == {"champion": first.version, "challenger": second.version}
    assert name.endswith(".scoring")
    champion = client.get_model_version_by_alias(name, "champion")
    assert champion.tags["sha256"] == first.sha256
    assert champion.tags["as_of_date"] == "2018-01-02"
    run = client.get_run(registry.version("scoring", first.version).run_id)
    assert run.data.metrics["brier"] == 0.1
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == [f"{first.sha256}.zip"]


def test_a_run_that_broke_off_is_taken_up_again(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    registry = ModelRegistry(warehouse, tmp_path / "models", uri)
    save(registry, date(2018, 1, 2), 1.0)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for step in ("log_artifact", "create_model_version", "set_registered_model_alias"):
        with monkeypatch.context() as broken:
            broken.setattr(MlflowClient, step, full)
            with pytest.raises(MirrorError, match="No space left on device"):
                registry.mirror("scoring")
        assert registry.behind("scoring") == 1
    assert (registry.mirror("scoring"), registry.behind("scoring")) == (1, 0)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    [model] = client.search_registered_models()
    [version] = client.search_model_versions(f"name = '{model.name}'")
    [run] = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert (run.info.status, version.run_id, run.data.params) == ("FINISHED", run.info.run_id, {"seed": "7"})


def test_mlflow_may_be_away_and_is_written_to_later(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}/mlflow"
        away = ModelRegistry(warehouse, tmp_path / "models", f"http://{address}")
        first = save(away, date(2018, 1, 2), 1.0)
        second = save(away, date(2018, 1, 9), 2.0)
        assert away.champion("scoring", date(2018, 2, 1)) == second
        for uri in (f"http://{address}", f"postgresql+psycopg2://{address}", "mysql+no_such_driver:///mlflow"):
            with pytest.raises(MirrorError, match=r"The models are safe.*MLFLOW_TRACKING_URI"):
                ModelRegistry(warehouse, tmp_path / "models", uri).mirror("scoring")
        # It accepts, and never says a word.
        nobody.listen()
        monkeypatch.setattr(mlflow_mirror, "_SECONDS", 2)
        with pytest.raises(MirrorError, match="timeout expired"):
            ModelRegistry(warehouse, tmp_path / "models", f"postgresql+psycopg2://{address}").mirror("scoring")
        assert away.roll_back("scoring").version == first.version
        assert away.behind("scoring") == 2

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    back = ModelRegistry(warehouse, tmp_path / "models", uri)
    assert back.mirror("scoring") == 2
    assert back.behind("scoring") == 0
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    [model] = client.search_registered_models()
    shown = {
        alias: client.get_model_version_by_alias(model.name, alias).tags["version"]
        for alias in ("champion", "challenger")
    }
    assert shown == {"champion": first.version, "challenger": second.version}
    run = client.get_run(back.version("scoring", first.version).run_id)
    assert run.data.params == {"seed": "7"}

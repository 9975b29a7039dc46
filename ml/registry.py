"""Where models rest: one deterministic archive each, named by its hash, known to the warehouse and to MLflow.

An archive holds numbers (npy), JSON and native CatBoost bytes with a manifest of their hashes; nothing in it can run
code. It lies in `<state>/models/<sha256>.zip` and is opened only if its content still has that hash. The warehouse
(`predictions.model_versions`) says which version is the champion; MLflow shows the same to people, as soon as `mirror`
can write there.

    champion    in charge now
    retired     was in charge, and still is for dates before its successor's as_of_date
    challenger  lost against the champion, or was rolled back
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from psycopg.conninfo import conninfo_to_dict

from ml.mlflow_mirror import MlflowMirror
from warehouse.door import Warehouse

__all__ = ["ModelRegistry", "ModelVersion", "RegistryError", "pack", "unpack"]

_MANIFEST = "manifest.json"
_FORMAT = 1
# Zip entries carry a time of change; a fixed one keeps the bytes the same on every run.
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_VERSION_DIGITS = 12
_COLUMNS = "model_name, version, as_of_date, status, sha256, metrics, run_id"
# Of two versions of one date the one that was put in charge last counts.
_LAST_PROMOTED_FIRST = "order by as_of_date desc, promotion_number desc nulls last, trained_at desc, version desc"


class RegistryError(RuntimeError):
    """A model cannot be stored, found or trusted; the message says what to do."""


@dataclass(frozen=True)
class ModelVersion:
    """One trained version of a model, as `predictions.model_versions` knows it."""

    model_name: str
    version: str
    as_of_date: date
    status: str
    sha256: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    run_id: str | None = None


def pack(state: Mapping[str, Any]) -> bytes:
    """Write a nested state of JSON values, arrays and model bytes as one archive; the same state gives the same bytes.

    Raises:
        RegistryError: the state holds something else, which could not be read back without running code.
    """
    members: dict[str, bytes] = {}
    tree = _flatten(state, "", members)
    manifest = {
        "format": _FORMAT,
        "members": {name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
        "state": tree,
    }
    members[_MANIFEST] = json.dumps(manifest, sort_keys=True, indent=1).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, _FIXED_TIME), members[name])
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, Any]:
    """Read an archive that `pack` wrote; every member must have the hash that the manifest says.

    Raises:
        RegistryError: the archive is damaged, changed or of another format.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        manifest = json.loads(members.pop(_MANIFEST))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise RegistryError("The model file is damaged: retrain the models, or restore it from a backup.") from error
    if manifest["format"] != _FORMAT:
        raise RegistryError("The model file is of another format than this program reads: retrain the models.")
    for name, sha256 in manifest["members"].items():
        if name not in members or hashlib.sha256(members[name]).hexdigest() != sha256:
            raise RegistryError(f"The part {name} of the model file was changed: retrain the models, or restore it.")
    restored: dict[str, Any] = _restore(manifest["state"], members)
    return restored


class ModelRegistry:
    """Stores, finds, promotes and rolls back versions of models.

    Args:
        warehouse: where `predictions.model_versions` is.
        folder: where the archives are, usually `<state>/models`.
        tracking_uri: MLflow's tracking store; empty = MLflow is left out.
    """

    def __init__(self, warehouse: Warehouse, folder: Path, tracking_uri: str = "") -> None:
        self._warehouse = warehouse
        self._folder = folder
        self._tracking_uri = tracking_uri

    def save(
        self,
        model_name: str,
        state: Mapping[str, Any],
        *,
        as_of_date: date,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        promote: bool,
    ) -> ModelVersion:
        """Store a version; with `promote` it becomes the champion from `as_of_date` on.

        The archive is complete on disk before the warehouse hears of it. Saving the same content again changes nothing
        but its status. MLflow hears of it by `mirror`.

        Raises:
            RegistryError: the archive cannot be written; then nothing is changed.
        """
        content = pack({**state, "model_name": model_name, "as_of_date": as_of_date.isoformat()})
        sha256 = hashlib.sha256(content).hexdigest()
        version = sha256[:_VERSION_DIGITS]
        self._store(self._path(sha256), content)
        stored = ModelVersion(model_name, version, as_of_date, "challenger", sha256, dict(metrics))
        with self._changed_alone() as connection:
            connection.execute(
                "insert into predictions.model_versions"
                " (model_name, version, as_of_date, status, sha256, metrics, parameters)"
                " values (%s, %s, %s, 'challenger', %s, %s, %s)"
                " on conflict (model_name, version) do update set metrics = excluded.metrics",
                (model_name, version, as_of_date, sha256, *(_as_json(part) for part in (metrics, parameters))),
            )
            if promote:
                self._promote(connection, stored)
        return self._known(model_name, version)

    def champion(self, model_name: str, as_of_date: date) -> ModelVersion | None:
        """Return the version in charge on a date: the newest that was ever promoted, trained no later than that."""
        found = self.promoted(model_name, as_of_date)
        return found[0] if found else None

    def promoted(self, model_name: str, as_of_date: date) -> list[ModelVersion]:
        """Return all versions that were ever in charge by a date, the one in charge on that date first."""
        return self._find(
            "model_name = %s and status in ('champion', 'retired') and as_of_date <= %s", (model_name, as_of_date)
        )

    def newest(self, model_name: str, as_of_date: date) -> ModelVersion | None:
        """Return the newest version trained no later than a date, promoted or not."""
        return self._one("model_name = %s and as_of_date <= %s", (model_name, as_of_date))

    def version(self, model_name: str, version: str) -> ModelVersion | None:
        """Return one version, or None where it is not known."""
        return self._one("model_name = %s and version = %s", (model_name, version))

    def load(self, version: ModelVersion) -> dict[str, Any]:
        """Return the state of a version.

        Raises:
            RegistryError: its archive is missing, or is not the one that was stored.
        """
        path = self._path(version.sha256)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise RegistryError(
                f"The file of model {version.version} is missing ({path}): retrain, or roll back."
            ) from error
        except OSError as error:
            raise RegistryError(f"The file of model {version.version} cannot be read ({error}): mend that.") from error
        if hashlib.sha256(content).hexdigest() != version.sha256:
            raise RegistryError(f"The file of model {version.version} was changed ({path}): retrain, or roll back.")
        return unpack(content)

    def roll_back(self, model_name: str) -> ModelVersion:
        """Demote the champion and put the version before it in charge again; return that one.

        Raises:
            RegistryError: there is no version to go back to.
        """
        with self._changed_alone() as connection:
            rows = connection.execute(
                "select version from predictions.model_versions"
                f" where model_name = %s and status in ('champion', 'retired') {_LAST_PROMOTED_FIRST} limit 2",
                (model_name,),
            ).fetchall()
            if len(rows) < 2:
                raise RegistryError(f"There is no earlier version of {model_name} to roll back to: retrain it instead.")
            # A file that cannot be trusted is found before anything is changed.
            self.load(self._known(model_name, rows[1][0]))
            for status, (version,) in zip(("challenger", "champion"), rows, strict=True):
                connection.execute(
                    "update predictions.model_versions set status = %s where model_name = %s and version = %s",
                    (status, model_name, version),
                )
        return self._known(model_name, rows[1][0])

    def behind(self, model_name: str) -> int:
        """Return how many versions MLflow does not show, or not as they are; 0 where MLflow is left out."""
        return len(self._unmirrored(model_name)) if self._tracking_uri else 0

    def mirror(self, model_name: str) -> int:
        """Let MLflow show what the warehouse knows; return how many versions it did not show as they are.

        The alias `champion` is in charge; `challenger` is the newest that is not, where the one in charge is no newer.

        Raises:
            MirrorError: MLflow cannot be written to. What it does not show yet is written by the next call.
        """
        waiting = self._unmirrored(model_name) if self._tracking_uri else []
        if not waiting:
            return 0
        mirror = MlflowMirror(self._tracking_uri, self._registered_name(model_name), self._folder / "mlflow")
        for version, parameters in waiting:
            if version.run_id is None:
                run_id = mirror.log(
                    version.version,
                    as_of_date=version.as_of_date,
                    sha256=version.sha256,
                    parameters=parameters,
                    metrics=version.metrics,
                    archive=self._path(version.sha256),
                )
                self._warehouse.execute(
                    "update predictions.model_versions set run_id = %s where model_name = %s and version = %s",
                    (run_id, model_name, version.version),
                )
        champion = self._one("model_name = %s and status = 'champion'", (model_name,))
        challenger = self._one("model_name = %s and status = 'challenger'", (model_name,))
        if champion is not None and challenger is not None and challenger.as_of_date < champion.as_of_date:
            challenger = None
        mirror.point("champion", None if champion is None else champion.run_id)
        mirror.point("challenger", None if challenger is None else challenger.run_id)
        for version, _ in waiting:
            self._warehouse.execute(
                "update predictions.model_versions set mlflow_status = %s where model_name = %s and version = %s",
                (version.status, model_name, version.version),
            )
        return len(waiting)

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.zip"

    def _store(self, path: Path, content: bytes) -> None:
        """Write an archive as a whole or not at all."""
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(content)
            partial.replace(path)
        except OSError as error:
            raise RegistryError(
                f"The trained model cannot be stored in {path.parent} ({error}): make room or mend its rights, then "
                "train again. The model in charge stays."
            ) from error
        finally:
            # Gone where all went well; out of reach where the folder is, of which the error above speaks.
            with suppress(OSError):
                partial.unlink()

    @contextmanager
    def _changed_alone(self) -> Iterator[Any]:
        """A transaction beside which nobody else puts versions in charge; they may be read meanwhile."""
        with self._warehouse.transaction() as connection:
            connection.execute("lock table predictions.model_versions in share row exclusive mode")
            yield connection

    def _promote(self, connection: Any, version: ModelVersion) -> None:
        """Put a version in charge from its date on; a later version stays the one in charge now."""
        key = (version.model_name, version.version)
        connection.execute(
            "update predictions.model_versions set promotion_number = ("
            " select coalesce(max(promotion_number), 0) + 1 from predictions.model_versions where model_name = %s)"
            " where model_name = %s and version = %s",
            (version.model_name, *key),
        )
        later = connection.execute(
            "select exists (select from predictions.model_versions where model_name = %s and status = 'champion'"
            " and as_of_date > %s)",
            (version.model_name, version.as_of_date),
        ).fetchone()[0]
        if later:
            connection.execute(
                "update predictions.model_versions set status = 'retired' where model_name = %s and version = %s", key
            )
            return
        connection.execute(
            "update predictions.model_versions set status = 'retired' where model_name = %s and status = 'champion'",
            (version.model_name,),
        )
        connection.execute(
            "update predictions.model_versions set status = 'champion' where model_name = %s and version = %s", key
        )

    def _known(self, model_name: str, version: str) -> ModelVersion:
        found = self.version(model_name, version)
        if found is None:
            raise RegistryError(f"Version {version} of {model_name} is not in predictions.model_versions.")
        return found

    def _one(self, condition: str, parameters: tuple[Any, ...]) -> ModelVersion | None:
        found = self._find(condition, parameters)
        return found[0] if found else None

    def _find(self, condition: str, parameters: tuple[Any, ...]) -> list[ModelVersion]:
        with self._warehouse.transaction() as connection:
            rows = connection.execute(
                f"select {_COLUMNS} from predictions.model_versions where {condition} {_LAST_PROMOTED_FIRST}",
                parameters,
            ).fetchall()
        return [ModelVersion(*row) for row in rows]

    def _unmirrored(self, model_name: str) -> list[tuple[ModelVersion, Mapping[str, Any]]]:
        """Versions that MLflow does not show, or not with their status, and what they were trained with."""
        with self._warehouse.transaction() as connection:
            rows = connection.execute(
                f"select {_COLUMNS}, parameters from predictions.model_versions"
                " where model_name = %s and (run_id is null or mlflow_status is distinct from status)"
                " order by trained_at, version",
                (model_name,),
            ).fetchall()
        return [(ModelVersion(*row[:-1]), row[-1]) for row in rows]

    def _registered_name(self, model_name: str) -> str:
        """Return MLflow's name of a model; the warehouse is part of it, since one MLflow may serve several."""
        return f"{conninfo_to_dict(self._warehouse.url).get('dbname', 'warehouse')}.{model_name}"


def _as_json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True)


def _flatten(value: Any, path: str, members: dict[str, bytes]) -> Any:
    if isinstance(value, Mapping):
        if any(not isinstance(key, str) or key.startswith("$") for key in value):
            raise RegistryError(f"The keys at {path or 'the top'} must be text that does not start with $.")
        return {str(key): _flatten(part, f"{path}/{key}" if path else str(key), members) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_flatten(part, f"{path}/{position}", members) for position, part in enumerate(value)]
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise RegistryError(f"The array at {path} holds objects; give it numbers or text.")
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(value), allow_pickle=False)
        return _member(f"{path}.npy", buffer.getvalue(), "$array", members)
    if isinstance(value, bytes):
        return _member(f"{path}.cbm", value, "$bytes", members)
    if isinstance(value, np.generic):
        return _flatten(value.item(), path, members)
    if value is None or isinstance(value, bool | int | float | str):
        return str(value) if isinstance(value, str) else value
    raise RegistryError(f"A {type(value).__name__} at {path} cannot be stored: use numbers, text, arrays or bytes.")


def _member(name: str, content: bytes, marker: str, members: dict[str, bytes]) -> dict[str, str]:
    members[name] = content
    return {marker: name}


def _restore(value: Any, members: Mapping[str, bytes]) -> Any:
    if isinstance(value, dict):
        if "$array" in value:
            return np.lib.format.read_array(io.BytesIO(members[value["$array"]]), allow_pickle=False)
        if "$bytes" in value:
            return members[value["$bytes"]]
        return {key: _restore(part, members) for key, part in value.items()}
    if isinstance(value, list):
        return [_restore(part, members) for part in value]
    return value

"""What MLflow shows of our models: a run, a registered version and two aliases; a copy for people to look at.

Nothing is decided by what stands there. MLflow may be away for a while: whoever writes to it hears of that within
seconds, and writes again later.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["MirrorError", "MlflowMirror"]

# MLflow's own client asks a server seven times, two minutes each, and a database ten times. A copy is not worth that.
_SECONDS = 10
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(_SECONDS),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
# What their drivers call the seconds they wait for an answer.
_TIME_LIMITS = {"postgresql": "connect_timeout", "mysql": "connect_timeout", "mssql": "timeout"}
_LONGEST_PARAMETER = 500


class MirrorError(RuntimeError):
    """MLflow cannot be written to; the message says what that means and what to do."""


class MlflowMirror:
    """Writes what the warehouse knows of a model's versions to MLflow.

    Args:
        tracking_uri: MLflow's tracking store: a server, a database, or a folder.
        name: MLflow's name of the model.
        artifact_folder: where runs of a new experiment keep their files.

    Raises:
        MirrorError: MLflow cannot be reached, or refuses; of every method.
    """

    def __init__(self, tracking_uri: str, name: str, artifact_folder: Path) -> None:
        self._name = name
        self._artifact_folder = artifact_folder
        for variable, value in _PATIENCE.items():
            os.environ.setdefault(variable, value)
        # Its import takes seconds, so it waits until something is to be written.
        from mlflow.tracking import MlflowClient

        with _explained():
            _require_reachable(tracking_uri)
            self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)

    def log(
        self,
        version: str,
        *,
        as_of_date: date,
        sha256: str,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        archive: Path,
    ) -> str:
        """Record parameters, metrics and the archive, and register the version; return the run's id.

        A run that an earlier call began and could not end is taken up again.
        """
        from mlflow.entities import Metric, Param

        # The log carries the date the model was trained for: the same work gives the same record on any day.
        timestamp = int(datetime(*as_of_date.timetuple()[:3], tzinfo=UTC).timestamp() * 1000)
        tags = {"as_of_date": as_of_date.isoformat(), "sha256": sha256, "version": version}
        if not archive.exists():
            tags["archive"] = "missing"
        with _explained():
            experiment_id = self._experiment()
            begun = self._client.search_runs([experiment_id], f"tags.sha256 = '{sha256}'", max_results=1)
            run = (
                begun[0]
                if begun
                else self._client.create_run(experiment_id, start_time=timestamp, tags=tags, run_name=version)
            )
            self._client.log_batch(
                run.info.run_id,
                metrics=[Metric(key, float(value), timestamp, 0) for key, value in sorted(metrics.items())],
                params=[Param(key, str(value)[:_LONGEST_PARAMETER]) for key, value in sorted(parameters.items())],
            )
            if archive.exists():
                self._client.log_artifact(run.info.run_id, str(archive))
            self._client.set_terminated(run.info.run_id, "FINISHED", end_time=timestamp)
            if not self._client.search_registered_models(f"name = '{self._name}'"):
                self._client.create_registered_model(self._name)
            if not self._versions(run.info.run_id):
                source = f"{run.info.artifact_uri}/{archive.name}"
                self._client.create_model_version(self._name, source=source, run_id=run.info.run_id, tags=tags)
        return str(run.info.run_id)

    def point(self, alias: str, run_id: str | None) -> None:
        """Let an alias point at the version of a run; without one, at nothing."""
        with _explained():
            if run_id is None:
                self._client.delete_registered_model_alias(self._name, alias)
                return
            for found in self._versions(run_id)[:1]:
                self._client.set_registered_model_alias(self._name, alias, found.version)

    def _versions(self, run_id: str) -> list[Any]:
        return list(self._client.search_model_versions(f"name = '{self._name}' and run_id = '{run_id}'"))

    def _experiment(self) -> str:
        experiment = self._client.get_experiment_by_name(self._name)
        if experiment is not None:
            return str(experiment.experiment_id)
        location = self._artifact_folder.absolute().as_uri()
        return str(self._client.create_experiment(self._name, artifact_location=location))


def _require_reachable(tracking_uri: str) -> None:
    """Ask once, before MLflow asks many times."""
    import sqlalchemy
    from mlflow.store.db.db_types import DATABASE_ENGINES

    parts = urlsplit(tracking_uri)
    kind = parts.scheme.split("+")[0]
    port = parts.port or _PORTS.get(kind)
    if parts.hostname and port:
        socket.create_connection((parts.hostname, port), timeout=_SECONDS).close()
    if kind in DATABASE_ENGINES:
        # Files are opened at once; a server may accept and never answer.
        limits = {} if kind == "sqlite" else {_TIME_LIMITS[kind]: _SECONDS}
        engine = sqlalchemy.create_engine(tracking_uri, connect_args=limits)
        engine.connect().close()
        engine.dispose()


@contextmanager
def _explained() -> Iterator[None]:
    """Turn whatever MLflow and what is below it raise into one error that says what to do."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ValueError, ImportError) as error:
        raise MirrorError(
            f"MLflow does not show the newest models yet, as it could not be written to ({error}). The models are safe "
            "and in use. Check MLFLOW_TRACKING_URI and that MLflow runs; the next training, roll back or watch_drift "
            "writes what is missing."
        ) from error

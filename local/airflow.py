"""How Airflow is configured on one machine: everything by environment, nothing below the home folder of a person."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from local.files import generated_secret, write_private

__all__ = ["ADMINISTRATOR", "COMPONENTS", "NEEDED_BY_THE_CHAIN", "AirflowHome"]

ADMINISTRATOR = "admin"
# The sub-commands of the `airflow` program that run, with their arguments. Log servers would
# listen on every address of the machine; the API server finds the log files on this disk without them.
COMPONENTS: dict[str, tuple[str, ...]] = {
    "api-server": (),
    "scheduler": ("--skip-serve-logs",),
    "dag-processor": (),
    "triggerer": ("--skip-serve-logs",),
}
# The chain needs these; the rest may come up while it runs.
NEEDED_BY_THE_CHAIN = ("api-server", "scheduler", "dag-processor")


@dataclass(frozen=True)
class AirflowHome:
    """Airflow's own folder below the state folder, with its secrets (mode 0600) and its configuration.

    `database_url` is the metadata database; `dags_folder` is the project's `dags/`, whose parent is on the path.
    """

    folder: Path
    dags_folder: Path
    database_url: str
    port: int

    @property
    def address(self) -> str:
        """Where people and programs find Airflow."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def logs(self) -> Path:
        """The folder with the log of every task."""
        return self.folder / "logs"

    @property
    def password(self) -> str:
        """The administrator's password, made on first use; Airflow's simple login keeps it in plain text."""
        return generated_secret(self.folder / "admin-password", length=12)

    def prepare(self) -> None:
        """Write the files that Airflow reads its logins from."""
        self.logs.mkdir(parents=True, exist_ok=True)
        passwords = self.folder / "passwords.json"
        wanted = json.dumps({ADMINISTRATOR: self.password})
        if not passwords.exists() or passwords.read_text().strip() != wanted:
            write_private(passwords, wanted)

    def variables(self) -> dict[str, str]:
        """Return the configuration as environment variables of every Airflow process."""
        sqlalchemy_url = self.database_url.replace("postgresql://", "postgresql+psycopg2://", 1)
        sections: dict[str, dict[str, object]] = {
            "core": {
                "dags_folder": self.dags_folder,
                "executor": "LocalExecutor",
                "load_examples": False,
                "dags_are_paused_at_creation": False,
                # The chain is a line; four at once serve it and one or two backfills on a small machine.
                "parallelism": 4,
                "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
                "simple_auth_manager_users": f"{ADMINISTRATOR}:admin",
                "simple_auth_manager_passwords_file": self.folder / "passwords.json",
                "execution_api_server_url": f"{self.address}/execution/",
                "fernet_key": _fernet_key(self.folder / "fernet-key"),
                "internal_api_secret_key": generated_secret(self.folder / "internal-secret"),
                "min_serialized_dag_update_interval": 5,
            },
            "database": {"sql_alchemy_conn": sqlalchemy_url, "sql_alchemy_pool_size": 5},
            "api": {
                "host": "127.0.0.1",
                "port": self.port,
                "base_url": self.address,
                "workers": 1,
                "secret_key": generated_secret(self.folder / "api-secret"),
                "expose_config": False,
            },
            "api_auth": {"jwt_secret": generated_secret(self.folder / "jwt-secret")},
            "logging": {"base_log_folder": self.logs, "colored_console_log": False},
            "scheduler": {
                # Half a second between looks keeps the gaps between tasks short and an idle machine cool.
                "scheduler_idle_sleep_time": 0.5,
                "job_heartbeat_sec": 5,
                "enable_health_check": False,
                # A task whose scheduler was killed is taken up by the next one within a minute, not within ten.
                "orphaned_tasks_check_interval": 15,
                "task_instance_heartbeat_timeout": 60,
            },
            "dag_processor": {
                "refresh_interval": 30,
                "min_file_process_interval": 60,
                "parsing_processes": 1,
                "print_stats_interval": 0,
            },
            "triggerer": {"capacity": 100},
            "usage_data_collection": {"enabled": False},
            "metrics": {"statsd_on": False},
            "openlineage": {"disabled": True},
            "cosmos": {"enable_telemetry": False},
        }
        variables = {
            f"AIRFLOW__{section.upper()}__{name.upper()}": str(value)
            for section, options in sections.items()
            for name, value in options.items()
        }
        return {
            **variables,
            "AIRFLOW_HOME": str(self.folder),
            # DAG files import `dags` and the rooms below it.
            "PYTHONPATH": str(self.dags_folder.parent),
            "DO_NOT_TRACK": "1",
            "GX_ANALYTICS_ENABLED": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "PYTHONUNBUFFERED": "1",
        }


def _fernet_key(path: Path) -> str:
    """Return the key that Airflow encrypts connections with: 32 random bytes in padded URL-safe base 64."""
    key = generated_secret(path)
    return key + "=" * (-len(key) % 4)

"""docker-compose.yml stays in step with the code: services, commands, variables."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from local.airflow import COMPONENTS

PROJECT = Path(__file__).resolve().parents[2]
TEXT = (PROJECT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]


def variables(service: str) -> dict[str, str]:
    return SERVICES[service].get("environment", {})


def test_every_airflow_component_is_a_service_and_the_other_way_round() -> None:
    assert set(SERVICES) == set(COMPONENTS) | {"postgres", "migrate"}
    for component in COMPONENTS:
        assert SERVICES[component]["command"][:2] == ["airflow", component]


def test_migrations_run_before_everything_else_by_a_command_that_exists() -> None:
    command = SERVICES["migrate"]["command"][-1]
    module = re.search(r"python -m (\S+)", command)
    assert module is not None
    assert importlib.util.find_spec(f"{module.group(1)}.__main__") is not None
    assert "airflow db migrate" in command
    for component in COMPONENTS:
        assert SERVICES[component]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("component", sorted(COMPONENTS))
def test_every_variable_is_read_by_somebody(component: str) -> None:
    """Ours are named in warehouse/settings.py, Airflow's name an option that Airflow knows."""
    from airflow.configuration import conf

    ours = (PROJECT / "warehouse" / "settings.py").read_text()
    known_to_airflow = {
        f"AIRFLOW__{section.upper()}__{option.upper()}"
        for section, described in conf.configuration_description.items()
        for option in described["options"]
    }
    elsewhere = {"PYTHONPATH", "AIRFLOW_HOME", "GX_ANALYTICS_ENABLED", "MLFLOW_DISABLE_TELEMETRY"}
    for name in variables(component):
        assert name in elsewhere or name in known_to_airflow or f'"{name}"' in ours, f"nobody reads {name}"
    for name in ("WAREHOUSE_URL", "MLFLOW_TRACKING_URI", "REKINDLE_SOURCE", "REKINDLE_STATE"):
        assert name in variables(component), f"{name} is missing"


def test_the_databases_that_are_named_are_made() -> None:
    made = {variables("postgres")["POSTGRES_DB"], *re.findall(r"create database (\w+)", TEXT)}
    named = set(re.findall(r"@postgres:5432/(\w+)", TEXT))
    assert named == made


def test_no_secret_has_a_default_and_every_wish_is_documented() -> None:
    guide = (PROJECT / "docs" / "how_to" / "run_in_containers.md").read_text()
    wishes = set(re.findall(r"\$\{([A-Z_]+)", TEXT))
    assert wishes
    for name in wishes:
        assert f"{name}=" in guide, f"{name} is not in the guide"
    assert re.findall(r"\$\{[A-Z_]+(?!:\?)[^}A-Z_]", TEXT) == []


def test_ports_are_bound_to_the_machine_itself() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)

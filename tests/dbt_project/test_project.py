"""House rules of the dbt project that nobody should have to remember."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import psycopg
import pytest
import yaml

from local.postgres import EmbeddedPostgres
from tests.dbt_project.building import PROJECT, DbtProject
from tests.dbt_project.random_world import draw_world
from warehouse.contract import load_contract

PREFIXES = {
    "staging": ("stg_raw__", "stg_privacy__"),
    "intermediate": ("int_",),
    "marts": ("dim_", "fct_"),
    "reporting": ("rpt_",),
}


@pytest.fixture(scope="module")
def manifest(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    read = DbtProject(tmp_path_factory.mktemp("manifest")).read(postgres.url())
    return read.writable_manifest().to_dict(omit_none=False)


def models(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    found = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert len(found) > 40
    return found


def test_every_model_says_its_grain_and_tests_it(manifest: dict[str, Any]) -> None:
    keyed = {
        node["attached_node"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test" and node["test_metadata"]["name"] == "is_key"
    }
    for model in models(manifest):
        assert model["description"].startswith("One row per"), model["name"]
        assert model["unique_id"] in keyed, f"{model['name']} has no is_key test"
        assert [name for name, column in model["columns"].items() if not column["description"]] == [], model["name"]


def test_what_others_read_has_a_contract(manifest: dict[str, Any]) -> None:
    for model in models(manifest):
        is_read = model["schema"] in ("marts", "reporting") or model["name"].startswith("feat_user_")
        if is_read or model["name"] in ("training_examples", "open_events", "eligible_user_channels", "exposed_pairs"):
            assert model["config"]["contract"]["enforced"], model["name"]


def test_names_tell_the_layer(manifest: dict[str, Any]) -> None:
    for model in models(manifest):
        if model["schema"] in PREFIXES:
            assert model["name"].startswith(PREFIXES[model["schema"]]), model["name"]
        last_cte = (PROJECT / model["original_file_path"]).read_text().rstrip().splitlines()[-1]
        assert last_cte == f"select * from {model['name']}"


def test_every_consumer_has_an_owner_and_every_feature_a_consumer(manifest: dict[str, Any]) -> None:
    exposures = list(manifest["exposures"].values())
    assert exposures
    assert all(exposure["owner"]["name"] for exposure in exposures)
    read = {node for exposure in exposures for node in exposure["depends_on"]["nodes"]}
    unread = [
        model["name"]
        for model in models(manifest)
        if model["name"].startswith("feat_user_") and model["unique_id"] not in read
    ]
    assert unread == []


def test_what_takes_longest_begins_first(manifest: dict[str, Any]) -> None:
    """dbt begins what stands on fewer levels of other models first, and only then goes by the name."""
    features = {model["unique_id"]: model for model in models(manifest) if model["schema"] == "features"}

    def level(unique_id: str) -> int:
        before = [level(other) for other in features[unique_id]["depends_on"]["nodes"] if other in features]
        return 1 + max(before, default=0)

    levels = {
        model["name"]: level(model["unique_id"])
        for model in features.values()
        if re.fullmatch(r"user_\w+_versions(_\d_of_2)?", model["name"]) and model["name"] != "user_channels_versions"
    }
    largest = {"user_sums_versions_1_of_2", "user_sums_versions_2_of_2", "user_social_versions"}
    assert max(levels[name] for name in largest) < min(levels[name] for name in levels.keys() - largest)


def test_lists_of_the_contract_are_the_columns_of_the_features() -> None:
    variables = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]
    allowed = {
        (table, column.name): column.allowed
        for table, contract in load_contract().items()
        for column in contract.columns
    }
    assert variables["interaction_kinds"] == list(allowed["interactions", "kind"])
    assert variables["contact_channels"] == [name for name in allowed["exposures", "channel"] if name != "none"]


def test_nothing_below_the_dags_reads_the_clock() -> None:
    for path in [*PROJECT.rglob("models/**/*.sql"), *PROJECT.rglob("macros/*.sql")]:
        text = path.read_text().lower()
        for clock in ("current_date", "current_timestamp", "now()", "run_started_at", "localtimestamp"):
            assert clock not in text, f"{path.name} reads the clock: {clock}"


def test_tables_that_were_just_filled_have_statistics(warehouse_url: str, dbt_project: DbtProject) -> None:
    """A model that reads a table of the same run is not planned by guesses: on millions of rows they cost hours."""
    draw_world(21).write(warehouse_url)
    dbt_project.build(warehouse_url, date(2026, 1, 12), full_refresh=True)
    with psycopg.connect(warehouse_url) as connection:
        tables = connection.execute(
            "select format('%I.%I', schemaname, relname) from pg_stat_user_tables"
            " where schemaname in ('intermediate', 'marts', 'features')"
        ).fetchall()
        described = connection.execute(
            "select distinct format('%I.%I', schemaname, tablename) from pg_stats"
            " where schemaname in ('intermediate', 'marts', 'features')"
        ).fetchall()
        filled = {name for (name,) in tables if connection.execute(f"select 1 from {name} limit 1").fetchone()}
    assert len(filled) > 10
    # A row a model, written down when the other tables are done.
    filled -= {"intermediate.int_built_dates"}
    assert filled <= {name for (name,) in described}

"""Settings: one file, one override, and a sentence for everything that is wrong with them."""

import tomllib
from dataclasses import FrozenInstanceError, fields
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

import warehouse.settings
from warehouse.settings import Settings, SettingsError, load_settings

PROJECT = Path(warehouse.settings.__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("WAREHOUSE_URL", "MLFLOW_TRACKING_URI", "REKINDLE_SOURCE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("REKINDLE_STATE", str(tmp_path / "state"))


def folder_with(tmp_path: Path, content: str) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(exist_ok=True)
    (folder / "rekindle.toml").write_text(content, encoding="utf-8")
    return folder


def test_the_file_says_what_the_design_says() -> None:
    settings = load_settings()
    assert settings.inactive_after_days == 30
    assert settings.return_window_days == 14
    assert settings.conversion_window_days == 30
    assert settings.value_horizon_days == 30
    assert settings.budget is None
    assert settings.value_weights.lifetime_value == 0
    assert settings.warehouse_url == settings.source == ""


def test_every_key_of_the_file_has_a_comment() -> None:
    lines = (PROJECT / "rekindle.toml").read_text().splitlines()
    for before, line in pairwise(lines):
        if "=" in line and not line.startswith("#"):
            assert before.startswith("#"), line


def test_the_data_folder_overrides_what_it_names(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "budget = 0.1\nreturn_window_days = 7\n[caps]\ndays = 5\n")
    settings = load_settings(folder)
    assert settings.budget == Decimal("0.1")
    assert settings.return_window_days == 7
    assert settings.caps.days == 5
    assert settings.caps.contacts_per_user == load_settings().caps.contacts_per_user
    assert settings.dbt_vars(date(2018, 1, 2))["return_window_days"] == 7
    assert settings.dbt_vars(date(2018, 1, 2))["as_of_date"] == "2018-01-02"
    assert settings.source_folder == folder


def test_attributes_of_users_become_features_by_name(tmp_path: Path) -> None:
    assert load_settings().dbt_vars(date(2018, 1, 2))["user_attributes"] == {}
    settings = load_settings(folder_with(tmp_path, 'user_attributes = ["loyaltyTier", "Favourite-shop 2"]\n'))
    assert settings.dbt_vars(date(2018, 1, 2))["user_attributes"] == {
        "attribute_loyaltytier": "loyaltyTier",
        "attribute_favourite_shop_2": "Favourite-shop 2",
    }
    with pytest.raises(SettingsError, match=r"user_attributes holds \"tier'; drop .*a list of names of attributes"):
        load_settings(folder_with(tmp_path, 'user_attributes = ["shop", "tier\'; drop table raw.users"]\n'))
    settings = load_settings(folder_with(tmp_path, 'user_attributes = ["shop a", "Shop-A"]\n'))
    with pytest.raises(SettingsError, match="'shop a' and 'Shop-A' would both become the feature attribute_shop_a"):
        settings.dbt_vars(date(2018, 1, 2))
    both = 'user_attributes = ["tier"]\nnumeric_user_attributes = ["Level", "Tier"]\n'
    with pytest.raises(SettingsError, match="'tier' and 'Tier' would both become the feature attribute_tier"):
        load_settings(folder_with(tmp_path, both)).dbt_vars(date(2018, 1, 2))
    numbers = load_settings(folder_with(tmp_path, 'numeric_user_attributes = ["Level"]\n')).dbt_vars(date(2018, 1, 2))
    assert (numbers["user_attributes"], numbers["numeric_user_attributes"]) == ({}, {"attribute_level": "Level"})


def test_the_definition_of_inactivity_says_where_to_look(tmp_path: Path) -> None:
    assert load_settings().activity_relation == "features.feat_user_behaviour"
    settings = load_settings(folder_with(tmp_path, "[inactivity]\ndefinition = 'rhythm'\n"))
    assert settings.activity_relation == "predictions.user_activity"
    assert settings.dbt_vars(date(2018, 1, 2))["inactivity_definition"] == "rhythm"
    assert settings.inactivity.alive_below == 0.5


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("budgett = 1", "unknown key budgett; the keys are inactive_after_days"),
        ("[caps]\nweeks = 1", "unknown key caps.weeks; the keys are contacts_per_user, days"),
        ("holdout_share = 1.5", "holdout_share = 1.5 is not allowed; it must be a number from 0 to 1"),
        ("holdout_share = nan", "holdout_share = nan is not allowed"),
        ("holdout_share = '0.1'", "holdout_share = '0.1' is not allowed"),
        ("seed = 1.5", "seed = 1.5 is not allowed; it must be a whole number from 0"),
        ("inactive_after_days = 0", "it must be a whole number from 1 to 3650"),
        ("inactive_after_days = true", "inactive_after_days = True is not allowed"),
        ("budget = -1", "budget = -1 is not allowed"),
        ("[inactivity]\ndefinition = 'late'", "must be fixed, rhythm or p_alive"),
        ("caps = 3", "caps = 3 is not allowed; it is a table, written as [caps]"),
        ("budget = ", "is not valid TOML"),
        ("[business_rule]\norder_by = 'drop table'", "it must be the name of a feature column"),
        ("[business_rule]\ndescending = 1", "it must be true or false"),
        ("[experiments]\ndesign = 'peeking'", "it must be fixed, always-valid or group-sequential"),
        ("[events.tournament]\nminimums = 3", "unknown key events.tournament.minimums; the keys are minimum, budget"),
        ("[events.tournament]\ncountries = ['Germany']", "it must be a list of ISO codes of countries such as DE"),
        ("[events]\ntournament = 3", "write [events.tournament]"),
        ("[segments.quiet]\nmaximum_share = 2", "segments.quiet.maximum_share = 2 is not allowed"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    folder = folder_with(tmp_path, content)
    with pytest.raises(SettingsError) as wrong:
        load_settings(folder)
    assert sentence in str(wrong.value)
    assert str(folder / "rekindle.toml") in str(wrong.value)


def test_events_and_segments_have_tables_of_free_names(tmp_path: Path) -> None:
    text = "[events.tournament]\nminimum = 5\nbudget = 0.1\ncountries = ['DE', 'AT']\n[segments.'Big spenders']\n"
    settings = load_settings(folder_with(tmp_path, text + "maximum_share = 0.5\n"))
    limits = settings.events["tournament"]
    assert (limits.minimum, limits.budget, limits.countries) == (5, Decimal("0.1"), ("DE", "AT"))
    assert limits.minimum_age is None
    assert settings.segments["Big spenders"].maximum_share == 0.5
    assert load_settings().events == {}


def test_a_key_that_is_gone_is_missed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (PROJECT / "rekindle.toml").read_text()
    monkeypatch.setattr(warehouse.settings, "PROJECT_FOLDER", tmp_path)
    (tmp_path / "rekindle.toml").write_text(text.replace("seed =", "# seed ="))
    with pytest.raises(SettingsError, match="the key seed is missing"):
        load_settings()
    (tmp_path / "rekindle.toml").write_bytes(text.encode("utf-16"))
    with pytest.raises(SettingsError, match="is not UTF-8"):
        load_settings()


def test_the_state_folder_says_where_things_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "warehouse.url").write_text("postgresql+psycopg2://ann:p%40ss@db.example:5433/sales\n")
    (state / "mlflow.url").write_text("sqlite:///x\n")
    (state / "source").write_text("complete_journey\n")
    settings = load_settings()
    assert settings.source_folder == state / "samples" / "complete_journey"
    assert settings.tracking_uri == "sqlite:///x"
    assert not settings.is_warehouse_given
    environment = settings.dbt_environment()
    assert environment["REKINDLE_DBT_HOST"] == "db.example"
    assert environment["REKINDLE_DBT_PORT"] == "5433"
    assert environment["REKINDLE_DBT_DATABASE"] == "sales"
    assert environment["DBT_ENV_SECRET_PASSWORD"] == "p@ss"
    assert "p%40ss" not in repr(settings)
    assert not any(name.startswith("PG") for name in environment)
    monkeypatch.setenv(
        "WAREHOUSE_URL", "postgresql://ann@db/sales?sslmode=verify-full&sslrootcert=/ca.pem&options=-c%20role%3Dloader"
    )
    environment = load_settings().dbt_environment()
    assert environment["REKINDLE_DBT_SSLMODE"] == "verify-full"
    passed = {name: value for name, value in environment.items() if name.startswith("PG")}
    assert passed == {"PGSSLROOTCERT": "/ca.pem", "PGOPTIONS": "-c role=loader"}
    monkeypatch.setenv("WAREHOUSE_URL", "postgresql://other/db")
    assert load_settings().warehouse_url == "postgresql://other/db"
    assert load_settings().is_warehouse_given


def test_what_is_not_set_up_is_asked_for_in_a_sentence() -> None:
    settings = load_settings()
    with pytest.raises(SettingsError, match="type `make run`, or set WAREHOUSE_URL"):
        settings.dbt_environment()
    with pytest.raises(SettingsError, match="No source is set up"):
        _ = settings.source_folder


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        load_settings().seed = 1  # type: ignore[misc]


def test_no_key_of_the_file_is_unused() -> None:
    values = tomllib.loads((PROJECT / "rekindle.toml").read_text())
    names = {entry.name for entry in fields(Settings)}
    assert set(values) <= names

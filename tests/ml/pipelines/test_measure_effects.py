"""The stage `measure_effects` on a real warehouse: what it reads, what it writes, and that it writes the same again."""

import json
from datetime import date
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ml.pipelines import effects
from ml.segmentation import UserSegmenter
from warehouse.door import Warehouse
from warehouse.settings import Settings

AS_OF = date(2018, 1, 2)
# The windows of an exposure on this day (14 days, then 30) are closed by AS_OF; of the later one only the first is.
EARLY, LATE = "2017-11-01", "2017-12-05"

TABLES = """
create table marts.dim_events (event_id text, reward_cost numeric, contact_cost numeric);
create table features.feat_user_behaviour (
    user_id text, as_of_date date, is_inactive boolean, sessions_count_90d bigint, days_since_last_activity integer
);
create table features.training_examples (
    example_id text, user_id text, event_id text, event_type text, channel text, arm text,
    assignment_probability double precision, as_of_date date, is_inactive boolean, has_responded boolean,
    has_returned boolean, has_converted boolean, revenue_amount numeric,
    return_known_at timestamptz, conversion_known_at timestamptz
);
insert into marts.dim_events values ('chance', 2, 0.5), ('choice', 0, 0.1), ('tiny', 0, 0.1);
"""


def _examples(random: np.random.Generator) -> pd.DataFrame:
    """One event by chance with an effect of .2, one by choice without any, one that hardly anybody was invited to."""
    parts = []
    for event, rows, share in (("chance", 3000, 0.5), ("choice", 3000, 0.4), ("tiny", 300, 0.02)):
        sessions = random.poisson(5, rows)
        chance = np.full(rows, share) if event != "choice" else np.clip(0.1 + 0.06 * sessions, 0, 0.9)
        treated = random.random(rows) < chance
        effect = 0.2 if event == "chance" else 0.0
        returned = random.random(rows) < np.clip(0.05 + 0.04 * sessions + effect * treated, 0, 1)
        converted = returned & (random.random(rows) < 0.5)
        day = np.where(np.arange(rows) % 3 == 0, LATE, EARLY)
        parts.append(
            pd.DataFrame(
                {
                    "example_id": [f"{event}-{row}" for row in range(rows)],
                    "user_id": [f"{event}'user {row}" for row in range(rows)],
                    "event_id": event,
                    "event_type": f"type {event}",
                    "channel": np.where(treated, "email", None) if event != "chance" else "email",
                    "arm": np.where(treated, "treated", "control" if event == "chance" else "unexposed"),
                    "assignment_probability": 0.5 if event == "chance" else np.nan,
                    "as_of_date": pd.to_datetime(day).date,
                    "is_inactive": True,
                    "has_responded": treated & returned,
                    "has_returned": returned,
                    "has_converted": np.where(returned, converted, None),
                    "revenue_amount": np.where(converted, 30.0, np.where(returned, 0.0, np.nan)),
                    "return_known_at": pd.to_datetime(day, utc=True) + pd.Timedelta(days=15),
                    "conversion_known_at": pd.to_datetime(day, utc=True) + pd.Timedelta(days=45),
                    "sessions": sessions,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _store(warehouse: Warehouse, examples: pd.DataFrame) -> None:
    behaviour = examples[["user_id", "as_of_date", "is_inactive"]].assign(
        sessions_count_90d=examples["sessions"], days_since_last_activity=40
    )
    with warehouse.transaction() as connection:
        warehouse.copy_frame(connection, "features.training_examples", examples.drop(columns="sessions"))
        warehouse.copy_frame(connection, "features.feat_user_behaviour", behaviour)


@pytest.fixture
def examples() -> pd.DataFrame:
    return _examples(np.random.default_rng(6))


@pytest.fixture
def built(warehouse: Warehouse, examples: pd.DataFrame) -> Warehouse:
    with warehouse.transaction() as connection:
        connection.execute(TABLES)
    _store(warehouse, examples)
    return warehouse


def _written(warehouse: Warehouse, as_of_date: date = AS_OF) -> pd.DataFrame:
    return warehouse.read_frame(
        "select * from predictions.event_effects where as_of_date = %s"
        " order by scope, event_type, segment, channel, event_id, outcome",
        (as_of_date,),
    )


def _cell(rows: pd.DataFrame, **wanted: str) -> pd.Series:
    chosen = rows[np.logical_and.reduce([rows[name] == value for name, value in wanted.items()])]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_every_type_gets_the_evidence_it_has(built: Warehouse, settings: Settings) -> None:
    report = effects.measure_effects(AS_OF, settings)
    rows = _written(built)
    assert report.rows == len(rows) > 0
    by_chance = _cell(rows, scope="event_type", event_type="type chance", outcome="return")
    assert by_chance["evidence"] == "randomised"
    assert by_chance["low"] < 0.2 < by_chance["high"]
    assert by_chance["rate_exposed"] - by_chance["rate_control"] == pytest.approx(by_chance["effect"])
    by_choice = _cell(rows, scope="event_type", event_type="type choice", outcome="return")
    assert by_choice["evidence"] == "adjusted"
    assert by_choice["low"] < 0 < by_choice["high"]
    figures = json.loads(by_choice["diagnostics"])
    assert figures["imbalance_after"] < figures["imbalance_before"]
    assert figures["e_value_of_interval"] == 1.0
    tiny = _cell(rows, scope="event_type", event_type="type tiny", outcome="return")
    assert tiny["evidence"] == "insufficient"
    assert tiny[["effect", "low", "high", "p_value", "rate_exposed", "rate_control"]].isna().all()
    assert "exposed users" in json.loads(tiny["diagnostics"])["reason"]
    assert report.details["insufficient"] > 0
    assert (rows[rows["outcome"] == "return"]["p_value_adjusted"].dropna() >= 0).all()


def test_marketing_reads_effects_by_segment_by_channel_and_of_each_event(built: Warehouse, settings: Settings) -> None:
    effects.measure_effects(AS_OF, settings)
    assert built.read_frame("select * from marketing.event_effects").empty
    built.execute("insert into marketing.publications (as_of_date, targets, sha256) values (%s, 0, '')", (AS_OF,))
    written = _written(built)
    types = built.read_frame("select * from marketing.event_effects")
    assert sorted(types["event_type"]) == ["type chance", "type choice", "type tiny"]
    assert set(types["segment"]) == {"all"}
    choice = types[types["event_type"] == "type choice"].iloc[0]
    cell = _cell(written, scope="event_type", event_type="type choice", outcome="return")
    assert choice["e_value"] == json.loads(cell["diagnostics"])["e_value"] > 1
    assert choice["e_value_of_interval"] == 1
    details = built.read_frame("select * from marketing.event_effect_details order by scope, event_type, channel")
    assert not details.duplicated(["scope", "event_type", "channel", "event_id"]).any()
    for scope, name in (("channel", "email"), ("event", "chance")):
        mine = details[(details["scope"] == scope) & (details["event_type"] == "type chance")].iloc[0]
        assert mine["channel" if scope == "channel" else "event_id"] == name
        for outcome, column in (("return", "effect"), ("conversion", "conversion_effect")):
            wanted = _cell(written, scope=scope, event_type="type chance", outcome=outcome)
            assert mine[column] == pytest.approx(wanted["effect"])
        money = _cell(written, scope=scope, event_type="type chance", outcome="revenue")
        assert (mine["roi_low"], mine["roi_high"]) == (money["roi_low"], money["roi_high"])
        assert mine["roi_low"] < mine["roi"] < mine["roi_high"]


def test_money_is_measured_only_where_its_windows_are_closed(
    built: Warehouse, settings: Settings, examples: pd.DataFrame
) -> None:
    effects.measure_effects(AS_OF, settings)
    rows = _written(built)
    of_chance = examples[examples["event_id"] == "chance"]
    early = of_chance[of_chance["as_of_date"] == date.fromisoformat(EARLY)]
    returns = _cell(rows, scope="event_type", event_type="type chance", outcome="return")
    revenue = _cell(rows, scope="event_type", event_type="type chance", outcome="revenue")
    conversion = _cell(rows, scope="event_type", event_type="type chance", outcome="conversion")
    assert returns["exposed"] + returns["controls"] == len(of_chance)
    assert revenue["exposed"] + revenue["controls"] == len(early) < len(of_chance)
    # A tenth more pay, 30 a head; a contact costs .5, and 2 more for those who come.
    treated = early[early["arm"] == "treated"]
    assert conversion["low"] < 0.1 < conversion["high"]
    assert revenue["low"] < 3.0 < revenue["high"]
    assert revenue["revenue_per_contact"] == pytest.approx(revenue["effect"], abs=1e-6)
    assert revenue["cost_per_contact"] == pytest.approx(0.5 + 2 * treated["has_responded"].mean(), abs=1e-6)
    assert revenue["roi_low"] < revenue["roi"] < revenue["roi_high"]
    assert np.isnan(returns["roi"])
    assert np.isnan(returns["cost_per_contact"])


def test_a_rerun_replaces_its_rows_with_the_same(built: Warehouse, settings: Settings) -> None:
    effects.measure_effects(AS_OF, settings)
    effects.measure_effects(date(2018, 1, 1), settings)
    first = _written(built)
    effects.measure_effects(AS_OF, settings)
    pd.testing.assert_frame_equal(_written(built), first)
    assert len(_written(built, date(2018, 1, 1))) > 0


def test_what_becomes_known_later_changes_nothing(built: Warehouse, settings: Settings, examples: pd.DataFrame) -> None:
    before_late = date(2017, 12, 18)
    effects.measure_effects(before_late, settings)
    first = _written(built, before_late)
    assert first["exposed"].max() < (examples["arm"] == "treated").sum()
    built.execute("delete from features.training_examples where as_of_date > %s", (date(2017, 11, 30),))
    built.execute(
        "update features.training_examples set has_converted = null, revenue_amount = 1e6 where has_converted"
    )
    effects.measure_effects(before_late, settings)
    later = _written(built, before_late)
    returns = first["outcome"] == "return"
    pd.testing.assert_frame_equal(later[returns], first[returns])


def test_segments_are_those_of_the_moment_of_exposure(
    built: Warehouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = SimpleNamespace(
        predict=lambda features: np.where(features["sessions_count_90d"] > 5, "busy", "calm").astype(object)
    )
    version = SimpleNamespace(version="abc")
    champion = (SimpleNamespace(segmenter=segmenter), version, ("an earlier model was used",))
    monkeypatch.setattr(effects, "load_champion", lambda *_: champion)
    report = effects.measure_effects(AS_OF, settings)
    assert report.messages == ("an earlier model was used",)
    rows = _written(built)
    assert set(rows["model_version"]) == {"abc"}
    cells = rows[(rows["scope"] == "segment") & (rows["event_type"] == "type chance") & (rows["outcome"] == "return")]
    assert sorted(cells["segment"]) == ["busy", "calm"]
    whole = _cell(rows, scope="event_type", event_type="type chance", outcome="return")
    assert cells["exposed"].sum() == whole["exposed"]


def test_without_a_model_effects_are_not_split_by_segment(built: Warehouse, settings: Settings) -> None:
    report = effects.measure_effects(AS_OF, settings)
    assert set(_written(built)["segment"]) == {"all"}
    assert _written(built)["model_version"].isna().all()
    assert any("not split by segment" in message for message in report.messages)


def test_segments_that_can_no_longer_be_told_end_no_run(
    built: Warehouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = UserSegmenter().fit(pd.DataFrame({"mood": np.arange(60.0)}))
    monkeypatch.setattr(effects, "load_champion", lambda *_: (SimpleNamespace(segmenter=segmenter), None, ()))
    report = effects.measure_effects(AS_OF, settings)
    assert set(_written(built)["segment"]) == {"all"}
    assert any("not split by segment" in message and "mood" in message for message in report.messages)


def test_without_exposures_there_is_no_effect_and_the_report_says_so(built: Warehouse, settings: Settings) -> None:
    effects.measure_effects(AS_OF, settings)
    built.execute("delete from features.training_examples where arm = 'treated'")
    report = effects.measure_effects(AS_OF, settings)
    assert report.rows == 0
    assert "no effect to measure" in report.messages[0]
    assert len(_written(built)) == 0


def test_a_handful_of_exposures_gives_rows_that_show_no_number(built: Warehouse, settings: Settings) -> None:
    built.execute("delete from features.training_examples where event_id <> 'tiny'")
    report = effects.measure_effects(AS_OF, settings)
    assert set(_written(built)["evidence"]) == {"insufficient"}
    assert any("marked insufficient" in message for message in report.messages)


def test_a_forest_plot_of_each_measured_type_is_saved_with_its_data(built: Warehouse, settings: Settings) -> None:
    effects.measure_effects(AS_OF, settings)
    saved = built.read_frame("select picture, title, data, file from predictions.pictures order by picture")
    assert [name.rsplit("_", 1)[0] for name in saved["picture"]] == ["effects_type_chance", "effects_type_choice"]
    first = saved.iloc[0]
    written = _cell(_written(built), scope="event_type", event_type="type chance", outcome="return")
    data = json.loads(first["data"])
    assert data["scope"][0] == "event_type"
    assert data["effect"][0] == pytest.approx(written["effect"], rel=1e-5)
    content = (settings.state_folder / first["file"]).read_bytes()
    assert content.startswith(b"\x89PNG")
    effects.measure_effects(AS_OF, settings)
    assert (settings.state_folder / first["file"]).read_bytes() == content

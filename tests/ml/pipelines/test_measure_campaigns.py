"""Campaigns from raw rows to words: dbt adds up, the stage reads, `reporting.campaign_performance` shows."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.experiments import CovariateStatistic, RatioStatistic, cuped, difference
from ml.pipelines.measure import measure_campaigns
from ml.pipelines.population import STOPPED
from tests.dbt_project.building import DbtProject
from warehouse.door import Warehouse
from warehouse.settings import Settings, load_settings

PLANNED, RUN = date(2026, 1, 10), date(2026, 4, 1)
START = datetime(2026, 1, 10, tzinfo=UTC)
REWARD, CONTACT = 2.0, 0.5


def draw_users(seed: int = 5) -> pd.DataFrame:
    """Users of three campaigns with arms, outcomes and figures from before; 'good' helps, 'bad' does harm."""
    random = np.random.default_rng(seed)
    users = pd.DataFrame({"user_id": [f"u{number:05d}" for number in range(3_600)]})
    users["event_id"] = np.repeat(["good", "bad", "theirs"], 1_200)
    users["policy"] = random.choice(["targeted", "random", "rule"], len(users), p=[0.6, 0.25, 0.15])
    users["is_treated"] = random.random(len(users)) < 0.5
    users["days_before"] = random.integers(1, 40, len(users))
    gain = users["event_id"].map({"good": 0.2, "bad": -0.15, "theirs": 0.1}) * users["is_treated"]
    users["returned"] = random.random(len(users)) < 0.2 + gain
    users["converted"] = users["returned"] & (random.random(len(users)) < 0.5)
    users["revenue"] = np.where(users["converted"], random.integers(5, 60, len(users)), 0)
    users["segment"] = random.choice(["loud", "quiet"], len(users))
    return users


@pytest.fixture(scope="module")
def users() -> pd.DataFrame:
    return draw_users()


@pytest.fixture(scope="module")
def module_warehouse(postgres, warehouse_template: str, users: pd.DataFrame, tmp_path_factory) -> Warehouse:
    """A warehouse with the campaigns' rows, built by dbt up to the sums of campaigns."""
    import psycopg

    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("drop database if exists campaigns with (force)")
        connection.execute(f"create database campaigns template {warehouse_template}")
    warehouse = Warehouse(postgres.url("campaigns"))
    write(warehouse, users)
    folder: Path = tmp_path_factory.mktemp("dbt_campaigns")
    project = DbtProject(folder)
    # The date of the plan leaves the features from before it behind.
    project.build(warehouse.url, PLANNED, select=["+feat_user_behaviour", "+feat_user_money"])
    project.build(warehouse.url, RUN, select=["+exp_campaign_statistics", "+rpt_campaign_performance"])
    return warehouse


def write(warehouse: Warehouse, users: pd.DataFrame) -> None:
    """Put users, sessions, payments, events, exposures, the plan and its publication down."""
    registered = START - timedelta(days=300)
    returned = users[users["returned"]]
    sessions = pd.concat(
        [
            pd.DataFrame(
                {
                    "session_id": "early-" + users["user_id"] + "-" + str(day),
                    "user_id": users["user_id"],
                    "started_at": START - timedelta(days=60 + day),
                }
            )[users["days_before"] > day]
            for day in range(40)
        ]
        + [
            pd.DataFrame(
                {
                    "session_id": "late-" + returned["user_id"],
                    "user_id": returned["user_id"],
                    "started_at": START + timedelta(days=3),
                }
            )
        ]
    ).assign(duration_seconds=60, _batch_id="b")
    paid = users[users["revenue"] > 0]
    payments = pd.DataFrame(
        {
            "payment_id": "p-" + paid["user_id"],
            "user_id": paid["user_id"],
            "paid_at": START + timedelta(days=5),
            "amount": paid["revenue"],
        }
    ).assign(currency="EUR", kind="purchase", _batch_id="b")
    events = pd.DataFrame({"event_id": ["good", "bad", "theirs"], "event_type": ["one", "two", "two"]}).assign(
        title="t",
        starts_at=START - timedelta(days=1),
        ends_at=START + timedelta(days=20),
        reward_cost=REWARD,
        contact_cost=CONTACT,
        _batch_id="b",
    )
    theirs = users[users["event_id"] == "theirs"]
    exposures = pd.DataFrame(
        {
            "exposure_id": "e-" + theirs["user_id"],
            "event_id": "theirs",
            "user_id": theirs["user_id"],
            "exposed_at": START,
            "channel": "email",
            "arm": np.where(theirs["is_treated"], "treated", "control"),
            "assignment_probability": 0.5,
        }
    ).assign(_batch_id="b")
    ours = users[users["event_id"] != "theirs"]
    assignments = pd.DataFrame(
        {
            "as_of_date": PLANNED,
            "user_id": ours["user_id"],
            "policy": ours["policy"],
            "arm": np.where(ours["is_treated"], ours["policy"], "none"),
            "event_id": ours["event_id"],
            "event_type": ours["event_id"].map({"good": "one", "bad": "two"}),
            "segment": ours["segment"],
            "salt": "s",
            "propensity": 0.5,
            "period": 1,
            "holdout_share": 0.0,
        }
    )
    invited = assignments.loc[
        ~assignments["arm"].isin(["none", "outside", "holdout"]), ["as_of_date", "user_id", "event_id"]
    ]
    people = users[["user_id"]].assign(registered_at=registered, _batch_id="b")
    publications = pd.DataFrame({"as_of_date": [PLANNED], "targets": [1], "sha256": ["x"]})
    frames = {"raw.users": people, "raw.sessions": sessions, "raw.payments": payments, "raw.events": events}
    # Half of those whom the company drew itself are held out of everything that Rekindle does.
    programme = pd.DataFrame(
        {
            "as_of_date": PLANNED,
            "user_id": theirs["user_id"],
            "arm": np.where(theirs["is_treated"], "outside", "holdout"),
            "segment": theirs["segment"],
            "period": 1,
            "holdout_share": 0.5,
        }
    )
    assignments = pd.concat([assignments, programme])
    frames |= {"raw.exposures": exposures, "experiments.assignments": assignments}
    frames |= {"experiments.invitations": invited.assign(channel="email"), "marketing.publications": publications}
    with warehouse.transaction() as connection:
        for table, frame in frames.items():
            warehouse.copy_frame(connection, table, frame)
        # A plan that was never published has done nothing.
        connection.execute(
            "insert into experiments.assignments (as_of_date, user_id, policy, arm, event_id, segment, period, "
            "holdout_share, propensity) select date '2026-01-05', user_id, policy, 'none', 'never', segment, 1, 0, 0.5 "
            "from experiments.assignments where event_id is not null"
        )


@pytest.fixture
def measured(module_warehouse: Warehouse) -> Settings:
    return replace(load_settings(), warehouse_url=module_warehouse.url)


def performance(warehouse: Warehouse) -> pd.DataFrame:
    frame = warehouse.read_frame("select * from reporting.campaign_performance")
    return frame.set_index(["campaign_id", "planned_by", "arm"]).sort_index()


def test_sums_arms_lifts_and_money_are_those_of_the_rows(
    module_warehouse: Warehouse, measured: Settings, users: pd.DataFrame
) -> None:
    fixed = replace(measured, experiments=replace(measured.experiments, design="fixed", revenue_quantile=1.0))
    report = measure_campaigns(RUN, fixed)
    assert report.rows == 4
    shown = performance(module_warehouse)
    assert set(shown.index.get_level_values("campaign_id")) == {"good", "bad", "theirs", "programme:1"}
    for (campaign, _, arm), row in shown.drop(index="programme:1").iterrows():
        of_event = users["event_id"] == campaign
        mine = users[of_event & (users["is_treated"] == (arm not in ("none", "control")))]
        if arm not in ("none", "treated", "control"):
            mine = mine[mine["policy"] == arm]
        assert row["users"] == len(mine)
        assert row["contacted"] == (0 if arm in ("none", "control") else len(mine))
        assert row["returned"] == mine["returned"].sum()
        assert row["converted"] == mine["converted"].sum()
        assert row["revenue"] == mine["revenue"].sum()
        # Nobody responded, so a return is taken for a response.
        cost = 0 if arm in ("none", "control") else len(mine) * CONTACT + mine["returned"].sum() * REWARD
        assert row["cost"] == pytest.approx(cost)
    targeted = users[(users["event_id"] == "good") & (users["policy"] == "targeted")]
    sums = [
        CovariateStatistic.of(rows["returned"].to_numpy(float), rows["days_before"].to_numpy(float))
        for rows in (targeted[~targeted["is_treated"]], targeted[targeted["is_treated"]])
    ]
    control, treated = cuped(*sums)
    row = shown.loc["good", "rekindle", "targeted"]
    assert row["lift"] == pytest.approx(treated.mean - control.mean)
    assert row["low"] < 0.2 < row["high"]
    assert row["roi_low"] < row["roi"] < row["roi_high"]
    assert pd.isna(shown.loc["good", "rekindle", "none"]["lift"])
    assert shown.loc["theirs", "company", "treated"]["p_value"] < 0.05


def test_the_decision_is_told_in_words_and_harm_stops_the_event(
    module_warehouse: Warehouse, measured: Settings
) -> None:
    report = measure_campaigns(RUN, measured)
    said = performance(module_warehouse).groupby("campaign_id")[["action", "decision"]].first()
    assert said.loc["good", "action"] == "stop"
    assert said.loc["good", "decision"].startswith("The targeted arm returned ")
    assert " points more than no contact, between " in said.loc["good", "decision"]
    assert "than random, between" in said.loc["good", "decision"]
    assert said.loc["bad", "action"] == "stop_for_harm"
    assert said.loc["bad", "decision"].endswith("Stop for harm: invite nobody any more.")
    assert report.messages[0].startswith("bad: ")
    assert said.loc["programme:1", "decision"].startswith("The programme arm returned ")
    assert " points more than the holdout, between " in said.loc["programme:1", "decision"]
    stopped = module_warehouse.read_frame(STOPPED, {"as_of_date": RUN + timedelta(days=1)})
    assert stopped["campaign_id"].tolist() == ["bad"]
    assert module_warehouse.read_frame(STOPPED, {"as_of_date": RUN}).empty
    segments = module_warehouse.read_frame(
        "select distinct segment from experiments.readouts where campaign_id = 'good'"
    )
    assert set(segments["segment"]) == {"all", "loud", "quiet"}
    assert (
        module_warehouse.scalar("select count(*) from experiments.campaigns where heterogeneity_p_value < 0.001") == 0
    )


@pytest.mark.parametrize(
    ("metric", "outcome", "base", "who"),
    [
        ("conversion_per_returner", "converted", "returned", "returners converted"),
        ("revenue_per_returner", "revenue", "returned", "returners paid"),
        ("revenue_per_payer", "revenue", "converted", "payers paid"),
    ],
)
def test_ratios_are_those_of_the_rows(
    module_warehouse: Warehouse,
    measured: Settings,
    users: pd.DataFrame,
    metric: str,
    outcome: str,
    base: str,
    who: str,
) -> None:
    measure_campaigns(RUN, measured)
    (found,) = module_warehouse.read_frame(
        "select effect, p_value, users, controls, sentence, segment from experiments.readouts "
        "where campaign_id = 'good' and arm = 'targeted' and compared_with = 'none' and metric = %(metric)s",
        {"metric": metric},
    ).to_dict("records")
    mine = users[(users["event_id"] == "good") & (users["policy"] == "targeted")]
    # Revenue is cut at a quantile of the campaign's payers.
    limit = users.loc[(users["event_id"] == "good") & users["converted"], "revenue"].quantile(0.99)
    mine = mine.assign(revenue=np.minimum(mine["revenue"], limit))
    sides = [
        RatioStatistic.of(rows[outcome].to_numpy(float), rows[base].to_numpy(float))
        for rows in (mine[~mine["is_treated"]], mine[mine["is_treated"]])
    ]
    value, _ = difference(*sides)
    assert found["effect"] == pytest.approx(value, abs=1e-6)
    assert (found["controls"], found["users"]) == (sides[0].n, sides[1].n)
    assert found["sentence"].startswith(f"The targeted arm's {who} ")
    assert "than those of no contact, between" in found["sentence"]
    assert (
        module_warehouse.scalar(
            "select max(effect - low) from experiments.readouts where metric = %s and campaign_id = 'good'", (metric,)
        )
        > 0
    )


def test_the_same_again_is_the_same_to_the_byte(module_warehouse: Warehouse, measured: Settings) -> None:
    def content() -> list[str]:
        return [
            module_warehouse.scalar(
                f"select md5(string_agg(cast(t as text), ',' order by cast(t as text))) from {table} t"
            )
            for table in ("experiments.campaigns", "experiments.campaign_arms", "experiments.readouts")
        ]

    measure_campaigns(RUN, measured)
    first = content()
    measure_campaigns(RUN, measured)
    assert content() == first


def test_a_split_that_lost_users_is_withheld(module_warehouse: Warehouse, measured: Settings) -> None:
    with module_warehouse.transaction() as connection:
        connection.execute("create table experiments.kept as select * from experiments.exp_campaign_statistics")
        connection.execute(
            "update experiments.exp_campaign_statistics set users_count = users_count / 2 "
            "where campaign_id = 'good' and not is_treated"
        )
    try:
        measure_campaigns(RUN, measured)
        row = performance(module_warehouse).loc["good", "rekindle", "targeted"]
        assert row["action"] == "withheld"
        assert row["decision"].startswith("Withheld: ")
        assert pd.isna(row["lift"])
    finally:
        with module_warehouse.transaction() as connection:
            connection.execute("truncate experiments.exp_campaign_statistics")
            connection.execute("insert into experiments.exp_campaign_statistics select * from experiments.kept")
            connection.execute("drop table experiments.kept")


def test_looks_come_when_they_were_planned(module_warehouse: Warehouse, measured: Settings) -> None:
    looked = replace(measured, experiments=replace(measured.experiments, design="group-sequential", looks=4))
    half = "update experiments.exp_campaign_statistics set assigned_count = assigned_count {} 2"
    module_warehouse.execute(half.format("*"))
    try:
        measure_campaigns(RUN, looked)
        assert (
            module_warehouse.scalar("select distinct look from experiments.campaigns where as_of_date = %s", (RUN,))
            == 2
        )
        measure_campaigns(RUN + timedelta(days=1), looked)
        row = performance(module_warehouse).loc["good", "rekindle", "targeted"]
        assert row["action"] == "wait"
        assert "look 3 of 4 comes later" in row["decision"]
    finally:
        module_warehouse.execute(half.format("/"))
        module_warehouse.execute("delete from experiments.campaigns")
        module_warehouse.execute("delete from experiments.campaign_arms")

"""Stage `measure_campaigns`: what every campaign did, against its own controls, in figures and in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from ml.contracts import StageReport
from ml.experiments import (
    Action,
    CampaignReadout,
    CovariateStatistic,
    Design,
    Finding,
    Metric,
    RatioStatistic,
    Stratum,
    read_campaign,
)
from warehouse.door import Warehouse
from warehouse.settings import Settings

__all__ = ["measure_campaigns"]

METRICS = (
    Metric("return", "returned", is_share=True),
    Metric("conversion", "converted", is_share=True),
    Metric("revenue", "paid", is_share=False),
    Metric("conversion_per_returner", "converted", is_share=True, base="returner"),
    Metric("revenue_per_returner", "paid", is_share=False, base="returner"),
    Metric("revenue_per_payer", "paid", is_share=False, base="payer"),
)

STATISTICS = """
    select * from experiments.exp_campaign_statistics
    order by campaign_id, planned_by, chosen_by, arm, segment, propensity
"""

LAST_LOOKS = """
    select distinct on (campaign_id, planned_by) campaign_id, planned_by, look, decision
    from experiments.campaigns
    where as_of_date < %(as_of_date)s and look is not null
    order by campaign_id, planned_by, look desc, as_of_date
"""

# The arm that a decision is about, where there are several: models, then chance (a first plan), then the rule.
DECIDING = ("targeted", "random", "rule")
NO_CONTACT = "no contact"
MOST_CAMPAIGNS_TOLD = 10


@dataclass(frozen=True)
class Campaign:
    """One campaign with its cells: a row each of `experiments.exp_campaign_statistics`."""

    campaign_id: str
    planned_by: str
    cells: pd.DataFrame

    @property
    def is_over(self) -> bool:
        """Whether the windows of everybody who was ever assigned have closed."""
        return int(self.cells["users_count"].sum()) == int(self.cells["assigned_count"].sum())

    @property
    def progress(self) -> float:
        """Share of the users assigned so far whose return window has closed."""
        return float(self.cells["users_count"].sum() / self.cells["assigned_count"].sum())


@dataclass(frozen=True)
class Reading:
    """What was read of a campaign, and at which look."""

    campaign: Campaign
    readout: CampaignReadout
    look: int | None


def measure_campaigns(as_of_date: date, settings: Settings) -> StageReport:
    """Read every campaign as of a date and write what it says, replacing the date's rows.

    Reads `experiments.exp_campaign_statistics`, which dbt built for the date; writes `experiments.campaigns`,
    `experiments.campaign_arms` and `experiments.readouts`, from which `reporting.campaign_performance` shows the
    newest. Campaigns are those of published plans, the programme as a whole against the holdout, and those that the
    company drew itself and landed as exposures.
    """
    warehouse = Warehouse(settings.warehouse_url)
    statistics = warehouse.read_frame(STATISTICS)
    looks = warehouse.read_frame(LAST_LOOKS, {"as_of_date": as_of_date})
    last_looks = {
        (str(row["campaign_id"]), str(row["planned_by"])): (int(row["look"]), str(row["decision"]))
        for row in looks.to_dict("records")
    }
    design = design_of(settings)
    readings = [
        _read(Campaign(str(campaign_id), str(planned_by), cells), design, last_looks, as_of_date)
        for (campaign_id, planned_by), cells in statistics.groupby(["campaign_id", "planned_by"], sort=True)
    ]
    frames = {
        "experiments.campaigns": [row for reading in readings for row in _campaign_rows(reading, design)],
        "experiments.campaign_arms": [row for reading in readings for row in _arm_rows(reading)],
        "experiments.readouts": [row for reading in readings for row in _finding_rows(reading)],
    }
    with warehouse.transaction() as connection:
        connection.execute("lock table experiments.campaigns in share row exclusive mode")
        for table, rows in frames.items():
            connection.execute(f"delete from {table} where as_of_date = %s", (as_of_date,))
            if rows:
                warehouse.copy_frame(connection, table, pd.DataFrame(rows).assign(as_of_date=as_of_date))
    return _report(as_of_date, readings)


def design_of(settings: Settings) -> Design:
    """How the settings say that campaigns are read."""
    chosen = settings.experiments
    return Design(
        kind=chosen.design,  # type: ignore[arg-type]  # the settings allow these three words alone
        alpha=chosen.alpha,
        tuning=chosen.tuning,
        looks=chosen.looks,
        correction=chosen.correction,  # type: ignore[arg-type]
    )


def _read(
    campaign: Campaign, design: Design, last_looks: dict[tuple[str, str], tuple[int, str]], as_of_date: date
) -> Reading:
    """Read a campaign as its design allows on this date."""
    cells = campaign.cells
    drawn = cells[cells["propensity"].notna() & (cells["propensity"] > 0) & (cells["propensity"] < 1)]
    if drawn.empty or drawn["is_treated"].nunique() < 2:
        return Reading(campaign, _nothing("ended", _why_unread(campaign)), None)
    ends = pd.to_datetime(cells["ends_date"]).max()
    is_last = campaign.is_over and (pd.isna(ends) or ends.date() < as_of_date)
    look = None
    if design.kind == "fixed" and not is_last:
        return Reading(campaign, _nothing("wait", f"Wait: {_how_far(campaign)}; it is read once, at the end."), None)
    if design.kind == "group-sequential":
        look = design.looks if is_last else int(min(design.looks - 1, campaign.progress * design.looks))
        before, said = last_looks.get((campaign.campaign_id, campaign.planned_by), (0, ""))
        if look <= before and not is_last:
            told = f"Wait: {_how_far(campaign)}; look {before + 1} of {design.looks} comes later. {said}".strip()
            return Reading(campaign, _nothing("wait", told), None)
    strata = list(_strata(drawn))
    arms = {stratum.arm for stratum in strata}
    deciding = next((arm for arm in DECIDING if arm in arms), min(arms))
    readout = read_campaign(
        strata,
        METRICS,
        deciding_arm=deciding,
        design=design,
        look=look or 1,
        is_last=is_last,
        no_contact="the holdout" if deciding == "programme" else NO_CONTACT,
    )
    return Reading(campaign, readout, look)


def _nothing(action: Action, decision: str) -> CampaignReadout:
    """A readout without figures."""
    return CampaignReadout(action, decision, (), None, None)


def _how_far(campaign: Campaign) -> str:
    """How many windows have closed, in words."""
    closed, assigned = int(campaign.cells["users_count"].sum()), int(campaign.cells["assigned_count"].sum())
    return f"the return window of {closed:,} of {assigned:,} users has closed"


def _why_unread(campaign: Campaign) -> str:
    """Why there is no lift."""
    if campaign.cells["is_treated"].nunique() < 2:
        return "Not measured: it has no controls. marketing.event_effects holds the adjusted figures."
    return "Not measured: the arms were not drawn with known chances. marketing.event_effects holds adjusted figures."


def _strata(cells: pd.DataFrame) -> Iterator[Stratum]:
    """The cells of a campaign as strata of invited and held back."""
    for (arm, segment, _), rows in cells.groupby(["chosen_by", "segment", "propensity"], sort=True):
        yield Stratum(
            arm="treated" if arm == "company" else str(arm),
            segment=str(segment),
            propensity=float(rows["propensity"].iloc[0]),
            invited=_sums(rows[rows["is_treated"].to_numpy(dtype=bool)]),
            held_back=_sums(rows[~rows["is_treated"].to_numpy(dtype=bool)]),
        )


def _sums(rows: pd.DataFrame) -> dict[str, CovariateStatistic | RatioStatistic]:
    """The statistic of each metric over some cells."""
    added = rows.select_dtypes("number").sum()
    return {metric.name: _statistic(added, metric) for metric in METRICS}


def _statistic(added: pd.Series, metric: Metric) -> CovariateStatistic | RatioStatistic:
    """The statistic of one metric from the sums of some cells."""
    # A ratio is named <outcome>_per_<what it is counted by> and shares the sums of the outcome.
    outcome, n = metric.name.partition("_per_")[0], int(added["money_users_count"])
    total, squares = float(added[f"{outcome}_total"]), float(added[f"{outcome}_total_of_squares"])
    products = float(added[f"{metric.name}_total_of_products"])
    if metric.base:
        base, base_squares = (float(added[f"{metric.name}_base_total{of}"]) for of in ("", "_of_squares"))
        return RatioStatistic(n, total, squares, base, base_squares, products)
    n = int(added["users_count"]) if metric.name == "return" else n
    before, before_squares = (float(added[f"{metric.name}_before_total{of}"]) for of in ("", "_of_squares"))
    return CovariateStatistic(n, total, squares, before, before_squares, products)


def _names(campaign: Campaign) -> dict[str, Any]:
    """The key of a campaign."""
    return {"campaign_id": campaign.campaign_id, "planned_by": campaign.planned_by}


def _campaign_rows(reading: Reading, design: Design) -> Iterator[dict[str, Any]]:
    """The row of `experiments.campaigns`."""
    kinds = reading.campaign.cells["event_type"].dropna()
    yield _names(reading.campaign) | {
        "event_type": None if kinds.empty else str(kinds.iloc[0]),
        "action": reading.readout.action,
        "decision": reading.readout.decision,
        "design": design.kind,
        # As text, because a column of looks and of none would be floats.
        "look": None if reading.look is None else str(reading.look),
        "sample_ratio_p_value": _number(reading.readout.sample_ratio_p_value),
        "heterogeneity_p_value": _number(reading.readout.heterogeneity_p_value),
    }


def _arm_rows(reading: Reading) -> Iterator[dict[str, Any]]:
    """The rows of `experiments.campaign_arms`."""
    findings = {
        (each.arm, each.metric): each
        for each in reading.readout.findings
        if each.compared_with == "none" and each.segment == "all"
    }
    for arm, cells in reading.campaign.cells.groupby("arm", sort=True):
        added = cells.select_dtypes("number").sum()
        lift, money = findings.get((str(arm), "return")), findings.get((str(arm), "revenue"))
        yield _names(reading.campaign) | {
            "arm": str(arm),
            "users": int(added["users_count"]),
            "contacted": int(added["contacted_count"]),
            "returned": int(added["returned_count"]),
            "converted": int(added["converted_count"]),
            "money_users": int(added["money_users_count"]),
            "revenue": round(float(added["revenue_amount"]), 6),
            "cost": round(float(added["cost_amount"]), 6),
            "lift": np.nan if lift is None else lift.effect.value,
            "low": np.nan if lift is None else lift.effect.low,
            "high": np.nan if lift is None else lift.effect.high,
            "p_value": np.nan if lift is None else lift.p_value_adjusted,
            "revenue_lift": np.nan if money is None else money.effect.value,
            **_return_on_cost(money, float(added["money_users_count"]), float(added["money_cost_amount"])),
        }


def _return_on_cost(money: Finding | None, users: float, cost: float) -> dict[str, float]:
    """(revenue added - cost) / cost with its interval; NaN without cost."""
    if money is None or cost <= 0:
        return {"roi": np.nan, "roi_low": np.nan, "roi_high": np.nan}
    ends = {"roi": money.effect.value, "roi_low": money.effect.low, "roi_high": money.effect.high}
    return {name: (per_user * users - cost) / cost for name, per_user in ends.items()}


def _finding_rows(reading: Reading) -> Iterator[dict[str, Any]]:
    """The rows of `experiments.readouts`."""
    for each in reading.readout.findings:
        yield _names(reading.campaign) | {
            "arm": each.arm,
            "compared_with": each.compared_with,
            "metric": each.metric,
            "segment": each.segment,
            "users": each.users,
            "controls": each.controls,
            "effect": each.effect.value,
            "low": each.effect.low,
            "high": each.effect.high,
            "p_value": each.effect.p_value,
            "p_value_adjusted": each.p_value_adjusted,
            "chance_to_win": each.chance_to_win,
            "expected_loss": each.expected_loss,
            "method": each.effect.method,
            "sentence": each.sentence,
        }


def _number(value: float | None) -> float:
    """A figure, NaN (which lands as NULL) where there is none."""
    return np.nan if value is None else float(value)


def _report(as_of_date: date, readings: list[Reading]) -> StageReport:
    """What a person should know: harm first, then what is proven, withheld and going on."""
    order = ("stop_for_harm", "withheld", "stop", "go_on", "ended", "wait")
    told = sorted(
        (each for each in readings if each.readout.findings or each.readout.action == "withheld"),
        key=lambda each: (order.index(each.readout.action), each.campaign.campaign_id),
    )
    counts = {action: sum(each.readout.action == action for each in readings) for action in order}
    messages = [f"{each.campaign.campaign_id}: {each.readout.decision}" for each in told[:MOST_CAMPAIGNS_TOLD]]
    return StageReport(
        stage="measure_campaigns",
        as_of_date=as_of_date,
        rows=len(readings),
        messages=tuple(messages) if readings else ("No campaign has been published or landed yet.",),
        details={action: count for action, count in counts.items() if count},
    )

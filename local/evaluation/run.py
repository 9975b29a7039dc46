"""Runs the product on one world and holds its plan beside the others."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from local.chain import run_dbt, stages
from local.evaluation.plans import (
    NOBODY,
    Board,
    PastExamples,
    analyst_plan,
    attainable_values,
    best_plan,
    likeliest_plan,
    plan_value,
    random_plan,
)
from local.evaluation.truth import WorldTruth
from local.postgres import EmbeddedPostgres
from local.samples import game_world
from ml.contracts import StageReport
from ml.pipelines.decide import rules_of
from ml.pipelines.decisions import decide
from ml.pipelines.doubt import error_of_plans
from ml.pipelines.matrix import UserPredictions, matrix_values, predict_users
from ml.pipelines.population import read_population
from ml.pipelines.reading import TrainingRows, read_event_features, read_training_rows
from ml.pipelines.train import MOST_EXAMPLES
from warehouse.door import Warehouse
from warehouse.migrations import migrate
from warehouse.settings import Settings, load_settings

#: What the product does, up to the figures that its decisions rest on. The tests of the features have their own place.
_STAGES = ("land_source", "build_features", "train_models", "score_users")
_RANDOM_DRAWS = 20
_SMALLEST_SEGMENT = 200
_SMALLEST_PAYING_SEGMENT = 50
#: Worlds on which methods and settings were tried out; what they say of others counts, what they say of these less.
TUNED_ON = (
    ("slopes", 20_000, 1),
    ("slopes", 20_000, 2),
    ("slopes", 20_000, 11),
    ("annoyed", 20_000, 1),
    ("annoyed", 20_000, 14),
    ("annoyed", 20_000, 16),
    ("nothing", 20_000, 1),
    ("thresholds", 20_000, 11),
    ("thresholds", 20_000, 12),
    ("thresholds", 20_000, 15),
    ("payment", 20_000, 11),
    ("payment", 50_000, 11),
    ("payment", 50_000, 13),
    ("payment", 200_000, 11),
    ("thresholds", 200_000, 13),
)


@dataclass(frozen=True)
class World:
    """A game world to evaluate on."""

    variant: str
    players: int
    seed: int

    @property
    def name(self) -> str:
        """A name fit for a folder and a database."""
        return f"{self.variant}_{self.players}_{self.seed}"

    @property
    def was_tuned_on(self) -> bool:
        """Whether the product's methods were tried out on this very world."""
        return (self.variant, self.players, self.seed) in TUNED_ON


@dataclass(frozen=True)
class Evaluation:
    """True values of plans on one world, in USD, and what else is worth knowing.

    Attributes:
        oracle: the best plan for who knows the truth.
        attainable: the best plan for who learns the truth of other users from the same features.
        product: the product's choice, without holdout, controls and exploration, as the other plans have none.
        product_as_shipped: the same with the shares of the settings given to holdout, controls and exploration.
        analyst, likeliest, random: see `plans`.
        contacts: users that the product invites.
        expected: what the product expects its choice to be worth.
        users: inactive users.
        calibration_error: expected calibration error of P(return) if not contacted against the truth.
        segment_calibration_errors: the same within each segment of at least 200 users.
        segment_money: money of a return that nobody was invited to, expected over true, in each segment of at least 50
            users.
        interval_coverage: share of reachable users and open events whose true uplift lies in the 95 % interval.
        return_correlation, uplift_correlation: with the truth, over users (and events).
        seconds: seconds by stage.
        notes: what the stages reported.
    """

    world: World
    oracle: float
    attainable: float
    product: float
    product_as_shipped: float
    analyst: float
    likeliest: float
    random: float
    contacts: int
    expected: float
    users: int
    calibration_error: float
    segment_calibration_errors: dict[str, float]
    segment_money: dict[str, float]
    interval_coverage: float
    return_correlation: float
    uplift_correlation: float
    seconds: dict[str, float]
    notes: tuple[str, ...]

    def to_json(self) -> str:
        """Return everything as one line of JSON."""
        return json.dumps(asdict(self))


@contextmanager
def postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    """Run a Postgres of the evaluation's own in `folder`, and stop it in the end, also when the program is ended."""
    folder.mkdir(parents=True, exist_ok=True)
    server = EmbeddedPostgres(folder / "postgres")
    # By itself a program that is told to end does so at once, and its server would run on for nobody.
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        server.start()
        yield server
    finally:
        # Who asks a second time would keep the server from being stopped.
        interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        server.stop()
        for number, handler in (*before.items(), (signal.SIGINT, interrupted)):
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Leave every block in order, with the exit code that a shell gives to a program ended by a signal."""
    raise SystemExit(128 + number)


def evaluate_world(world: World, server: EmbeddedPostgres, folder: Path) -> Evaluation:
    """Write the world, run the product on it and compare plans.

    Args:
        world: which world.
        server: a running server; the world gets a database of its own.
        folder: where the world's files and the product's state are kept.
    """
    folder = folder / world.name
    game_world.write_source(
        folder / "source",
        players=world.players,
        seed=world.seed,
        variant=world.variant,
        truth_folder=folder / "truth",
    )
    settings = _settings(folder, server, world)
    seconds, notes = _run_product(settings)
    return compare_plans(world, settings, folder / "truth", seconds, notes)


def compare_plans(
    world: World, settings: Settings, truth_folder: Path, seconds: dict[str, float], notes: tuple[str, ...]
) -> Evaluation:
    """Hold the product's plan beside the others, on a warehouse in which users were scored."""
    as_of_date = game_world.DEFAULT_AS_OF
    warehouse = Warehouse(settings.warehouse_url)
    predictions = predict_users(warehouse, as_of_date, settings)
    matrix, values = predictions.matrix, matrix_values(predictions.matrix)
    population, rules = read_population(warehouse, matrix, settings), rules_of(settings)
    truth = WorldTruth.read(truth_folder, matrix.user_ids, matrix.events["event_id"].to_numpy())
    true_values, best_values = truth.values(population.channel), truth.values(truth.best_channel)
    may_be_asked = (population.channel != "") & (population.recent_contacts < rules.contacts_per_user)
    board = Board(
        allowed=may_be_asked[:, None] & ~population.already_exposed,
        capacities=matrix.events["capacity_left"].to_numpy(dtype=np.float64, na_value=np.inf),
    )

    def positions(decisions: pd.DataFrame) -> np.ndarray:
        is_target = (decisions["decision"] == "target").to_numpy()
        return np.where(is_target, pd.Index(truth.event_ids).get_indexer(decisions["event_id"]), NOBODY)

    error_of = error_of_plans(warehouse, matrix, settings)
    shipped = positions(decide(matrix, values, population, rules, error_of).frame)
    alike = replace(rules, holdout_share=0.0, control_share=0.0, exploration_share=0.0, rule_share=0.0)
    product = positions(decide(matrix, values, population, alike, error_of).frame)
    count = int((product != NOBODY).sum()) or len(product) // 10
    past = _past_examples(read_training_rows(warehouse, as_of_date, most=MOST_EXAMPLES))
    features, events = predictions.features, matrix.events
    towards = {
        str(kind): features.join(read_event_features(warehouse, as_of_date, str(kind), features.index))
        for kind in events["event_type"].unique()
    }
    analyst, _ = analyst_plan(past, features, events, board)
    attainable = np.zeros(best_values.shape)
    # Of a full event nothing needs to be known.
    open_places = np.flatnonzero(board.capacities > 0)
    attainable[:, open_places] = attainable_values(
        [towards[str(events["event_type"].iloc[place])] for place in open_places], best_values[:, open_places]
    )
    draw = np.random.default_rng(world.seed)
    return Evaluation(
        world=world,
        oracle=plan_value(best_plan(best_values, board), best_values),
        attainable=plan_value(best_plan(attainable, board), best_values),
        product=plan_value(product, true_values),
        product_as_shipped=plan_value(shipped, true_values),
        analyst=plan_value(analyst, true_values),
        likeliest=plan_value(likeliest_plan(past, features, events, board, count), true_values),
        random=float(
            np.mean(
                [plan_value(random_plan(board, count, random_state=draw), true_values) for _ in range(_RANDOM_DRAWS)]
            )
        ),
        contacts=int((product != NOBODY).sum()),
        expected=plan_value(product, values),
        users=len(matrix.user_ids),
        **_figures(predictions, truth, population.channel),
        seconds=seconds,
        notes=notes,
    )


def _figures(predictions: UserPredictions, truth: WorldTruth, channel: np.ndarray) -> dict[str, Any]:
    """How close the product's chances come to the true ones."""
    known, matrix = truth.is_known, predictions.matrix
    alone, true_alone = matrix.p_return_if_not_contacted[known], truth.returns_alone[known, 0]
    reach = np.array([truth.reach.get(name, 0.0) for name in channel])[:, None]
    true_uplift = (reach * (truth.returns - truth.returns_alone))[known]
    uplift = (matrix.p_return - matrix.p_return_if_not_contacted[:, None])[known]
    segments = predictions.segments[known]
    reachable = reach[known, 0] > 0
    assert matrix.uplift_low is not None
    assert matrix.uplift_high is not None
    held = (matrix.uplift_low[known] <= true_uplift) & (true_uplift <= matrix.uplift_high[known])

    def correlation(left: np.ndarray, right: np.ndarray) -> float:
        return float(np.corrcoef(left.ravel(), right.ravel())[0, 1]) if left.std() * right.std() > 0 else 0.0

    def calibration_error(rows: np.ndarray) -> float:
        """Mean distance of predicted and true chances over tenths by prediction."""
        tenths = np.array_split(rows[np.argsort(alone[rows], kind="stable")], 10)
        errors = [abs(alone[tenth].mean() - true_alone[tenth].mean()) * len(tenth) for tenth in tenths if len(tenth)]
        return float(sum(errors) / len(rows))

    expected_money = matrix.p_conversion_if_not_contacted[known] * matrix.revenue_if_not_contacted[known]
    true_money = truth.conversions_alone[known, 0] * truth.revenue[known, 0]

    def money_ratio(rows: np.ndarray) -> float:
        """Money of those who would return, expected over true."""
        return float(true_alone[rows] @ expected_money[rows] / (true_alone[rows] @ true_money[rows]))

    members = {str(name): np.flatnonzero(segments == name) for name in np.unique(segments.astype(str))}
    return {
        "calibration_error": calibration_error(np.arange(len(alone))),
        "segment_calibration_errors": {
            name: calibration_error(rows) for name, rows in members.items() if len(rows) >= _SMALLEST_SEGMENT
        },
        "segment_money": {
            name: money_ratio(rows) for name, rows in members.items() if len(rows) >= _SMALLEST_PAYING_SEGMENT
        },
        "interval_coverage": float(held[reachable].mean()) if reachable.any() else float("nan"),
        "return_correlation": correlation(alone, true_alone),
        "uplift_correlation": correlation(uplift[reachable], true_uplift[reachable]),
    }


def _past_examples(rows: TrainingRows) -> PastExamples:
    keys = rows.keys
    is_known = keys["is_conversion_known"].astype(bool).to_numpy() & keys["has_returned"].astype(bool).to_numpy()
    revenue = keys["revenue_amount"].to_numpy(dtype=np.float64, na_value=np.nan)
    return PastExamples(
        features=rows.features,
        event_type=keys["event_type"].astype(object).where(keys["event_type"].notna(), "").to_numpy(dtype=object),
        is_treated=(keys["arm"] == "treated").to_numpy(dtype=bool),
        has_returned=keys["has_returned"].astype(bool).to_numpy().astype(int),
        revenue=np.where(is_known, np.nan_to_num(revenue), np.nan),
    )


def _settings(folder: Path, server: EmbeddedPostgres, world: World) -> Settings:
    """Return the product's settings for the world's own database, with its models in a folder and no MLflow."""
    server.ensure_database(world.name)
    state = folder / "state"
    state.mkdir(parents=True, exist_ok=True)
    return replace(
        load_settings(folder / "source"),
        warehouse_url=server.url(world.name),
        state_folder=state,
        tracking_uri="",
        source=str(folder / "source"),
    )


def _build_features(as_of_date: date, settings: Settings) -> StageReport:
    run_dbt(["run"], settings, as_of_date)
    return StageReport(stage="build_features", as_of_date=as_of_date, rows=0)


def _run_product(settings: Settings) -> tuple[dict[str, float], tuple[str, ...]]:
    """Run the product's own stages up to the scores; return seconds by stage and what the stages reported."""
    migrate(settings.warehouse_url)
    known = stages() | {"build_features": _build_features}
    seconds, notes = {}, []
    for name in _STAGES:
        begun = time.monotonic()
        report = known[name](game_world.DEFAULT_AS_OF, settings)
        seconds[name] = round(time.monotonic() - begun, 1)
        notes += [f"{name}: {message}" for message in report.messages]
        notes.append(f"{name}: {json.dumps(dict(report.details), default=str)}")
    return seconds, tuple(notes)

"""Searching settings of gradient boosting by trial: seeded, pruned, told in the log."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ml.response.examples import Examples
from ml.response.learners import BoostedLearner, BoostingSettings, Kind
from ml.response.selection import FOLDS, row_losses, time_slices, user_folds

if TYPE_CHECKING:
    import optuna

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tuning:
    """What a search found.

    Attributes:
        settings: those with the least loss.
        tried: trials that were run, those given up included.
    """

    settings: BoostingSettings
    tried: int


def tuned_boosting(
    kind: Kind,
    examples: Examples,
    weight: np.ndarray,
    *,
    trials: int,
    seconds: int = 0,
    thread_count: int = 1,
    random_state: int = 0,
) -> Tuning:
    """Return the settings with the least loss on later rows of other users within the earlier part of the examples.

    The later part, on which the candidates are compared afterwards, is not looked at. A trial that does worse than the
    median of those before it is given up after a fold or two of users. Bounded by trials alone the same data gives the
    same model on a slower machine; with a budget of `seconds` (0 is none) no new trial begins once it is spent, and the
    first trial, the settings as they are, is always run.

    Source:
        Akiba et al. (2019), Optuna; Bergstra et al. (2011) for the tree-structured Parzen estimator.
    """
    # Its import takes a second, and by default nothing is searched.
    import optuna

    past = examples.take(time_slices(examples.reference_days).earlier)
    past_weight = weight[time_slices(examples.reference_days).earlier]
    slices = time_slices(past.reference_days)
    folds = user_folds(past.user_ids, random_state)

    def loss(trial: "optuna.Trial") -> float:
        settings = BoostingSettings(
            iterations=trial.suggest_int("iterations", 50, 400, step=50),
            depth=trial.suggest_int("depth", 2, 7),
            learning_rate=trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            l2_leaf_reg=trial.suggest_float("l2_leaf_reg", 1.0, 100.0, log=True),
            subsample=trial.suggest_float("subsample", 0.5, 1.0),
        )
        losses: list[float] = []
        for fold in range(FOLDS):
            rows, others = slices.earlier & (folds != fold), slices.later & (folds == fold)
            if not rows.any() or not others.any():
                continue
            learner = BoostedLearner(kind, settings, thread_count=thread_count, random_state=random_state)
            learner.fit(past.features[rows], past.outcome[rows], past_weight[rows])
            found = row_losses(kind, past.outcome[others], learner.predict(past.features[others]))
            losses.append(float(np.average(found, weights=past_weight[others])))
            trial.report(float(np.mean(losses)), fold)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(losses)) if losses else 0.0

    def tell(study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> None:
        ended = "given up" if trial.state is optuna.trial.TrialState.PRUNED else f"loss {trial.value:.6f}"
        _LOG.info("Settings %d of %d: %s; best so far %.6f.", trial.number + 1, trials, ended, study.best_value)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=random_state),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
    )
    study.enqueue_trial(vars(BoostingSettings()))
    study.optimize(loss, n_trials=trials, timeout=seconds or None, callbacks=[tell])
    return Tuning(BoostingSettings(**study.best_params), len(study.trials))

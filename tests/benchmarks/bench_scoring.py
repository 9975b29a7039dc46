"""Scoring from Postgres to Postgres: `python -m tests.benchmarks.bench_scoring [--users 1000000] [--players 5000]`.

A game world of `--players` is landed, its features are built and models are trained; then the features of its inactive
users are copied inside Postgres under new ids until there are `--users` of them. Prints seconds and peak memory of
`score_users` (return with and without each open event, conversion, revenue, value, segments, explanations), seconds of
its parts when each runs alone - reading, predicting, choosing whom to explain and explaining - and the ratio to the
peer: bare CatBoost `predict` of the same trees on the same rows, once for each open event.
"""

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
from catboost import CatBoostClassifier

from local.chain import run_chain
from local.postgres import EmbeddedPostgres
from local.samples import game_world
from ml.pipelines.batches import read_user_batches
from ml.pipelines.matrix import Prediction, predict_batch
from ml.pipelines.score import score_users
from ml.response import reasons_in_words
from warehouse.door import Warehouse
from warehouse.migrations import migrate
from warehouse.settings import Settings, load_settings

DAY = game_world.DEFAULT_AS_OF


def main() -> None:
    """Prepare, measure once, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--players", type=int, default=5_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        server = EmbeddedPostgres(folder / "postgres")
        server.start()
        try:
            settings = prepare(folder, server, chosen.players)
            multiply(settings.warehouse_url, chosen.users)
            measure(settings)
        finally:
            server.remove()


def prepare(folder: Path, server: EmbeddedPostgres, players: int) -> Settings:
    """Land a world, build its features, train on it."""
    game_world.write_source(folder / "source", players=players, seed=1, truth_folder=folder / "truth")
    server.ensure_database("world")
    settings = replace(
        load_settings(folder / "source"),
        warehouse_url=server.url("world"),
        state_folder=folder / "state",
        tracking_uri="",
        source=str(folder / "source"),
    )
    migrate(settings.warehouse_url)
    run_chain(settings, DAY, until="train_models")
    return settings


def multiply(url: str, users: int) -> None:
    """Copy what is known of the inactive users of the day under new ids until there are so many."""
    with psycopg.connect(url) as connection:
        connection.execute("set local synchronous_commit = off")
        connection.execute(
            "create temporary table inactive as select user_id from features.feat_user_behaviour"
            " where as_of_date = %s and is_inactive",
            (DAY,),
        )
        count = connection.execute("select count(*) from inactive").fetchone()
        copies = max(1, users // max(1, count[0] if count else 1))
        tables = connection.execute(
            "select columns.table_schema || '.' || columns.table_name, array_agg(column_name::text)"
            " from information_schema.columns as columns inner join information_schema.tables as tables"
            " using (table_schema, table_name) where table_type = 'BASE TABLE'"
            " and (table_schema = 'features'"
            " or (table_schema, table_name) in (('raw', 'users'), ('marts', 'dim_users')))"
            " and columns.table_name not in ('training_examples', 'label_example_return_14d') group by 1"
            " having array_agg(column_name::text) @> array['user_id']"
        ).fetchall()
        for table, columns in tables:
            into = ", ".join(f'"{name}"' for name in columns)
            chosen = ", ".join(
                "md5(copy::text) || source.user_id" if name == "user_id" else f'source."{name}"' for name in columns
            )
            of_day = f"where source.as_of_date = '{DAY}'" if "as_of_date" in columns else ""
            connection.execute(
                f"insert into {table} ({into}) select {chosen} from {table} as source"
                f" inner join inactive using (user_id) cross join generate_series(2, %s) as copy {of_day}",
                (copies,),
            )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("analyze")


def measure(settings: Settings) -> None:
    """Score once, then each part alone."""
    begun = time.perf_counter()
    report = score_users(DAY, settings)
    whole = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    warehouse = Warehouse(settings.warehouse_url)
    prediction = Prediction.of(warehouse, DAY, settings)
    events = len(prediction.events)
    seconds = {"reading": 0.0, "predicting": 0.0, "explaining": 0.0, "bare CatBoost predict": 0.0}
    batches = read_user_batches(
        warehouse,
        DAY,
        sorted(set(prediction.events["event_type"])),
        with_event_features=prediction.model.uses_event_features,
        relation=settings.activity_relation,
    )
    bare, peer_rows = None, 0
    begun = time.perf_counter()
    for batch in batches:
        read = time.perf_counter()
        predicted = predict_batch(prediction, batch)
        done = time.perf_counter()
        learner = prediction.model.returns.baseline_.learner
        reasons_in_words(learner, prediction.model.with_worth(predicted.features))
        told = time.perf_counter()
        numbers = batch.features.select_dtypes("number").to_numpy(dtype=np.float32)
        if bare is None:
            bare = CatBoostClassifier(iterations=150, depth=4, thread_count=2, allow_writing_files=False, verbose=False)
            bare.fit(numbers, np.arange(len(numbers)) % 2)
        started = time.perf_counter()
        for _ in range(events):
            bare.predict(numbers, prediction_type="RawFormulaVal", thread_count=2)
        seconds["bare CatBoost predict"] += time.perf_counter() - started
        seconds["reading"] += read - begun
        seconds["predicting"] += done - read
        seconds["explaining"] += told - done
        peer_rows += len(numbers)
        begun = time.perf_counter()
    print(f"{report.details['users']:,} users x {events} events, {len(batch.features.columns)} features")
    print(f"score_users, Postgres to Postgres {whole:8.1f} s   peak {memory:.2f} GB")
    for part, spent in seconds.items():
        print(f"{part:<33} {spent:8.1f} s")
    print(f"ratio to bare CatBoost predict    {whole / max(seconds['bare CatBoost predict'], 1e-9):8.1f}")


if __name__ == "__main__":
    main()

"""Scoring from Postgres to Postgres: `python -m tests.benchmarks.bench_scoring [--users 1000000] [--folder FOLDER]`.

A game world of `--players` is landed, its features are built and models are trained; then the features of its inactive
users are copied inside Postgres under new ids until there are `--users` of them. They are vacuumed, as autovacuum does
within minutes of a build: else it would do so while users are scored. Prints seconds and peak memory of `score_users`
for a date, then for the same date again (return with and without each open event, conversion, revenue, value,
segments), processor seconds of this process and of Postgres, those of each part when it runs alone, and the ratio to
the peer: bare CatBoost `predict` of as many trees on the same rows, once for each open event. With `--folder` the world
stays there, and a second run scores it without building it.
"""

import argparse
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg
from catboost import CatBoostClassifier

from local.chain import run_chain
from local.postgres import EmbeddedPostgres
from local.samples import game_world
from ml.pipelines.batches import read_user_batches
from ml.pipelines.catalogue import FeatureCatalogue
from ml.pipelines.matrix import Prediction, matrix_values, predict_batch
from ml.pipelines.score import Segments, response_scores, score_users, user_scores
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
    parser.add_argument("--history", action="store_true", help="copy also what held of users before the day")
    parser.add_argument("--folder", type=Path, help="keep the world there, and score the one that is there already")
    chosen = parser.parse_args()
    if chosen.folder is not None:
        chosen.folder.mkdir(parents=True, exist_ok=True)
        run(chosen.folder.resolve(), chosen)
        return
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as name:
        run(Path(name), chosen)


def run(folder: Path, chosen: argparse.Namespace) -> None:
    """Measure on a world in a folder, which is built where it is not there."""
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder / "postgres")
    server.start()
    is_built = folder / "is_built"
    try:
        settings = settings_of(folder, server, chosen.players)
        if not is_built.exists():
            migrate(settings.warehouse_url)
            run_chain(settings, DAY, until="train_models")
            multiply(settings.warehouse_url, chosen.users, with_history=chosen.history)
            begun = server_seconds(server)
            with psycopg.connect(settings.warehouse_url, autocommit=True) as connection:
                connection.execute("vacuum (analyze)")
                (size,) = connection.execute("select pg_database_size(current_database())").fetchone() or (0,)
            time.sleep(1)
            print(f"vacuum of all tables: {server_seconds(server) - begun:.1f} processor seconds of Postgres")
            print(f"the world takes {size / 1e9:.1f} GB of disk before it is scored")
            is_built.touch()
        measure(settings, server)
    finally:
        if chosen.folder is None:
            server.remove()
        else:
            server.stop()


def settings_of(folder: Path, server: EmbeddedPostgres, players: int) -> Settings:
    """Settings of a world in a folder, whose files are written where they are not there."""
    if not (folder / "source").exists():
        game_world.write_source(folder / "source", players=players, seed=1, truth_folder=folder / "truth")
    server.ensure_database("world")
    return replace(
        load_settings(folder / "source"),
        warehouse_url=server.url("world"),
        state_folder=folder / "state",
        tracking_uri="",
        source=str(folder / "source"),
    )


def multiply(url: str, users: int, *, with_history: bool) -> None:
    """Copy what is known of the inactive users of the day under new ids until there are so many.

    What held before the day (some twenty versions a user) is copied only if asked for: of ten million it fills a disk.
    """
    with psycopg.connect(url) as connection:
        connection.execute(
            "create table inactive as select user_id from features.feat_user_behaviour"
            " where as_of_date = %s and is_inactive",
            (DAY,),
        )
        count = connection.execute("select count(*) from inactive").fetchone()
        copies = max(1, users // max(1, count[0] if count else 1))
        tables = connection.execute(
            "select columns.table_schema || '.' || columns.table_name, array_agg(column_name::text)"
            " from information_schema.columns as columns inner join information_schema.tables as tables"
            " using (table_schema, table_name) where table_type = 'BASE TABLE'"
            " and (table_schema = 'features' or (table_schema, table_name) in"
            " (('raw', 'users'), ('marts', 'dim_users'), ('predictions', 'friend_returns')))"
            " and columns.table_name not in ('training_examples', 'label_example_return_14d') group by 1"
            " having array_agg(column_name::text) @> array['user_id']"
        ).fetchall()

    def copy(table: str, columns: list[str]) -> None:
        of_day = f"where as_of_date = '{DAY}'" if "as_of_date" in columns else ""
        if "valid_until_date" in columns and not with_history:
            of_day = f"where valid_from_date <= '{DAY}' and '{DAY}' < valid_until_date"
        with psycopg.connect(url) as connection:
            multiply_table(connection, table, columns, copies, of_day)

    # Two tables at a time on two cores.
    with ThreadPoolExecutor(psutil.cpu_count()) as pool:
        list(pool.map(copy, *zip(*tables, strict=True)))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop table inactive")


def multiply_table(
    connection: psycopg.Connection[Any], table: str, columns: list[str], copies: int, of_day: str
) -> None:
    """Copy rows of the inactive users of a table, those `of_day`, so that there are so many of each.

    They are written in the order of user_id into a table that is emptied in the same
    transaction and has no index meanwhile: Postgres then keeps no log of them.
    """
    connection.execute("set local maintenance_work_mem = '512MB'")
    connection.execute(f"create temporary table kept as select * from {table}")
    connection.execute(
        f"create temporary table copied as select * from kept inner join inactive using (user_id) {of_day}"
        " order by user_id"
    )
    indexes = connection.execute(
        "select indexrelid::regclass::text, pg_get_indexdef(indexrelid), conname, pg_get_constraintdef(constraints.oid)"
        " from pg_index left join pg_constraint as constraints on conindid = indexrelid and contype in ('p', 'u')"
        " where indrelid = %s::regclass",
        (table,),
    ).fetchall()
    connection.execute(f"truncate {table}")
    for index, _, constraint, _ in indexes:
        connection.execute(
            f'alter table {table} drop constraint "{constraint}"' if constraint else f"drop index {index}"
        )
    connection.execute(f"insert into {table} select * from kept")
    names = ", ".join(f'"{name}"' for name in columns)
    chosen = ", ".join("prefix || user_id" if name == "user_id" else f'"{name}"' for name in columns)
    connection.execute(
        f"insert into {table} ({names}) select {chosen}"
        " from (select md5(number::text) as prefix from generate_series(2, %s) as number order by 1) as copies"
        " cross join lateral (select * from copied where prefix is not null offset 0) as source",
        (copies,),
    )
    for _, definition, constraint, as_constraint in indexes:
        connection.execute(
            f'alter table {table} add constraint "{constraint}" {as_constraint}' if constraint else definition
        )


def measure(settings: Settings, server: EmbeddedPostgres) -> None:
    """Score twice, then each part alone."""
    for times in ("first", "again"):
        begun, begun_cpu, begun_server = time.perf_counter(), time.process_time(), server_seconds(server)
        report = score_users(DAY, settings)
        whole, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        # A process of the server is counted when it has ended.
        time.sleep(1)
        of_server = server_seconds(server) - begun_server
        print(f"score_users {times}, Postgres to Postgres {whole:8.1f} s   peak {memory:.2f} GB")
        print(f"processor seconds: ours {cpu:.1f}, of Postgres {of_server:.1f}")
    warehouse = Warehouse(settings.warehouse_url)
    prediction = Prediction.of(warehouse, DAY, settings)
    events = len(prediction.events)
    names = ("predicting", "segments, best events, rows to write", "bare CatBoost predict", "explaining 8,192 users")
    seconds = dict.fromkeys(names, 0.0)
    segments = Segments(prediction.model, events)
    begun_parts, in_parts = time.process_time(), 0.0
    bare = None
    for batch in read_user_batches(
        warehouse,
        DAY,
        sorted(set(prediction.events["event_type"])),
        with_event_features=prediction.model.uses_event_features,
        relation=settings.activity_relation,
        names=prediction.feature_names,
    ):
        started = time.thread_time()
        predicted = predict_batch(prediction, batch, intervals=3)
        values = matrix_values(predicted.matrix)
        done = time.thread_time()
        segments.add(predicted, values)
        user_scores(predicted, values)
        response_scores(predicted, values)
        rows = time.thread_time()
        if bare is None:
            learner = prediction.model.returns.baseline_.learner
            reasons_in_words(learner, prediction.model.with_worth(predicted.features[:8192]))
            seconds["explaining 8,192 users"] += time.thread_time() - rows
        numbers = batch.features.select_dtypes("number").to_numpy(dtype=np.float32)
        if bare is None:
            bare = CatBoostClassifier(iterations=150, depth=4, thread_count=1, allow_writing_files=False, verbose=False)
            bare.fit(numbers, np.arange(len(numbers)) % 2)
        bare_started = time.thread_time()
        for _ in range(events):
            bare.predict(numbers, prediction_type="RawFormulaVal", thread_count=1)
        seconds["bare CatBoost predict"] += time.thread_time() - bare_started
        seconds["predicting"] += done - started
        seconds["segments, best events, rows to write"] += rows - done
        in_parts += time.thread_time() - started
    reading = time.process_time() - begun_parts - in_parts
    print(
        f"{report.details['users']:,} users x {events} events, "
        f"{len(FeatureCatalogue.read(warehouse).user_names)} features, of which {len(batch.features.columns)} are read"
    )
    print("processor seconds of ours, each alone:")
    for part, spent in {"reading": reading, **seconds}.items():
        print(f"{part:<38} {spent:8.1f} s")
    print(f"processor, over bare CatBoost predict  {cpu / max(seconds['bare CatBoost predict'], 1e-9):8.1f}")


def server_seconds(server: EmbeddedPostgres) -> float:
    """Processor seconds of Postgres and of all its processes that have ended."""
    times = psutil.Process(server.process_id()).cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


if __name__ == "__main__":
    main()

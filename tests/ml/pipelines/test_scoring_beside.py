"""What scoring does at the same time, and how many threads it leaves to others; nothing here is timed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from ml.pipelines import score
from ml.pipelines.portrait import Portrait
from ml.pipelines.score import score_users
from ml.pipelines.train import train_models
from tests.ml.pipelines.house import DAY, House
from warehouse.door import Warehouse

# Whoever waits so long waits for something that comes later: the test fails.
_SECONDS = 20


def test_who_is_inactive_is_written_while_users_are_scored(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.fill(exposures=200)
    train_models(DAY, house.settings)
    scored = threading.Event()
    add, write = score.Segments.add, score.write_user_activity

    def add_and_say(*arguments: Any) -> None:
        scored.set()
        add(*arguments)

    def write_after_a_batch(*arguments: Any, **options: Any) -> Any:
        assert scored.wait(_SECONDS)
        return write(*arguments, **options)

    monkeypatch.setattr(score.Segments, "add", add_and_say)
    monkeypatch.setattr(score, "write_user_activity", write_after_a_batch)
    score_users(DAY, house.settings)
    everybody = "select count(*) from features.feat_user_behaviour where as_of_date = %s"
    assert house.warehouse.scalar("select count(*) from predictions.user_activity") == house.warehouse.scalar(
        everybody, (DAY,)
    )


def test_scores_are_not_written_where_it_cannot_be_said_who_is_inactive(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.fill(exposures=200)
    train_models(DAY, house.settings)

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("no rhythm")

    monkeypatch.setattr(score, "write_user_activity", fail)
    with pytest.raises(ValueError, match="no rhythm"):
        score_users(DAY, house.settings)
    for table in ("user_scores", "response_scores", "segments"):
        assert house.warehouse.scalar(f"select count(*) from predictions.{table}") == 0


def test_pictures_are_drawn_while_keys_are_built(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.fill(exposures=200)
    train_models(DAY, house.settings)
    drawing = threading.Event()
    draw, replacing = Portrait.draw, Warehouse.replacing

    def draw_and_say(*arguments: Any) -> Any:
        drawing.set()
        return draw(*arguments)

    @contextmanager
    def replace_after_drawing_began(
        warehouse: Warehouse, connection: Any, table: str, key: Any
    ) -> Iterator[Callable[[Any], int]]:
        with replacing(warehouse, connection, table, key) as write:
            yield write
            # Keys are built when this block ends.
            assert table == "predictions.user_activity" or drawing.wait(_SECONDS)

    monkeypatch.setattr(Portrait, "draw", draw_and_say)
    monkeypatch.setattr(Warehouse, "replacing", replace_after_drawing_began)
    assert "pictures" in score_users(DAY, house.settings).details


def test_scoring_keeps_linear_algebra_to_one_thread(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.fill(exposures=200)
    train_models(DAY, house.settings)
    seen: list[int] = []
    add = score.Segments.add

    def blas_threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    def add_and_look(*arguments: Any) -> None:
        seen.extend(blas_threads())
        add(*arguments)

    monkeypatch.setattr(score.Segments, "add", add_and_look)
    with threadpool_limits(limits=2, user_api="blas"):
        assert set(blas_threads()) == {2}
        score_users(DAY, house.settings)
        assert set(blas_threads()) == {2}
    assert set(seen) == {1}

"""E1: assignment is a published pure function that may never change, and growing the traffic moves nobody."""

import hashlib
import json
from datetime import date
from pathlib import Path

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.experiments import (
    BUCKETS,
    ExperimentError,
    Split,
    assign,
    bucket,
    buckets,
    control_salt,
    holdout_salt,
    is_in_share,
    period_of,
    sql_assign,
    sql_bucket,
    sql_is_in_share,
    uniforms,
)
from warehouse.door import Warehouse

FROZEN = json.loads((Path(__file__).parent / "assignment_vectors.json").read_text(encoding="utf-8"))
ODD_IDS = ["", "1", "o'brien", 'say "hi"', "line\nbreak", "zażółć", "😀", "a:b", "\\", "%s"]


def test_the_frozen_vectors_never_change() -> None:
    for row in FROZEN["buckets"]:
        assert bucket(row["salt"], row["user_id"]) == row["bucket"]
    split = Split(FROZEN["split"]["salt"], tuple(map(tuple, FROZEN["split"]["arms"])), FROZEN["split"]["traffic"])
    users = [row["user_id"] for row in FROZEN["buckets"]]
    assert assign(split, users).tolist() == FROZEN["split"]["arm"]
    for row in FROZEN["holdout"]:
        period = period_of(date.fromisoformat(row["date"]), row["renewal_days"])
        assert bucket(holdout_salt(row["seed"], period), row["user_id"]) == row["bucket"]
    for row in FROZEN["control"]:
        assert control_salt(20180102, "event-4") == row["salt"]
        assert bucket(row["salt"], row["user_id"]) == row["bucket"]


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=20))
def test_one_user_and_many_agree(salt: str, users: list[str]) -> None:
    assert buckets(salt, users).tolist() == [bucket(salt, user) for user in users]


def test_buckets_and_uniforms_are_even_and_salts_are_independent() -> None:
    users = [str(number) for number in range(200_000)]
    first, second = buckets("one", users), buckets("two", users)
    counts = np.bincount(first, minlength=BUCKETS)
    statistic = ((counts - 20.0) ** 2 / 20.0).sum()
    assert abs(statistic - (BUCKETS - 1)) < 4 * np.sqrt(2 * BUCKETS)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01
    drawn = uniforms("one", users)
    assert 0 <= drawn.min() < drawn.max() < 1
    assert drawn.mean() == pytest.approx(0.5, abs=0.005)


@given(st.floats(0, 1), st.floats(0, 1))
def test_growing_the_traffic_never_moves_a_user(less: float, more: float) -> None:
    less, more = sorted((less, more))
    users = [str(number) for number in range(300)]
    arms = (("a", 0.2), ("b", 0.3), ("c", 0.5))
    before, after = assign(Split("x", arms, less), users), assign(Split("x", arms, more), users)
    was_in = before != ""
    assert (before[was_in] == after[was_in]).all()
    assert set(np.flatnonzero(is_in_share("s", less, users))) <= set(np.flatnonzero(is_in_share("s", more, users)))


def test_the_holdout_stays_until_its_period_ends_and_is_then_drawn_anew() -> None:
    users = [str(number) for number in range(20_000)]
    first, last, next_day = date(2017, 11, 2), date(2018, 5, 2), date(2018, 5, 3)
    assert period_of(first, 182) == period_of(last, 182) == period_of(next_day, 182) - 1
    held = [is_in_share(holdout_salt(7, period_of(day, 182)), 0.05, users) for day in (first, last, next_day)]
    assert (held[0] == held[1]).all()
    assert held[2].mean() == pytest.approx(0.05, abs=0.005)
    # Of those held out only as many stay as chance leaves: everybody else is eligible again.
    assert (held[1] & held[2]).sum() / held[1].sum() == pytest.approx(0.05, abs=0.03)
    with pytest.raises(ExperimentError, match="at least a day"):
        period_of(first, 0)


def test_every_user_has_exactly_one_arm_and_arms_have_their_weights() -> None:
    users = [str(number) for number in range(50_000)]
    arm = assign(Split("x", (("a", 0.2), ("b", 0.8)), 0.5), users)
    assert set(arm) == {"", "a", "b"}
    assert (arm == "a").mean() == pytest.approx(0.1, abs=0.006)
    assert (arm == "").mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("arms", [(), (("a", 0.5),), (("a", -0.5), ("b", 1.5)), (("a", 0.5), ("a", 0.5))])
def test_arms_that_are_no_split_are_refused(arms: tuple) -> None:
    with pytest.raises(ExperimentError):
        Split("x", arms)


def test_python_and_sql_agree_on_a_million_ids(postgres) -> None:
    warehouse = Warehouse(postgres.url())
    salt = holdout_salt(7, 3) + " it's"
    split = Split("campaign 'x'", (("targeted", 0.7), ("random", 0.2), ("o'rule", 0.1)), 0.6)
    count = 1_000_000
    hashed = warehouse.scalar(
        f"select md5(string_agg(cast({sql_bucket(salt, 'user_id')} as text), ',' order by n)) "
        f"from (select n, 'user ' || n as user_id from generate_series(1, {count}) as n) as users"
    )
    users = [f"user {number}" for number in range(1, count + 1)]
    assert hashlib.md5(",".join(map(str, buckets(salt, users))).encode()).hexdigest() == hashed
    few = users[:5_000] + ODD_IDS
    with warehouse.transaction() as connection:
        statement = (
            f"select {sql_bucket(salt, 'user_id')}, {sql_assign(split, 'user_id')}, "
            f"{sql_is_in_share(salt, 0.3, 'user_id')} "
            "from unnest(cast($1 as text[])) with ordinality as users (user_id, n) order by n"
        )
        rows = psycopg_rows(connection, statement, few)
    assert [row[0] for row in rows] == buckets(salt, few).tolist()
    assert [row[1] for row in rows] == assign(split, few).tolist()
    assert [row[2] for row in rows] == is_in_share(salt, 0.3, few).tolist()


def psycopg_rows(connection, statement: str, users: list[str]) -> list[tuple]:
    """Rows of a statement with one server-side parameter."""
    with psycopg.RawCursor(connection) as cursor:
        return cursor.execute(statement, (users,)).fetchall()

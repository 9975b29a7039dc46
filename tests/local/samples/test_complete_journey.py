"""The grocer's year: the published counts, what was assumed, and the same bytes every time."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from local.samples import complete_journey, prepare_sample, prepare_source, sample_names
from warehouse.settings import load_settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("complete_journey")
    complete_journey.write_source(folder)
    return folder


def scalar(folder: Path, query: str) -> object:
    """Run a query in which `{table}` stands for the table's file."""
    names = {path.stem: f"'{path}'" for path in folder.glob("*.parquet")}
    row = duckdb.sql(query.format(**names)).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("users", 2_469),
        ("sessions", 155_848),
        ("payments", 155_370),
        ("events", 27),
        ("exposures", 6_589),
        ("responses", 2_102),
        ("items", 92_331),
        ("interactions", 1_469_307),
        ("consents", 2_469),
    ],
)
def test_tables_have_the_published_counts(folder: Path, table: str, rows: int) -> None:
    assert scalar(folder, f"select count(*) from {{{table}}}") == rows


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("users", "user_id"),
        ("sessions", "session_id"),
        ("payments", "payment_id"),
        ("events", "event_id"),
        ("exposures", "exposure_id"),
        ("responses", "response_id"),
        ("items", "item_id"),
        ("interactions", "interaction_id"),
        ("consents", "consent_id"),
    ],
)
def test_keys_are_unique_and_present(folder: Path, table: str, key: str) -> None:
    assert scalar(folder, f"select count(*) - count(distinct {key}) from {{{table}}}") == 0


def test_money_is_exact_and_only_baskets_without_value_lack_a_payment(folder: Path) -> None:
    assert scalar(folder, "select typeof(amount) from {payments} limit 1") == "DECIMAL(12,2)"
    assert scalar(folder, "select min(amount) > 0 from {payments}") is True
    lines = pd.read_parquet(complete_journey.data_folder() / "transactions.parquet", columns=["sales_value"])
    assert float(str(scalar(folder, "select sum(amount) from {payments}"))) == round(lines.sales_value.sum(), 2)


def test_five_campaigns_are_open_on_the_default_date(folder: Path) -> None:
    as_of = datetime.combine(complete_journey.DEFAULT_AS_OF, datetime.min.time(), UTC)
    query = f"select count(*) from {{events}} where starts_at < '{as_of}' and ends_at > '{as_of}'"
    assert scalar(folder, query) == 5
    assert scalar(folder, f"select count(*) from {{sessions}} where started_at >= '{as_of}'") == 0


def test_campaign_days_are_days_of_new_york(folder: Path) -> None:
    query = "select starts_at = timestamptz '2017-05-08 04:00:00+00' from {events} where event_id = '8'"
    assert scalar(folder, query) is True
    query = "select ends_at = timestamptz '2017-06-26 04:00:00+00' from {events} where event_id = '8'"
    assert scalar(folder, query) is True


def test_everybody_registers_before_the_first_purchase_of_the_same_day(folder: Path) -> None:
    query = """
        select bool_and(registered_at <= first_at and first_at < registered_at + interval 1 day)
        from {users} inner join (select user_id, min(started_at) as first_at from {sessions} group by user_id)
        using (user_id)"""
    assert scalar(folder, query) is True


def test_only_mailed_households_redeem_and_none_before_the_basket(folder: Path) -> None:
    query = "select count(*) from {responses} anti join {exposures} using (event_id, user_id)"
    assert scalar(folder, query) == 0
    query = """select count(*) from {responses} as responses anti join {sessions} as sessions
        on responses.user_id = sessions.user_id and responded_at = started_at"""
    assert scalar(folder, query) == 0


def test_every_campaign_can_take_more_households_than_it_took(folder: Path) -> None:
    query = """
        select min(capacity - mailed) from {events}
        inner join (select event_id, count(*) as mailed from {exposures} group by event_id) using (event_id)"""
    assert scalar(folder, query) == 25


def test_the_same_bytes_every_time(folder: Path, tmp_path: Path) -> None:
    complete_journey.write_source(tmp_path)
    for path in sorted(folder.glob("*.parquet")):
        again = hashlib.sha256((tmp_path / path.name).read_bytes()).hexdigest()
        assert hashlib.sha256(path.read_bytes()).hexdigest() == again, path.name


def test_a_prepared_sample_is_written_once_and_again_when_its_version_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def write_source(folder: Path) -> None:
        folder.mkdir()
        (folder / "users.parquet").write_bytes(b"")
        written.append(folder)

    monkeypatch.setattr(complete_journey, "write_source", write_source)
    for _ in range(2):
        assert prepare_sample("complete_journey", tmp_path) == tmp_path / "complete_journey"
    assert len(written) == 1
    monkeypatch.setattr(complete_journey, "version", lambda: "another")
    prepare_sample("complete_journey", tmp_path)
    assert len(written) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["complete_journey"]


def test_a_failed_writing_leaves_no_folder_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        folder.mkdir()
        raise OSError("disk full")

    monkeypatch.setattr(complete_journey, "write_source", fail)
    with pytest.raises(OSError, match="disk full"):
        prepare_sample("complete_journey", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_sample_is_named_with_the_known_ones(tmp_path: Path) -> None:
    assert "complete_journey" in sample_names()
    with pytest.raises(ValueError, match="complete_journey"):
        prepare_sample("no_such_sample", tmp_path)


def test_a_source_is_a_sample_by_name_or_a_folder_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKINDLE_STATE", str(tmp_path))
    monkeypatch.setattr(complete_journey, "write_source", lambda folder: folder.mkdir())
    monkeypatch.setenv("REKINDLE_SOURCE", "complete_journey")
    assert prepare_source(load_settings()) == tmp_path / "samples" / "complete_journey"
    folder = tmp_path / "mine"
    monkeypatch.setenv("REKINDLE_SOURCE", str(folder))
    with pytest.raises(ValueError, match=r"no data folder .*mine"):
        prepare_source(load_settings())
    folder.mkdir()
    assert prepare_source(load_settings()) == folder

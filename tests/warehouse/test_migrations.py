"""Migrations: up from nothing, twice, at once, and with a login that may do little."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from local.postgres import EmbeddedPostgres
from warehouse.contract import load_contract
from warehouse.door import Warehouse
from warehouse.migrations import MigrationError, migrate
from warehouse.migrations.roles import SCHEMAS

CATALOGUE = """
    select table_schema || '.' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable as line
    from information_schema.columns where table_schema = any(%s) order by 1
"""
UNEXPLAINED = """
    select format('%%s.%%s.%%s', pg_namespace.nspname, relname, coalesce(attname, '')) as line
    from pg_class
    inner join pg_namespace on pg_namespace.oid = relnamespace
    left join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
    where pg_namespace.nspname = any(%s) and relkind in ('r', 'v') and relname <> 'schema_version'
        and (col_description(pg_class.oid, attnum) is null or obj_description(pg_class.oid, 'pg_class') is null)
"""


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> str:
    name = f"empty_{abs(hash(request.node.name))}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"drop database if exists {name} with (force)")
        connection.execute(f"create database {name}")
    return postgres.url(name)


def catalogue(url: str) -> list[str]:
    return list(Warehouse(url).read_frame(CATALOGUE, [list(SCHEMAS)]).line)


def test_twice_from_nothing_gives_every_table_once(empty_url: str) -> None:
    migrate(empty_url)
    first = catalogue(empty_url)
    assert migrate(empty_url) == ()
    assert catalogue(empty_url) == first
    assert "predictions.decisions.propensity double precision YES" in first
    for table in load_contract().values():
        for column in table.columns:
            assert any(line.startswith(f"raw.{table.name}.{column.name} ") for line in first)


def test_every_table_and_column_says_what_it_is(warehouse: Warehouse) -> None:
    assert list(warehouse.read_frame(UNEXPLAINED, [list(SCHEMAS)]).line) == []


def test_two_at_once_do_not_meet(empty_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(migrate, [empty_url] * 4)) == [()] * 4
    assert Warehouse(empty_url).scalar("select count(*) from audit.schema_version") == 1


def test_a_column_the_contract_gained_is_added(warehouse: Warehouse) -> None:
    warehouse.execute("alter table raw.items drop column category")
    migrate(warehouse.url)
    assert "raw.items.category text YES" in catalogue(warehouse.url)


def test_promotions_from_before_they_were_numbered_keep_their_order(empty_url: str) -> None:
    migrate(empty_url)
    warehouse = Warehouse(empty_url)
    warehouse.execute("drop index predictions.model_versions_one_champion")
    for column in ("promotion_number", "parameters", "mlflow_status"):
        warehouse.execute(f"alter table predictions.model_versions drop column {column}")
    warehouse.execute("update audit.schema_version set version_num = '0012'")
    versions = [
        ("e", "2018-01-02", "champion", "run"),
        ("d", "2018-01-09", "champion", None),
        ("a", "2018-01-09", "retired", "run"),
        ("b", "2018-01-16", "challenger", None),
    ]
    for version in versions:
        warehouse.execute(
            "insert into predictions.model_versions (model_name, version, as_of_date, status, run_id, sha256, metrics)"
            " values ('scoring', %s, %s, %s, %s, '', '{}')",
            version,
        )
    migrate(empty_url)
    found = warehouse.read_frame(
        "select version, status, promotion_number, mlflow_status from predictions.model_versions order by 1"
    ).astype(object)
    found = found.where(found.notna(), None)
    # Two that ended at once were both in charge: the later one stays.
    assert [tuple(row) for row in found.itertuples(index=False)] == [
        ("a", "retired", 2, "retired"),
        ("b", "challenger", None, None),
        ("d", "champion", 3, None),
        ("e", "retired", 1, "champion"),
    ]


@pytest.mark.parametrize("role", ["rekindle_marketing", "rekindle_bi"])
def test_readers_read_marketing_and_nothing_personal(warehouse: Warehouse, role: str) -> None:
    for relation in ("marketing.targets", "marketing.event_effects", "marketing.event_effect_details"):
        with warehouse.transaction() as connection:
            connection.execute(f"set local role {role}")
            connection.execute(f"select * from {relation}")
    for statement in (
        "select * from privacy.contacts",
        "copy privacy.contacts to stdout",
        "explain select * from privacy.contacts",
        "select * from raw.users",
        "select * from quarantine.rows",
        "delete from marketing.targets",
    ):
        with warehouse.connect() as connection:
            connection.execute(f"set role {role}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_readers_read_what_dbt_builds_later(warehouse: Warehouse) -> None:
    warehouse.execute("create table reporting.rpt_new as select 1 as one")
    with warehouse.transaction() as connection:
        connection.execute("set local role rekindle_bi")
        assert connection.execute("select one from reporting.rpt_new").fetchone() == (1,)


def test_a_login_that_may_not_create_roles_is_told_the_sql(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("drop database if exists modest with (force)")
        connection.execute("drop role if exists modest")
        connection.execute("create role modest login password 'modest'")
        connection.execute("create database modest owner modest")
        roles = [row[0] for row in connection.execute("select rolname from pg_roles where rolname ~ '^rekindle_'")]
        for role in roles:
            connection.execute(f"alter role {role} rename to hidden_{role}")
    try:
        url = f"postgresql://modest:modest@127.0.0.1:{postgres.port}/modest"
        (notice,) = migrate(url)
        assert "create role rekindle_bi nologin;" in notice
        assert catalogue(url)
    finally:
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            for role in roles:
                connection.execute(f"alter role hidden_{role} rename to {role}")


def test_a_server_that_is_too_old_is_refused_before_anything_is_made(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.migrations.OLDEST_POSTGRES", 99)
    with pytest.raises(MigrationError, match=r"is Postgres \d\d, and Rekindle needs 99 or newer"):
        migrate(empty_url)
    assert not catalogue(empty_url)


def test_a_login_without_rights_is_told_what_to_grant(postgres: EmbeddedPostgres, empty_url: str) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("drop role if exists powerless")
        connection.execute("create role powerless login password 'powerless'")
    url = empty_url.replace(empty_url.split("//")[1].split("@")[0], "powerless:powerless")
    with pytest.raises(MigrationError, match="grant create on database"):
        migrate(url)

"""P1: the ledger and the eligibility as of a date follow one rule, whatever acts there are and in whatever order."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dbt_project.building import DbtProject
from tests.warehouse.consent_rule import Act, is_granted
from warehouse.door import Warehouse

START = datetime(2026, 1, 1, tzinfo=UTC)

ACTS = st.lists(st.tuples(st.sampled_from(["user", "import"]), st.booleans(), st.integers(0, 3)), max_size=6)


@given(histories=st.lists(ACTS, min_size=1, max_size=8), cut=st.integers(0, 3), order=st.randoms())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ledger_and_eligibility_follow_one_rule(eligible: Callable, histories, cut, order) -> None:
    """Any acts in any order, one by one or at once: SQL, as of any moment, says what Python says."""
    rows = [(f"user {number}", act) for number, acts in enumerate(histories) for act in acts]
    order.shuffle(rows)
    now, before = eligible(rows, cut)
    assert now == {f"user {number}" for number, acts in enumerate(histories) if is_granted(acts)}
    early = [[act for act in acts if act[2] < cut] for acts in histories]
    assert before == {f"user {number}" for number, acts in enumerate(early) if is_granted(acts)}


@pytest.fixture
def eligible(warehouse: Warehouse, dbt_project: DbtProject) -> Callable:
    """What the ledger and the compiled model say about acts, in a transaction that is rolled back."""
    manifest = dbt_project.build(warehouse.url, date(2026, 1, 1), select=["+user_channels_versions"])
    assert manifest
    compiled = (dbt_project.target_folder / "compiled/rekindle/models/features/decisions").joinpath(
        "user_channels_versions.sql"
    )
    query = compiled.read_text().replace("cast(cast('2026-01-01' as date) as timestamp) at time zone 'UTC'", "{cut}")
    assert query.count("{cut}") == 2

    def read(rows: list[tuple[str, Act]], cut: int) -> tuple[set[str], set[str]]:
        with warehouse.connect() as connection:
            users = sorted({user for user, _ in rows})
            for user in users:
                connection.execute(
                    "insert into raw.users (user_id, registered_at, _batch_id) values (%s, '2020-01-01', 'b')", (user,)
                )
            with connection.cursor() as cursor:
                cursor.executemany(
                    "insert into privacy.consent_acts (source, user_id, channel, purpose, is_granted, decided_at) "
                    "values (%s, %s, 'email', 'marketing', %s, %s)",
                    [(source, user, says, START + timedelta(hours=hour)) for user, (source, says, hour) in rows],
                )
            now = {row[0] for row in connection.execute("select user_id from privacy.granted_consents")}
            moment = f"timestamptz '{(START + timedelta(hours=cut)).isoformat()}'"
            before = {row[0] for row in connection.execute(query.replace("{cut}", moment))}
            connection.rollback()
        return now, before

    return read

"""Who may be written to at a date: told only where it changes, and never missed, whenever an act becomes known."""

from __future__ import annotations

from datetime import date

import psycopg

from tests.dbt_project.building import DbtProject, rows_of
from tests.dbt_project.world import World, moment
from warehouse.consents import record_consent
from warehouse.door import Warehouse

DAYS = [date(2026, 3, number) for number in range(1, 5)]
SELECTED = ["+eligible_user_channels"]


def eligible_at(url: str, day: date) -> set[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "select user_id || ' ' || channel from features.eligible_user_channels where as_of_date = %s", (day,)
        ).fetchall()
    return {name for (name,) in found}


def versions_from(url: str, day: date) -> int:
    return len(rows_of(url, "features.user_channels_versions", f"valid_from_date = '{day}'"))


def land(url: str, *acts: tuple[str, bool, str]) -> None:
    """Land imported acts of e-mail consent: user, whether it is a grant, and when it was decided."""
    world = World()
    for number, (user_id, is_granted, decided_at) in enumerate(acts):
        world.consent(user_id, "email", is_granted, decided_at)
        world.tables["consents"][-1]["consent_id"] = f"{decided_at} {number}"
    world.write(url)


def test_acts_that_come_late_and_dates_in_any_order(warehouse_url: str, dbt_project: DbtProject) -> None:
    world = World()
    for name in ("ann", "bob", "cora", "dan", "eve"):
        world.user(name)
    world.user("new", "2026-03-02 12:00:00")
    world.write(warehouse_url)
    land(warehouse_url, *((name, True, "2026-01-01") for name in ("ann", "bob", "cora", "new")))
    dbt_project.build(warehouse_url, DAYS[0], select=SELECTED, full_refresh=True)
    assert eligible_at(warehouse_url, DAYS[0]) == {"ann email", "bob email", "cora email"}

    # What ann decided weeks ago is heard of now; bob tells Rekindle itself, in the afternoon; eve agrees the day after.
    land(warehouse_url, ("ann", False, "2026-01-20"), ("eve", True, "2026-03-02 09:00:00"))
    refused_at = moment("2026-03-01 15:00:00")
    record_consent(Warehouse(warehouse_url), "bob", ["email"], is_granted=False, decided_at=refused_at)
    dbt_project.build(warehouse_url, DAYS[2], select=SELECTED)
    assert eligible_at(warehouse_url, DAYS[2]) == {"cora email", "eve email", "new email"}
    assert versions_from(warehouse_url, DAYS[2]) == 4, "cora, of whom nothing changed, has no new row"
    assert eligible_at(warehouse_url, DAYS[0]) == {"ann email", "bob email", "cora email"}, "what was known then"
    assert eligible_at(warehouse_url, DAYS[1]) == set(), "nothing is said of a date that was not built"

    # The date passed over: it holds its own rows, and those around it keep theirs.
    dbt_project.build(warehouse_url, DAYS[1], select=SELECTED)
    assert eligible_at(warehouse_url, DAYS[1]) == {"cora email"}
    assert eligible_at(warehouse_url, DAYS[2]) == {"cora email", "eve email", "new email"}

    # The newest date again: an import lifts no refusal given here, a user who is gone is written to by nobody.
    land(warehouse_url, ("bob", True, "2026-03-02"), ("dan", True, "2026-03-02 23:59:59"), ("eve", False, "2026-03-03"))
    with psycopg.connect(warehouse_url) as connection:
        connection.execute("delete from raw.users where user_id = 'cora'")
    dbt_project.build(warehouse_url, DAYS[2], select=SELECTED)
    assert eligible_at(warehouse_url, DAYS[2]) == {"dan email", "eve email", "new email"}
    dbt_project.build(warehouse_url, DAYS[3], select=SELECTED)
    assert eligible_at(warehouse_url, DAYS[3]) == {"dan email", "new email"}

    agreed_at = moment("2026-03-03 08:00:00")
    record_consent(Warehouse(warehouse_url), "bob", ["email", "sms"], is_granted=True, decided_at=agreed_at)
    dbt_project.build(warehouse_url, DAYS[3], select=SELECTED)
    daily = eligible_at(warehouse_url, DAYS[3])
    assert daily == {"bob email", "bob sms", "dan email", "new email"}
    dbt_project.build(warehouse_url, DAYS[3], select=SELECTED, full_refresh=True)
    assert eligible_at(warehouse_url, DAYS[3]) == daily

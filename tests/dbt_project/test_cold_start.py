"""A source may hold nothing but users and sessions; every table is there all the same, and says zero or nothing."""

from __future__ import annotations

from datetime import date

from tests.dbt_project.building import DbtProject, rows_of
from tests.dbt_project.world import World

AS_OF = date(2026, 3, 1)


def test_users_and_sessions_are_enough(warehouse_url: str, dbt_project: DbtProject) -> None:
    world = World()
    for number in range(5):
        user_id = world.user(f"user-{number}", "2025-09-01")
        world.session(user_id, "2025-09-02", f"2025-1{number % 3}-05 10:00:00")
    world.write(warehouse_url)
    dbt_project.build(warehouse_url, AS_OF, command="build")
    assert len(rows_of(warehouse_url, "features.feat_user_money", f"as_of_date = '{AS_OF}'")) == 5
    assert len(rows_of(warehouse_url, "features.feat_user_social", "friends_count = 0")) >= 5
    assert rows_of(warehouse_url, "features.open_events") == []
    assert rows_of(warehouse_url, "features.eligible_user_channels") == []
    # What lapsed users do when nobody asks them can be learned without any event.
    assert rows_of(warehouse_url, "features.training_examples", "event_id is null and has_returned is not null")
    dbt_project.build(warehouse_url, AS_OF, command="build")


def test_a_date_before_all_data_knows_nobody(warehouse_url: str, dbt_project: DbtProject) -> None:
    world = World()
    world.session(world.user("user", "2025-09-01"), "2025-09-02")
    world.write(warehouse_url)
    dbt_project.build(warehouse_url, date(2020, 1, 1), command="build")
    assert rows_of(warehouse_url, "features.feat_user_behaviour") == []

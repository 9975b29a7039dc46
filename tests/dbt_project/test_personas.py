"""Users with a story on half a page, and what must be known of them as of 2026-03-01."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

import psycopg
import pytest
from psycopg.rows import dict_row

from local.postgres import EmbeddedPostgres
from tests.dbt_project.building import DbtProject, hashes_of, relations_of
from tests.dbt_project.world import World, moment

AS_OF = date(2026, 3, 1)
ODD_ID = 'o\'hara "😀"\n; drop table'


def personas() -> World:
    """Each name is the story of that user."""
    world = World()
    world.event("spring", "bonus", "2026-01-31", "2026-03-31", capacity=6)
    world.event("over", "bonus", "2025-12-01", "2026-02-15")
    world.event("ends today", "coupon", "2026-02-01", "2026-03-01")
    world.event("not yet", "coupon", "2026-03-01", "2026-03-31")

    world.user("steady", country="DE", birth_year=1990)
    world.session("steady", *(f"2026-{month:02d}-{day:02d} 20:00:00" for month in (1, 2) for day in (4, 11, 18, 25)))

    world.user("lapsed", "2025-10-01")
    world.session("lapsed", "2025-11-01 08:00:00", "2025-11-03 08:00:00", seconds=100)
    world.session("lapsed", "2025-12-01 10:00:00", seconds=400, device_type="mobile", operating_system="android")
    world.payment("lapsed", "2025-11-03 09:00:00", 10)
    world.payment("lapsed", "2025-12-01 11:00:00", 20)
    world.payment("lapsed", "2025-12-01 12:00:00", 2.5, kind="deposit")
    world.payment("lapsed", "2026-02-20", 7, kind="refund")

    world.user("returner")
    world.session("returner", "2025-12-20")
    world.exposure("spring", "returner", "2026-02-01 09:00:00")
    world.session("returner", "2026-02-10 12:00:00")
    world.payment("returner", "2026-02-20", 30)
    world.payment("returner", "2026-02-21", 10, kind="refund")
    world.payment("returner", "2026-04-20", 5)
    world.response("spring", "returner", "2026-02-10 13:00:00")

    world.user("just in time")
    world.session("just in time", "2025-12-20", "2026-02-15 08:59:59")
    world.exposure("spring", "just in time", "2026-02-01 09:00:00")

    world.user("one second late")
    world.session("one second late", "2025-12-20", "2026-02-15 09:00:00")
    world.exposure("spring", "one second late", "2026-02-01 09:00:00")

    world.user("active when asked")
    world.session("active when asked", "2026-01-20", "2026-02-02")
    world.exposure("spring", "active when asked", "2026-02-01 09:00:00")

    world.user("came an hour before")
    world.session("came an hour before", "2025-12-20", "2026-02-01 08:00:00")
    world.exposure("spring", "came an hour before", "2026-02-01 09:00:00")

    world.user("control")
    world.session("control", "2025-12-20")
    world.exposure("spring", "control", "2026-02-01 09:00:00", channel="none", arm="control")

    world.user("edge in")
    world.session("edge in", "2026-01-30")
    world.user("edge out")
    world.session("edge out", "2026-01-29 23:59:59")

    world.user("never", "2025-12-01")
    world.user("newcomer", "2026-03-01")
    world.session("newcomer", "2026-03-01 10:00:00")
    world.user("refunded", "2025-12-01")
    world.payment("refunded", "2026-02-20", 7, kind="refund")
    world.user("wrong clock", "2025-12-01")
    world.session("wrong clock", "1970-01-01", "2025-12-02", "2036-01-01")
    world.user(ODD_ID, "2025-12-01")
    world.session(ODD_ID, "2025-12-02")

    world.user("undecided")
    world.consent("undecided", "email", True, "2025-12-01")
    world.consent("undecided", "email", False, "2026-01-01")
    world.consent("undecided", "sms", False, "2025-12-01")
    world.consent("undecided", "sms", True, "2026-01-01")
    world.consent("undecided", "push", True, "2026-01-01")
    world.consent("undecided", "push", False, "2026-01-01")
    world.consent("undecided", "in_app", True, "2026-03-01")
    world.consent("undecided", "mail", True, "2026-01-01", purpose="profiling")
    world.consent("newcomer", "email", True, "2026-02-01")

    world.item("apple", "fruit")
    world.item("pear", "fruit")
    world.item("hammer", "tools")
    world.interaction("lapsed", "2025-11-01 08:01:00", "view", "apple")
    world.interaction("lapsed", "2025-11-01 08:02:00", "view", "pear")
    world.interaction("lapsed", "2025-11-03 08:02:00", "share", "hammer")
    world.interaction(None, "2026-02-27", "view", "hammer")

    world.friendship("lapsed", "steady", "2025-12-01")
    world.friendship("returner", "lapsed", "2025-12-01")
    world.friendship("lapsed", "never", "2026-03-01")
    return world


@pytest.fixture(scope="module")
def built(postgres: EmbeddedPostgres, warehouse_template: str, dbt_project: DbtProject) -> Iterator[str]:
    """The address of a warehouse in which the personas were built, tests of the project included."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f"create database personas template {warehouse_template}")
    url = postgres.url("personas")
    personas().write(url)
    statuses = dbt_project.build(url, AS_OF, command="build")
    assert sum(status == "pass" for status in statuses.values()) > 40
    yield url
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("drop database personas with (force)")


def read(url: str, query: str, *parameters: object) -> list[dict[str, object]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.execute("set time zone 'UTC'")
        return connection.execute(query, parameters).fetchall()


def features(url: str, topic: str, user_id: str) -> dict[str, object]:
    rows = read(url, f"select * from features.feat_user_{topic} where user_id = %s and as_of_date = %s", user_id, AS_OF)
    assert len(rows) == 1
    return rows[0]


def example(url: str, user_id: str, arm: str = "treated") -> dict[str, object]:
    rows = read(
        url,
        "select * from features.training_examples where user_id = %s and arm = %s and event_id = 'spring'",
        user_id,
        arm,
    )
    assert len(rows) == 1
    return rows[0]


def test_everybody_registered_before_the_date_has_one_row_and_nobody_else(built: str) -> None:
    for topic in ("behaviour", "money", "profile", "contacts", "lapses", "rhythm", "level", "devices", "social"):
        found = read(built, f"select user_id from features.feat_user_{topic} where as_of_date = %s", AS_OF)
        expected = {row["user_id"] for row in personas().tables["users"]} - {"newcomer"}
        assert sorted(row["user_id"] for row in found) == sorted(expected), topic


@pytest.mark.parametrize(
    ("user_id", "is_inactive", "days_since"),
    [
        ("steady", False, 4),
        ("lapsed", True, 90),
        ("edge in", False, 30),
        ("edge out", True, 31),
        ("never", True, None),
        ("refunded", True, None),
        ("wrong clock", True, 89),
        (ODD_ID, True, 89),
    ],
)
def test_inactive_is_nothing_in_the_last_thirty_days(
    built: str, user_id: str, is_inactive: bool, days_since: int | None
) -> None:
    behaviour = features(built, "behaviour", user_id)
    assert (behaviour["is_inactive"], behaviour["days_since_last_activity"]) == (is_inactive, days_since)


def test_counts_of_windows(built: str) -> None:
    steady = features(built, "behaviour", "steady")
    assert [steady[f"sessions_count_{days}d"] for days in (7, 28, 90, 365)] == [1, 4, 8, 8]
    lapsed = features(built, "behaviour", "lapsed")
    # 2025-12-01 is 90 days before 2026-03-01, so it is within the last 90 days; November is not.
    assert [lapsed[f"active_days_count_{days}d"] for days in (7, 28, 90, 365)] == [0, 0, 1, 3]
    assert lapsed["sessions_duration_seconds_life"] == 600
    assert lapsed["interactions_count_life"] == 3
    assert lapsed["tenure_days"] == 151
    never = features(built, "behaviour", "never")
    assert never["sessions_count_life"] == 0


def test_money_leaves_refunds_out(built: str) -> None:
    money = features(built, "money", "lapsed")
    assert money["payments_count_life"] == 3
    assert money["payments_amount_life"] == Decimal("32.5")
    assert money["payments_amount_90d"] == Decimal("22.5")
    assert money["largest_payment_amount"] == Decimal(20)
    assert (money["first_paying_day_amount"], money["last_paying_day_amount"]) == (Decimal(10), Decimal("22.5"))
    assert (money["refunds_count_life"], money["refunds_amount_life"]) == (1, Decimal(7))
    # Buy till you die: two paying days, 28 days apart, 118 days since the first.
    assert money["repeat_purchase_days_count"] == 1
    assert (money["purchase_recency_days"], money["purchase_age_days"]) == (28, 118)
    assert money["repeat_purchase_mean_amount"] == Decimal("22.5")
    refunded = features(built, "money", "refunded")
    assert (refunded["payments_count_life"], refunded["days_since_last_payment"]) == (0, None)


def test_rhythm_and_level_tell_what_the_user_was(built: str) -> None:
    rhythm = features(built, "rhythm", "lapsed")
    # Active on 1 November (Saturday), 3 November and 1 December (Mondays): gaps of 2 and 28 days.
    assert rhythm["monday_share"] == pytest.approx(2 / 3)
    assert rhythm["weekend_share"] == pytest.approx(1 / 3)
    assert rhythm["morning_share"] == 1
    assert (rhythm["gaps_mean_days"], rhythm["gaps_longest_days"]) == (15, 28)
    assert rhythm["current_gap_to_mean_gap_ratio"] == pytest.approx(90 / 15)
    assert rhythm["session_mean_seconds"] == 200
    level = features(built, "level", "lapsed")
    # The 28 days up to 1 December begin on 4 November.
    assert level["level_sessions_count_28d"] == 1
    assert level["slope_sessions_count_28d"] == pytest.approx((1 - 2) / 28)
    assert level["tenure_at_last_activity_days"] == 61
    assert features(built, "level", "never")["level_sessions_count_28d"] is None
    assert features(built, "rhythm", "never")["gaps_mean_days"] is None


def test_devices_items_interactions_and_friends(built: str) -> None:
    assert features(built, "devices", "lapsed")["last_operating_system"] == "android"
    assert features(built, "devices", "lapsed")["devices_count"] is None
    items = features(built, "items", "lapsed")
    assert (items["favourite_category"], items["categories_count_life"]) == ("fruit", 2)
    interactions = features(built, "interactions", "lapsed")
    assert interactions["view_interactions_share"] == pytest.approx(2 / 3)
    assert interactions["view_interactions_count_90d"] == 0
    social = features(built, "social", "lapsed")
    # Steady and returner are friends and active; the friendship with never begins at the date and does not count.
    assert (social["friends_count"], social["active_friends_count"]) == (2, 2)
    assert social["friends_returned_count_28d"] == 1
    assert social["friends_payments_amount_365d"] == Decimal(30)
    assert social["social_influence_degree_normalised"] == 2


def test_lapses_and_contacts(built: str) -> None:
    returner = features(built, "lapses", "returner")
    assert (returner["lapses_count"], returner["returns_count"]) == (1, 1)
    assert (returner["returns_after_contact_count"], returner["returns_without_contact_count"]) == (1, 0)
    assert (returner["longest_ended_lapse_days"], returner["days_since_last_return"]) == (52, 19)
    before = features(built, "lapses", "came an hour before")
    assert (before["returns_after_contact_count"], before["returns_without_contact_count"]) == (0, 1)
    contacts = features(built, "contacts", "returner")
    assert (contacts["email_contacts_count_life"], contacts["email_returns_count_life"]) == (1, 1)
    assert (contacts["days_since_last_contact"], contacts["contacts_count_30d"]) == (28, 1)
    control = features(built, "contacts", "control")
    assert (control["contacts_count_life"], control["days_since_last_contact"]) == (0, None)


@pytest.mark.parametrize("topic", ["items", "contacts", "lapses", "social", "event_types"])
def test_known_users_are_as_the_features_say_and_all_others_alike(built: str, topic: str) -> None:
    keys = ("user_id", "event_type") if topic == "event_types" else ("user_id",)
    said, known = (
        {tuple(row[key] for key in keys): {name: row[name] for name in row if name not in keys} for row in rows}
        for rows in (
            read(built, f"select * from features.{kind}_user_{topic} where as_of_date = %s", AS_OF)
            for kind in ("feat", "known")
        )
    )
    assert 0 < len([key for key in said if key in known]) < len(said)
    assert {key: row for key, row in said.items() if key in known} == {key: known[key] for key in said if key in known}
    others = [row for key, row in said.items() if key not in known]
    assert all(row == others[0] for row in others)


def test_return_is_the_first_activity_within_fourteen_days(built: str) -> None:
    assert example(built, "returner")["has_returned"] is True
    assert example(built, "returner")["returned_at"] == moment("2026-02-10 12:00:00")
    assert example(built, "just in time")["has_returned"] is True
    assert example(built, "one second late")["has_returned"] is False
    assert example(built, "control", arm="control")["has_returned"] is False
    for user_id in ("active when asked", "came an hour before"):
        assert (example(built, user_id)["is_inactive"], example(built, user_id)["has_returned"]) == (False, None)


def test_conversion_and_revenue_follow_the_return(built: str) -> None:
    returner = example(built, "returner")
    assert returner["has_converted"] is True
    assert returner["has_responded"] is True
    assert (returner["revenue_amount"], returner["revenue_amount_90d"]) == (Decimal(20), Decimal(25))
    assert returner["return_known_at"] == moment("2026-02-15 09:00:00")
    assert returner["conversion_known_at"] == moment("2026-03-12 12:00:00")
    assert example(built, "just in time")["has_converted"] is False
    assert example(built, "one second late")["has_converted"] is None


def test_those_left_out_are_examples_too(built: str) -> None:
    left_out = read(
        built, "select user_id from features.training_examples where arm = 'unexposed' and event_id = 'spring'"
    )
    expected = {"lapsed", "never", "refunded", "undecided", "wrong clock", ODD_ID}
    assert {row["user_id"] for row in left_out} == expected
    natural = read(
        built,
        "select as_of_date, is_inactive from features.training_examples where event_id is null order by as_of_date",
    )
    assert natural
    assert all((row["as_of_date"] - date(1970, 1, 1)).days % 28 == 0 and row["is_inactive"] for row in natural)
    # Nobody had lapsed before December 2025: a clock of 1970 makes no dates.
    assert natural[0]["as_of_date"] > date(2025, 11, 30)
    assert natural[-1]["as_of_date"] >= AS_OF - timedelta(days=28)


def test_every_example_has_features_of_its_date(built: str) -> None:
    missing = read(
        built,
        """
        select examples.example_id
        from features.training_examples as examples
        left join features.feat_user_behaviour as behaviour using (user_id, as_of_date)
        left join features.feat_user_event_types as types using (user_id, as_of_date, event_type)
        where behaviour.user_id is null or (examples.event_type is not null and types.user_id is null)
        """,
    )
    assert missing == []


def test_the_newest_act_of_consent_decides(built: str) -> None:
    channels = read(built, "select user_id, channel from features.eligible_user_channels order by 1, 2")
    assert channels == [{"user_id": "undecided", "channel": "sms"}]


def test_open_events_and_who_was_already_asked(built: str) -> None:
    events = read(built, "select event_id, capacity_left from features.open_events")
    # Five users were contacted; the control was not, so one place of six is left.
    assert events == [{"event_id": "spring", "capacity_left": 1}]
    pairs = read(built, "select user_id from features.exposed_pairs order by user_id")
    asked = ["active when asked", "came an hour before", "control", "just in time", "one second late", "returner"]
    assert [row["user_id"] for row in pairs] == asked


def test_building_again_changes_nothing_and_another_date_leaves_this_one_alone(
    built: str, dbt_project: DbtProject
) -> None:
    before = hashes_of(built)
    of_the_date = f"as_of_date = '{AS_OF}'"
    dated = [name for name in relations_of(built) if name.startswith("features.feat_")]
    dated += ["features.open_events", "features.eligible_user_channels", "features.exposed_pairs"]
    features_before = hashes_of(built, of_the_date, dated)

    dbt_project.build(built, AS_OF)
    assert hashes_of(built) == before

    dbt_project.build(built, AS_OF + timedelta(days=3))
    assert hashes_of(built, of_the_date, dated) == features_before
    assert read(built, "select count(*) as found from features.feat_user_money where as_of_date = '2026-03-04'") == [
        {"found": len(personas().tables["users"])}
    ]


def test_reading_everybody_at_a_date_need_not_pass_what_held_before(built: str) -> None:
    tables = {
        name.removeprefix("features.")
        for name in relations_of(built)
        if re.fullmatch(r"features\.user_\w+_versions(_\d_of_2)?", name)
    }
    indexed = read(
        built,
        "select tablename from pg_indexes where schemaname = 'features'"
        " and strpos(indexdef, '(valid_until_date, user_id)') > 0",
    )
    assert len(tables) > 4
    assert {row["tablename"] for row in indexed} == tables


@pytest.mark.parametrize("half", [1, 2])
def test_nobody_sees_one_half_of_the_users_alone(built: str, half: int) -> None:
    """Halves are built apart: a run may die between them, and what one of them holds is then not all there is."""
    sums = "select count(*) from features.user_sums_as_of_dates where as_of_date = %s"
    table = f"user_sums_versions_{half}_of_2"
    with psycopg.connect(built) as connection:
        assert connection.execute(f"select 1 from features.{table}").fetchone()
        assert connection.execute(sums, (AS_OF,)).fetchone() != (0,)
        connection.execute("delete from intermediate.int_built_dates where relation_name = %s", (table,))
        assert connection.execute(sums, (AS_OF,)).fetchone() == (0,)
        connection.rollback()


def test_attributes_are_words_or_numbers_and_what_is_neither_is_unknown(built: str, dbt_project: DbtProject) -> None:
    said = [
        ("7.25", 7.25),
        ("-3e2", -300.0),
        ('"7"', None),
        ("null", None),
        ("true", None),
        ("[1]", None),
        ("1e400", None),
        ("1e9999999", None),
        ("1e-400", 0.0),
    ]
    known_users = "select user_id from features.feat_user_profile where as_of_date = %s order by 1 limit %s"
    users = [row["user_id"] for row in read(built, known_users, AS_OF, len(said))]
    assert len(users) == len(said)
    with psycopg.connect(built) as connection:
        for user_id, (value, _) in zip(users, said, strict=True):
            attributes = f'{{"tier": "gold", "Player level": {value}}}'
            connection.execute("update raw.users set attributes = %s where user_id = %s", (attributes, user_id))
    names = {"user_attributes": ("tier",), "numeric_user_attributes": ("Player level",)}
    dbt_project.build(
        built, AS_OF, select=("path:models/staging", "+feat_user_attributes,path:models/features"), **names
    )
    for user_id, (_, number) in zip(users, said, strict=True):
        known = features(built, "attributes", user_id)
        assert (known["attribute_tier"], known["attribute_player_level"]) == ("gold", number)
    kinds = read(
        built,
        "select data_type from information_schema.columns"
        " where table_name = 'feat_user_attributes' and column_name like 'attribute_%%' order by column_name",
    )
    assert [kind["data_type"] for kind in kinds] == ["double precision", "text"]

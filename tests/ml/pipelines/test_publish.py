"""D5: what marketing sees changes as a whole or not at all, and never goes back by itself."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from threading import Event, Thread
from time import sleep

import psycopg
import pytest

from ml.pipelines.publish import PublishError, publish_targets
from ml.value import rank_users
from warehouse.consents import record_consent, suppress_user
from warehouse.door import Warehouse
from warehouse.settings import Settings, connection_parameters

FIRST, SECOND = date(2018, 1, 2), date(2018, 1, 9)


@pytest.fixture
def predicted(warehouse: Warehouse) -> Iterator[Warehouse]:
    """A warehouse with features of two dates and nothing predicted yet."""
    warehouse.execute("create table features.feat_user_behaviour (user_id text, as_of_date date, is_inactive boolean)")
    warehouse.execute(
        "create table marts.fct_exposures (user_id text, event_id text, exposed_at timestamptz, arm text)"
    )
    warehouse.execute(
        "insert into features.feat_user_behaviour select 'user ' || n, day, mod(n, 10) <> 0 "
        "from generate_series(1, 200) as n, unnest(%s::date[]) as day",
        ([FIRST, SECOND],),
    )
    grant(warehouse)
    return warehouse


def grant(warehouse: Warehouse) -> None:
    """Everybody agrees to be written to."""
    warehouse.execute(
        "insert into raw.consents select 'consent ' || n, 'user ' || n, 'mail', 'marketing', true, '2017-01-01', 'b' "
        "from generate_series(1, 200) as n"
    )


def predict(warehouse: Warehouse, as_of_date: date, *, version: str, targets: int = 150) -> None:
    """Write predictions of a date, replacing those before; every row carries the version."""
    with warehouse.transaction() as connection:
        for table in ("user_scores", "decisions", "plans", "segments"):
            connection.execute(f"delete from predictions.{table} where as_of_date = %s", (as_of_date,))
        connection.execute(
            "insert into predictions.user_scores (as_of_date, user_id, segment, value_score, is_reachable, "
            "p_return_if_not_contacted, lifetime_value, model_version) "
            "select as_of_date, user_id, %s, 1, true, 0.1, 5, %s from features.feat_user_behaviour "
            "where as_of_date = %s and is_inactive",
            (version, version, as_of_date),
        )
        connection.execute(
            "insert into predictions.decisions (as_of_date, user_id, decision, arm, event_id, event_type, channel, "
            "reason, propensity, p_return, expected_incremental_value, cost, segment, model_version) "
            "select as_of_date, user_id, case when row_number() over (order by user_id) <= %s then 'target' "
            "else 'no_event' end, 'targeted', 'e', 't', 'mail', 'because', 0.9, 0.3, 1.5, 0.2, segment, %s "
            "from predictions.user_scores where as_of_date = %s",
            (targets, version, as_of_date),
        )
        connection.execute(
            "insert into predictions.plans (as_of_date, candidates, targets, cost, value, upper_bound, gap, prices) "
            "values (%s, 1, %s, 1, 1, 1, 0, '{}')",
            (as_of_date, targets),
        )
        connection.execute(
            "insert into predictions.segments (as_of_date, segment, size, share, definition, medians) "
            "values (%s, %s, 180, 1, 'all', '{}')",
            (as_of_date, version),
        )


def published(warehouse: Warehouse) -> list[tuple]:
    with warehouse.transaction() as connection:
        return connection.execute("select * from marketing.targets order by rank").fetchall()


def test_targets_ranked_users_and_segments_are_shown(predicted: Warehouse, settings: Settings) -> None:
    predict(predicted, FIRST, version="a")
    report = publish_targets(FIRST, settings)
    assert report.rows == 150
    rows = published(predicted)
    assert len(rows) == 150
    assert predicted.scalar("select count(*) from marketing.top_users") == 180
    assert predicted.scalar("select count(*) from marketing.segment_profiles") == 1
    assert predicted.scalar("select uplift from marketing.targets where rank = 1") == pytest.approx(0.2)
    # Equal values are ranked by the code points of the id, whatever the collation of the database is.
    users = [row[1] for row in rows]
    assert users == sorted(users)


def test_ranked_users_know_where_they_stand_in_all_and_in_their_segment(
    predicted: Warehouse, settings: Settings
) -> None:
    predict(predicted, FIRST, version="a")
    predicted.execute(
        "update predictions.user_scores set value_score = mod(length(user_id) * 37 + ascii(right(user_id, 1)), 50),"
        " segment = 'segment ' || right(user_id, 1)"
    )
    publish_targets(FIRST, settings)
    shown = predicted.read_frame("select * from marketing.top_users order by user_id")
    expected = rank_users(shown["user_id"], shown["value_score"], shown["segment"])
    for column in ("rank", "percentile", "percentile_in_segment"):
        assert shown[column].to_list() == pytest.approx(expected[column].to_list()), column


def test_who_withdrew_or_was_suppressed_since_the_plan_is_left_out_and_told(
    predicted: Warehouse, settings: Settings
) -> None:
    predict(predicted, FIRST, version="a")
    refusal = {"is_granted": False, "decided_at": datetime(2018, 1, 1, tzinfo=UTC)}
    record_consent(predicted, "user 1", ["mail", "sms"], **refusal)
    suppress_user(predicted, "user 2", reason="bounced", suppressed_at=datetime(2018, 1, 1, tzinfo=UTC))
    report = publish_targets(FIRST, settings)
    assert report.rows == 148
    assert report.details["dropped"] == 2
    assert "Left out of the plan: 1 who withdrew the consent since it was made." in report.messages
    assert "Left out of the plan: 1 who came onto the suppression list since it was made." in report.messages
    assert {"user 1", "user 2"}.isdisjoint(row[1] for row in published(predicted))
    assert predicted.scalar("select count(*) from predictions.decisions where decision = 'target'") == 150
    assert predicted.scalar("select dropped from marketing.publications") == 2
    assert predicted.scalar("select count(*) from experiments.invitations") == 148
    assert [row[2] for row in published(predicted)] == list(range(1, 149))


def test_the_pipeline_role_is_enough_to_publish(predicted: Warehouse, settings: Settings) -> None:
    predict(predicted, FIRST, version="a")
    with predicted.connect() as connection:
        connection.execute("drop role if exists nightly")
        connection.execute("create role nightly login password 'nightly' in role rekindle_pipeline")
        connection.commit()
    owner = connection_parameters(settings.warehouse_url)
    url = f"postgresql://nightly:nightly@{owner['host']}:{owner['port']}/{owner['dbname']}"
    try:
        assert publish_targets(FIRST, replace(settings, warehouse_url=url)).rows == 150
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            Warehouse(url).execute("insert into privacy.consent_acts (user_id) values ('user 1')")
    finally:
        predicted.execute("drop role nightly")


def test_plans_published_one_after_the_other_never_pass_the_cap(predicted: Warehouse, settings: Settings) -> None:
    capped = replace(settings, caps=replace(settings.caps, contacts_per_user=1, days=28))
    predict(predicted, FIRST, version="a")
    predict(predicted, SECOND, version="b")
    publish_targets(FIRST, capped)
    # The same event again is the same invitation; another one would be one too many.
    assert publish_targets(SECOND, capped).rows == 150
    predicted.execute("update predictions.decisions set event_id = 'other' where as_of_date = %s", (SECOND,))
    report = publish_targets(SECOND, capped)
    assert report.rows == 0
    assert "Left out of the plan: 150 who reached the cap of contacts since it was made." in report.messages
    assert publish_targets(SECOND, replace(capped, caps=replace(capped.caps, days=6))).rows == 150


def test_a_stopped_event_is_published_to_nobody(predicted: Warehouse, settings: Settings) -> None:
    predict(predicted, SECOND, version="b")
    predicted.execute(
        "insert into experiments.campaigns (as_of_date, campaign_id, planned_by, action, decision, design) "
        "values (%s, 'e', 'rekindle', 'stop_for_harm', 'because', 'fixed')",
        (FIRST,),
    )
    assert publish_targets(SECOND, settings).rows == 0


def test_withdrawals_race_publishes_and_nobody_without_a_grant_is_ever_seen(
    predicted: Warehouse, settings: Settings
) -> None:
    """P1: 300 withdrawals and as many new grants race publishes; at every commit the audience has consented."""
    predict(predicted, FIRST, version="a")
    publish_targets(FIRST, settings)
    done = Event()
    problems: list[object] = []

    def change_minds(first: int) -> None:
        try:
            for number in range(100):
                when = datetime(2018, 1, 1, tzinfo=UTC) + timedelta(hours=number)
                user = f"user {1 + (first + 3 * number) % 150}"
                record_consent(predicted, user, ["mail"], is_granted=number % 2 == 1, decided_at=when)
                if number % 2 == 0 and predicted.scalar(
                    "select true from marketing.targets where user_id = %s", (user,)
                ):
                    problems.append(user)
        except Exception as error:  # noqa: BLE001 a thread cannot raise into the test
            problems.append(error)

    def publish() -> None:
        try:
            while not done.is_set():
                publish_targets(FIRST, settings)
        except Exception as error:  # noqa: BLE001 a thread cannot raise into the test
            problems.append(error)

    publishers = [Thread(target=publish) for _ in range(2)]
    writers = [Thread(target=change_minds, args=(first,)) for first in range(3)]
    for thread in (*publishers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in publishers:
        thread.join()
    assert problems == []
    report = publish_targets(FIRST, settings)
    assert report.details["dropped"] == 150 - report.rows > 10
    assert (
        predicted.scalar(
            "select count(*) from marketing.targets left join privacy.granted_consents using (user_id, channel) "
            "where granted_consents.user_id is null"
        )
        == 0
    )


def test_a_publish_gives_way_to_a_withdrawal_of_several_statements(predicted: Warehouse, settings: Settings) -> None:
    """The withdrawal holds one user and wants another whom the publish has locked: it goes through at once."""
    predict(predicted, FIRST, version="a")
    withdraw = (
        "insert into privacy.consent_acts (source, user_id, channel, purpose, is_granted, decided_at) "
        "values ('user', %s, 'mail', 'marketing', false, '2018-01-01')"
    )
    targets = predicted.read_frame(
        "select user_id from predictions.decisions where decision = 'target' order by user_id"
    )["user_id"].tolist()
    waiting = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = %s)"
    database = connection_parameters(predicted.url)["dbname"]
    result: list[int] = []
    publisher = Thread(target=lambda: result.append(publish_targets(FIRST, settings).rows))
    with predicted.connect() as withdrawing:
        withdrawing.execute(withdraw, (targets[75],))
        publisher.start()
        while not (result or predicted.scalar(waiting, (database,))):
            sleep(0.01)
        # By now Postgres would have looked for a deadlock in vain, and it would be the withdrawal that it finds.
        sleep(1.2)
        for user in targets[:75] + targets[76:140]:
            withdrawing.execute(withdraw, (user,))
        withdrawing.commit()
    publisher.join()
    assert result == [10]
    assert predicted.scalar("select count(*) from marketing.targets") == 10


def test_the_same_again_is_the_same_to_the_byte(predicted: Warehouse, settings: Settings) -> None:
    predict(predicted, FIRST, version="a")
    first = publish_targets(FIRST, settings).details["sha256"]
    rows = published(predicted)
    assert publish_targets(FIRST, settings).details["sha256"] == first
    assert published(predicted) == rows
    predict(predicted, FIRST, version="b")
    assert publish_targets(FIRST, settings).details["sha256"] != first


def test_an_older_date_never_overwrites_a_newer_one_by_itself(predicted: Warehouse, settings: Settings) -> None:
    predict(predicted, FIRST, version="old")
    predict(predicted, SECOND, version="new")
    publish_targets(SECOND, settings)
    rows = published(predicted)
    report = publish_targets(FIRST, settings)
    assert report.rows == 0
    assert "Marketing already sees 2018-01-09" in report.messages[0]
    assert published(predicted) == rows
    assert publish_targets(FIRST, settings, may_go_back=True).rows == 150
    assert predicted.scalar("select max(as_of_date) from marketing.publications") == FIRST
    assert predicted.scalar("select distinct segment from marketing.targets") == "old"


BROKEN = {
    "no decisions": ("delete from predictions.decisions where as_of_date = %s", "There are no decisions"),
    "no plan": ("delete from predictions.plans where as_of_date = %s", "There are no decisions"),
    "half the size": (
        "delete from predictions.decisions where as_of_date = %s and decision = 'no_event'",
        "180 users are inactive on 2018-01-09, but 150 have a decision",
    ),
    "somebody else": (
        "update predictions.decisions set user_id = 'nobody' where as_of_date = %s and user_id = 'user 1'",
        "inactive",
    ),
    "without a score": ("delete from predictions.user_scores where as_of_date = %s and user_id = 'user 1'", "no score"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_unfit_is_refused_and_the_old_targets_stay(name: str, predicted: Warehouse, settings: Settings) -> None:
    predict(predicted, FIRST, version="a")
    publish_targets(FIRST, settings)
    rows = published(predicted)
    predict(predicted, SECOND, version="b")
    statement, sentence = BROKEN[name]
    predicted.execute(statement, (SECOND,))
    with pytest.raises(PublishError, match=sentence):
        publish_targets(SECOND, settings)
    assert published(predicted) == rows
    assert predicted.scalar("select max(as_of_date) from marketing.publications") == FIRST


def test_a_date_on_which_everybody_is_active_publishes_empty_targets(predicted: Warehouse, settings: Settings) -> None:
    predict(predicted, FIRST, version="a")
    publish_targets(FIRST, settings)
    predicted.execute("update features.feat_user_behaviour set is_inactive = false where as_of_date = %s", (SECOND,))
    predict(predicted, SECOND, version="b", targets=0)
    assert publish_targets(SECOND, settings).rows == 0
    assert published(predicted) == []


def test_a_reader_never_sees_a_mix_through_a_hundred_publishes(predicted: Warehouse, settings: Settings) -> None:
    for version in ("a", "b"):
        predict(predicted, FIRST, version=version, targets=150 if version == "a" else 120)
        publish_targets(FIRST, settings)
    seen: set[tuple] = set()
    failures: list[BaseException] = []
    done = Event()

    def poll() -> None:
        try:
            with predicted.connect() as connection:
                while not done.is_set():
                    seen.add(
                        connection.execute(
                            "select count(distinct targets.segment), min(targets.segment), count(*), "
                            "(select min(segment) from marketing.segment_profiles), "
                            "(select count(*) from marketing.top_users), "
                            "(select min(segment) from marketing.top_users), "
                            "(select targets from marketing.publications) from marketing.targets"
                        ).fetchone()
                    )
                    connection.commit()
        except BaseException as error:  # noqa: BLE001 a thread cannot raise into the test
            failures.append(error)

    readers = [Thread(target=poll) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(100):
        predict(predicted, FIRST, version="ab"[number % 2], targets=150 if number % 2 == 0 else 120)
        publish_targets(FIRST, settings)
    done.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert seen == {(1, "a", 150, "a", 180, "a", 150), (1, "b", 120, "b", 180, "b", 120)}

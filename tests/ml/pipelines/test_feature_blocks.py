"""Features are read in bulk as the relations `feat_user_...` say them, by whatever way is cheaper."""

import numpy as np
import pandas as pd
import pytest

from ml.pipelines import batches
from ml.pipelines.batches import read_user_batches, read_users
from ml.pipelines.catalogue import FeatureCatalogue, _shown_of
from ml.pipelines.reading import read_event_features, read_inactive_users, read_training_rows, user_ranges
from tests.ml.pipelines.house import DAY, House

# Of a wide relation two views show columns; two others look alike and do more.
WIDE = """
    create table features.wide as select user_id, as_of_date, md5(user_id) as mood, length(user_id) / 7.0 as energy,
        left(md5(user_id), 1) < '8' as is_tall from features.feat_user_behaviour;
    create view features.feat_user_mood as
        with feat_user_mood as (select user_id, mood, as_of_date from features.wide) select * from feat_user_mood;
    create view features.feat_user_energy as
        with f as (select user_id, energy, is_tall, as_of_date from features.wide) select * from f;
    create view features.feat_user_renamed as
        with f as (select user_id, mood as temper, as_of_date from features.wide) select * from f;
    create view features.feat_user_some as
        with f as (select user_id, energy as zest, as_of_date from features.wide where is_tall) select * from f;
"""
# Of a third of the users nothing is known: of all of them the relation says the same.
PARTIAL = """
    create table features.feat_user_luck as select user_id, as_of_date, 5 as wins, md5(user_id) as charm
        from features.feat_user_behaviour;
    update features.feat_user_luck set wins = 3, charm = 'none' where charm < '5';
    create view features.known_user_luck as select * from features.feat_user_luck where charm <> 'none';
    delete from features.feat_user_event_types;
    insert into features.feat_user_event_types select user_id, as_of_date, event_type,
        case when left(md5(user_id || event_type), 1) < 'a' then 4 else ascii(md5(user_id)) end
        from features.feat_user_behaviour cross join unnest(array['bonus', 'never seen']) as event_type;
    create view features.known_user_event_types as
        select * from features.feat_user_event_types where left(md5(user_id || event_type), 1) >= 'a';
"""


def test_views_that_show_columns_of_one_relation_are_read_from_it_together(house: House) -> None:
    house.fill()
    house.warehouse.execute(WIDE)
    catalogue = FeatureCatalogue.read(house.warehouse)
    assert catalogue.shown_of == {"feat_user_mood": "wide", "feat_user_energy": "wide"}
    assert catalogue.joins("users", with_event_features=True)[1].count("features.wide") == 1
    expected = house.warehouse.read_frame("select * from features.wide").set_index(["user_id", "as_of_date"])
    rows = read_training_rows(house.warehouse, DAY)
    of_rows = expected.loc[list(zip(rows.keys["user_id"], rows.keys["as_of_date"], strict=True))]
    for name in ("mood", "energy", "is_tall"):
        assert rows.features[name].tolist() == of_rows[name].tolist()
    everybody = read_inactive_users(house.warehouse, DAY)
    assert everybody["temper"].tolist() == everybody["mood"].tolist()
    assert everybody["zest"].notna().tolist() == everybody["is_tall"].tolist()


@pytest.mark.parametrize("of_whom", ["", "mood."], ids=["Postgres 16 and newer", "Postgres 14 and 15"])
def test_a_view_is_recognised_as_each_version_of_postgres_writes_it_down(of_whom: str) -> None:
    definition = (
        " WITH mood AS (\n         SELECT wide.user_id,\n            wide.energy\n           FROM features.wide\n"
        "        )\n"
        f" SELECT {of_whom}user_id,\n    {of_whom}energy\n   FROM mood;"
    )
    assert _shown_of(definition) == "wide"
    assert _shown_of(definition.replace("wide.energy\n", "wide.energy + 1 AS energy\n")) is None


@pytest.mark.parametrize("rows", [7, 65_536])
def test_users_of_whom_nothing_is_known_are_what_the_relation_says_of_them(house: House, rows: int) -> None:
    house.fill()
    house.warehouse.execute(WIDE + PARTIAL)
    assert set(FeatureCatalogue.read(house.warehouse).known) == {"feat_user_luck", "feat_user_event_types"}
    types = ["bonus", "never seen", "unheard of"]
    batches = list(read_user_batches(house.warehouse, DAY, types, with_event_features=True, rows=rows))
    found = pd.concat([batch.features.astype({"charm": str, "mood": str, "temper": str}) for batch in batches])
    expected = read_users(house.warehouse, DAY, list(found.index))
    luck = house.warehouse.read_frame("select * from features.feat_user_luck where as_of_date = %s", (DAY,))
    luck = luck.set_index("user_id").loc[found.index]
    assert {3, 5} == set(luck["wins"])
    assert found["wins"].tolist() == luck["wins"].tolist() == expected["wins"].tolist()
    assert found["charm"].tolist() == luck["charm"].tolist() == expected["charm"].astype(str).tolist()
    for name in ("energy", "is_tall", "zest", "sessions_count_90d"):
        np.testing.assert_array_equal(found[name], expected[name])
    for event_type in types:
        towards = pd.concat([batch.event_features[event_type] for batch in batches])
        said = read_event_features(house.warehouse, DAY, event_type, found.index)
        np.testing.assert_array_equal(towards["past_responses_count"], said["past_responses_count"].astype(float))
    assert towards["past_responses_count"].isna().all()


@pytest.mark.parametrize("places", [100, 2, 0])
def test_users_are_read_range_by_range_in_order(house: House, monkeypatch: pytest.MonkeyPatch, places: int) -> None:
    house.fill()
    monkeypatch.setattr(batches, "ROWS_PER_RANGE", 15)
    everybody = read_inactive_users(house.warehouse, DAY).sort_index()
    house.warehouse.execute(
        "insert into raw.users (user_id, registered_at, _landing_id, _batch_id)"
        " select distinct user_id, cast('2017-01-01' as timestamptz), 1, 'b' from features.feat_user_behaviour"
        " on conflict do nothing"
    )
    if places:
        house.warehouse.execute(f"alter table raw.users alter user_id set statistics {places}")
        house.warehouse.execute("analyze raw.users")
    with house.warehouse.transaction() as connection:
        ranges = list(user_ranges(connection, 15))
        sizes = [
            connection.execute(
                "select count(*) from raw.users where user_id >= %s and (%s::text is null or user_id < %s)",
                (first, following, following),
            ).fetchone()
            for first, following in ranges
        ]
    assert ranges[0][0] == ""
    assert ranges[-1][1] is None
    assert len(ranges) >= 3
    # Whether or not the statistics have so many places.
    assert all(size is not None and 0 < size[0] <= 25 for size in sizes)
    found = [batch.features for batch in read_user_batches(house.warehouse, DAY, [], with_event_features=False, rows=7)]
    assert max(map(len, found)) == 7
    together = pd.concat([frame.select_dtypes("number") for frame in found])
    assert together.index.tolist() == everybody.index.tolist()
    for name in together:
        np.testing.assert_array_equal(together[name], everybody[name].astype(float))

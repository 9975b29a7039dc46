"""The commands before a campaign: power in words, and the self-test on the warehouse's users."""

from dataclasses import replace

import pytest

from local.errors import LocalError
from local.experiments import describe_power, self_test
from warehouse.door import Warehouse
from warehouse.settings import Settings, load_settings


def test_power_says_users_days_and_what_a_month_shows() -> None:
    settings = replace(load_settings(), return_window_days=14)
    users, days, month = describe_power(0.20, 0.05, 100, 0.5, settings)
    # The pooled formula's 1,093.74 a group: see tests/published/test_ab_statistics.py.
    assert "2,188 users, of whom 1,094 are held back" in users
    assert "known after 36 days" in days
    assert "show a rise of" in month
    assert "held back (2,188 would do if half were)" in describe_power(0.20, 0.05, 100, 0.1, settings)[0]
    with pytest.raises(LocalError, match="Give shares between 0 and 1"):
        describe_power(0.2, 0.9, 100, 0.5, settings)


def test_the_self_test_runs_on_the_users_of_the_newest_features(warehouse: Warehouse, settings: Settings) -> None:
    warehouse.execute(
        "create table features.feat_user_behaviour as select 'u' || n as user_id, date '2026-01-01' as as_of_date, "
        "mod(n * 7919, 100) as active_days_count_365d from generate_series(1, 300) as n"
    )
    assert self_test(settings, 200).endswith("as it should be.")
    warehouse.execute("delete from features.feat_user_behaviour")
    with pytest.raises(LocalError, match="no features yet"):
        self_test(settings, 10)

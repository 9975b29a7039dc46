"""The game world: lifelike, messy as announced, with planted effects that can be measured and a truth kept apart."""

import hashlib
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from local.samples import game_world
from local.samples.game_world.effects import event_effects, expected_revenue, expit, fatigued, logit
from local.samples.game_world.lifelike import Lifelikeness, measure_lifelikeness
from local.samples.game_world.parameters import (
    CHANNELS,
    CONTACT,
    DAYS,
    EVENT_TYPES,
    INACTIVE_AFTER_DAYS,
    MONEY,
    RETURN_WINDOW_DAYS,
    VARIANTS,
)
from local.samples.game_world.players import create_players
from local.samples.game_world.truth import describe_truth

PLAYERS = 20_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("game_world")
    game_world.write_source(folder / "source", players=PLAYERS, truth_folder=folder / "truth")
    return folder


@pytest.fixture(scope="module")
def lifelike(world: Path) -> Lifelikeness:
    return measure_lifelikeness(world / "source")


def frame(world: Path, query: str) -> pd.DataFrame:
    """Run a query in which `{table}` stands for the source's table and `{truth_table}` for the truth's."""
    files = {path.stem: f"'{path}'" for path in (world / "source").glob("*.parquet")}
    files |= {f"truth_{path.stem}": f"'{path}'" for path in (world / "truth").glob("*.parquet")}
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        return connection.sql(query.format(**files)).df()


def scalar(world: Path, query: str) -> float:
    return float(frame(world, query).iloc[0, 0])


@pytest.mark.parametrize(("day", "low", "high"), [(1, 0.25, 0.40), (7, 0.07, 0.20), (30, 0.03, 0.10)])
def test_retention_is_in_the_published_range(lifelike: Lifelikeness, day: int, low: float, high: float) -> None:
    assert low <= lifelike.retention[day] <= high


def test_retention_falls_steadily(lifelike: Lifelikeness) -> None:
    assert (np.diff(list(lifelike.retention.values())) < 0.005).all()


def test_few_pay_and_few_of_them_pay_most(lifelike: Lifelikeness) -> None:
    assert 0.02 <= lifelike.payer_share <= 0.05
    assert 0.46 <= lifelike.top_decile_share <= 0.64
    assert 15 <= lifelike.payer_month_spend <= 35
    assert 8 <= lifelike.deposit_mean <= 16


def test_sessions_are_short_and_come_in_bouts(lifelike: Lifelikeness) -> None:
    assert 5 <= lifelike.session_median_minutes <= 9
    assert 2 <= lifelike.sessions_per_active_day <= 5
    median, ninth_decile, last = lifelike.gap_hours[[49, 89, 98]]
    assert 1 <= median <= 8
    assert 12 <= ninth_decile <= 72
    assert last > 24 * 14


def test_friends_are_alike(world: Path) -> None:
    pairs = frame(
        world,
        """select a.competitiveness as a, b.competitiveness as b from {friendships} as f
        inner join {truth_players} as a on f.user_id = a.user_id
        inner join {truth_players} as b on f.friend_id = b.user_id""",
    )
    assert pairs.corr().iloc[0, 1] > 0.3
    assert scalar(world, "select count(*) from {friendships} where user_id = friend_id") == 0
    query = "select count(*) from {friendships} a anti join {friendships} b"
    assert scalar(world, query + " on a.user_id = b.friend_id and a.friend_id = b.user_id") == 0


def test_rows_belong_together(world: Path) -> None:
    for table in ("sessions", "payments", "exposures", "responses", "consents", "interactions"):
        assert scalar(world, f"select count(*) from {{{table}}} anti join {{users}} using (user_id)") == 0
    assert scalar(world, "select count(*) from {responses} anti join {exposures} using (user_id, event_id)") == 0
    assert scalar(world, "select count(*) from {responses} semi join {events} using (event_id)") > 1_000
    assert (
        scalar(world, "select count(*) from {payments} p join {users} u using (user_id) where paid_at < registered_at")
        == 0
    )


def test_nobody_is_messaged_without_consent(world: Path) -> None:
    query = """
        select count(*) from {exposures} as e
        where channel <> 'in_app' and coalesce((
            select arg_max(is_granted, decided_at) from {consents} as c
            where c.user_id = e.user_id and c.channel = e.channel and c.decided_at < e.exposed_at), false) = false"""
    assert scalar(world, query) == 0
    assert scalar(world, "select count(*) from {exposures} where channel <> 'in_app'") > 50_000


def test_data_are_as_messy_as_announced(world: Path) -> None:
    rows = scalar(world, "select count(*) from {sessions}")
    duplicates = rows - scalar(world, "select count(*) from (select distinct * from {sessions})")
    assert 0.001 * rows < duplicates < 0.003 * rows
    assert scalar(world, "select count(*) - count(distinct session_id) from {sessions}") == duplicates
    for wrong in ("started_at < '2000-01-01'", "started_at > '2026-01-01'", "duration_seconds < 0"):
        assert 0 < scalar(world, f"select count(*) from {{sessions}} where {wrong}") < 0.001 * rows
    lost = "started_at >= '2025-08-05 00:00:00+00' and started_at < '2025-08-06 00:00:00+00'"
    assert scalar(world, f"select count(*) from {{sessions}} where {lost}") == 0
    assert scalar(world, f"select count(*) from {{interactions}} where {lost.replace('started', 'occurred')}") > 0


def test_seven_events_are_open_on_the_date_of_the_decision(world: Path) -> None:
    as_of = f"timestamptz '{game_world.DEFAULT_AS_OF} 00:00:00+00'"
    where = f"where starts_at < {as_of} and ends_at > {as_of}"
    assert scalar(world, f"select count(*) from {{events}} {where}") == 7
    assert scalar(world, f"select count(distinct event_type) from {{events}} {where}") == 6
    # One of them has invited players already, who must not be invited again.
    query = f"select count(distinct event_id) from {{exposures}} semi join (from {{events}} {where}) using (event_id)"
    assert scalar(world, query) == 1


def test_the_truth_covers_every_inactive_player_and_lies_outside_the_source(world: Path, tmp_path: Path) -> None:
    sources = {path.name for path in (world / "source").iterdir()}
    assert not sources & {"channels.parquet", "players.parquet"}
    with pytest.raises(ValueError, match="must not lie where the product reads"):
        game_world.write_source(tmp_path, players=10, truth_folder=tmp_path / "truth")
    columns = {name for path in (world / "source").glob("*.parquet") for name in pq.read_schema(path).names}
    assert not columns & {"attachment", "competitiveness", "p_return", "p_return_if_reached"}
    seen = scalar(
        world,
        """select count(distinct user_id) from {users} anti join (
            select user_id from {sessions} where started_at between '2025-12-02' and '2026-01-01'
            union select user_id from {payments} where paid_at >= '2025-12-02'
            union select user_id from {interactions} where occurred_at >= '2025-12-02') using (user_id)""",
    )
    truth = scalar(world, "select count(distinct user_id) from {truth_responses}")
    # Late clocks and the like hide a few; players who registered in December are not inactive yet.
    assert abs(seen - truth) < 0.001 * PLAYERS


def test_a_source_without_a_truth_folder_holds_no_truth(tmp_path: Path) -> None:
    game_world.write_source(tmp_path / "source", players=50)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def returns_of_contacts(variant: str, seed: int, players: int = 100_000) -> pd.DataFrame:
    """Simulate and list the invitations of randomised campaigns with what followed."""
    parts = []
    for server, _ in game_world.simulate(players, seed, variant):
        player, day = server.records.collected("play", 2)
        order = np.lexsort((day, player))
        key = player[order].astype(np.int64) * 1_000 + day[order]
        who, when, campaign, channel, treated = server.records.collected("exposure", 5)
        following = np.searchsorted(key, who.astype(np.int64) * 1_000 + when)
        next_key = np.append(key, np.iinfo(np.int64).max)[following]
        paid_player, paid_day, _ = server.records.collected("deposit", 3)
        randomised = np.array([each.treated_share is not None for each in server.campaigns])
        returned = next_key - (who.astype(np.int64) * 1_000 + when) < RETURN_WINDOW_DAYS
        part = pd.DataFrame(
            {
                "type": np.array([each.event_type for each in server.campaigns])[campaign],
                "treated": treated.astype(bool),
                "returned": returned & (next_key // 1_000 == who),
                "is_payer": pd.Series(paid_day).groupby(paid_player).min().reindex(who).to_numpy() < when,
                "is_kept": randomised[campaign] & (channel < len(CHANNELS)),
                **{name: server.players.trait(name)[who] for name in ("competitiveness", "curiosity")},
            }
        )
        parts.append(part[part["is_kept"]])
    return pd.concat(parts)


def lift(rows: pd.DataFrame) -> tuple[float, float]:
    """Return the difference of return rates and its standard error."""
    groups = rows.groupby("treated")["returned"].agg(["mean", "count"])
    error = np.sqrt((groups["mean"] * (1 - groups["mean"]) / groups["count"]).sum())
    return groups.loc[True, "mean"] - groups.loc[False, "mean"], error


def test_planted_effects_show_in_the_randomised_campaigns() -> None:
    rows = returns_of_contacts("slopes", seed=3)
    tournaments, stories = rows[rows["type"] == "tournament"], rows[rows["type"] == "story"]
    keen, error = lift(tournaments[tournaments["competitiveness"] > 1])
    assert keen > 4 * error
    cold, error = lift(tournaments[tournaments["competitiveness"] < -1])
    assert cold < 2 * error
    curious, error = lift(stories[stories["curiosity"] > 1])
    assert curious > 4 * error


def test_payers_are_driven_away_where_contact_annoys_them() -> None:
    rows = returns_of_contacts("annoyed", seed=3)
    payers, error = lift(rows[rows["is_payer"]])
    assert payers < -4 * error
    others, error = lift(rows[~rows["is_payer"]])
    assert others > 2 * error


@pytest.mark.parametrize("variant", ["nothing", "payment"])
def test_nobody_returns_more_often_where_events_do_not_move_returning(variant: str) -> None:
    effect, error = lift(returns_of_contacts(variant, seed=3))
    assert abs(effect) < 3 * error


@pytest.mark.parametrize("variant", ["slopes", "annoyed", "payment"])
def test_what_happens_next_is_what_the_truth_says(variant: str) -> None:
    """Half of the inactive are invited over push and the world lives on: returns, conversions and revenue add up."""
    server, made = next(iter(game_world.simulate(40_000, 5, variant)))
    campaign = next(number for number, each in enumerate(server.campaigns) if each.is_open)
    truth = describe_truth(server, made.user_ids).to_pandas()
    truth = truth[truth["event_id"] == server.campaigns[campaign].event_id]
    inactive = np.flatnonzero(DAYS - server.last_play > INACTIVE_AFTER_DAYS)
    assert len(inactive) == len(truth)
    is_invited = np.random.default_rng(1).random(len(inactive)) < 0.5
    invited, before = inactive[is_invited], server.deposits.copy()
    channel = np.zeros(len(invited), dtype=np.int64)
    server.contact(campaign, DAYS, invited, channel, (DAYS - server.last_play)[invited])
    for day in range(DAYS, DAYS + RETURN_WINDOW_DAYS):
        server.pass_day(day, server.players.count, server.players.count)

    p0, p1 = truth["p_return_if_not_contacted"].to_numpy(), truth["p_return_if_reached"].to_numpy()
    c0, c1 = truth["p_conversion_if_not_contacted"].to_numpy(), truth["p_conversion_if_reached"].to_numpy()
    reach = np.where(is_invited, CONTACT.reach[CHANNELS.index("push")], 0.0)
    returns, conversions = reach * p1 + (1 - reach) * p0, reach * p1 * c1 + (1 - reach) * p0 * c0
    has_returned = server.last_play[inactive] >= DAYS
    has_converted = has_returned & (server.deposits[inactive] > before[inactive])
    for group in (is_invited, ~is_invited, returns > np.quantile(returns, 0.9), returns < np.median(returns)):
        for chance, outcome in ((returns, has_returned), (conversions, has_converted)):
            error = np.sqrt((chance * (1 - chance))[group].sum())
            assert abs(outcome[group].sum() - chance[group].sum()) < 4 * error
    player, day, size = server.records.collected("deposit", 3)
    spent = np.bincount(
        player[day >= DAYS], np.array(MONEY.prices_cents)[size[day >= DAYS]] / 100, server.players.count
    )
    revenue = truth["revenue"].to_numpy()[has_converted]
    assert spent[inactive][has_converted].sum() == pytest.approx(revenue.sum(), rel=0.25)


def test_the_value_of_an_invitation_is_the_formula_of_the_design(world: Path) -> None:
    truth = frame(world, "select * from {truth_responses} where best_channel is not null")
    value = (
        truth["p_return"] * (truth["p_conversion"] * truth["revenue"] - truth["reward_cost"])
        - truth["p_return_if_not_contacted"] * truth["p_conversion_if_not_contacted"] * truth["revenue"]
        - truth["contact_cost"]
    )
    np.testing.assert_allclose(truth["expected_value"], value, atol=1e-12)
    best = truth.groupby("user_id")["expected_value"].max()
    assert 0.05 < (best > 0).mean() < 0.5
    assert truth["expected_value"].mean() < 0


def test_expected_revenue_is_the_mean_of_what_is_drawn() -> None:
    players = create_players(0, 10, random_state=np.random.default_rng(0))
    chosen = np.arange(10)
    step = expit(
        MONEY.size
        + MONEY.size_spending * players.trait("spending")
        + MONEY.size_price_sensitivity * players.trait("price_sensitivity")
    ).astype(float)
    draw = np.random.default_rng(1)
    prices = np.array(MONEY.prices_cents) / 100
    mean = prices[draw.binomial(5, step, (400_000, 10))].mean(axis=0)
    further = np.exp(MONEY.further_deposits + MONEY.further_deposits_spending * players.trait("spending"))
    expected = mean * (1 + np.minimum(further, MONEY.further_deposits_at_most))
    np.testing.assert_allclose(expected_revenue(players, chosen), expected, rtol=0.02)


def test_contacts_wear_an_effect_off() -> None:
    effect = np.array([1.0, 1.0, -0.5])
    worn = fatigued(effect, np.array([0.0, 3.0, 3.0]), "slopes")
    assert worn[0] == 1.0
    assert worn[1] < 0.7
    assert worn[2] < -0.5
    assert logit(expit(np.array([0.3]))) == pytest.approx([0.3])


@pytest.mark.parametrize("variant", VARIANTS)
def test_effects_differ_by_variant_and_some_are_harmful(variant: str) -> None:
    players = create_players(0, 4_000, random_state=np.random.default_rng(0))
    everyone = np.arange(4_000)
    on_return = np.stack(
        [event_effects(variant, kind, players, everyone, everyone % 10 == 0).on_return for kind in EVENT_TYPES]
    )
    if variant in ("nothing", "payment"):
        assert (on_return == 0).all()
    else:
        assert (on_return < 0).mean() > 0.05
        assert (on_return > 0).mean() > 0.05


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_same_seed_is_the_same_world_to_the_byte(tmp_path: Path) -> None:
    for name, seed in (("first", 7), ("again", 7), ("other", 8)):
        game_world.write_source(tmp_path / name, players=1_000, seed=seed, truth_folder=tmp_path / f"{name}.truth")
    assert digests(tmp_path / "first") == digests(tmp_path / "again")
    assert digests(tmp_path / "first.truth") == digests(tmp_path / "again.truth")
    assert digests(tmp_path / "first")["users.parquet"] != digests(tmp_path / "other")["users.parquet"]


def test_a_world_of_one_player_and_a_world_that_cannot_be(tmp_path: Path) -> None:
    game_world.write_source(tmp_path / "one", players=1, truth_folder=tmp_path / "truth")
    assert pq.read_metadata(tmp_path / "one" / "users.parquet").num_rows == 1
    with pytest.raises(ValueError, match="at least one player"):
        game_world.write_source(tmp_path / "none", players=0)
    with pytest.raises(ValueError, match="must be 0 or more, not -1"):
        game_world.write_source(tmp_path / "none", players=1, seed=-1)
    with pytest.raises(ValueError, match="use one of slopes"):
        game_world.write_source(tmp_path / "none", variant="sideways")
    assert not (tmp_path / "none").exists()


def test_memory_is_bounded_by_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game_world, "PLAYERS_PER_SERVER", 300)
    sizes = [(server.players.first_number, server.players.count) for server, _ in game_world.simulate(700, 1, "slopes")]
    assert sizes == [(0, 300), (300, 300), (600, 100)]

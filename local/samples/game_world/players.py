"""Who plays: hidden traits, what a warehouse sees of them, and who knows whom."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from local.samples.game_world.parameters import CHANNELS, CONTACT, DAYS, SCHEDULES, TRAITS

#: Correlations of the hidden traits, in the order of TRAITS.
_CORRELATIONS = np.array(
    [
        [1.00, 0.15, 0.20, 0.20, 0.00, 0.15],
        [0.15, 1.00, 0.10, 0.00, -0.30, 0.00],
        [0.20, 0.10, 1.00, 0.00, 0.00, -0.15],
        [0.20, 0.00, 0.00, 1.00, 0.00, 0.10],
        [0.00, -0.30, 0.00, 0.00, 1.00, 0.00],
        [0.15, 0.00, -0.15, 0.10, 0.00, 1.00],
    ]
)
#: Countries by rising spending power, with language and time zone.
COUNTRIES = (
    ("IN", "en-IN", "Asia/Kolkata"),
    ("BR", "pt-BR", "America/Sao_Paulo"),
    ("TR", "tr-TR", "Europe/Istanbul"),
    ("MX", "es-MX", "America/Mexico_City"),
    ("PL", "pl-PL", "Europe/Warsaw"),
    ("ES", "es-ES", "Europe/Madrid"),
    ("FR", "fr-FR", "Europe/Paris"),
    ("GB", "en-GB", "Europe/London"),
    ("DE", "de-DE", "Europe/Berlin"),
    ("US", "en-US", "America/New_York"),
    ("JP", "ja-JP", "Asia/Tokyo"),
)
ACQUISITION_CHANNELS = ("organic", "search_ads", "social_ads", "influencer", "friend", "cross_promotion")
CLASSES = ("warrior", "explorer", "trader", "healer")


@dataclass(frozen=True)
class Players:
    """The players of one server, in the order of registration; arrays of shape (players,) unless said otherwise.

    Attributes:
        first_number: number of the first player; the others follow.
        traits: float32 (players, 6), in the order of TRAITS.
        registered_day: int16, days since the world began, rising.
        schedule, country, acquisition_channel, class_: int8, index into the constants.
        is_apple: whether the device runs iOS.
        birth_year: int16, 0 where unknown.
        consents: bool (3, players), what was agreed to when registering; in the order of CHANNELS.
        refusals: bool (3, players), what was refused then.
        friends: symmetric 0/1 matrix (players, players).
        friend_pairs: int32 (pairs, 2), each friendship once.
        friend_since_day: int16 (pairs,); DAYS or later where it never came about.
    """

    first_number: int
    traits: np.ndarray
    registered_day: np.ndarray
    schedule: np.ndarray
    country: np.ndarray
    acquisition_channel: np.ndarray
    class_: np.ndarray
    is_apple: np.ndarray
    birth_year: np.ndarray
    consents: np.ndarray
    refusals: np.ndarray
    friends: csr_matrix
    friend_pairs: np.ndarray
    friend_since_day: np.ndarray

    def trait(self, name: str) -> np.ndarray:
        """Return one hidden trait."""
        return self.traits[:, TRAITS.index(name)]

    @property
    def count(self) -> int:
        """Number of players on the server."""
        return len(self.registered_day)


def create_players(first_number: int, count: int, *, random_state: np.random.Generator) -> Players:
    """Draw the players of one server."""
    normal = random_state.standard_normal((count, len(TRAITS)), dtype=np.float32)
    traits = normal @ np.linalg.cholesky(_CORRELATIONS).T.astype(np.float32)
    named = {name: traits[:, index] for index, name in enumerate(TRAITS)}

    def noise() -> np.ndarray:
        return random_state.standard_normal(count, dtype=np.float32)

    wealth = 0.6 * named["spending"] + 0.8 * noise()
    country = np.clip((wealth * 2.4 + 5.5).astype(np.int8), 0, len(COUNTRIES) - 1)
    acquisition = _most_attractive(
        (
            np.full(count, 0.8, dtype=np.float32),
            np.zeros(count, dtype=np.float32),
            0.8 * named["price_sensitivity"],
            0.9 * named["curiosity"] - 0.3,
            0.9 * named["sociability"] - 0.3,
            0.6 * named["competitiveness"] - 0.3,
        ),
        random_state,
    )
    class_ = _most_attractive(
        (
            1.3 * named["competitiveness"],
            1.3 * named["curiosity"],
            1.1 * named["price_sensitivity"] - 0.2,
            1.1 * named["sociability"] - 0.2,
        ),
        random_state,
    )
    age = 31 - 4 * named["competitiveness"] + 3 * named["spending"] + 7 * noise()
    birth_year = np.where(random_state.random(count) < 0.15, 0, 2024 - np.clip(age, 14, 75)).astype(np.int16)
    registered_day = _registration_days(count, random_state)
    agreed = random_state.random((len(CHANNELS), count)) < np.array(CONTACT.consent)[:, None]
    refused = ~agreed & (random_state.random((len(CHANNELS), count)) < CONTACT.refusal)
    pairs = _draw_friendships(traits, registered_day, random_state)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    friends = csr_matrix((np.ones(len(both), dtype=np.float32), (both[:, 0], both[:, 1])), shape=(count, count))
    since = registered_day[pairs].max(axis=1) + random_state.geometric(0.2, len(pairs))
    return Players(
        first_number=first_number,
        traits=traits,
        registered_day=registered_day,
        schedule=random_state.choice(len(SCHEDULES), count, p=(0.25, 0.4, 0.15, 0.2)).astype(np.int8),
        country=country,
        acquisition_channel=acquisition,
        class_=class_,
        is_apple=0.7 * named["spending"] + noise() > 0.5,
        birth_year=birth_year,
        consents=agreed,
        refusals=refused,
        friends=friends,
        friend_pairs=pairs,
        friend_since_day=since.astype(np.int16),
    )


def _most_attractive(utilities: tuple[np.ndarray, ...], random_state: np.random.Generator) -> np.ndarray:
    """Choose for each player the option with the highest utility and a Gumbel noise on top (multinomial logit)."""
    stacked = np.stack(utilities)
    return (stacked + random_state.gumbel(size=stacked.shape)).argmax(axis=0).astype(np.int8)


def _registration_days(count: int, random_state: np.random.Generator) -> np.ndarray:
    """Draw days of registration, rising: a launch that fades, weekends, and four bursts of advertising."""
    days = np.arange(DAYS)
    intensity = 0.55 + 1.8 * np.exp(-days / 40) + 0.12 * (days % 7 >= 5)
    for burst in (95, 165, 290, 420):
        intensity += 1.0 * ((days >= burst) & (days < burst + 10))
    drawn = random_state.choice(DAYS, count, p=intensity / intensity.sum())
    return np.sort(drawn).astype(np.int16)


def _draw_friendships(traits: np.ndarray, registered_day: np.ndarray, random_state: np.random.Generator) -> np.ndarray:
    """Join players who are alike: offers to meet are sorted by a noisy mix of traits and time, neighbours meet.

    Returns:
        int32 (pairs, 2), each pair once and the smaller index first.
    """
    sociability = traits[:, TRAITS.index("sociability")]
    offers = random_state.poisson(1.6 * np.exp(0.7 * sociability - 0.25))
    owner = np.repeat(np.arange(len(traits), dtype=np.int32), offers)
    likeness = (
        0.8 * traits[:, TRAITS.index("competitiveness")]
        + 0.5 * traits[:, TRAITS.index("spending")]
        + 0.4 * traits[:, TRAITS.index("curiosity")]
        + registered_day / 250.0
    )
    order = np.argsort(likeness[owner] + 0.2 * random_state.standard_normal(len(owner)), kind="stable")
    met = owner[order[: len(order) // 2 * 2]].reshape(-1, 2)
    met = np.sort(met[met[:, 0] != met[:, 1]], axis=1)
    return np.unique(met, axis=0).reshape(-1, 2).astype(np.int32)

"""Who is in which arm: a published pure function of a salt and the user's id, the same in Python and in SQL.

A user's bucket is the number in the first seven bytes of SHA-256(salt, ':', user id), modulo 10,000. Nothing is stored
to know an assignment and nothing about other users enters it, so that two systems that never talk agree on it, and it
can be worked out again years later. A share owns the buckets from 0 up: raising it adds users and moves none.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np

BUCKETS = 10_000


class ExperimentError(ValueError):
    """An experiment is declared or read in a way that cannot give a true answer."""


def bucket(salt: str, user_id: str) -> int:
    """The bucket (0 to 9,999) of a user under a salt."""
    digest = hashlib.sha256(f"{salt}:{user_id}".encode()).digest()
    return int.from_bytes(digest[:7], "big") % BUCKETS


def buckets(salt: str, user_ids: Iterable[str]) -> np.ndarray:
    """The buckets of many users, int64 of shape (users,)."""
    return _numbers(salt, user_ids, 7) % BUCKETS


def uniforms(salt: str, user_ids: Iterable[str]) -> np.ndarray:
    """A number in [0, 1) for each user under a salt, finer than a bucket: for draws and for orders at random."""
    return _numbers(salt, user_ids, 6) / 2.0**48


def _numbers(salt: str, user_ids: Iterable[str], size: int) -> np.ndarray:
    """The number in the first `size` bytes of each user's digest, int64 of shape (users,)."""
    start = hashlib.sha256(f"{salt}:".encode())
    digests = []
    for user_id in user_ids:
        hashed = start.copy()
        hashed.update(user_id.encode())
        digests.append(hashed.digest()[:size])
    digits = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, size).astype(np.int64)
    return (digits << (8 * np.arange(size - 1, -1, -1, dtype=np.int64))).sum(axis=1)


def sql_bucket(salt: str, column: str) -> str:
    """The SQL expression (PostgreSQL) that gives the bucket of the users in `column`.

    Args:
        salt: the salt of the assignment.
        column: name of the text column that holds the user's id, as it is written in SQL.
    """
    quoted = salt.replace("'", "''")
    hashed = f"encode(substring(sha256(convert_to('{quoted}:' || {column}, 'UTF8')) from 1 for 7), 'hex')"
    return f"mod(cast(cast('x' || {hashed} as bit(56)) as bigint), {BUCKETS})"


@dataclass(frozen=True)
class Split:
    """Arms that share the traffic of an experiment.

    The share of traffic and the arm within it are drawn under two salts, so that more traffic adds users to each arm
    and moves nobody from one arm to another.

    Attributes:
        salt: names the experiment; an experiment with a new salt draws afresh.
        arms: name and weight of each arm, in the order in which they own the buckets. Weights add up to 1.
        traffic: share of the users that are in the experiment at all.
    """

    salt: str
    arms: tuple[tuple[str, float], ...]
    traffic: float = 1.0

    def __post_init__(self) -> None:
        """Refuse weights that are no shares."""
        names = [name for name, _ in self.arms]
        weights = [weight for _, weight in self.arms]
        if len(set(names)) != len(names) or not names:
            raise ExperimentError("An experiment needs arms, each with a name of its own.")
        if any(weight < 0 for weight in weights) or abs(sum(weights) - 1) > 1e-9:
            raise ExperimentError("The weights of the arms must be at least 0 and add up to 1.")
        if not 0 <= self.traffic <= 1:
            raise ExperimentError("The share of traffic must lie between 0 and 1.")

    @property
    def limits(self) -> tuple[int, ...]:
        """First bucket behind each arm."""
        cumulated = np.cumsum([weight for _, weight in self.arms])
        return tuple(round(share * BUCKETS) for share in cumulated)


def assign(split: Split, user_ids: Iterable[str]) -> np.ndarray:
    """The arm of each user, "" for those outside the experiment's traffic; shape (users,), dtype object."""
    users = list(user_ids)
    names = np.array([name for name, _ in split.arms] + [""], dtype=object)
    arm = np.searchsorted(np.array(split.limits), buckets(f"{split.salt}/arm", users), side="right")
    within = is_in_share(f"{split.salt}/traffic", split.traffic, users)
    return names[np.where(within, arm, len(split.arms))]


def sql_assign(split: Split, column: str) -> str:
    """The SQL expression (PostgreSQL) that gives the arm of the users in `column`, '' outside the traffic."""
    limit = round(split.traffic * BUCKETS)
    cases = [f"when {sql_bucket(f'{split.salt}/traffic', column)} >= {limit} then ''"]
    for (name, _), end in zip(split.arms, split.limits, strict=True):
        quoted = name.replace("'", "''")
        cases.append(f"when {sql_bucket(f'{split.salt}/arm', column)} < {end} then '{quoted}'")
    return f"case {' '.join(cases)} end"


def is_in_share(salt: str, share: float, user_ids: Iterable[str]) -> np.ndarray:
    """Whether each user is within a share of all users, under a salt; shape (users,), bool."""
    return buckets(salt, user_ids) < round(share * BUCKETS)


def sql_is_in_share(salt: str, share: float, column: str) -> str:
    """The SQL expression (PostgreSQL) that says whether the users in `column` are within a share."""
    return f"{sql_bucket(salt, column)} < {round(share * BUCKETS)}"


def period_of(day: date, renewal_days: int) -> int:
    """Number of the period that a date lies in: whole spans of `renewal_days` days since 1970-01-01.

    Raises:
        ExperimentError: a period is shorter than a day.
    """
    if renewal_days < 1:
        raise ExperimentError("The holdout needs at least a day before it is renewed.")
    return (day - date(1970, 1, 1)).days // renewal_days


def holdout_salt(seed: int, period: int) -> str:
    """Salt of the holdout of a period: no campaign enters it, so that its users stay the same until it is renewed."""
    return f"holdout/{seed}/{period}"


def policy_salt(seed: int, period: int) -> str:
    """Salt under which users are shared out between the ways of choosing (models, chance, the business's rule)."""
    return f"policy/{seed}/{period}"


def control_salt(seed: int, event_id: str) -> str:
    """Salt of an event's controls: the same on every date, so that nobody held back today is invited tomorrow."""
    return f"control/{seed}/{event_id}"

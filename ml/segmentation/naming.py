"""Business names for segments, taken from what sets a segment apart."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

# Below this difference (standard deviations between the segment's mean and everybody's) nothing sets a segment apart.
NOTABLE = 0.25
# How much a fact about nearly everybody in a segment weighs against differences in degree.
FACT = 0.8
# How a dimension is called that says whether a column has a value.
GAP = " is missing"
# How much "has a value" weighs against "has a high value".
KNOWN = 0.5
TYPICAL = "Typical users"
EVERYBODY = "All users"


@dataclass(frozen=True)
class Theme:
    """What a family of features is about, and how marketing calls users who are high or low in it.

    Attributes:
        pattern: regular expression over feature names; the first theme that matches takes the feature.
        high: name of users with high values, "" where there is nothing good to call them.
        low: name of users with low values, likewise.
        weight: what marketing cares about most wins a near tie.
    """

    pattern: str
    high: str
    low: str
    weight: float = 1.0


# Order matters: special topics stand before general ones. A new kind of feature adds a line; without one the feature's
# own words make the name.
THEMES: tuple[Theme, ...] = (
    Theme(r"refund", "Users who send things back", "Keepers"),
    Theme(r"weekend|saturday|sunday", "Weekend visitors", "Weekday visitors"),
    Theme(r"(mon|tues|wednes|thurs|fri)day", "Weekday visitors", "Weekend visitors"),
    Theme(r"night|evening", "Night visitors", "Daytime visitors"),
    Theme(r"morning|afternoon", "Daytime visitors", "Night visitors"),
    Theme(r"friend|social|guild", "Social users", "Loners"),
    Theme(r"coupon|discount|redemption|bonus|bargain|promotion", "Bargain seekers", "Full-price users"),
    Theme(r"returns_after|(email|sms|push|app|mail|web)_returns", "Users who come back when invited", ""),
    Theme(r"lapses_count|returns_without|returns_count", "Users who come and go", "Users who left for the first time"),
    Theme(r"days_since_last_(response|participation)", "Event-goers of long ago", "Recent event-goers"),
    Theme(r"days_since_last.*(contact|exposure|invit)", "Users not invited for long", "Recently invited users"),
    Theme(r"respon|took_part|participat", "Event fans", "Event sceptics"),
    Theme(r"contact|exposure|invit|received", "Often invited users", "Rarely invited users"),
    Theme(r"lapses?_days|days_since_last_return", "Users with long breaks", "Users with short breaks"),
    Theme(r"days_since_last_(pay|purchase|deposit)", "Payers of long ago", "Recent payers"),
    Theme(r"tenure_at_last|purchase_recency", "Users who stayed long", "Users who left early"),
    Theme(r"purchase_age|days_since_first_(pay|purchase)", "Payers of long standing", "New payers"),
    Theme(r"tenure|days_since_(regist|first)", "Long-standing users", "Newcomers"),
    Theme(r"days_since|days_late|inactive|recency", "Long-gone users", "Recently lapsed users"),
    Theme(r"gap|rhythm|interval", "Occasional visitors", "Users with a steady rhythm"),
    Theme(
        r"(pay|purchase|deposit|spend|money).*(mean|average)|largest", "Former big-ticket buyers", "Small-ticket buyers"
    ),
    Theme(r"(pay|purchase|deposit).*amount|spend|money|revenue|lifetime", "Former big spenders", "Small spenders", 1.2),
    Theme(r"(^|_)(pay|purchase|deposit|order)", "Former frequent buyers", "Rare payers"),
    Theme(r"duration|minutes|seconds|hours", "Former long stayers", "Brief visitors"),
    Theme(r"search|view|click|interaction|page", "Former browsers", "Users who rarely browse"),
    Theme(r"categor|kinds|distinct|breadth|variety", "Explorers", "Users of one thing"),
    Theme(r"session|active_days|visit|activity", "Former frequent visitors", "Rare visitors"),
    Theme(r"mobile|phone", "Mobile users", "Users at a desk"),
    Theme(r"(^|_)age(_|$)|birth", "Older users", "Younger users"),
)

# The same for what is not known of a user: "<column> is missing".
GAP_THEMES: tuple[Theme, ...] = (
    Theme(r"pay|purchase|spend|deposit", "Users who never paid", "Payers"),
    Theme(r"contact|exposure|invit", "Users never invited", "Invited users"),
    Theme(r"respon|particip", "Users who never took part", "Users who took part"),
    Theme(r"lapse|return", "Users who left for the first time", "Users who come and go"),
    Theme(r"gap|rhythm|interval", "Users seen once or twice", "Users seen often"),
)


# How a person would say it, where reading the column's name aloud is not enough.
WORDS: Mapping[str, str] = {
    "current_gap_to_mean_gap_ratio": "present silence in usual pauses",
    "gaps_mean_days": "usual pause between visits in days",
    "gaps_longest_days": "longest pause so far in days",
    "gaps_deviation_days": "spread of the pauses in days",
    "tenure_days": "days since registration",
    "tenure_at_last_activity_days": "days from registration to the last visit",
    "days_since_last_activity": "days since the last visit",
    "days_since_first_activity": "days since the first visit",
    "purchase_age_days": "days since the first payment",
    "purchase_recency_days": "days from the first to the last payment",
    "repeat_purchase_days_count": "number of days with a repeat purchase",
    "repeat_purchase_mean_amount": "mean amount of a repeat purchase",
    "payments_mean_amount": "mean payment",
    "largest_payment_amount": "largest payment",
    "lapses_count": "number of lapses so far",
    "returns_count": "number of returns so far",
    "mean_ended_lapse_days": "mean length of a lapse in days",
    "longest_ended_lapse_days": "longest lapse in days",
    "session_mean_seconds": "mean length of a session in seconds",
    "age_years": "age in years",
}
# Read in this order: what is counted, then over which time.
_READINGS = (
    (r"^(.+)_interactions_count_", r"\1s_count_"),
    (r"^days_since_(last|first)_(.+)$", r"days since the \1 \2"),
    (r"^(.+)_count_", r"number of \1_"),
    (r"^(.+)_count$", r"number of \1"),
    (r"^(level|slope)_(.+)", r"\1 of \2"),
    (r"^sessions_duration_seconds", "seconds in sessions"),
    (r"_amount_", "_"),
    (r"_amount$", ""),
    (r"_life$", " so far"),
    (r"_(\d+)d$", r" in \1 days"),
    (r"^(.+)_share$", r"share of \1"),
    (r"_", " "),
)


def in_words(feature: str) -> str:
    """A feature's name as a person would say it: payments_count_90d -> number of payments in 90 days."""
    if feature in WORDS:
        return WORDS[feature]
    for pattern, words in _READINGS:
        feature = re.sub(pattern, words, feature)
    return feature


def name_segments(
    differences: np.ndarray,
    features: Sequence[str],
    taken: Sequence[str] = (),
    never_paid: Sequence[bool] = (),
    paid_once: Sequence[bool] = (),
) -> list[str]:
    """Give each segment the name of what sets it apart most, no name twice.

    Args:
        differences: shape (segments, features): mean of the segment minus mean of all, in standard deviations.
        features: names of the features.
        taken: names that other segments bear already.
        never_paid: per segment, whether hardly anybody in it ever paid.
        paid_once: per segment, whether its payers typically paid exactly once.

    Returns:
        One name per segment. Names go where they fit best overall (an assignment problem), so that two segments of
        spenders do not both fight for the same word.
    """
    count = len(differences)
    if count == 0:
        return []
    if count == 1 and not taken:
        return [EVERYBODY]
    fits: dict[str, np.ndarray] = {TYPICAL: np.full(count, NOTABLE)}
    for position, feature in enumerate(features):
        theme = theme_of(feature)
        column = theme.weight * differences[:, position]
        # That a value is known at all is the weakest thing to say of somebody.
        known = -column * (KNOWN if feature.endswith(GAP) else 1.0)
        for name, strength in ((theme.high, column), (theme.low, known)):
            if name:
                fits[name] = np.maximum(fits.get(name, np.full(count, -np.inf)), strength)
    for name, holds in (("Users who never paid", never_paid), ("One-time payers", paid_once)):
        if len(holds) == count:
            # Whether somebody ever paid matters to marketing even where it is no large difference, but it has to be so.
            fits[name] = np.where(np.asarray(holds), np.maximum(fits.get(name, 0.0), FACT), -np.inf)
    names = sorted(name for name in fits if name not in set(taken))
    while len(names) < count:
        names.append(f"{TYPICAL} {len(names) + 2}")
    strength = np.array([fits.get(name, np.full(count, NOTABLE / 2)) for name in names]).T
    segments, chosen = linear_sum_assignment(-np.where(np.isfinite(strength), strength, -1e6))
    result = [""] * count
    for segment, name in zip(segments, chosen, strict=True):
        result[segment] = names[name]
    return result


def theme_of(feature: str) -> Theme:
    """The theme of a feature; one without a theme is a theme of its own, named after itself."""
    if feature.endswith(GAP):
        known = in_words(feature.removesuffix(GAP))
        own = Theme(feature, f"Users without {known}", f"Users with {known}", KNOWN)
        return next((theme for theme in GAP_THEMES if re.search(theme.pattern, feature)), own)
    own = Theme(feature, f"High {in_words(feature)}", f"Low {in_words(feature)}")
    return next((theme for theme in THEMES if re.search(theme.pattern, feature)), own)

"""One server's life, day by day: who plays, lapses, is invited, comes back, pays.

All players of the server take each day's step together. Outcomes of contacted players follow from the same formulas
that the written truth is made of (`effects.py`), so the truth is exact and not an estimate from the simulated data.
"""

from dataclasses import dataclass, field

import numpy as np

from local.samples.game_world.campaigns import Campaign, choose_audience, draw_audience
from local.samples.game_world.effects import (
    conversion_logit,
    deposit_step,
    event_effects,
    expit,
    fatigued,
    further_deposits,
    lapse_table,
    logit,
    season,
    window_hazard,
)
from local.samples.game_world.parameters import (
    ACTIVITY,
    CHANNELS,
    CONTACT,
    CONVERSION_WINDOW_DAYS,
    DAYS,
    INACTIVE_AFTER_DAYS,
    MONEY,
    RETURN_WINDOW_DAYS,
    SCHEDULES,
)
from local.samples.game_world.players import Players

#: Channel number of invitations shown inside the game.
IN_APP = len(CHANNELS)
#: An invitation is answered soon or never: the share of its hazard that is left for the next day.
_INVITATION_FADES = 0.75
_NEVER = np.int16(-DAYS)


@dataclass
class Records:
    """What happened on the server, as lists of arrays that belong together; `collected` joins each list.

    Attributes:
        play: (player, day) of each day of play.
        deposit: (player, day, size) of each deposit, size as index into the prices.
        exposure: (player, day, campaign, channel, is_treated).
        response: (player, day, campaign).
        withdrawal: (player, day, channel).
    """

    play: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    deposit: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    exposure: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    response: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    withdrawal: list[tuple[np.ndarray, ...]] = field(default_factory=list)

    def collected(self, name: str, columns: int) -> tuple[np.ndarray, ...]:
        """Return the columns of one kind of record, int32, each in the order of happening."""
        parts = getattr(self, name)
        if not parts:
            return tuple(np.zeros(0, dtype=np.int32) for _ in range(columns))
        return tuple(
            np.concatenate([np.asarray(part[column], dtype=np.int32) for part in parts]) for column in range(columns)
        )


def _same(value: int, like: np.ndarray) -> np.ndarray:
    return np.full(len(like), value, dtype=np.int32)


class Server:
    """The state of one server while its days pass.

    Args:
        players: who plays there, in the order of registration.
        campaigns: of the whole world, in the order of their start.
        variant: one of VARIANTS.
        random_state: the server's own stream.
    """

    def __init__(
        self, players: Players, campaigns: tuple[Campaign, ...], variant: str, random_state: np.random.Generator
    ) -> None:
        count = players.count
        self.players, self.campaigns, self.variant, self.random_state = players, campaigns, variant, random_state
        self.records = Records()
        self.seasons, self.lapses = season(), lapse_table()
        everyone = np.arange(count)
        attachment = players.trait("attachment")
        self._return_base = (
            ACTIVITY.return_hazard
            * np.exp(
                ACTIVITY.return_attachment * attachment + ACTIVITY.return_sociability * players.trait("sociability")
            )
        ).astype(np.float32)
        self._play_hazard = (ACTIVITY.play_hazard * np.exp(ACTIVITY.play_attachment * attachment)).astype(np.float32)
        self._lapse_factor = (ACTIVITY.lapse_hazard * np.exp(ACTIVITY.lapse_attachment * attachment)).astype(np.float32)
        self._age_table = (np.arange(1, DAYS + 120) ** -ACTIVITY.lapse_power).astype(np.float32)
        self._deposit_step = deposit_step(players, everyone)
        self._further_deposits = further_deposits(players, everyone)
        weekday_pattern = np.where(np.arange(7) >= 5, 1.5, 0.8)
        self._schedule_factor = np.ones((7, len(SCHEDULES)), dtype=np.float32)
        self._schedule_factor[:, SCHEDULES.index("weekend")] = weekday_pattern

        self.last_play = np.full(count, _NEVER)
        self.deposits = np.zeros(count, dtype=np.int32)
        self.consents = players.consents.copy()
        self._is_playing = np.zeros(count, dtype=bool)
        self._phase_start = np.zeros(count, dtype=np.int16)
        self._stay_start = np.zeros(count, dtype=np.int16)
        self._planned_days = np.zeros(count, dtype=np.int32)
        self._friend_factor = np.ones(count, dtype=np.float32)
        self._contacts = np.zeros(count)
        self._contacts_day = np.zeros(count, dtype=np.int16)
        self._assigned_day = np.full(count, _NEVER)
        self._invitation = np.full(count, -1, dtype=np.int16)
        self._invitation_end = np.full(count, _NEVER)
        self._is_reached = np.zeros(count, dtype=bool)
        self._invitation_hazard = np.zeros(count, dtype=np.float32)
        self._discouragement = np.ones(count, dtype=np.float32)
        self._conversion_shift = np.zeros(count, dtype=np.float32)

    def run(self) -> None:
        """Let all days pass; afterwards the state is that of the date of the decision."""
        by_day: dict[int, list[int]] = {}
        for number, campaign in enumerate(self.campaigns):
            if not campaign.is_open:
                by_day.setdefault(campaign.start_day, []).append(number)
        known = np.searchsorted(self.players.registered_day, np.arange(DAYS), side="right")
        before = 0
        for day in range(DAYS):
            count = int(known[day])
            if day % 7 == 0:
                self._feel_friends(day)
            for number in by_day.get(day, ()):
                self._invite(number, day, before)
            self.pass_day(day, count, before)
            before = count
        self._feel_friends(DAYS)

    def return_base(self) -> np.ndarray:
        """Return each player's hazard a day of coming back unasked, at 30 days since the last play."""
        payers = np.where(self.deposits > 0, np.exp(ACTIVITY.return_payer), 1.0)
        return self._return_base * self._friend_factor * payers

    def faded_contacts(self, chosen: np.ndarray, day: int) -> np.ndarray:
        """Return how many recent contacts the chosen players still feel on a day."""
        return self._contacts[chosen] * np.exp(-(day - self._contacts_day[chosen]) / CONTACT.fatigue_days)

    def _feel_friends(self, day: int) -> None:
        active = (self.last_play >= day - 7).astype(np.float32)
        self._friend_factor = np.exp(ACTIVITY.friend_pull * np.minimum(self.players.friends @ active, 5)).astype(
            np.float32
        )

    def pass_day(self, day: int, count: int, before: int) -> None:
        """Pass one day for the first `count` players, of whom those from `before` on register on it."""
        draw = self.random_state
        lapse = day - self.last_play[:count]
        lapse[before:] = 0
        payers = np.where(self.deposits[:count] > 0, np.float32(np.exp(ACTIVITY.return_payer)), np.float32(1))
        hazard = self._return_base[:count] * self._friend_factor[:count] * payers * self.lapses[lapse]
        hazard *= np.float32(self.seasons[day])
        hazard *= self._discouragement[:count]
        hazard += self._invitation_hazard[:count]
        self._invitation_hazard[:count] *= np.float32(_INVITATION_FADES)
        playing = np.flatnonzero(self._is_playing[:count])
        hazard[playing] = (
            self._play_hazard[playing]
            * np.float32(self.seasons[day])
            * self._schedule_factor[day % 7][self.players.schedule[playing]]
        )
        hazard[before:] = np.inf
        is_planned = (self._planned_days[:count] & 1).astype(bool)
        self._planned_days[:count] >>= 1
        plays = np.flatnonzero((draw.standard_exponential(count, dtype=np.float32) < hazard) | is_planned)
        self.records.play.append((plays, _same(day, plays)))

        was_away = lapse[plays] > INACTIVE_AFTER_DAYS
        starts_stay = was_away | (plays >= before)
        begins = plays[~self._is_playing[plays]]
        self._phase_start[begins] = day
        self._is_playing[begins] = True
        arrivals = plays[starts_stay]
        self._stay_start[arrivals] = day
        self._answer_invitations(plays[was_away], day)
        self._deposit_on_arrival(arrivals, day)
        settled = plays[day - self._stay_start[plays] >= CONVERSION_WINDOW_DAYS]
        self._deposit_regularly(settled, day)
        self.last_play[plays] = day

        playing = np.flatnonzero(self._is_playing[:count])
        ends = self._lapse_factor[playing] * self._age_table[day - self._phase_start[playing]]
        is_over = draw.standard_exponential(len(playing), dtype=np.float32) < ends
        is_over |= day - self.last_play[playing] >= ACTIVITY.longest_pause_days
        self._is_playing[playing[is_over]] = False
        over = np.flatnonzero(self._invitation_end[:count] == day + 1)
        self._invitation_hazard[over] = 0
        self._discouragement[over] = 1
        self._conversion_shift[over] = 0
        self._invitation[over] = -1

    def _answer_invitations(self, returned: np.ndarray, day: int) -> None:
        answers = returned[self._invitation[returned] >= 0]
        self.records.response.append((answers, _same(day, answers), self._invitation[answers]))

    def _deposit_on_arrival(self, arrivals: np.ndarray, day: int) -> None:
        """Decide for who registered or returned whether and what they pay within the next 30 days."""
        draw = self.random_state
        chance = expit(
            conversion_logit(self.players, arrivals, self.deposits[arrivals]) + self._conversion_shift[arrivals]
        )
        payers = arrivals[draw.random(len(arrivals)) < chance]
        if not len(payers):
            return
        further = draw.poisson(self._further_deposits[payers])
        player = np.repeat(payers, 1 + further)
        # Most deposits come early in the stay, one of each payer on the first days.
        offset = (CONVERSION_WINDOW_DAYS * draw.random(len(player)) ** 2.5).astype(np.int32)
        size = draw.binomial(len(MONEY.prices_cents) - 1, self._deposit_step[player])
        self.records.deposit.append((player, day + offset, size))
        np.bitwise_or.at(
            self._planned_days, player[offset > 0], np.left_shift(1, offset[offset > 0] - 1).astype(np.int32)
        )
        self.deposits[payers] += 1 + further

    def _deposit_regularly(self, settled: np.ndarray, day: int) -> None:
        draw = self.random_state
        chance = MONEY.regular * expit(conversion_logit(self.players, settled, self.deposits[settled]))
        player = settled[draw.random(len(settled)) < chance]
        size = draw.binomial(len(MONEY.prices_cents) - 1, self._deposit_step[player])
        self.records.deposit.append((player, _same(day, player), size))
        self.deposits[player] += 1

    def _invite(self, number: int, day: int, count: int) -> None:
        """Run one campaign of the past: the inactive over a channel they agreed to, the active inside the game."""
        draw, campaign = self.random_state, self.campaigns[number]
        lapse = day - self.last_play[:count]
        may_be_asked = (
            (lapse > INACTIVE_AFTER_DAYS)
            & self.consents[:, :count].any(axis=0)
            & (day - self._assigned_day[:count] >= CONTACT.pause_days)
        )
        candidates = np.flatnonzero(may_be_asked)
        is_payer = self.deposits[candidates] > 0
        if campaign.treated_share is not None:
            chosen = draw_audience(candidates, is_payer, CONTACT.audience_share, random_state=draw)
            is_treated = draw.random(len(chosen)) < campaign.treated_share
        else:
            chosen = choose_audience(
                candidates,
                is_payer,
                lapse[candidates],
                self.players.trait("attachment")[candidates],
                CONTACT.targeted_share,
                random_state=draw,
            )
            is_treated = np.ones(len(chosen), dtype=bool)
        channel = np.where(self.consents[:, chosen], draw.random((len(CHANNELS), len(chosen))), -1).argmax(axis=0)
        self._assigned_day[chosen] = day
        self.records.exposure.append((chosen, _same(day, chosen), _same(number, chosen), channel, is_treated))
        self.contact(number, day, chosen[is_treated], channel[is_treated], lapse[chosen[is_treated]])

        active = np.flatnonzero((lapse <= 3) & (draw.random(count) < CONTACT.in_app_share))
        self.records.exposure.append(
            (active, _same(day, active), _same(number, active), _same(IN_APP, active), np.ones(len(active), dtype=bool))
        )
        effects = event_effects("slopes", campaign.event_type, self.players, active, self.deposits[active] > 0)
        takes_part = active[draw.random(len(active)) < expit(effects.on_return - 1.5)]
        # They are in the game anyway: taking part is planned as a day of play.
        self._planned_days[takes_part] |= 1
        self.records.response.append((takes_part, _same(day, takes_part), _same(number, takes_part)))

    def contact(self, number: int, day: int, contacted: np.ndarray, channel: np.ndarray, lapse: np.ndarray) -> None:
        """Let a campaign act on inactive players.

        Args:
            number: the campaign's position in `campaigns`.
            day: day of the messages, before its play.
            contacted: indices of the players, each once.
            channel: the message's channel for each, index into CHANNELS.
            lapse: days since each played last.
        """
        draw = self.random_state
        self._invitation[contacted] = number
        self._invitation_end[contacted] = day + RETURN_WINDOW_DAYS
        is_reached = draw.random(len(contacted)) < np.array(CONTACT.reach)[channel]
        reached, felt = contacted[is_reached], lapse[is_reached]
        is_payer = self.deposits[reached] > 0
        contacts = self.faded_contacts(reached, day)
        effects = event_effects(self.variant, self.campaigns[number].event_type, self.players, reached, is_payer)
        unasked = window_hazard(self.return_base()[reached], felt, day, self.seasons, self.lapses)
        chance = expit(logit(-np.expm1(-unasked)) + fatigued(effects.on_return, contacts, self.variant))
        asked = -np.log1p(-chance)
        weights = (1 - _INVITATION_FADES) / (1 - _INVITATION_FADES**RETURN_WINDOW_DAYS)
        self._invitation_hazard[reached] = np.maximum(asked - unasked, 0) * weights
        self._discouragement[reached] = np.minimum(asked / unasked, 1)
        self._conversion_shift[reached] = effects.on_conversion
        self._contacts[reached] = contacts + 1
        self._contacts_day[reached] = day
        annoyed = is_payer & (self.variant == "annoyed")
        leaves = draw.random(len(reached)) < np.where(annoyed, CONTACT.annoyed_withdrawal, CONTACT.withdrawal)
        self.consents[channel[is_reached][leaves], reached[leaves]] = False
        self.records.withdrawal.append((reached[leaves], _same(day, reached[leaves]), channel[is_reached][leaves]))

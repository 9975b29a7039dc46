"""Who was in which arm of which campaign, who was really invited, and what the campaigns turned out to do."""

from alembic import op

from warehouse.migrations.tables import NewTable, run

revision = "0005"
down_revision = "0004"

DATE = ("as_of_date", "date not null", "Everything known strictly before this date, 00:00 UTC, was used.")
USER = ("user_id", "text not null", "Identifier of the user in the source.")
CAMPAIGN = [
    ("campaign_id", "text not null", "The event; 'programme' for everything against the holdout."),
    (
        "planned_by",
        "text not null check (planned_by in ('rekindle', 'company'))",
        "Who drew the arms: Rekindle (experiments.assignments) or the company itself (landed exposures).",
    ),
]
ARM = (
    "arm",
    "text not null",
    "targeted (by the models), random, rule (the business's own), none (no contact); treated and control of campaigns "
    "the company drew; programme and holdout.",
)
SEGMENT = ("segment", "text not null", "Segment when the arms were drawn; all where not split.")

TABLES = [
    NewTable(
        "experiments.assignments",
        "One row per plan (as_of_date) and inactive user: which arm of which campaign, drawn under which salt.",
        [
            DATE,
            USER,
            (
                "policy",
                "text check (policy in ('targeted', 'random', 'rule'))",
                "How the user would be chosen: by the models, at random, by the business's own rule; empty for users "
                "who are held out or must not be contacted.",
            ),
            (
                "arm",
                "text not null check (arm in ('targeted', 'random', 'rule', 'none', 'holdout', 'outside'))",
                "targeted, random, rule: to be invited; none: chosen and held back, the no-contact arm; holdout: never "
                "contacted; outside: no campaign chose the user.",
            ),
            ("event_id", "text", "The campaign: the event that was chosen for the user."),
            ("event_type", "text", "Type of that event."),
            ("segment", "text not null", "Segment of the user as of the date."),
            ("salt", "text", "Salt of the draw that decided the arm: see docs/methods/experiments.md."),
            ("propensity", "double precision", "Chance of being invited once chosen; empty where nothing was chosen."),
            ("selection_probability", "double precision", "Chance that the policy chose this event for the user."),
            ("cost", "numeric", "Expected cost of the invitation."),
            ("period", "integer not null", "Number of the period after which holdout and policies are drawn anew."),
            ("holdout_share", "double precision not null", "Chance of being held out; 0 where no event was open."),
        ],
        ["primary key (as_of_date, user_id)"],
    ),
    NewTable(
        "experiments.invitations",
        "One row per published plan and user whom marketing was shown as a target.",
        [
            DATE,
            USER,
            ("event_id", "text not null", "The event."),
            ("channel", "text not null", "Channel of the invitation."),
        ],
        ["primary key (as_of_date, user_id)"],
    ),
    NewTable(
        "experiments.campaigns",
        "One row per as_of_date and campaign: what it says so far and what to do.",
        [
            DATE,
            *CAMPAIGN,
            ("event_type", "text", "Type of the event."),
            (
                "action",
                "text not null check (action in ('wait', 'go_on', 'stop', 'stop_for_harm', 'ended', 'withheld'))",
                "wait: nothing can be read yet; go_on: nothing is proven yet; stop: an arm is proven better; "
                "stop_for_harm: inviting does harm, nobody is invited any more; ended: read as planned without proof; "
                "withheld: the split is not the intended one.",
            ),
            ("decision", "text not null", "What it says and what to do, in words."),
            ("design", "text not null", "fixed, always-valid or group-sequential."),
            ("look", "integer", "group-sequential: the look."),
            ("sample_ratio_p_value", "double precision", "Chance of a split at least this far from the intended one."),
            (
                "heterogeneity_p_value",
                "double precision",
                "Chance of effects on the return this different between segments if all had the same.",
            ),
        ],
        ["primary key (as_of_date, campaign_id, planned_by)"],
    ),
    NewTable(
        "experiments.campaign_arms",
        "One row per as_of_date, campaign and arm: what became of its users.",
        [
            DATE,
            *CAMPAIGN,
            ARM,
            ("users", "bigint not null", "Users in the arm whose return window has closed."),
            ("contacted", "bigint not null", "Of them, users who were invited."),
            ("returned", "bigint not null", "Users who returned within the return window."),
            ("converted", "bigint not null", "Users who returned and paid, of those whose windows have all closed."),
            ("money_users", "bigint not null", "Users whose windows have all closed."),
            ("revenue", "numeric not null", "What these paid within the value horizon after their return."),
            ("cost", "numeric not null", "Contacts and rewards of the arm."),
            ("lift", "double precision", "What inviting added to the share of users who return."),
            ("low", "double precision", "Lower end of its interval."),
            ("high", "double precision", "Upper end of its interval."),
            ("p_value", "double precision", "Chance of a lift this large where there is none, corrected."),
            ("revenue_lift", "double precision", "What inviting added to the (winsorised) revenue of a user."),
            ("roi", "double precision", "(revenue added - cost) / cost of the users whose windows have all closed."),
            ("roi_low", "double precision", "Lower end of its interval."),
            ("roi_high", "double precision", "Upper end of its interval."),
        ],
        ["primary key (as_of_date, campaign_id, planned_by, arm)"],
    ),
    NewTable(
        "experiments.readouts",
        "One row per as_of_date, campaign, comparison of two arms, metric and segment.",
        [
            DATE,
            *CAMPAIGN,
            ARM,
            ("compared_with", "text not null", "none: the arm's own controls; another arm: the difference of lifts."),
            ("metric", "text not null check (metric in ('return', 'conversion', 'revenue'))", "What is compared."),
            SEGMENT,
            ("users", "bigint not null", "Users in the arm."),
            ("controls", "bigint not null", "Users it is compared with."),
            ("effect", "double precision not null", "The difference per user."),
            ("low", "double precision not null", "Lower end of its interval."),
            ("high", "double precision not null", "Upper end of its interval."),
            ("p_value", "double precision not null", "Chance of such a difference where there is none."),
            ("p_value_adjusted", "double precision", "The same, corrected for all comparisons that decide."),
            ("chance_to_win", "double precision not null", "Chance that the arm is better, with a flat prior."),
            ("expected_loss", "double precision not null", "What choosing the arm costs a user if it is worse."),
            ("method", "text not null", "How the interval was made."),
            ("sentence", "text not null", "The comparison in words."),
        ],
        ["primary key (as_of_date, campaign_id, planned_by, arm, compared_with, metric, segment)"],
    ),
]


def upgrade() -> None:
    connection = op.get_bind()
    for table in TABLES:
        for statement in table.statements():
            run(connection, statement)
    run(
        connection,
        "create index assignments_of_campaign on experiments.assignments (event_id, user_id) "
        "where event_id is not null",
    )

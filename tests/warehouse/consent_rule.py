"""Who may be written to, said once more in Python: what the ledger and the eligibility in SQL must agree with."""

# source, is_granted, hour at which it was decided
Act = tuple[str, bool, int]


def is_granted(acts: list[Act]) -> bool:
    """The rule in Python: a standing refusal with Rekindle itself, else the newest act; a tie is a refusal."""
    own = [act for act in acts if act[0] == "user"]
    newest, newest_own = (max(some, key=lambda act: (act[2], not act[1]), default=None) for some in (acts, own))
    return newest is not None and newest[1] and (newest_own is None or newest_own[1])

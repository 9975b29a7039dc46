"""What goes wrong in this room."""


class EffectsError(ValueError):
    """An effect cannot be estimated from what was given; the message says what to change."""

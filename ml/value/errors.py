"""The one exception of the value room."""


class ValueModelError(ValueError):
    """What was asked of the value room cannot be answered; the message says what to do."""

"""The one exception of this room."""

from __future__ import annotations

__all__ = ["LocalError"]


class LocalError(RuntimeError):
    """Something on this machine is not as it must be; the message is one sentence that says what to do."""

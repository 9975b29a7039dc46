"""Ports on 127.0.0.1: chosen once, kept, and chosen anew when another program has taken them."""

from __future__ import annotations

import socket

__all__ = ["choose_port", "is_port_free"]

LOOPBACK = "127.0.0.1"


def is_port_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection that was closed a moment ago is no reason to move.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            return False
    return True


def choose_port(kept: int | None) -> int:
    """Return `kept` while it is free, else a free port."""
    if kept is not None and is_port_free(kept):
        return kept
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port

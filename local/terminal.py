"""What a person sees: lines that stay, one line that moves where there is a terminal, and tables."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

__all__ = ["Terminal", "printable"]

# A table is as wide as what is in it; a file has no edge at which it would have to be cut.
WIDTH_WITHOUT_TERMINAL = 1000


class Terminal:
    """Writes progress to stdout; without a terminal every line is plain and nothing moves."""

    def __init__(self) -> None:
        is_terminal = sys.stdout.isatty()
        self.console = Console(highlight=False, width=None if is_terminal else WIDTH_WITHOUT_TERMINAL)
        self._status: Status | None = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()

    def line(self, text: str, style: str = "") -> None:
        """Print a line that stays."""
        self.console.print(escape(text), style=style, soft_wrap=True)

    def done(self, what: str, seconds: float, rows: str = "") -> None:
        """Print what has ended, how long it took and how many rows it wrote."""
        self.console.print(
            f"  [green]done[/]  {escape(what):<40} {seconds:7.1f} s  {rows:>12}".rstrip(), soft_wrap=True
        )

    def moving(self, text: str) -> None:
        """Show what is going on now, in place of what was shown before; only where there is a terminal."""
        if not self.console.is_terminal:
            return
        if self._status is None:
            self._status = self.console.status("")
            self._status.start()
        self._status.update(escape(text))

    def settle(self) -> None:
        """Take the moving line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def table(
        self,
        title: str,
        columns: Sequence[tuple[str, str]],
        rows: Sequence[Sequence[str]],
        expendable: Sequence[str] = (),
    ) -> None:
        """Print a table; a column is its name and `left` or `right`.

        Where it is wider than the terminal, the `expendable` columns are left out, the first of them first.
        """
        kept = list(range(len(columns)))
        widths = [max(map(len, (name, *(row[place] for row in rows)))) for place, (name, _) in enumerate(columns)]
        for name in expendable:
            if sum(widths[place] + 3 for place in kept) + 1 <= self.console.width:
                break
            kept = [place for place in kept if columns[place][0] != name]
        table = Table(title=title, title_justify="left", title_style="bold")
        for name, side in (columns[place] for place in kept):
            table.add_column(name, justify="right" if side == "right" else "left", overflow="ellipsis", no_wrap=True)
        for row in rows:
            table.add_row(*(escape(row[place]) for place in kept))
        self.console.print(table)

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show that something is going on, and say how long it took when it has ended well."""
        started = time.monotonic()
        self.moving(what)
        yield
        self.done(what, time.monotonic() - started)


def printable(value: object) -> str:
    """Return a value in one line: ids may hold newlines and control characters."""
    text = "" if value is None else str(value)
    return "".join(letter if letter.isprintable() else "�" for letter in text)

"""What a person sees, with and without a terminal."""

from __future__ import annotations

import pytest

from local.terminal import Terminal, printable

COLUMNS = [("rank", "right"), ("user", "left"), ("segment", "left")]
ROWS = [["1", "u[red]1", "a segment with a long name"], ["2", "ü2", "short"]]


def test_without_a_terminal_nothing_moves_and_nothing_is_coloured(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal() as terminal:
        terminal.moving("this would move")
        terminal.done("a stage", 1.25, "3 rows")
        terminal.line("a [bold] line")
        terminal.table("a title", COLUMNS, ROWS)
    printed = capsys.readouterr().out
    assert "this would move" not in printed
    assert "\x1b" not in printed
    assert "a [bold] line" in printed
    assert "u[red]1" in printed
    assert printed.splitlines()[0].split() == ["done", "a", "stage", "1.2", "s", "3", "rows"]


def test_a_narrow_terminal_loses_columns_and_no_letters(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.console.width = 30
    terminal.table("a title", COLUMNS, ROWS, expendable=("segment",))
    printed = capsys.readouterr().out
    assert "segment" not in printed
    assert "u[red]1" in printed
    assert "…" not in printed


def test_an_id_stays_in_its_line() -> None:
    assert printable("a\nb\x1b[31mc😀") == "a�b�[31mc😀"
    assert printable(None) == ""

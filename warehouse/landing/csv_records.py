"""Where the records of a CSV begin and end, and which of them are broken - for whole blocks of bytes at a time.

A stray quote must not swallow the good rows after it, so lines are judged before they are joined. A line with an odd
number of quotes opens or closes a value that runs over several lines. Such a line and the next odd one are joined to
one record when the result keeps the grammar (RFC 4180: quotes around a whole value, doubled inside) and no line in
between is a complete row of its own; otherwise the first is broken, and reading goes on at the next line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["BROKEN_QUOTE", "EMPTY_LINE", "LONGEST_RECORD", "WHOLE", "Records", "split_records"]

COMMA, QUOTE, LINE_FEED, CARRIAGE_RETURN = (ord(character) for character in ',"\n\r')
IS_TOKEN = np.zeros(256, dtype=bool)
IS_TOKEN[[COMMA, QUOTE, LINE_FEED, CARRIAGE_RETURN]] = True

MAY_PRECEDE_OPENING = IS_TOKEN  # a comma or a line end, or the quote that is doubled with this one
MAY_FOLLOW_CLOSING = IS_TOKEN

# What is wrong with a record.
WHOLE, EMPTY_LINE, BROKEN_QUOTE = 0, 1, 2

# A quoted value that is still open after so many bytes was never meant to be one.
LONGEST_RECORD = 1 << 20


@dataclass(frozen=True)
class Records:
    """The records of a block, in order.

    Attributes:
        starts, ends: where the text of each record lies in the block, without its line end; int64.
        lines: number of the line on which each record begins, from 0; int64.
        fields: how many values it has; int64.
        faults: WHOLE, EMPTY_LINE or BROKEN_QUOTE; int8.
        consumed: bytes of the block that were judged; the rest belongs to the next block.
        line_count: lines that were judged.
    """

    starts: np.ndarray
    ends: np.ndarray
    lines: np.ndarray
    fields: np.ndarray
    faults: np.ndarray
    consumed: int
    line_count: int


@dataclass(frozen=True)
class Lines:
    """The physical lines of a block and what its quotes say, read from outside and from inside a quoted value."""

    starts: np.ndarray
    ends: np.ndarray
    quotes: np.ndarray
    separators_outside: np.ndarray
    separators_inside: np.ndarray
    faults_outside: np.ndarray
    faults_inside: np.ndarray
    nexts: np.ndarray


def split_records(
    block: np.ndarray,
    field_count: int,
    *,
    is_last: bool,
    look_complete: Callable[[list[bytes]], np.ndarray],
) -> Records:
    """Split a block that begins at the start of a record.

    Args:
        block: bytes, uint8.
        field_count: how many values a row should have.
        is_last: whether the file ends with this block; otherwise what may go on in the next one is left.
        look_complete: tells of lines with the right number of values whether they are rows of the table; bool.
    """
    lines = _lines_of(block, is_last=is_last)
    count = len(lines.starts)
    is_inner = np.zeros(count, dtype=bool)  # belongs to a record that began on an earlier line
    is_broken = np.zeros(count, dtype=bool)
    judged = count
    odd = np.flatnonzero(lines.quotes % 2)
    if len(odd):
        pairs, broken, judged = _pair(block, lines, odd, field_count, is_last, look_complete)
        is_broken[broken] = True
        for first, last in pairs:
            is_inner[first + 1 : last + 1] = True
    firsts = np.flatnonzero(~is_inner[:judged])
    lasts = np.append(firsts[1:], judged)[: len(firsts)] - 1
    starts, ends = lines.starts[firsts], lines.ends[lasts]
    inside = np.concatenate([[0], np.cumsum(lines.separators_inside)])
    separators = lines.separators_outside[firsts] + inside[lasts + 1] - inside[firsts + 1]
    is_alone = firsts == lasts
    faults = np.zeros(len(firsts), dtype=np.int8)
    faults[is_broken[firsts] | (is_alone & (lines.faults_outside[firsts] > 0))] = BROKEN_QUOTE
    faults[starts == ends] = EMPTY_LINE
    kept = len(firsts)
    if is_last:  # empty lines at the end of a file mean nothing
        kept = int(np.flatnonzero(faults != EMPTY_LINE).max(initial=-1)) + 1
    consumed = int(lines.nexts[judged - 1]) if judged else 0
    return Records(starts[:kept], ends[:kept], firsts[:kept], separators[:kept] + 1, faults[:kept], consumed, judged)


def _lines_of(block: np.ndarray, *, is_last: bool) -> Lines:
    """Find the lines of a block, whatever mixture of line ends it uses; an unfinished last line counts if `is_last`."""
    positions = np.flatnonzero(IS_TOKEN[block]).astype(np.int32)
    kinds = block[positions]
    is_end = kinds == LINE_FEED
    is_return = kinds == CARRIAGE_RETURN
    has_returns = bool(is_return.any())
    if has_returns:
        is_end |= is_return & ~_leads_to_line_feed(block, positions, is_last=is_last)
    end_tokens = np.flatnonzero(is_end)
    line_ends = positions[end_tokens]
    nexts = line_ends + 1
    if has_returns:
        line_ends = line_ends - _returns_before(block, line_ends)
    starts = np.concatenate([[0], nexts])
    if is_last and starts[-1] < len(block):
        nexts = np.append(nexts, len(block))
        line_ends = np.append(line_ends, len(block))
        end_tokens = np.append(end_tokens, len(positions))
    starts = starts[: len(nexts)]

    def per_line(is_counted: np.ndarray) -> np.ndarray:
        running = np.zeros(len(is_counted) + 1, dtype=np.int32)
        np.cumsum(is_counted, out=running[1:])
        return np.diff(running[end_tokens], prepend=np.int32(0))

    is_comma, is_quote = kinds == COMMA, kinds == QUOTE
    nothing = np.zeros(len(starts), dtype=np.int32)
    if not is_quote.any():
        return Lines(starts, line_ends, nothing, per_line(is_comma), nothing, nothing, nothing, nexts)
    quotes = per_line(is_quote)
    # Whether a token follows an odd number of quotes in its line.
    follows_odd = np.bitwise_xor.accumulate(is_quote) ^ is_quote
    if (quotes % 2).any():
        odd_before_line = (np.cumsum(quotes) - quotes) % 2 == 1
        follows_odd[: end_tokens[-1]] ^= np.repeat(odd_before_line, np.diff(end_tokens, prepend=0))[: end_tokens[-1]]
    at = positions[is_quote]
    may_open = MAY_PRECEDE_OPENING[block[np.maximum(at - 1, 0)]] | (at == 0)
    may_close = MAY_FOLLOW_CLOSING[block[np.minimum(at + 1, len(block) - 1)]] | (at == len(block) - 1)
    quote_follows_odd = follows_odd[is_quote]
    fault_outside, fault_inside = np.zeros(len(kinds), dtype=bool), np.zeros(len(kinds), dtype=bool)
    fault_outside[is_quote] = ~np.where(quote_follows_odd, may_close, may_open)
    fault_inside[is_quote] = ~np.where(quote_follows_odd, may_open, may_close)
    return Lines(
        starts,
        line_ends,
        quotes,
        separators_outside=per_line(is_comma & ~follows_odd),
        separators_inside=per_line(is_comma & follows_odd),
        faults_outside=per_line(fault_outside),
        faults_inside=per_line(fault_inside),
        nexts=nexts,
    )


def _leads_to_line_feed(block: np.ndarray, positions: np.ndarray, *, is_last: bool) -> np.ndarray:
    """Tell of positions whether LF, or CR LF, follows: CR LF ends one line, and so does CR CR LF (a file that was
    written twice in text mode). At the end of a block that is not the last the answer is yes, until more is known.
    """
    beyond = CARRIAGE_RETURN if is_last else LINE_FEED
    padded = np.concatenate([block, np.array([beyond, beyond], dtype=np.uint8)])
    one, two = padded[positions + 1], padded[positions + 2]
    return (one == LINE_FEED) | ((one == CARRIAGE_RETURN) & (two == LINE_FEED))


def _returns_before(block: np.ndarray, line_feeds: np.ndarray) -> np.ndarray:
    """Count the CR right before each line feed, up to two."""
    is_feed = block[line_feeds] == LINE_FEED
    one = is_feed & (line_feeds >= 1) & (block[line_feeds - 1] == CARRIAGE_RETURN)
    two = one & (line_feeds >= 2) & (block[line_feeds - 2] == CARRIAGE_RETURN)
    return one.astype(np.int64) + two


def _pair(
    block: np.ndarray,
    lines: Lines,
    odd: np.ndarray,
    field_count: int,
    is_last: bool,
    look_complete: Callable[[list[bytes]], np.ndarray],
) -> tuple[list[tuple[int, int]], list[int], int]:
    """Join the lines that open a long value with those that close it.

    Returns:
        Pairs of first and last line, lines that are broken, and the number of lines that could be judged.
    """
    firsts, lasts = odd[:-1], odd[1:]
    faults = np.concatenate([[0], np.cumsum(lines.faults_inside)])
    is_sound = lines.faults_outside[firsts] + faults[lasts + 1] - faults[firsts + 1] == 0
    is_sound &= lines.ends[lasts] - lines.starts[firsts] <= LONGEST_RECORD
    # Two rows, each with the right number of commas, that together have another number of values: two broken rows.
    inside = np.concatenate([[0], np.cumsum(lines.separators_inside)])
    separators = lines.separators_outside[firsts] + inside[lasts + 1] - inside[firsts + 1]
    commas = lines.separators_outside + lines.separators_inside
    are_rows = (commas[firsts] == field_count - 1) & (commas[lasts] == field_count - 1)
    is_sound &= ~(are_rows & (separators != field_count - 1))
    # A complete row inside a value: somebody forgot a quote above it.
    resembles = (lines.quotes % 2 == 0) & (lines.faults_outside == 0) & (lines.separators_outside == field_count - 1)
    steps = np.zeros(len(resembles) + 1, dtype=np.int64)
    np.add.at(steps, firsts[is_sound] + 1, 1)
    np.add.at(steps, lasts[is_sound], -1)
    suspects = np.flatnonzero(resembles & (np.cumsum(steps)[:-1] > 0))
    if len(suspects):
        texts = [block[lines.starts[line] : lines.ends[line]].tobytes() for line in suspects]
        complete = np.zeros(len(resembles) + 1, dtype=np.int64)
        complete[suspects + 1] = look_complete(texts)
        complete = np.cumsum(complete)
        is_sound &= complete[lasts] == complete[firsts + 1]
    pairs: list[tuple[int, int]] = []
    broken: list[int] = []
    sound, numbers = is_sound.tolist(), odd.tolist()
    index = 0
    while index < len(numbers):
        if index < len(sound) and sound[index]:
            pairs.append((numbers[index], numbers[index + 1]))
            index += 2
            continue
        if index == len(sound) and not is_last and len(block) - lines.starts[numbers[index]] <= LONGEST_RECORD:
            return pairs, broken, numbers[index]
        broken.append(numbers[index])
        index += 1
    return pairs, broken, len(lines.starts)

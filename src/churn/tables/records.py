"""Cut CSV text into blocks of whole records.

A record ends at a line break outside quotes (RFC 4180). As in PyArrow's parser, a quote opens a quoted cell only at the
beginning of a cell, a doubled quote inside stands for one, and any other quote is a character like others.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]

QUOTE, LINE_BREAK, RETURN, BLANK = b'"\n\r '
# A record that is longer is refused: a quote was not closed.
MAX_RECORD = 64 << 20
# A quoted cell with at least this number of line breaks is reported, and at most so many cells of a block.
MANY_LINE_BREAKS = 10
MAX_ODD_CELLS = 4


@dataclass(frozen=True)
class OddCell:
    """A quoted cell that may be rows between two stray quotes: it has many line breaks, or the delimiters of whole rows.

    Attributes:
        record: Number of records of the block before its own.
        column: Number of cells of the record before it.
        line_breaks: Number of its line breaks.
        ends_within: Whether text follows its last quote, which then opens another cell.
    """

    record: int
    column: int
    line_breaks: int
    ends_within: bool = False


@dataclass(frozen=True)
class Block:
    """Whole records.

    Attributes:
        data: Their text.
        records: Their number, if it was counted: only where there are quotes.
        odd_cells: The first few cells that may be rows between two stray quotes.
        unclosed: Place of a quote that is never closed, as number of records and number of cells before it; the record with
            that quote is not part of the block.
    """

    data: bytes | memoryview
    records: int | None = None
    odd_cells: tuple[OddCell, ...] = ()
    unclosed: tuple[int, int] | None = None


def blocks(pieces: Iterable[bytes], delimiter: str, columns: int) -> Iterator[Block]:
    """Cut text into blocks of whole records; empty blocks are left out.

    Args:
        pieces: The text in pieces of any size, in an encoding that has ASCII in single bytes.
        delimiter: The character between cells.
        columns: Number of cells of a record.
    """
    rest = b""
    for piece in pieces:
        text = rest + piece if rest else piece
        if QUOTE not in text:
            end = text.rfind(b"\n") + 1
            if end:
                yield Block(memoryview(text)[:end])
            rest = text[end:]
            continue
        quotes = Quotes(text, delimiter)
        end = quotes.end
        if end:
            yield quotes.block(end, columns)
        elif len(text) > MAX_RECORD:
            break
        rest = text[end:]
    else:
        if not rest:
            return
        text = rest
        if QUOTE not in text:
            yield Block(text)
            return
        quotes = Quotes(text, delimiter)
        if not quotes.is_open:
            yield quotes.block(len(text), columns)
            return
    yield Block(b"", 0, unclosed=quotes.unclosed)


class Quotes:
    """The quotes of a text that begins with a record.

    Attributes:
        are_regular: Whether every quote opens or closes a cell, or is one of a pair.
    """

    def __init__(self, text: bytes, delimiter: str) -> None:
        """Find the quotes that open and close cells.

        Args:
            text: The text.
            delimiter: The character between cells.
        """
        self._text, self._delimiter = text, ord(delimiter)
        characters = np.frombuffer(text, dtype=np.uint8)
        self._quotes = self._effective(characters, np.flatnonzero(characters == QUOTE))
        self._line_breaks = np.flatnonzero(characters == LINE_BREAK)
        self._before = np.searchsorted(self._quotes, self._line_breaks)
        self._ends = self._line_breaks[self._before % 2 == 0]

    @property
    def ends(self) -> Places:
        """Positions of the line breaks that end a record."""
        ends: Places = self._ends
        return ends

    @property
    def end(self) -> int:
        """End of the last whole record; 0 if there is none."""
        return int(self._ends[-1]) + 1 if len(self._ends) else 0

    @property
    def is_open(self) -> bool:
        """Whether the text ends within quotes."""
        return len(self._quotes) % 2 == 1

    @property
    def has_line_breaks(self) -> bool:
        """Whether a quoted cell has a line break."""
        return len(self._ends) < len(self._line_breaks)

    @property
    def unclosed(self) -> tuple[int, int]:
        """Place of the quote that is not closed, see `Block.unclosed`."""
        return self._place(int(self._quotes[-1]))

    def block(self, end: int, columns: int) -> Block:
        """Return the records up to a position, each of so many cells."""
        ends = self._ends[self._ends < end]
        if end and (not len(ends) or ends[-1] != end - 1):
            ends = np.append(ends, end)
        return Block(memoryview(self._text)[:end], self._count(ends), tuple(self._odd_cells(end, columns)))

    def _effective(self, characters: NDArray[np.uint8], quotes: Places) -> Places:
        """Return the quotes that open or close cells, in turns; doubled quotes close a cell and open it again."""
        # Nearly always every second quote opens a cell and the others close it; doubled quotes do both.
        around = np.zeros(256, dtype=bool)
        around[[self._delimiter, LINE_BREAK, RETURN, QUOTE]] = True
        # The text begins and ends with the quote itself if there is nothing before or after it, which is allowed too.
        before = characters.take(quotes - 1, mode="clip")
        after = characters.take(quotes[1::2] + 1, mode="clip")
        regular = around[before[0::2]].all() and around[after].all()
        self.are_regular = bool(regular)
        if regular:
            return quotes
        around[QUOTE] = False
        found, places, starts = [], quotes.tolist(), (around[before] | (quotes == 0)).tolist()
        inside, at = False, 0
        while at < len(places):
            if inside and at + 1 < len(places) and places[at + 1] == places[at] + 1:
                found += [places[at], places[at + 1]]
                at += 1
            elif inside or starts[at]:
                found.append(places[at])
                inside = not inside
            at += 1
        return np.array(found, dtype=np.int64)

    def _count(self, ends: Places) -> int:
        """Return the number of records with these ends; blank lines are none."""
        lengths = np.diff(ends, prepend=-1)
        short = np.flatnonzero(lengths == 2)
        returns = [end for end in ends[short].tolist() if self._text[end - 1] == RETURN]
        return len(ends) - int(np.count_nonzero(lengths == 1)) - len(returns)

    def _place(self, position: int) -> tuple[int, int]:
        """Return the number of records before a position, and the number of cells before it in its record."""
        ends = self._ends[self._ends < position]
        start = int(ends[-1]) + 1 if len(ends) else 0
        cells = np.frombuffer(self._text, dtype=np.uint8, count=position - start, offset=start) == self._delimiter
        delimiters = np.flatnonzero(cells) + start
        return self._count(ends), int((np.searchsorted(self._quotes, delimiters) % 2 == 0).sum())

    def _odd_cells(self, end: int, columns: int) -> Iterator[OddCell]:
        if not self.has_line_breaks:
            return
        quotes = self._quotes[self._quotes < end]
        opening, closing = quotes[0::2], quotes[1::2]
        apart = opening[1:] != closing[:-1] + 1
        starts = opening[np.insert(apart, 0, True)[: len(opening)]]
        stops = closing[np.append(apart, True)[: len(closing)]]

        def within(places: Places) -> Places:
            found: Places = np.searchsorted(places, stops) - np.searchsorted(places, starts)
            return found

        breaks = within(self._line_breaks)
        characters = np.frombuffer(self._text, dtype=np.uint8)
        delimiters = within(np.flatnonzero(characters == self._delimiter))
        # Two stray quotes in the same column of different rows leave a row of the right length. A quote that is closed by the
        # opening one of a later cell has text after it.
        rows = (columns > 2) & (delimiters == breaks * (columns - 1))
        after = characters.take(stops + 1, mode="clip")
        ends_within = ~np.isin(after, (self._delimiter, LINE_BREAK, RETURN, BLANK)) & (stops + 1 < end)
        odd = ((rows | ends_within) & (breaks > 0)) | (breaks >= MANY_LINE_BREAKS)
        for at in np.flatnonzero(odd)[:MAX_ODD_CELLS].tolist():
            yield OddCell(*self._place(int(starts[at])), int(breaks[at]), bool(ends_within[at]))

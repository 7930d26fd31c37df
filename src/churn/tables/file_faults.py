"""Faults in the rows of a CSV file."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from churn.config import AccountSchema
from churn.errors import FaultsError
from churn.tables.parsing import WrongLength
from churn.tables.records import Block
from churn.tables.text import FALLBACK

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

MAX_EXAMPLES = 3


@lru_cache(maxsize=1024)
def say(note: str) -> None:
    """Log a warning, once in a process: a file is read several times."""
    logger.warning(note)


class ParsedBlock(NamedTuple):
    """The result of parsing a block; rows are those of the table, from 0.

    Attributes:
        block: The block.
        table: Its rows.
        wrong: Its records that are not in the table, because they have more or fewer cells than the header.
        spilled: Rows with a value where the others have an empty cell after the last delimiter.
        unreadable: Rows with bytes that are no text, by column.
    """

    block: Block
    table: "pa.Table"
    wrong: list[WrongLength]
    spilled: list[int]
    unreadable: dict[str, list[int]]


@dataclass
class _Rows:
    """Rows with the same fault: the first few, counted from 1, and how many there are."""

    first: list[int] = field(default_factory=list)
    count: int = 0

    def add(self, rows: Sequence[int]) -> None:
        self.first += [int(row) for row in rows[: MAX_EXAMPLES - len(self.first)]]
        self.count += len(rows)

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.first) else ""
        return f"row{'s' if self.count > 1 else ''} {', '.join(map(str, self.first))}{more}"


@dataclass
class FileFaults:
    """Faults in the rows of a file, and cells that deserve a look.

    Attributes:
        uri: Path or URL of the file.
        names: Name of each column.
        rows: Number of rows so far.
    """

    uri: str
    names: tuple[str, ...]
    rows: int = 0
    _wrong: _Rows = field(default_factory=_Rows)
    _lengths: list[int] = field(default_factory=list)
    _spilled: _Rows = field(default_factory=_Rows)
    _unreadable: dict[str, _Rows] = field(default_factory=dict)
    _other: list[str] = field(default_factory=list)
    _odd_cells: list[str] = field(default_factory=list)

    @property
    def found(self) -> bool:
        """Whether there are faults so far."""
        return bool(self._wrong.count or self._spilled.count or self._unreadable or self._other)

    def add(self, part: ParsedBlock) -> None:
        """Add those of the next block."""
        block, records = part.block, len(part.table) + len(part.wrong)
        self._wrong.add([self.rows + item.row + 1 for item in part.wrong])
        self._lengths += [item.actual for item in part.wrong[: MAX_EXAMPLES - len(self._lengths)]]
        if part.spilled or part.unreadable:
            numbers = np.delete(np.arange(records), [item.row for item in part.wrong]) + self.rows + 1
            self._spilled.add(numbers[part.spilled].tolist())
            for name, rows in part.unreadable.items():
                self._unreadable.setdefault(name, _Rows()).add(numbers[rows].tolist())
        if block.records is not None and block.records != records:
            self._other.append(
                f"rows {self.rows + 1} to {self.rows + max(block.records, records)} cannot be told apart, because quotes stand "
                "at places where CSV has none; double each quote within a cell, and put the cell in quotes"
            )
        for cell in block.odd_cells:
            place = f"row {self.rows + cell.record + 1}, column {self._column(cell.column)}"
            breaks = f"{cell.line_breaks} line break{'s' if cell.line_breaks > 1 else ''}"
            if cell.ends_within:
                self._other.append(
                    f"the quote that opens in {place}, ends with a quote in the middle of a cell, after {breaks}; close or "
                    "remove it"
                )
            else:
                self._odd_cells.append(f"{place} ({breaks})")
        if block.unclosed is not None:
            record, column = block.unclosed
            self._other.append(
                f"the quote that opens in row {self.rows + record + 1}, column {self._column(column)}, is never closed; close "
                "or remove it"
            )
        self.rows += records

    def _column(self, place: int) -> str:
        name = self.names[place] if place < len(self.names) else ""
        return name or str(place + 1)

    def report(self, schema: AccountSchema) -> None:
        """Log a warning for long cells, and raise an error if there are faults.

        Raises:
            FaultsError: Lists the faults.
        """
        if self._odd_cells:
            more = "; ..." if len(self._odd_cells) > MAX_EXAMPLES else ""
            say(
                f"{self.uri}: quoted cells with line breaks that may be rows between two quotes which do not belong together: "
                f"{'; '.join(self._odd_cells[:MAX_EXAMPLES])}{more}"
            )
        faults = list(self._sentences(schema.format.encoding))
        if faults:
            raise FaultsError(f"{self.uri} cannot be read as an account table", faults)

    def _sentences(self, encoding: str | None) -> Iterator[str]:
        if self._wrong.count:
            lengths = ", ".join(
                f"row {row} has {length}" for row, length in zip(self._wrong.first, self._lengths, strict=True)
            )
            lengths += ", ..." if self._wrong.count > len(self._lengths) else ""
            remedy = "complete the rows, put cells that hold the delimiter in quotes, or set accounts.format.delimiter"
            if set(self._lengths) == {len(self.names) + 1} and self._wrong.count == self.rows:
                remedy = f"if the first column has the names of rows, name it in the header; else {remedy}"
            yield (
                f"{self._wrong.count} row{'s have' if self._wrong.count > 1 else ' has'} more or fewer cells than the header, "
                f"which has {len(self.names)}: {lengths}; {remedy}"
            )
        if self._spilled.count:
            yield (
                f"{self._spilled.count} row{'s have' if self._spilled.count > 1 else ' has'} a value after the last column, "
                f"where the others have an empty cell ({self._spilled}); put cells that hold the delimiter in quotes, or name "
                "the column in the header"
            )
        yield from self._other
        known = f"no text in {encoding}" if encoding else f"neither UTF-8 nor {FALLBACK}"
        for name, rows in self._unreadable.items():
            cells = f"{rows.count} cell{'s hold' if rows.count > 1 else ' holds'}"
            yield f"{name}: {cells} bytes that are {known} ({rows}); set accounts.format.encoding"

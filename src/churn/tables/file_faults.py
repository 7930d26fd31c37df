"""Faults in the rows of a CSV file."""

import logging
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
    """The result of parsing a block; the places of unreadable cells are rows of the table, by column."""

    block: Block
    table: "pa.Table"
    wrong: list[WrongLength]
    unreadable: dict[str, list[int]]


@dataclass
class FileFaults:
    """Faults in the rows of a file, and cells that deserve a look."""

    uri: str
    names: tuple[str, ...]
    rows: int = 0
    wrong: list[WrongLength] = field(default_factory=list)
    wrong_count: int = 0
    unreadable: dict[str, list[int]] = field(default_factory=dict)
    unreadable_counts: dict[str, int] = field(default_factory=dict)
    other: list[str] = field(default_factory=list)
    long_cells: list[str] = field(default_factory=list)

    @property
    def found(self) -> bool:
        """Whether there are faults so far."""
        return bool(self.wrong_count or self.unreadable or self.other)

    def add(self, part: ParsedBlock) -> None:
        """Add those of the next block."""
        block, records = part.block, len(part.table) + len(part.wrong)
        more = MAX_EXAMPLES - len(self.wrong)
        self.wrong += [WrongLength(self.rows + item.row + 1, item.actual) for item in part.wrong[:more]]
        self.wrong_count += len(part.wrong)
        if part.unreadable:
            places = np.delete(np.arange(records), [item.row for item in part.wrong])
            for name, at in part.unreadable.items():
                rows = self.unreadable.setdefault(name, [])
                rows += [self.rows + int(row) + 1 for row in places[at[: MAX_EXAMPLES - len(rows)]]]
                self.unreadable_counts[name] = self.unreadable_counts.get(name, 0) + len(at)
        if block.records is not None and block.records != records:
            self.other.append(
                f"rows {self.rows + 1} to {self.rows + max(block.records, records)} cannot be told apart, because quotes stand "
                "at places where CSV has none; double each quote within a cell, and put the cell in quotes"
            )
        for cell in block.long_cells:
            place = f"row {self.rows + cell.record + 1}, column {self._column(cell.column)} ({cell.line_breaks} line breaks)"
            self.long_cells.append(place)
        if block.unclosed is not None:
            record, column = block.unclosed
            self.other.append(
                f"the quote that opens in row {self.rows + record + 1}, column {self._column(column)}, is never closed; close "
                "or remove it"
            )
        self.rows += records

    def _column(self, place: int) -> str:
        name = self.names[place] if place < len(self.names) else ""
        return name or str(place + 1)

    def report(self, schema: AccountSchema) -> None:
        """Log a warning for long cells, and raise an error if there are faults."""
        if self.long_cells:
            shown = "; ".join(self.long_cells[:MAX_EXAMPLES]) + ("; ..." if len(self.long_cells) > MAX_EXAMPLES else "")
            say(
                f"{self.uri}: quoted cells with many line breaks, which may be rows between two quotes that do not belong "
                f"together: {shown}"
            )
        faults = list(self.other)
        if self.wrong_count:
            lengths = ", ".join(f"row {item.row} has {item.actual}" for item in self.wrong)
            lengths += ", ..." if self.wrong_count > len(self.wrong) else ""
            remedy = "complete the rows, put cells that hold the delimiter in quotes, or set accounts.format.delimiter"
            if {item.actual for item in self.wrong} == {len(self.names) + 1} and self.wrong_count == self.rows:
                remedy = f"if the first column has the names of rows, name it in the header; else {remedy}"
            faults.insert(
                0,
                f"{self.wrong_count} row{'s have' if self.wrong_count > 1 else ' has'} more or fewer cells than the header, "
                f"which has {len(self.names)}: {lengths}; {remedy}",
            )
        encoding = schema.format.encoding or f"neither UTF-8 nor {FALLBACK}"
        for name, rows in self.unreadable.items():
            count = self.unreadable_counts[name]
            faults.append(
                f"{name}: {count} cell{'s hold' if count > 1 else ' holds'} bytes that are no text"
                f"{' in' if schema.format.encoding else ':'} {encoding} (row{'s' if count > 1 else ''} "
                f"{', '.join(map(str, rows))}{', ...' if count > len(rows) else ''}); set accounts.format.encoding"
            )
        if faults:
            raise FaultsError(f"{self.uri} cannot be read as an account table", faults)

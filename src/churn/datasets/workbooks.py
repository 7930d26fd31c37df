"""Read a table from a sheet of an Excel workbook."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any
from zipfile import BadZipFile

import pandas as pd

from churn.errors import ChurnError
from churn.stores import open_store

# Rows among which the header is looked for, as of CSV files.
MAX_TITLE_ROWS, ALIKE = 30, 0.6


def sheets_of(path: str, credentials: dict[str, Any] | None = None) -> dict[str, int]:
    """Return the visible sheets of a workbook that have cells, and the number of their rows.

    Raises:
        ChurnError: If the file does not exist or is no workbook.
    """
    with _workbook(path, credentials) as book:
        return {
            sheet.title: sheet.max_row or 0
            for sheet in book.worksheets
            if sheet.sheet_state == "visible" and (sheet.max_row or 0) > 1
        }


def read_sheet(path: str, sheet: str | int | None = None, credentials: dict[str, Any] | None = None) -> pd.DataFrame:
    """Return the rows of a sheet; the header is the first row that has as many cells as most rows below it.

    Args:
        path: Path or URL of the workbook.
        sheet: Name of the sheet, or its position from 0; the only one with rows by default.
        credentials: Arguments of the fsspec file system.

    Raises:
        ChurnError: If there is no such sheet, there are several and none is named, or it has no header.
    """
    if sheet is None:
        known = sheets_of(path, credentials)
        if len(known) != 1:
            raise ChurnError(
                f"{path} has {len(known)} sheets with rows: {', '.join(known) or 'none'}; name one of them (sheet)"
            )
        sheet = next(iter(known))
    with _workbook(path, credentials) as book:
        if isinstance(sheet, int):
            sheet = book.sheetnames[sheet] if 0 <= sheet < len(book.sheetnames) else str(sheet)
        if sheet not in book.sheetnames:
            raise ChurnError(f"{path} has no sheet '{sheet}'; it has {', '.join(book.sheetnames)}")
        rows = (list(row) for row in book[sheet].iter_rows(values_only=True))
        filled = (row for row in rows if any(cell is not None and cell != "" for cell in row))
        first = list(islice(filled, MAX_TITLE_ROWS + 10))
        header = _header(first)
        if header is None:
            raise ChurnError(f"{path}, sheet '{sheet}': it has no rows below a header")
        names = _names(first[header])
        width = len(names)
        body = [row[:width] + [None] * (width - len(row)) for row in [*first[header + 1 :], *filled]]
    kept = [place for place, name in enumerate(names) if name]
    twice = ", ".join(sorted({name for name in names if name and names.count(name) > 1}))
    if twice:
        raise ChurnError(
            f"{path}, sheet '{sheet}': columns that occur more than once: {twice}; rename or remove all but one of each"
        )
    columns = {names[place]: pd.Series([row[place] for row in body], dtype=object) for place in kept}
    return pd.DataFrame(columns).convert_dtypes() if body else pd.DataFrame(columns)


def _header(rows: Sequence[list[Any]]) -> int | None:
    counts = [_last(row) for row in rows]
    for at, row in enumerate(rows[:MAX_TITLE_ROWS]):
        below = counts[at + 1 :]
        texts = sum(isinstance(cell, str) for cell in row[: counts[at]])
        # A sheet of a header alone is a table without rows.
        if (
            (below or len(rows) == 1)
            and 2 * texts > counts[at]
            and sum(count <= counts[at] for count in below) >= ALIKE * len(below)
        ):
            return at
    return None


def _last(row: Sequence[Any]) -> int:
    return max((place for place, cell in enumerate(row, 1) if cell is not None and cell != ""), default=0)


def _names(row: Sequence[Any]) -> list[str]:
    return ["" if cell is None else " ".join(str(cell).split()) for cell in row[: _last(row)]]


@contextmanager
def _workbook(path: str, credentials: dict[str, Any] | None) -> Iterator[Any]:
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    store = open_store(path, credentials)
    if not store.exists():
        raise ChurnError(f"{path} does not exist")
    with store.reading_as_stored() as file:
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        except (InvalidFileException, BadZipFile, KeyError, OSError) as error:
            raise ChurnError(
                f"{path} cannot be read as a workbook (.xlsx): {error}; save it as .xlsx or CSV again"
            ) from error
        try:
            yield book
        finally:
            book.close()

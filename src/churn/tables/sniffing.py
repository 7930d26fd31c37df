"""Find the header of a CSV file whose columns nobody has named yet."""

import csv
import re
from collections.abc import Sequence

from churn.errors import ChurnError
from churn.tables.dialect import DELIMITERS, MAX_TITLE_LINES
from churn.tables.numbers import ANY_NUMBER
from churn.tables.text import marked_encoding, mended

# Lines below a header that are compared with it, and the share of them that has to have its number of cells.
LINES_BELOW, ALIKE = 30, 0.6


def header_names(text: bytes, delimiter: str | None = None) -> list[str]:
    """Return the names in the header: the first line that has as many cells as most of the lines below it.

    Args:
        text: The first part of the text of the file, in UTF-8 or with other bytes.
        delimiter: The character between cells, if it is known.

    Raises:
        ChurnError: If the file is empty, is no text, or its first line is a row like the others.
    """
    _, mark = marked_encoding(text[:4096])
    lines = mended(text[mark:], None).decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not any(line.strip("\ufeff\u200b \t") for line in lines):
        raise ChurnError("the file is empty")
    if "\0" in lines[0]:
        raise ChurnError("it is not text")
    best: list[str] = []
    for each in DELIMITERS if delimiter is None else (delimiter,):
        for at in range(min(len(lines), MAX_TITLE_LINES)):
            if not lines[at].strip():
                continue
            rows = _rows(lines[at:], each)
            below = rows[1:] or rows
            alike = sum(len(row) == len(rows[0]) for row in below) / len(below)
            if alike >= ALIKE:
                if len(rows[0]) > len(best):
                    best = rows[0]
                break
    if not best:
        best = [next(line for line in lines if line.strip())]
    numbers = sum(re.match(ANY_NUMBER, cell.strip()) is not None for cell in best)
    if 2 * numbers > len(best) or (len(best) > 1 and numbers and len(set(best)) < len(best)):
        raise ChurnError(
            "its first line has numbers in place of names: the file has no header; add a line with a name for each column"
        )
    return [" ".join(name.strip("\ufeff\u200b").split()) for name in best]


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    try:
        reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter)
        rows = []
        for row in reader:
            if row and any(map(str.strip, row)):
                rows.append(row)
            if len(rows) > LINES_BELOW:
                break
    except csv.Error:
        return [[""]]
    return rows or [[""]]

"""Find out how a CSV file is written: from its first rows, the schema of the table, and the parameters."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn.config import AccountSchema
from churn.errors import ChurnError
from churn.tables.numbers import ANY_NUMBER, Evidence
from churn.tables.parsing import parsed
from churn.tables.records import Quotes
from churn.tables.text import FALLBACK, UNREADABLE, is_utf8, mended

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS = (",", ";", "\t", "|")
# Lines among which the header is looked for, and the number of bytes that it may have.
MAX_TITLE_LINES = 30
# A line that tells Excel the delimiter.
_SEP_LINE = re.compile(r"^sep=(.)$", re.IGNORECASE)
_BLANK_CHARACTERS = "\ufeff\u200b"
MAX_DESCRIPTIONS = 2


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Attributes:
        delimiter: The character between cells.
        cells: Its cells as they are.
        lines_above: Number of lines above it.
        end: Number of bytes of text up to its end.
    """

    delimiter: str
    cells: tuple[str, ...]
    lines_above: int
    end: int


@dataclass(frozen=True)
class Layout:
    """Where the cells of a file are.

    Attributes:
        delimiter: The character between cells.
        names: Name of each column; empty for a column that has none and is left out.
        start: Number of bytes of text before the first row.
        title_lines: Number of lines above the header.
        description_rows: Number of rows below the header that describe the columns.
        has_end_delimiters: Whether there is a delimiter at the end of each row; the last column is then empty.
        notes: What differs from a plain file, in words.
        is_common: Whether the first line is the header, and the other lines are the rows.
        has_other_bytes: Whether the first rows have bytes that are not UTF-8.
        has_line_breaks: Whether the first rows have line breaks within quotes.
    """

    delimiter: str
    names: tuple[str, ...]
    start: int
    title_lines: int
    description_rows: int
    has_end_delimiters: bool
    notes: tuple[str, ...]
    is_common: bool
    has_other_bytes: bool
    has_line_breaks: bool


def layout_of(text: bytes, schema: AccountSchema, *, whole: bool) -> tuple[Layout, "pa.Table"]:
    """Find out where the cells of a file are; returns also its first rows, all as text.

    Args:
        text: The first part of the text.
        schema: Schema of the table, by whose columns the header is recognised, with the parameters of the format.
        whole: Whether the text is the whole file.

    Raises:
        ChurnError: If the file has no header, or its rows and its header do not fit.
    """
    given = schema.format
    known = set(schema.known_columns)
    header = _header(text, schema, known, whole=whole)
    notes = []
    if given.delimiter is None and header.delimiter != ",":
        notes.append("delimiter " + ("tab" if header.delimiter == "\t" else f"'{header.delimiter}'"))
    if given.title_lines is None and header.lines_above:
        count = header.lines_above
        notes.append(f"{count} line{'s' if count > 1 else ''} above the header left out")
    names = [_clean(name, known) for name in header.cells]
    changed = [new for new, old in zip(names, header.cells, strict=True) if new != old]
    if changed:
        notes.append(f"blanks removed from the column names {', '.join(map(repr, changed))}")

    rest = text[header.end :]
    quotes = Quotes(rest, header.delimiter)
    if not whole:
        rest = rest[: quotes.end]
    valid = rest
    if has_other_bytes := not is_utf8(rest):
        valid = mended(rest, given.encoding)
        if given.encoding is None:
            notes.append(f"bytes that are not UTF-8 as {FALLBACK}")
    sample, names = _fitted(valid, header.delimiter, names)
    unnamed = [str(place) for place, name in enumerate(names, start=1) if not name]
    has_end_delimiters = not names[-1] and _is_mostly_empty(sample.column(len(names) - 1))
    if has_end_delimiters:
        unnamed.pop()
        notes.append("delimiters at the ends of rows left out")
    if unnamed:
        notes.append(f"column{'s' if len(unnamed) > 1 else ''} {', '.join(unnamed)} without a name left out")
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    if twice:
        raise ChurnError(f"columns that occur more than once: {', '.join(twice)}; rename or remove all but one of each")

    descriptions = given.description_rows
    if descriptions is None:
        descriptions = _descriptions(sample, schema)
        if descriptions:
            notes.append(
                f"{descriptions} row{'s' if descriptions > 1 else ''} of descriptions below the header left out"
            )
    start = header.end + _end_of(rest, quotes.ends.tolist(), descriptions)
    is_common = (
        not (header.lines_above or descriptions or has_other_bytes or quotes.has_line_breaks) and quotes.are_regular
    )
    layout = Layout(
        delimiter=header.delimiter,
        names=tuple(names),
        start=start,
        title_lines=header.lines_above,
        description_rows=descriptions,
        has_end_delimiters=has_end_delimiters,
        notes=tuple(notes),
        is_common=is_common and not has_end_delimiters,
        has_other_bytes=has_other_bytes,
        has_line_breaks=quotes.has_line_breaks,
    )
    return layout, sample.slice(descriptions)


def placeholders(names: Sequence[str]) -> list[str]:
    """Return a unique name for each column, also for those without a name."""
    return [name or f"(column {place})" for place, name in enumerate(names, start=1)]


def _header(text: bytes, schema: AccountSchema, known: set[str], *, whole: bool) -> Header:
    delimiter, title_lines = schema.format.delimiter, schema.format.title_lines
    # With the columns of accounts to score, a line can only be the header.
    needed = len(set(schema.source_columns))
    raw = text.split(b"\n", (title_lines or MAX_TITLE_LINES) + 100)
    offsets = [0]
    for line in raw:
        offsets.append(offsets[-1] + len(line) + 1)
    lines = [mended(line, None).decode() for line in raw]
    first = next((at for at, line in enumerate(lines) if line.strip(_BLANK_CHARACTERS + " \t\r")), None)
    if first is None:
        raise ChurnError("the file is empty")
    hint = _SEP_LINE.match(lines[first].strip())
    if hint and title_lines is None:
        first += 1
    if delimiter is None and hint:
        delimiter = hint.group(1)
    delimiters = DELIMITERS if delimiter is None else (delimiter,)
    places = range(first, min(len(lines), MAX_TITLE_LINES)) if title_lines is None else [title_lines]
    # The header is the line with most of the columns of the schema; the first of such lines, and of such delimiters.
    best, cells, score = (0, ""), list[str](), 0
    for at in places:
        for each in delimiters:
            found = _cells(lines[at:], each)
            hits = len(known.intersection(_clean(name, known) for name in found))
            if hits > score:
                best, cells, score = (at, each), found, hits
        if score >= needed:
            break
    if not score:
        if b"\0" in text:
            raise ChurnError("it is not text; if it is, set accounts.format.encoding")
        at = first if title_lines is None else title_lines
        each = max(delimiters, key=lambda character: len(_cells(lines[at:], character)))
        best, cells = (at, each), _cells(lines[at:], each)
    if not any(map(str.strip, cells)):
        raise ChurnError("the file has no header")
    if any(UNREADABLE in cell for cell in cells):
        raise ChurnError("its header is not text; if it is, set accounts.format.encoding")
    begin = offsets[best[0]]
    ends = Quotes(text[begin:], best[1]).ends
    if not len(ends) and not whole:
        raise ChurnError("the header does not end")
    end = begin + int(ends[0]) + 1 if len(ends) else len(text)
    return Header(best[1], tuple(cells), best[0], end)


def _cells(lines: Sequence[str], delimiter: str) -> list[str]:
    """Return the cells of the record that begins with the first of these lines."""
    try:
        return next(csv.reader((line.removesuffix("\r") + "\n" for line in lines), delimiter=delimiter), [])
    except csv.Error:
        return []


def _clean(name: str, known: set[str]) -> str:
    """Return the name of a column without the blanks around it, and with single blanks in it."""
    return name if name in known else " ".join(name.strip(_BLANK_CHARACTERS).split())


def _fitted(rows: bytes, delimiter: str, names: list[str]) -> tuple["pa.Table", list[str]]:
    """Return rows as text, and the names of their columns; a delimiter at the end of each row, or of the header, counts not."""
    table, faults = parsed(rows, delimiter, placeholders(names))
    lengths = {fault.actual for fault in faults}
    if not faults or len(table) or len(lengths) > 1:
        return table, names
    (length,) = lengths
    if length == len(names) + 1:
        longer, _ = parsed(rows, delimiter, placeholders([*names, ""]))
        if _is_mostly_empty(longer.column(len(names))):
            return longer, [*names, ""]
    if length == len(names) - 1 and not names[-1]:
        return parsed(rows, delimiter, placeholders(names[:-1]))[0], names[:-1]
    return table, names


def _is_mostly_empty(cells: "pa.ChunkedArray") -> bool:
    import pyarrow.compute as pc

    return 2 * int(pc.sum(pc.equal(cells, "")).as_py() or 0) >= len(cells)


def _descriptions(rows: "pa.Table", schema: AccountSchema) -> int:
    """Return the number of rows below the header that describe the columns: different words in the numeric columns."""
    numeric = [name for name in schema.numeric_names if name in rows.column_names]
    if len(numeric) < 2:
        return 0
    first = rows.select(numeric).slice(0, MAX_DESCRIPTIONS + 1).to_pylist()
    for at, row in enumerate(first):
        cells = [cell.strip() for cell in row.values()]
        if any(re.match(ANY_NUMBER, cell) for cell in cells):
            return at
        if len({cell.lower() for cell in cells if re.match(r"[^\W\d_]{2}", cell)}) < 2:
            return 0
    return 0


def _end_of(rows: bytes, ends: list[int], count: int) -> int:
    """Return the position after so many records that are not blank."""
    position = 0
    for end in _not_blank(rows, ends):
        if not count:
            break
        position, count = end + 1, count - 1
    return position if not count else len(rows)


def _not_blank(rows: bytes, ends: list[int]) -> Iterator[int]:
    start = 0
    for end in ends:
        if rows[start:end].strip(b"\r"):
            yield end
        start = end + 1


def evidence_of(sample: "pa.Table", schema: AccountSchema) -> Evidence:
    """Return what the rows of a sample say about the notation of numbers."""
    evidence = Evidence()
    columns = {
        name: sample.column(name).combine_chunks() for name in schema.numeric_names if name in sample.column_names
    }
    if columns and not evidence.add_plain(list(columns.values())):
        for name, texts in columns.items():
            evidence.add(name, texts)
    return evidence

"""Parse blocks of CSV records with PyArrow."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa


_BLANK_LINES = re.compile(rb"[\r\n]*")


class WrongLength(NamedTuple):
    """A record with more or fewer cells than the header.

    Attributes:
        row: Its number among the records that were parsed, from 0.
        actual: Number of its cells.
    """

    row: int
    actual: int


def parsed(
    records: bytes | memoryview,
    delimiter: str,
    names: Sequence[str],
    types: Mapping[str, "pa.DataType"] | None = None,
    missing: Sequence[str] = ("",),
    decimal: str = ".",
) -> tuple["pa.Table", list[WrongLength]]:
    """Parse records.

    Args:
        records: Whole records, without a header.
        delimiter: The character between cells.
        names: Name of each column.
        types: Columns to return, and their types; by default all, as text.
        missing: Spellings of a missing value in columns that are not text.
        decimal: Decimal separator in columns that are not text.

    Returns:
        The records as a table, and those that are left out because they have more or fewer cells than there are names.

    Raises:
        pyarrow.ArrowInvalid: If a cell is not of its type.
    """
    import pyarrow as pa
    from pyarrow import csv

    wrong: list[WrongLength] = []

    def note(record: Any) -> str:
        wrong.append(WrongLength(record.number - 1, record.actual_columns))
        return "skip"

    types = dict.fromkeys(names, pa.string()) if types is None else dict(types)
    if _BLANK_LINES.fullmatch(records):  # PyArrow refuses text without a line
        return pa.schema(list(types.items())).empty_table(), []
    table = csv.read_csv(
        pa.BufferReader(records),
        # One thread: several blocks are parsed at once, and only so the numbers of records are known.
        read_options=csv.ReadOptions(column_names=list(names), block_size=len(records) + 1, use_threads=False),
        parse_options=csv.ParseOptions(delimiter=delimiter, invalid_row_handler=note),
        convert_options=csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=list(missing),
            strings_can_be_null=False,
            decimal_point=decimal,
        ),
    )
    return table, wrong

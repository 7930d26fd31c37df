"""Tables as CSV."""

import codecs
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from churn.config import FileFormat
from churn.errors import ChurnError

if TYPE_CHECKING:
    import pyarrow as pa


def write_csv(table: "pa.Table", file: Any, *, header: bool = True, written_as: FileFormat | None = None) -> None:
    """Write a table as CSV; cells are quoted only if some cell contains a separator, quote or line break.

    Args:
        table: The rows.
        file: A binary file.
        header: Whether to write the column names first; False to append rows.
        written_as: Format in which the file will be read; by default UTF-8 with commas and decimal points.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    def needs_quotes(column: "pa.ChunkedArray") -> bool:
        if pa.types.is_dictionary(column.type):
            return any(needs_quotes(pa.chunked_array([chunk.dictionary])) for chunk in column.chunks)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            return False
        return bool(pc.any(pc.match_substring_regex(column, special)).as_py())

    written_as = written_as or FileFormat()
    delimiter = written_as.delimiter or (";" if written_as.decimal == "," else ",")
    separators = delimiter if written_as.decimal == "," else f",;{delimiter}"
    special = f'["\t\r\n{re.escape(separators)}]'
    if written_as.decimal == ",":
        table = _with_decimal_commas(table)
    names = pa.chunked_array([table.column_names])
    style = "needed" if any(map(needs_quotes, [names, *table.columns])) else "none"
    options = csv.WriteOptions(
        include_header=header, quoting_style=style, quoting_header=style, batch_size=8_192, delimiter=delimiter
    )
    if written_as.encoding in (None, "utf-8") and not written_as.title_lines and not written_as.description_rows:
        csv.write_csv(table, file, options)
        return
    # Lines above the header and rows below it are skipped by the reader, so there have to be some.
    encoding = written_as.encoding or "utf-8"
    text = codecs.getwriter(encoding)(file)
    try:
        text.write("\n" * (written_as.title_lines or 0))
        for part in _parts(table, written_as.description_rows or 0, delimiter, options):
            text.write(part)
    except UnicodeEncodeError as error:
        letter = error.object[error.start]
        raise ChurnError(
            f"{letter!r} cannot be written in {encoding}; set accounts.format.encoding to utf-8"
        ) from error


def _with_decimal_commas(table: "pa.Table") -> "pa.Table":
    import pyarrow as pa
    import pyarrow.compute as pc

    for position, item in enumerate(table.schema):
        if pa.types.is_floating(item.type):
            texts = pc.replace_substring(table.column(position).cast(pa.string()), ".", ",")
            table = table.set_column(position, item.name, texts)
    return table


def _parts(table: "pa.Table", descriptions: int, delimiter: str, options: Any) -> Iterator[str]:
    """Yield the text of a table in parts, with empty rows below the header."""
    import pyarrow as pa
    from pyarrow import csv

    for start in range(0, max(1, len(table)), options.batch_size):
        sink = pa.BufferOutputStream()
        csv.write_csv(table.slice(start, options.batch_size), sink, options)
        text = sink.getvalue().to_pybytes().decode()
        if options.include_header:
            header, _, rows = text.partition("\n")
            empty = delimiter * (table.num_columns - 1) + "\n"
            text = f"{header}\n{empty * descriptions}{rows}"
            options.include_header = False
        yield text

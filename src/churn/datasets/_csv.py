"""Tables as CSV."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def write_csv(table: "pa.Table", file: Any, *, header: bool = True) -> None:
    """Write a table as CSV; cells are quoted only if some cell needs it, for programs that separate by semicolons too.

    Args:
        table: The rows.
        file: A binary file.
        header: Whether the first line names the columns; without for rows that follow others.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    def needs_quotes(column: "pa.ChunkedArray") -> bool:
        if pa.types.is_dictionary(column.type):
            return any(needs_quotes(pa.chunked_array([chunk.dictionary])) for chunk in column.chunks)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            return False
        return bool(pc.any(pc.match_substring_regex(column, '[",;\t\r\n]')).as_py())

    names = pa.chunked_array([table.column_names])
    style = "needed" if any(map(needs_quotes, [names, *table.columns])) else "none"
    options = csv.WriteOptions(include_header=header, quoting_style=style, quoting_header=style, batch_size=8_192)
    csv.write_csv(table, file, options)

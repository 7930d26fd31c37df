"""Tables as CSV."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


# Spellings of a missing value in a numeric column. In a text column only an empty cell is missing: NA is also Namibia.
NULL_SPELLINGS = ["", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None"]


def normalise_numbers(batch: "pa.RecordBatch", names: Iterable[str]) -> "pa.RecordBatch":
    """Normalise numeric columns that were read as text: spellings of a missing value become null, true and false 1 and 0.

    Args:
        batch: Rows of a table.
        names: Numeric columns; those that are absent or not text stay as they are.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for position, column in enumerate(batch.schema):
        if column.name not in names or not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        texts = batch.column(position)
        texts = pc.if_else(pc.is_in(texts, pa.array(NULL_SPELLINGS, type=column.type)), None, texts)
        lowered = pc.utf8_lower(texts)
        truths = pc.is_in(lowered, pa.array(["true", "false"], type=column.type))
        if texts.null_count < len(texts) and pc.all(pc.or_(truths, pc.is_null(texts))).as_py():
            texts = pc.cast(pc.equal(lowered, "true"), pa.float64())
        batch = batch.set_column(position, column.name, texts)
    return batch


def write_csv(table: "pa.Table", file: Any, *, header: bool = True) -> None:
    """Write a table as CSV; cells are quoted only if some cell contains a comma, semicolon, quote or line break.

    Args:
        table: The rows.
        file: A binary file.
        header: Whether to write the column names first; False to append rows.
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

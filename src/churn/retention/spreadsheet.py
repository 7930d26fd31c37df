"""Make tables safe for spreadsheets, which would interpret some texts as formulas."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# OWASP, "CSV Injection": equals, plus, minus, at, tab, carriage return, line feed; the null character is from OWASP
# ASVS 5.0, requirement 1.2.10. Some spreadsheets read the full-width forms like the plain ones.
FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001, full-width on purpose
CONTROL_STARTS = ("\t", "\r", "\n", "\0")
# Characters that import dialogs strip from the start of a cell.
TRIMMED = " \t\r\n\v\f\0\u00a0\u200b\ufeff"
ESCAPE = "'"


def spreadsheet_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with an apostrophe before each text that a spreadsheet would interpret as a formula.

    These are text cells and column names that begin with ``= + - @`` (also full-width, also after blanks), or with a tab,
    line break or null character; spreadsheets read the apostrophe as the mark of a text. Numbers, dates and other cells
    stay as they are. The function is idempotent. Source: OWASP, CSV Injection,
    https://owasp.org/www-community/attacks/CSV_Injection.

    Separators and quotes within cells, of which that page also warns, are left to the writer: quote all text
    (``csv.QUOTE_NONNUMERIC``), for programs that read semicolons as separators.

    Args:
        frame: Any table; it is not changed.

    Returns:
        A table of the same shape, index and order.
    """
    safe = [_safe_column(frame.iloc[:, position]) for position in range(frame.shape[1])]
    # By position, since names may occur twice.
    joined = pd.DataFrame(dict(enumerate(safe)), index=frame.index)
    joined.columns = pd.Index([_safe_cell(name) for name in frame.columns], name=frame.columns.name)
    return joined


def _safe_column(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        categories = [_safe_cell(value) for value in column.cat.categories]
        if len(set(categories)) == len(categories):
            return column.cat.rename_categories(categories)
        # A category and the escaped form of another would become equal.
        return _each_cell(column)
    if isinstance(column.dtype, pd.StringDtype):
        return pd.Series(_safe_texts(column), index=column.index, dtype=column.dtype)
    if column.dtype == object:
        return _each_cell(column)
    return column


def _each_cell(column: pd.Series) -> pd.Series:
    return pd.Series([_safe_cell(cell) for cell in column], index=column.index, dtype=object)


def _safe_texts(texts: pd.Series) -> NDArray[np.object_]:
    plain: NDArray[np.object_] = np.array(texts, dtype=object)
    unsafe = _is_unsafe(pa.array(plain, type=pa.large_string(), from_pandas=True))
    plain[unsafe] = ESCAPE + plain[unsafe]
    return plain


def _safe_cell(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith(CONTROL_STARTS):
        return ESCAPE + cell
    if isinstance(cell, str) and cell.lstrip(TRIMMED).startswith(FORMULA_STARTS):
        return ESCAPE + cell
    return cell


def _is_unsafe(texts: "pa.LargeStringArray") -> NDArray[np.bool_]:
    first = pc.utf8_slice_codeunits(texts, 0, 1)
    trimmed = pc.utf8_slice_codeunits(pc.utf8_ltrim(texts, characters=TRIMMED), 0, 1)
    unsafe = pc.or_(
        pc.is_in(first, value_set=pa.array(CONTROL_STARTS, type=pa.large_string())),
        pc.is_in(trimmed, value_set=pa.array(FORMULA_STARTS, type=pa.large_string())),
    )
    return np.asarray(unsafe.to_numpy(zero_copy_only=False), dtype=np.bool_)

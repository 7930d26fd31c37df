"""The list that a retention team works through: whom to call first, what for, and why.

Also what makes a table safe to open in a spreadsheet. Ids and categories come from outside; a cell that begins like a
formula would be run by the program that opens it.
"""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

# OWASP, "CSV Injection": equals, plus, minus, at, tab, carriage return, line feed; the null character is from OWASP
# ASVS 5.0, requirement 1.2.10. Some spreadsheets read the full-width forms like the plain ones.
FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001, full-width on purpose
CONTROL_STARTS = ("\t", "\r", "\n", "\0")
# What import dialogs trim before they look at a cell.
TRIMMED = " \t\r\n\v\f\0\u00a0\u200b\ufeff"
ESCAPE = "'"


def retention_list(
    scores: pd.DataFrame,
    value: ArrayLike,
    expected_profit: ArrayLike,
    act: ArrayLike,
    reasons: pd.DataFrame,
    as_of: date | None,
) -> pd.DataFrame:
    """Put scored accounts in the order in which acting on them pays.

    Args:
        scores: What `ChurnModel.score` gives, n rows: the id first, ``probability``, ``risk_band``, ``model_version``.
        value: What keeping each account is worth, in currency, shape (n,).
        expected_profit: What acting on each account is expected to bring, in currency, shape (n,).
        act: Whether the decision is to act on each account, shape (n,).
        reasons: What `churn.reasons.explain_in_words` gives for the same accounts in the same order, n rows.
        as_of: Date of the scored snapshot, if known.

    Returns:
        One row an account: the id, ``probability``, ``risk_band``, ``account_value``, ``expected_profit`` rounded to 2
        decimals, ``recommended_action`` (yes or no), the columns of ``reasons``, ``model_version`` and ``as_of``
        (YYYY-MM-DD). By expected profit as shown, largest first, then by probability, largest first, then by id.

    Raises:
        ValueError: The arguments have different numbers of rows.
    """
    rows = len(scores)
    parts: dict[str, NDArray[np.float64] | NDArray[np.bool_]] = {
        "value": np.asarray(value, dtype=np.float64),
        "expected_profit": np.asarray(expected_profit, dtype=np.float64),
        "act": np.asarray(act, dtype=np.bool_),
    }
    wrong = [f"{name} {len(part)}" for name, part in (*parts.items(), ("reasons", reasons)) if len(part) != rows]
    if wrong:
        raise ValueError(f"scores have {rows} rows, but {', '.join(wrong)}")
    name = str(scores.columns[0])
    listed = pd.DataFrame(
        {
            name: scores[name].to_numpy(),
            "probability": scores["probability"].to_numpy(),
            "risk_band": scores["risk_band"].array,
            "account_value": parts["value"],
            # What is shown is what orders the list; and -0.00 would look like a fault.
            "expected_profit": np.round(parts["expected_profit"], 2) + 0.0,
            "recommended_action": pd.array(np.where(parts["act"], "yes", "no"), dtype="str"),
            **{column: reasons[column].array for column in reasons.columns},
            "model_version": scores["model_version"].array,
            "as_of": pd.array([as_of.isoformat() if as_of else None] * rows, dtype="str"),
        }
    )
    return listed.sort_values(
        ["expected_profit", "probability", name], ascending=[False, False, True], kind="stable", ignore_index=True
    )


def spreadsheet_safe(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table with no text that a spreadsheet would take for a formula.

    A text cell or column name that begins with ``= + - @`` (also full-width, also after blanks), or with a tab, line
    break or null character, gets a leading apostrophe, which spreadsheets take as *this is text*. Numbers, dates and
    other cells stay as they are. Doing it twice changes nothing more. After OWASP, CSV Injection,
    https://owasp.org/www-community/attacks/CSV_Injection.

    The page also warns of separators and quotes within cells. The writer takes care of them: quote all text
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
        # A category and its escaped form side by side would become one.
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

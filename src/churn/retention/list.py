"""The retention list: the accounts to contact, best first, with value, expected profit and reasons."""

from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from churn.retention.order import best_first, in_cents


def retention_list(
    scores: pd.DataFrame,
    value: ArrayLike,
    expected_profit: ArrayLike,
    act: ArrayLike,
    reasons: pd.DataFrame,
    as_of: date | None,
    *,
    carried: pd.DataFrame | None = None,
    suggestions: "pd.Series[str] | None" = None,
) -> pd.DataFrame:
    """Order scored accounts by expected profit and add values, actions and reasons.

    Args:
        scores: Result of `ChurnModel.score`, n rows: the id first, ``probability``, ``risk_band``, ``model_version``.
        value: Value of keeping each account, in currency, shape (n,).
        expected_profit: Expected profit of acting on each account, in currency, shape (n,).
        act: Whether to act on each account, shape (n,).
        reasons: Result of `churn.retention.reasons.explain_in_words` for the same accounts in the same order, n rows.
        as_of: Date of the scored snapshot, if known.
        carried: Columns of the account table that are shown as they are, n rows; none by default.
        suggestions: Suggested actions, n rows; none by default.

    Returns:
        One row per account: the id, the carried columns, ``probability``, ``risk_band``, ``account_value``,
        ``expected_profit`` rounded to 2 decimals, ``recommended_action`` (yes or no), ``suggested_action``, the columns of
        ``reasons``, ``model_version`` and ``as_of`` (YYYY-MM-DD). Ordered by rounded expected profit, then by probability,
        both largest first, then by id.

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
            **({} if carried is None else {column: carried[column].array for column in carried.columns}),
            "probability": scores["probability"].to_numpy(),
            "risk_band": scores["risk_band"].array,
            "account_value": parts["value"],
            "expected_profit": in_cents(parts["expected_profit"]),
            "recommended_action": pd.array(np.where(parts["act"], "yes", "no"), dtype="str"),
            "suggested_action": pd.array(
                np.full(rows, None) if suggestions is None else suggestions.to_numpy(object), dtype="str"
            ),
            **{column: reasons[column].array for column in reasons.columns},
            "model_version": scores["model_version"].array,
            "as_of": pd.array([as_of.isoformat() if as_of else None] * rows, dtype="str"),
        }
    )
    order = best_first(listed["expected_profit"], listed["probability"], listed[name])
    return listed.iloc[order].reset_index(drop=True)

"""The data report: what a person should know about a labelled table before a model is trained on it."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, Leakage
from churn.tables import plain, quoted, spacing
from churn.training.leakage import ColumnAlone, columns_alone

SCHEMA_VERSION = 1
# Rows that are described; of a longer table they are evenly spaced.
SAMPLE_ROWS = 50_000
# Bins of a column of numbers, and categories that get a bar of their own.
BINS, CATEGORIES = 12, 8
# ROC AUC of a single column from which it deserves a look, and the share of missing values.
STRONG, MOSTLY_MISSING = 0.9, 0.5


class SetAside(NamedTuple):
    """A column that the model does not use.

    Attributes:
        name: Its name.
        role: ``carry`` or ``left_out``.
        why: The reason, as the end of a sentence.
        suspected: Whether it seems to know the outcome.
    """

    name: str
    role: str
    why: str
    suspected: bool = False


def data_report(
    accounts: pd.DataFrame,
    schema: AccountSchema,
    *,
    name: str,
    rows: int,
    is_sampled: bool = False,
    leakage: Leakage | None = None,
    notes: Sequence[str] = (),
    set_aside: Sequence[SetAside] = (),
) -> dict[str, Any]:
    """Describe each column of a table, by outcome, as plain JSON types.

    Args:
        accounts: Canonical labelled rows; at most `SAMPLE_ROWS` of them, evenly spaced, are described.
        schema: Schema of the table.
        name: What the table is called.
        rows: Number of rows of the table that the given ones are from.
        is_sampled: Whether the given rows are evenly spaced ones; those of other labels are left out anyway.
        leakage: The limit of the check that training makes.
        notes: What was converted when the table was read, in sentences.
        set_aside: Columns that the model does not use.

    Returns:
        ``rows`` and ``sampled`` (numbers of rows), ``churned``, ``churn_rate``, ``notes``, ``set_aside``, and for each column
        its kind, shares of missing values, distribution among churned accounts and those that stayed, ROC AUC by itself, and
        status: ``ok``, ``watch`` (look at it) or ``alarm`` (training would refuse it).
    """
    leakage = leakage or Leakage()
    sample = accounts.iloc[:: spacing(len(accounts), SAMPLE_ROWS)]
    churned = sample[schema.label.column].to_numpy(dtype=np.int64) == 1
    alone = {each.column: each for each in columns_alone(sample, schema, leakage)}
    dates = {item.feature: item for item in schema.dates}
    columns = []
    for column in (*schema.numeric_names, *schema.categorical):
        numeric = column in schema.numeric_names
        described = _numbers(sample[column], churned) if numeric else _categories(sample[column], churned)
        present = sample[column].notna().to_numpy()
        date = dates.get(column)
        columns.append(
            {
                "column": column,
                "kind": "date" if date else "number" if numeric else "category",
                "source": date.column if date else column,
                **described,
                "missing": _share(~present),
                "missing_churned": _share(~present[churned]),
                "missing_stayed": _share(~present[~churned]),
                **_verdict(alone.get(column), _share(~present), column in leakage.allowed, schema),
            }
        )
    document: dict[str, Any] = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "name": name,
            "rows": rows,
            "sampled": len(sample),
            "is_sampled": is_sampled or len(sample) < len(accounts),
            "churned": int(churned.sum()),
            "churn_rate": _share(churned),
            "limit": leakage.roc_auc_limit,
            "notes": [*notes, *_conversions(schema)],
            "columns": sorted(columns, key=lambda entry: -(entry["roc_auc"] or 0.0)),
            "set_aside": [each._asdict() for each in set_aside],
        }
    )
    return document


def _share(mask: NDArray[np.bool_]) -> float | None:
    return float(mask.mean()) if len(mask) else None


def _verdict(alone: ColumnAlone | None, missing: float | None, allowed: bool, schema: AccountSchema) -> dict[str, Any]:
    if alone is None:
        return {"roc_auc": None, "status": "ok", "said": ""}
    status, said = "ok", ""
    if alone.leaks and not allowed:
        status, said = "alarm", f"{alone.said}; training refuses it, unless it is left out or allowed"
    elif alone.roc_auc >= STRONG:
        status, said = "watch", "predicts the outcome strongly by itself: was it known before the outcome?"
    elif missing is not None and missing >= MOSTLY_MISSING:
        status, said = "watch", "is missing in most rows"
    return {"roc_auc": alone.roc_auc, "status": status, "said": said}


def _conversions(schema: AccountSchema) -> Iterator[str]:
    """Yield what the schema converts, in sentences."""
    for item in schema.dates:
        end = f"the date in {schema.as_of}" if isinstance(schema.as_of, str) else str(schema.as_of)
        yield f"{item.column}: a date, from which the {item.unit} up to {end} are counted"
    own = [text for text in schema.missing if text and text not in AccountSchema.model_fields["missing"].default]
    if own:
        yield f"Read as missing in columns of numbers and dates: {', '.join(map(quoted, own))}"
    texts = [text for text in schema.missing_text if text]
    if texts:
        yield f"Read as missing in columns of categories: {', '.join(map(quoted, texts))}"
    label = schema.label
    for meaning, values in (("in neither class", label.drop), ("not known yet", label.unknown)):
        if values:
            yield f"{label.column}: rows with {', '.join(map(quoted, values))} are left out, as the outcome is {meaning}"


def _numbers(values: pd.Series, churned: NDArray[np.bool_]) -> dict[str, Any]:
    numbers = values.to_numpy(dtype=np.float64)
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return {
            "different": 0,
            "low": None,
            "middle": None,
            "high": None,
            "labels": [],
            **_by_outcome(np.zeros(0, np.int64), np.zeros(0, bool), 0),
        }
    different = np.unique(known)
    if len(different) <= BINS:
        edges = different
        codes = np.searchsorted(different, numbers)
        labels = [f"{value:g}" for value in different]
    else:
        # Of equal width between the 1st and the 99th percentile; the first and the last bin have what is beyond.
        low, high = np.percentile(known, [1, 99])
        if high <= low:
            low, high = known.min(), known.max()
        edges = np.linspace(low, high, BINS + 1)
        if (known == np.round(known)).all():
            edges = np.unique(np.ceil(edges))
        codes = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
        labels = [f"{start:.4g} to {end:.4g}" for start, end in pairwise(edges.tolist())]
        labels[0], labels[-1] = f"below {edges[1]:.4g}", f"from {edges[-2]:.4g}"
    finite = np.isfinite(numbers)
    size = len(labels)
    return {
        "different": len(different),
        "low": float(known.min()),
        "middle": float(np.median(known)),
        "high": float(known.max()),
        "labels": labels,
        **_by_outcome(codes[finite], churned[finite], size),
    }


def _categories(values: pd.Series, churned: NDArray[np.bool_]) -> dict[str, Any]:
    counts = values.value_counts()
    shown = [str(value) for value in counts.index[:CATEGORIES]]
    places = {value: place for place, value in enumerate(shown)}
    present = values.notna().to_numpy()
    codes = np.asarray(values[present].map(places).fillna(len(shown)).to_numpy(), dtype=np.int64)
    labels = shown + ([f"{len(counts) - len(shown):,} others"] if len(counts) > len(shown) else [])
    nothing = {"low": None, "middle": None, "high": None}
    return {"different": len(counts), **nothing, "labels": labels, **_by_outcome(codes, churned[present], len(labels))}


def _by_outcome(codes: NDArray[np.int64], churned: NDArray[np.bool_], size: int) -> dict[str, Any]:
    """Return the share of churned accounts, and of those that stayed, in each bin, and the churn rate of each."""
    of_churned = np.bincount(codes[churned], minlength=size)[:size].astype(np.float64)
    of_stayed = np.bincount(codes[~churned], minlength=size)[:size].astype(np.float64)
    both = of_churned + of_stayed
    with np.errstate(invalid="ignore"):
        rates = of_churned / both
    return {
        "by_churned": (of_churned / max(of_churned.sum(), 1)).tolist(),
        "by_stayed": (of_stayed / max(of_stayed.sum(), 1)).tolist(),
        "rates": [None if np.isnan(rate) else float(rate) for rate in rates],
        "counts": both.astype(int).tolist(),
    }

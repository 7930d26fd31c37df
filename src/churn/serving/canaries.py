"""Canary rows: a model is tried on them before it answers anybody.

Those that are stored with the model must get the scores that they had at its training. Others are made from its reference
profile, so that every stored model has them: the extremes and the quartiles of its numeric columns, each of its categories,
missing values, and a category that nobody has seen.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from churn.config import AccountSchema
from churn.model import ChurnModel
from churn.model.profile import NumericProfile
from churn.tables.checks import check_accounts
from churn.tables.dates import DAYS_OF_MONTH

# The most categories of a column that get a row of their own.
MOST_CATEGORIES = 20


def canary_rows(model: ChurnModel) -> list[dict[str, Any]]:
    """Return rows that the model's schema accepts, as a client would send them."""
    schema, reference = model.schema, model.reference
    levels = {name: _levels(profile) for name, profile in reference.numeric.items()}
    values = {name: profile.values for name, profile in reference.categorical.items()}  # noqa: PD011
    most = [len(each) for each in levels.values()] + [min(len(each), MOST_CATEGORIES) for each in values.values()]
    count = max(5, *most)
    rows: list[dict[str, Any]] = []
    for number in range(count + 1):
        row: dict[str, Any] = {schema.id: f"canary-{number}"}
        for column in schema.numeric:
            known = levels.get(column.column)
            row[column.column] = known[number % len(known)] if known and number < count else None
        row |= _dates(schema, levels, None if number == count else number)
        for name in schema.categorical:
            seen = values.get(name)
            row[name] = seen[number % len(seen)] if seen and number < count else None
        if number == 1 and schema.categorical:
            row[schema.categorical[0]] = "a category that nobody has seen"
        keep_rules(row, schema)
        rows.append(row)
    return rows


def keep_rules(row: dict[str, Any], schema: AccountSchema) -> None:
    """Lower values that are above the limit of a rule to it."""
    for rule in schema.not_above:
        low, high = row.get(rule.column), row.get(rule.limit)
        if low is not None and high is not None and low > high:
            row[rule.column] = high


def _dates(schema: AccountSchema, levels: Mapping[str, list[float]], number: int | None) -> dict[str, str | None]:
    """Return the dates of a row, which are such a time ago as the profile knows; None for missing ones."""
    if not schema.dates:
        return {}
    end = schema.as_of if isinstance(schema.as_of, date) else date(2024, 1, 1)
    dates: dict[str, str | None] = {schema.as_of: end.isoformat()} if isinstance(schema.as_of, str) else {}
    for item in schema.dates:
        known = levels.get(item.feature)
        dates[item.column] = None
        if known and number is not None:
            days = known[number % len(known)] * (DAYS_OF_MONTH if item.unit == "months" else 1)
            dates[item.column] = (end - timedelta(days=round(days))).isoformat()
    return dates


def canary_faults(model: ChurnModel) -> list[str]:
    """Return what is wrong with the scores of the canary rows; empty if nothing is.

    They must be probabilities, have a risk band, and be the same, to the last bit, as a table of the rows gets them; those of
    the stored rows must be the stored ones.
    """
    return [*_stored_faults(model), *_faults(model, canary_rows(model))]


def _stored_faults(model: ChurnModel) -> list[str]:
    """Return what is wrong with the scores of the rows that are stored with a model, each way that it is asked."""
    if model.canaries is None:
        return []
    scores = model.score_rows(model.canaries.records(model.schema.id))
    return model.canary_faults() or model.canaries.faults(
        np.array([score.probability for score in scores], dtype=np.float32)
    )


def _faults(model: ChurnModel, rows: list[Mapping[str, Any]] | list[dict[str, Any]]) -> Iterator[str]:
    partial = model.score_good_rows(rows)
    good = [rows[score.row] for score in partial.scores]
    if not good:
        yield f"none of {len(rows)} canary rows can be scored: {partial.faults[0].message if partial.faults else 'no score'}"
        return
    scores = np.array([score.probability for score in partial.scores], dtype=np.float32)
    if not (np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()):
        yield "scores of canary rows are no probabilities"
        return
    table = check_accounts(pd.DataFrame(good), model.schema, subject="canary rows", labelled=False).accounts
    batch = model.score(table)
    if not np.array_equal(batch["probability"].to_numpy(), scores):
        yield "scores of canary rows differ from those of a table of the same rows"
    bands = [score.risk_band for score in partial.scores]
    if bands != batch["risk_band"].astype(str).tolist():
        yield "risk bands of canary rows differ from those of a table of the same rows"


def _levels(profile: NumericProfile) -> list[float]:
    """Return the extremes and some quantiles of a column, as the profile knows them."""
    if profile.minimum is None or profile.maximum is None:
        return []
    edges = profile.edges
    quartiles = [edges[len(edges) * part // 4] for part in (1, 2, 3)] if edges else []
    return list(dict.fromkeys([profile.minimum, *quartiles, profile.maximum]))

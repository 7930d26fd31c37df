"""Models that are made by hand, whose reasons are known."""

import numpy as np
import pandas as pd

from churn.config import AccountSchema
from churn.retention.terms import Term, Terms, stems
from churn.tables import check_accounts

LOGINS, SEATS, PLAN = "logins", "seats", "plan"
SCHEMA = AccountSchema(id="id", label={"column": "left"}, numeric=[LOGINS, SEATS], categorical=[PLAN])


def terms_of(typical: dict[str, float | str]) -> Terms:
    """Columns with their typical values, each a reason of its own, without a profile."""
    items = [Term(name, stem, typical[name]) for name, stem in zip(typical, stems(list(typical)), strict=True)]
    return Terms(tuple(items), tuple((at,) for at in range(len(items))))


TYPICAL = terms_of({LOGINS: 310.0, SEATS: 10.0, PLAN: "basic"})


def table(rows: list[tuple[float | None, float | None, str | None]]) -> pd.DataFrame:
    """Canonical accounts."""
    frame = pd.DataFrame(rows, columns=[LOGINS, SEATS, PLAN])
    frame.insert(0, "id", [f"a{position}" for position in range(len(rows))])
    return check_accounts(frame, SCHEMA, subject="accounts", labelled=False).accounts


def parts(*rows: tuple[float, ...], columns: tuple[str, ...] = (LOGINS, SEATS, PLAN)) -> pd.DataFrame:
    """Contributions written by hand."""
    return pd.DataFrame(list(rows), columns=list(columns), dtype=np.float64)

"""The split into training and test rows."""

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, FeatureEngineering
from churn.errors import AccountsError
from churn.pipelines.feature_engineering.nodes import split_accounts, validate_accounts
from tests.conftest import in_batches, rng

SCHEMA = AccountSchema.model_validate(
    {
        "id": "key",
        "label": {"column": "left", "positive": "yes", "drop": ["new"], "unknown": ["?"]},
        "numeric": ["size"],
    }
)


def table_of(labels: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {"key": [f"a{row}" for row in range(len(labels))], "left": labels, "size": np.arange(len(labels))}
    )


def split(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    checked = validate_accounts(in_batches(table, 70), SCHEMA)
    train, test, _ = split_accounts(checked, SCHEMA, FeatureEngineering(test_share=0.25))
    return train.frame(), test.frame()


def test_rows_in_neither_class_are_in_neither_part() -> None:
    table = table_of(rng(1).choice(["yes", "no", "new", "?"], 400).tolist())
    train, test = split(table)
    known = table[table["left"].isin(["yes", "no"])]
    assert sorted([*train["key"], *test["key"]]) == sorted(known["key"])
    for part in (train, test):
        expected = known.set_index("key")["left"][part["key"]] == "yes"
        assert part["left"].tolist() == expected.astype(int).tolist()
    # They do not change the part of any other account.
    alone = split(known)
    assert [list(part["key"]) for part in alone] == [list(train["key"]), list(test["key"])]


def test_a_class_needs_rows_that_are_not_left_out() -> None:
    with pytest.raises(AccountsError, match="left: a class has only 9 rows, 10 are needed"):
        split(table_of(["yes"] * 9 + ["no"] * 50 + ["new"] * 50))

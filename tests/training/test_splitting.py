"""The split into training and test rows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, FeatureEngineering, Label, Training
from churn.errors import AccountsError
from churn.pipelines.feature_engineering.nodes import split_accounts, validate_accounts
from churn.pipelines.training.nodes import assemble_model
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


def test_the_label_that_is_taken_for_stayed_is_described() -> None:
    def described(labels: list[str], **label: str) -> Any:
        schema = SCHEMA.model_copy(update={"label": Label(column="left", **label)})
        checked = validate_accounts(in_batches(table_of(labels * 100), 70), schema)
        return split_accounts(checked, schema, FeatureEngineering()).split.get("stayed")

    assert described(["gone", "Here"], positive="Gone") == ["here"]
    assert described(["gone", "here"], positive="gone", negative="here") is None
    assert described(["yes", "no"], positive="yes") is None


def test_the_model_stores_the_label_that_was_taken_for_stayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.training.trainer.assemble_model", lambda *given, **_: given[2])
    split = {"key": 1, "share": 0.3, "sketch": ""}
    others: Any = (None, None, None, None, {}, None, None)

    def stored(split: dict[str, Any], schema: AccountSchema) -> tuple[str, ...] | None:
        model: Any = assemble_model(*others, split, schema, Training())
        return model.label.negatives

    assert stored(split, SCHEMA) is None
    assert stored(split | {"stayed": ["here"]}, SCHEMA) == ("here",)
    own = SCHEMA.model_copy(update={"label": SCHEMA.label.model_copy(update={"negative": "No"})})
    assert stored(split | {"stayed": ["here"]}, own) == ("No",)


def test_a_class_needs_rows_that_are_not_left_out() -> None:
    with pytest.raises(AccountsError, match="left: a class has only 9 rows, 10 are needed"):
        split(table_of(["yes"] * 9 + ["no"] * 50 + ["new"] * 50))

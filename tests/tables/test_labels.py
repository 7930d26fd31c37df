"""Labels: each value means what the schema says, or is refused."""

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema
from churn.errors import AccountsError
from churn.tables import CheckedBatches, check_accounts
from churn.tables.labels import LEFT_OUT, UNKNOWN, OutcomeRows
from churn.tables.split import Split
from tests.conftest import in_batches


def schema_of(**label: Any) -> AccountSchema:
    return AccountSchema.model_validate(
        {"id": "key", "label": {"column": "left", **label}, "numeric": ["size"], "categorical": []}
    )


def table_of(labels: Any) -> pd.DataFrame:
    column = labels if isinstance(labels, pd.Series) else pd.Series(labels)
    return pd.DataFrame({"key": [f"a{row}" for row in range(len(column))], "left": column, "size": 1.0})


def trained_on(labels: Any, **label: Any) -> list[int]:
    """Labels of training rows, from the table as a whole, and from batches of different size."""
    schema, table = schema_of(**label), table_of(labels)
    whole = check_accounts(table, schema, subject="t", labelled=True)
    for rows in (1, 3, len(table)):
        found = CheckedBatches(in_batches(table, rows), schema, None, "t").checked_rows(Split(1, 0.3)).labels
        assert (found != LEFT_OUT).tolist() == whole.used.tolist()
        assert found[whole.used].tolist() == whole.accounts["left"].tolist()
    assert whole.accounts["key"].tolist() == table["key"][whole.used].tolist()
    return [int(value) for value in found]


def faults_of(labels: Any, **label: Any) -> list[str]:
    """Faults of training rows, the same from the table as a whole and from batches."""
    schema, table = schema_of(**label), table_of(labels)
    with pytest.raises(AccountsError) as whole:
        check_accounts(table, schema, subject="t", labelled=True)
    for rows in (1, 3):
        with pytest.raises(AccountsError) as parts:
            CheckedBatches(in_batches(table, rows), schema, None, "t").checked_rows(Split(1, 0.3))
        assert parts.value.faults == whole.value.faults
    return whole.value.faults


def outcomes_of(labels: Any, **label: Any) -> list[int]:
    """Outcomes, in batches of 2 rows that are joined afterwards."""
    schema, table = schema_of(**label), table_of(labels)
    found, codes = OutcomeRows(), []
    for at in range(0, len(table), 2):
        part = OutcomeRows()
        codes += part.check_batch(table.iloc[at : at + 2], schema)[1].tolist()
        found.extend(part)
    found.raise_faults([], schema)
    return codes


# --- the same label in every type -------------------------------------------------------------------------------


@pytest.mark.parametrize("positive", ["True", True, "true", 1, "1", 1.0, [1]])
@pytest.mark.parametrize(
    "labels",
    [
        [True, False, True],
        [1, 0, 1],
        [1.0, 0.0, 1.0],
        ["True", "False", "TRUE"],
        ["1", "0", "1.0"],
        pd.Series(["true", "false", " true "], dtype="category"),
        pd.Series([True, False, True], dtype="boolean"),
        pd.Series([1, 0, 1], dtype="Int8"),
    ],
)
def test_truth_values_are_the_same_label_in_every_type(labels: Any, positive: Any) -> None:
    assert trained_on(labels, positive=positive) == [1, 0, 1]
    assert outcomes_of(labels, positive=positive) == [1, 0, 1]


def test_several_values_may_mean_the_same() -> None:
    labels = ["Churned", "Cancelled", "Stayed", "Active", "churned"]
    meant = {"positive": ["churned", "cancelled"], "negative": ["stayed", "active"]}
    assert trained_on(labels, **meant) == [1, 1, 0, 0, 1]
    assert outcomes_of(labels, **meant) == [1, 1, 0, 0, 1]
    # One other value needs no name.
    assert trained_on(["Churned", "Cancelled", "Stayed"], positive=["churned", "cancelled"]) == [1, 1, 0]


# --- rows that are left out -------------------------------------------------------------------------------------


def test_rows_that_are_neither_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    labels = ["Churned", "Joined", "Stayed", "?", "joined ", "Stayed", "", "Joined"]
    meant = {"positive": "Churned", "drop": ["Joined"], "unknown": ["?", ""]}
    with caplog.at_level(logging.INFO):
        assert trained_on(labels, **meant) == [1, LEFT_OUT, 0, LEFT_OUT, LEFT_OUT, 0, LEFT_OUT, LEFT_OUT]
    expected = {
        "t: 3 rows are left out, as left is 'Joined' (accounts.label.drop)",
        "t: 1 row is left out, as left is '?' (accounts.label.unknown)",
        "t: 1 row is left out, as left is empty (accounts.label.unknown)",
    }
    assert expected == {record.message for record in caplog.records}
    assert set(check_accounts(table_of(labels), schema_of(**meant), subject="t", labelled=True).left_out) == expected
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert outcomes_of(labels, **meant) == [1, UNKNOWN, 0, UNKNOWN, UNKNOWN, 0, UNKNOWN, UNKNOWN]
    assert len(caplog.records) == 3


def test_chosen_rows_have_neither_those_that_are_left_out_nor_others() -> None:
    schema = schema_of(positive="yes", drop=["new"])
    table = table_of(["yes", "new", "no", "yes", "new", "no"])
    checked = CheckedBatches(in_batches(table, 4), schema, None, "t")
    labels = checked.checked_rows(Split(1, 0.3)).labels
    first = checked.chosen(["key", "left"], labels == 1).frame()
    others = checked.chosen(["key", "left"], labels == 0).frame()
    assert first["key"].tolist() == ["a0", "a3"]
    assert others["key"].tolist() == ["a2", "a5"]
    assert set(first["left"]) == {1}
    assert set(others["left"]) == {0}


def test_a_column_needs_a_value_in_a_row_to_train_on() -> None:
    schema = schema_of(positive="yes", drop=["new"])
    table = table_of(["yes", "new", "no"]).assign(size=[np.nan, 1.0, np.nan])
    with pytest.raises(AccountsError) as caught:
        check_accounts(table, schema, subject="t", labelled=True)
    assert caught.value.faults == ["size: has no value at all; take it out of accounts.numeric"]


# --- what is refused --------------------------------------------------------------------------------------------


BOTH_GIVEN = "accounts.label.positive is 'yes', accounts.label.negative is 'no'"
NEITHER = "left: 2 values are neither churned nor stayed"
REST = "; name the values that mean stayed in accounts.label.negative, others in accounts.label.unknown or drop"


@pytest.mark.parametrize(
    ("labels", "label", "expected"),
    [
        (
            ["yes", "no", "pending", "no", "pending"],
            {"positive": "yes", "negative": "no"},
            f"{NEITHER}, for example 'pending', 'pending' (rows 3, 5); {BOTH_GIVEN}{REST}",
        ),
        (
            ["gone", "here", "pending"],
            {"positive": "gone"},
            "left: holds 3 different values ('gone', 'here', 'pending'), a label has two; name the one that means stayed",
        ),
        (
            ["yes", "no", "pending"],
            {"positive": "yes"},
            "left: 1 value is neither churned nor stayed, for example 'pending' (row 3); accounts.label.positive is 'yes'",
        ),
        (["gone", "here"], {"positive": "yes"}, "left: accounts.label.positive is 'yes', which never occurs; it holds 'gone'"),
        (["new", "new"], {"drop": "new"}, "left: no row is left, as accounts.label.unknown and drop have all its values"),
        (["yes", "new"], {"positive": "yes", "drop": "new"}, "left: holds one class only ('yes')"),
        (["a", "b"], {"positive": ["a", "b"]}, "left: holds one class only ('a', 'b')"),
        (["no", "no"], {"positive": "yes", "negative": "no"}, "left: holds one class only ('no')"),
        (
            ["yes", "", "no"],
            {"positive": "yes"},
            "left: 1 value is missing (row 2); every training account needs its outcome, or add \"\" to accounts.label.unknown",
        ),
        ([[1], "yes", "no"], {"positive": "yes"}, "left: 1 value is not a single value but a list"),
    ],
)  # fmt: skip
def test_faults_of_labels(labels: list[Any], label: dict[str, Any], expected: str) -> None:
    (fault,) = faults_of(labels, **label)
    assert fault.startswith(expected)


def test_a_label_that_is_taken_for_stayed_is_said(caplog: pytest.LogCaptureFixture) -> None:
    why = "the only value beside accounts.label.positive; set accounts.label.negative to say so"
    said = f"t: 'here' in left is taken for stayed, {why}"
    assert check_accounts(table_of(["gone", "here"]), schema_of(positive="gone"), subject="t", labelled=True).notes == [
        said
    ]
    assert trained_on(["gone", "here"], positive="gone") == [1, 0]
    assert said in caplog.messages
    caplog.clear()
    trained_on(["gone", "here"], positive="gone", negative="here")
    trained_on(["yes", "no"], positive="Yes")
    assert not caplog.messages


@pytest.mark.parametrize(
    ("labels", "label"),
    [
        (["Yes", "No"], {"positive": "true"}),
        (["true", "pending"], {"positive": "true"}),
        (["pending"], {"positive": "yes", "negative": "no"}),
        (["gone", "here"], {"positive": "gone"}),
        ([2, 0], {"positive": 1}),
        (["Ja", "No"], {"positive": "Ja"}),
        ([[1], "yes"], {"positive": "yes"}),
    ],
)
def test_outcomes_of_unknown_meaning_are_never_taken_for_stayed(labels: list[Any], label: dict[str, Any]) -> None:
    with pytest.raises(AccountsError):
        outcomes_of(labels, **label)


def test_refused_outcomes_name_values_rows_and_the_way_out() -> None:
    with pytest.raises(AccountsError) as caught:
        outcomes_of(["true", "pending", "false", "Yes"], positive=True)
    assert caught.value.faults == [
        f"{NEITHER}, for example 'pending', 'yes' (rows 2, 4); accounts.label.positive is 'True'{REST}"
    ]


@pytest.mark.parametrize(
    ("labels", "positive"),
    [
        (["yes", "NO", ""], "Yes"),
        (["J", "N", None], "j"),
        (["churned", "stayed", " "], "Churned"),
        ([1, 0, None], "true"),
        (["Churned", "Retained", ""], ["churned", "cancelled"]),
    ],
)
def test_usual_opposites_need_no_name(labels: list[Any], positive: Any) -> None:
    assert outcomes_of(labels, positive=positive) == [1, 0, UNKNOWN]


def test_outcomes_of_one_class_are_right() -> None:
    assert outcomes_of(["no", "no"], positive="yes") == [0, 0]
    assert outcomes_of(["yes"], positive="yes") == [1]


def test_missing_texts_of_the_schema_are_missing_labels() -> None:
    schema = schema_of(positive="yes").model_copy(update={"missing_text": ("", "n/a")})
    found = OutcomeRows()
    _, codes = found.check_batch(table_of(["yes", "N/A", "no"]), schema)
    assert codes.tolist() == [1, UNKNOWN, 0]
    found.raise_faults([], schema)

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema
from churn.errors import AccountsError
from churn.tables import as_numbers, as_text, check_accounts

SCHEMA = AccountSchema(
    id="key",
    label={"column": "left", "positive": "Yes"},
    numeric=[
        "weight",
        {"column": "seats", "minimum": 1, "maximum": 100, "integer": True},
        {"column": "active", "minimum": 0},
    ],
    categorical=["plan"],
    left_out=["signed_on"],
    not_above=[{"column": "active", "limit": "seats"}],
)


def table(**changes: object) -> pd.DataFrame:
    columns: dict[str, object] = {
        "key": ["a1", "b2", "c3", "d4"],
        "left": ["Yes", "No", "No", "Yes"],
        "weight": [1.5, None, -3.0, 2.0],
        "seats": [10, 20, 30, 40],
        "active": [1, 2, 3, 4],
        "plan": ["gold", None, "tin", "gold"],
        "signed_on": ["2024-01-01"] * 4,
    }
    return pd.DataFrame(columns | changes)


def faults(frame: pd.DataFrame, schema: AccountSchema = SCHEMA, labelled: bool = True) -> list[str]:
    with pytest.raises(AccountsError) as caught:
        check_accounts(frame, schema, subject="accounts", labelled=labelled)
    return caught.value.faults


def test_canonical_form() -> None:
    source = table()
    before = source.copy()
    checked = check_accounts(source, SCHEMA, subject="accounts", labelled=True)
    expected = pd.DataFrame(
        {
            "key": pd.Series(["a1", "b2", "c3", "d4"], dtype="str"),
            "weight": [1.5, np.nan, -3.0, 2.0],
            "seats": [10.0, 20.0, 30.0, 40.0],
            "active": [1.0, 2.0, 3.0, 4.0],
            "plan": pd.Series(["gold", None, "tin", "gold"], dtype="str"),
            "left": np.array([1, 0, 0, 1], dtype=np.int8),
        }
    )
    pd.testing.assert_frame_equal(checked.accounts, expected)
    assert checked.notes == []
    pd.testing.assert_frame_equal(source, before)


def test_missing_columns_are_all_named() -> None:
    (fault,) = faults(table().drop(columns=["seats", "plan", "left"]))
    assert fault.startswith("missing columns: seats, plan, left; the table has: key, weight, active")


def test_label_is_not_needed_for_scoring() -> None:
    checked = check_accounts(table().drop(columns="left"), SCHEMA, subject="accounts", labelled=False)
    assert "left" not in checked.accounts
    checked = check_accounts(table(), SCHEMA, subject="accounts", labelled=False)
    assert "left" not in checked.accounts
    assert checked.notes == ["accounts: the label 'left' is not used here"]


def test_columns_without_role() -> None:
    checked = check_accounts(table(colour="red", shape="round"), SCHEMA, subject="accounts", labelled=True)
    assert checked.notes == ["accounts: ignored columns that are not in the schema: colour, shape"]
    assert list(checked.accounts) == ["key", "weight", "seats", "active", "plan", "left"]
    strict = SCHEMA.model_copy(update={"strict": True})
    (fault,) = faults(table(colour="red"), strict)
    assert fault.startswith("columns that are not in the schema: colour;")


def test_empty_table() -> None:
    assert faults(table().iloc[:0]) == ["the table has no rows"]


def test_repeated_column() -> None:
    frame = pd.concat([table(), table()[["seats"]]], axis=1)
    (fault,) = faults(frame)
    assert fault.startswith("columns that occur more than once: seats;")


def test_ids_empty_and_repeated_without_showing_them() -> None:
    found = faults(table(key=["same", "same", None, "  "]))
    assert found == [
        "key: 2 values are empty (rows 3, 4)",
        "key: 1 value is a repetition of an earlier id (row 2); an account has one row",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"weight": ["1", "much", "2", "x"]}, "weight: 2 values are not a number, for example 'much', 'x' (rows 2, 4)"),
        ({"weight": [1.0, np.inf, -np.inf, 2]}, "weight: 2 values are not finite, for example inf, -inf (rows 2, 3)"),
        ({"weight": pd.to_datetime(["2024-01-01"] * 4)}, "weight: 4 values are not a number"),
        ({"seats": [10, 20.5, 30, 40]}, "seats: 1 value is not a whole number, for example 20.5 (row 2)"),
        ({"seats": [10, 20, 30, 101]}, "seats: 1 value is above the maximum of 100, for example 101 (row 4)"),
        ({"active": [-1, 2, 3, 4]}, "active: 1 value is below the minimum of 0, for example -1 (row 1)"),
        ({"active": [11, 2, 3, 4]}, "active: 1 value is above seats, for example 11 (row 1)"),
        ({"weight": [np.nan] * 4}, "weight: has no value at all; take it out of accounts.numeric"),
        ({"plan": [None] * 4}, "plan: has no value at all; take it out of accounts.categorical"),
        (
            {"left": ["Yes", None, "No", " "]},
            "left: 2 values are missing (rows 2, 4); every training account needs its outcome",
        ),
        ({"left": ["No"] * 4}, "left: holds one class only ('no'); a model needs accounts of both"),
        (
            {"left": ["Yes", "No", "?", "Yes"]},
            "left: 1 value is neither churned nor stayed, for example '?' (row 3); accounts.label.positive is 'Yes'",
        ),
        (
            {"left": ["Y", "N", "N", "Y"]},
            "left: accounts.label.positive is 'Yes', which never occurs; it holds 'n', 'y'",
        ),
    ],
)
def test_faults_name_column_value_and_row(changes: dict[str, object], expected: str) -> None:
    found = faults(table(**changes))
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_all_faults_at_once() -> None:
    frame = table(seats=[0, 20, 30, 40.5], weight=["a", "b", "c", "d"], key=["a", "a", "b", "c"])
    assert [fault.split(":")[0] for fault in faults(frame)] == ["key", "weight", "seats", "seats", "active"]


def test_message_counts_faults_and_says_that_nothing_changed() -> None:
    with pytest.raises(AccountsError, match=r"^accounts: 3 faults found, nothing was changed\.\n  - "):
        check_accounts(table(seats=[0, 20, 30, 40.5]), SCHEMA, subject="accounts", labelled=True)


def test_an_id_in_a_numeric_column_is_not_shown() -> None:
    (fault,) = faults(table(weight=["a1", "b2", "oops", "2"]))
    assert "'oops'" in fault
    assert "a1" not in fault
    assert "b2" not in fault


def test_long_values_are_cut() -> None:
    (fault,) = faults(table(weight=["x" * 500, "1", "2", "3"]))
    assert len(fault) < 150


def test_many_faulty_values_make_a_short_message() -> None:
    many = pd.concat([table(key=[f"{i}a", f"{i}b", f"{i}c", f"{i}d"], weight=["bad"] * 4) for i in range(250)])
    (fault,) = faults(many)
    assert fault.startswith("weight: 1000 values are not a number, for example 'bad', 'bad', 'bad' (rows 1, 2, 3, ...)")


@pytest.mark.parametrize("values", [[True, False, False, True], ["true", "FALSE", "False", " True "], [1, 0, 0, 1]])
def test_boolean_labels(values: list[object]) -> None:
    positive = "1" if values[0] == 1 and values[0] is not True else "True"
    schema = SCHEMA.model_copy(update={"label": SCHEMA.label.model_copy(update={"positive": positive})})
    checked = check_accounts(table(left=values), schema, subject="accounts", labelled=True)
    assert checked.accounts["left"].tolist() == [1, 0, 0, 1]


def test_text_of_numbers_is_the_same_from_any_type() -> None:
    expected = ["1", "2", "2"]
    for values in ([1, 2, 2], [1.0, 2.0, 2.0], pd.Categorical([1, 2, 2]), ["1", "2", "2"]):
        assert as_text(pd.Series(values)).tolist() == expected
    assert as_text(pd.Series([1.0, np.nan])).tolist()[0] == "1"
    assert as_text(pd.Series([1.0, np.nan])).isna().tolist() == [False, True]
    assert as_text(pd.Series([1.5, 2.0])).tolist() == ["1.5", "2"]
    assert as_text(pd.Series(["", " ", None, "x"])).isna().tolist() == [True, True, True, False]


def test_numbers_from_any_type() -> None:
    for values in ([1, 2], [1.0, 2.0], ["1", "2"], pd.array([1, 2], dtype="Int64"), pd.Series([1, 2], dtype="int8")):
        numbers, wrong = as_numbers(pd.Series(values))
        assert numbers.tolist() == [1.0, 2.0]
        assert numbers.dtype == np.float64
        assert not wrong.any()
    numbers, wrong = as_numbers(pd.Series([True, False]))
    assert numbers.tolist() == [1.0, 0.0]
    numbers, wrong = as_numbers(pd.Series(pd.array([1, None], dtype="Int64")))
    assert np.isnan(numbers[1])
    assert not wrong.any()


OWN = SCHEMA.model_copy(update={"carry": ("name", "phone")})


def test_carried_columns_are_text_as_the_table_has_them() -> None:
    scored = table(name=[" Müller & Söhne ", "1.0", " ", "NA"], phone=["0049", "true", "=1+1", None])
    accounts = check_accounts(scored, OWN, subject="accounts", labelled=False).accounts
    assert accounts["name"].fillna("-").tolist() == ["Müller & Söhne", "1.0", "-", "NA"]
    assert accounts["phone"].fillna("-").tolist() == ["0049", "true", "=1+1", "-"]
    assert check_accounts(table(), OWN, subject="accounts", labelled=True).accounts.columns.tolist() == [
        *("key", "weight", "seats", "active", "plan", "left")
    ]


def test_a_carried_column_that_is_missing_is_a_fault_where_accounts_are_scored() -> None:
    (found,) = faults(table(name=["a", "b", "c", "d"]), OWN, labelled=False)
    assert found == (
        "missing columns: phone; the table has: key, left, weight, seats, active, plan, signed_on, name; accounts.carry names "
        "columns that the retention list shows: leave out those that the table does not have"
    )


def test_carried_cells_that_are_no_single_value_are_a_fault() -> None:
    strange = table(name=["a", ["b"], "c", {"d": 1}], phone=[1, 2, 3, 4])
    (found,) = faults(strange, OWN, labelled=False)
    assert found == (
        "name: 2 values are not a single value but a list, a record, bytes or broken text (rows 2, 4); take the column "
        "out of accounts.carry, or write it as text"
    )

"""Rows that are checked one by one have the values and the faults of the check of columns."""

import datetime as dt
import math
import sys
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn.config import AccountSchema
from churn.config.schema import BLANK, MISSING_NUMBERS
from churn.errors import AccountsError
from churn.tables import as_numbers, check_accounts
from churn.tables.cells import number_markers, text_markers, text_of
from churn.tables.checks import check_rows
from churn.tables.faults import sentences
from churn.tables.rows import RowCheck
from churn.tables.spelling import NotOneValue, number_cell, text_cell
from tests.tables.test_properties import CELLS, LOOKALIKES, TEXTS, column_of

ODD_CELLS = st.sampled_from(
    [
        "\ud800",
        "ΑΣ",
        "İ",
        "ΟΔΟΣ",
        " nan ",
        "-Infinity",
        "INF",
        "1e400",
        "##",
        "#",
        "0x1",
        "\uff11",
        "1_0",
        "-999",
        "0001-01-01 00:00:00+01:00",
        "0900-01-01T10:00:00Z",
        10**400,
        -(10**400),
        10**5000,
        2**53 + 1,
        -0.0,
        math.inf,
        math.nan,
        np.float32(0.1),
        np.float64("nan"),
        np.int8(3),
        np.bool_(True),
        np.datetime64("2024-05-01"),
        pd.NA,
        pd.NaT,
        pd.Timestamp("2024-05-01T10:00", tz="Europe/Berlin"),
        dt.time(10, 0),
        uuid.UUID(int=7),
        {},
        {"a": 1},
    ]
)
ANY = st.one_of(CELLS, ODD_CELLS)
TEXT_MARKERS = (BLANK, ("", "None", "ΟΔΟΣ", "i̇", "1.0"))
NUMBER_MARKERS = (MISSING_NUMBERS, ("", "-999", "1e1", "unknown", "inf", "true"))


@pytest.mark.parametrize("missing", TEXT_MARKERS)
@given(ANY)
def test_a_text_is_that_of_its_column(missing: tuple[str, ...], cell: Any) -> None:
    texts, wrong = text_of(column_of([cell]), missing)
    try:
        text = text_cell(cell, text_markers(missing))
    except NotOneValue:
        assert wrong[0]
    else:
        assert not wrong[0]
        assert text == (None if pd.isna(texts[0]) else texts[0])


@pytest.mark.parametrize("missing", NUMBER_MARKERS)
@given(ANY)
def test_a_number_is_that_of_its_column(missing: tuple[str, ...], cell: Any) -> None:
    numbers, wrong = as_numbers(column_of([cell]), missing)
    try:
        number = number_cell(cell, number_markers(missing))
    except NotOneValue:
        number = None
    assert (number is None) == wrong[0]
    if number is not None:
        np.testing.assert_array_equal(number, numbers[0])
        assert math.copysign(1, number) == math.copysign(1, numbers[0]) or number != 0


def test_blanks_around_a_value_are_those_of_columns() -> None:
    letters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    trimmed = pc.utf8_trim_whitespace(pa.array(letters)).to_pylist()
    assert [letter for letter, left in zip(letters, trimmed, strict=True) if letter.strip() != left] == []


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("0001-01-01 00:00:00+01:00", "0001-01-01 00:00:00+01:00"),
        ("0900-01-01 11:00:00+01:00", "0900-01-01T10:00:00Z"),
        ("2024-13-45 00:00:00", "2024-13-45 00:00:00"),
    ],
)
def test_moments_of_early_years_have_a_text(cell: str, text: str) -> None:
    assert text_cell(cell) == text
    assert text_of(column_of([cell]))[0].tolist() == [text]


@pytest.mark.parametrize("cell", ["\ud800", "a\udfff", 10**5000], ids=["half", "later half", "long number"])
def test_text_that_is_none_is_a_fault(cell: Any) -> None:
    (sentence,) = RowCheck(SCHEMA, "accounts")([good(plan=cell)]).sentences
    assert sentence.startswith("plan: 1 value is not a single value but a list, a record, bytes or broken text (row 1)")


SCHEMA = AccountSchema(
    id="key",
    label={"column": "left"},
    numeric=[
        "weight",
        {"column": "seats", "minimum": 1, "maximum": 100, "integer": True},
        {"column": "active", "minimum": -0.5},
    ],
    categorical=["plan", "region"],
    left_out=["signed_on"],
    not_above=[{"column": "active", "limit": "seats"}, {"column": "weight", "limit": "active"}],
    missing=["NA", "-999"],
    missing_text=["Unknown"],
)
NUMBERS = st.one_of(st.none(), st.integers(-2, 110), st.floats(-1, 110), LOOKALIKES, st.just(-999))
PLANS = st.sampled_from([None, "gold", " tin", "unknown", 1, 1.0, True, "true"])


def columns(cells: st.SearchStrategy[Any], ids: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    numbers, plans = NUMBERS | cells, PLANS | cells
    return {"key": ids, "weight": numbers, "seats": numbers, "active": numbers, "plan": plans, "region": plans}


KEYS = st.integers(0, 10_000)
# The first kind has few faults, the second many.
FITTING = {
    "key": KEYS,
    "weight": st.one_of(st.none(), st.floats(-5, -1), st.just("-999")),
    "seats": st.one_of(st.none(), st.integers(50, 100), st.just(" 60.0"), st.just("7e1")),
    "active": st.one_of(st.booleans(), st.floats(0, 50), st.just("NaN")),
    "plan": PLANS,
    "region": PLANS | TEXTS,
}
TABLES = st.one_of(
    st.lists(st.fixed_dictionaries(FITTING), min_size=1, max_size=12, unique_by=lambda record: record["key"]),
    st.lists(st.fixed_dictionaries(columns(st.nothing(), KEYS)), min_size=1, max_size=12),
    st.lists(st.fixed_dictionaries(columns(ANY, ANY | KEYS)), min_size=1, max_size=12),
)


def frame_of(records: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame({name: column_of([record[name] for record in records]) for name in records[0]})


def batch_check(records: list[dict[str, Any]]) -> tuple[pd.DataFrame | None, list[str]]:
    try:
        return check_accounts(frame_of(records), SCHEMA, subject="accounts", labelled=False).accounts, []
    except AccountsError as error:
        return None, error.faults


@given(TABLES)
def test_rows_have_the_values_and_faults_of_their_table(records: list[dict[str, Any]]) -> None:
    checked = RowCheck(SCHEMA, "accounts")(records)
    accounts, faults = batch_check(records)
    assert checked.sentences == faults
    assert bool(checked.faults) == bool(faults)
    if accounts is not None:
        assert checked.rows == list(range(len(records)))
        pd.testing.assert_frame_equal(pd.DataFrame(checked.accounts).astype(accounts.dtypes), accounts)


@given(TABLES)
@settings(max_examples=40)
def test_each_fault_is_told_of_its_row(records: list[dict[str, Any]]) -> None:
    checked = RowCheck(SCHEMA, "accounts")(records)
    told = {row: [fault for fault in checked.faults if fault.row == row] for row in range(len(records))}
    assert checked.rows == [row for row, faults in told.items() if not faults]
    for row, faults in told.items():
        _, found = check_rows(frame_of(records[row : row + 1]), SCHEMA, row + 1)
        alone = [fault.message for fault in faults if "repetition" not in fault.reason]
        # What is shown of a text may depend on the ids of other rows.
        assert [text.partition(", for example")[0] for text in alone] == [
            text.partition(", for example")[0] for text in sentences(found, SCHEMA)
        ]


def good(**changes: Any) -> dict[str, Any]:
    return {"key": "a", "weight": 0.5, "seats": 3, "active": 1, "plan": "gold", "region": None} | changes


def test_a_text_that_is_an_id_of_the_table_is_not_shown() -> None:
    records = [good(seats="b2"), good(key="b2", seats="many")]
    (sentence,) = RowCheck(SCHEMA, "accounts")(records).sentences
    assert sentence.startswith("seats: 2 values are not a number, for example 'many' (rows 1, 2)")


def test_an_id_occurs_once() -> None:
    checked = RowCheck(SCHEMA, "accounts")([good(key=1), good(key="1.0"), good(key=2)])
    assert [(fault.row, fault.column) for fault in checked.faults] == [(1, "key")]
    assert checked.sentences == ["key: 1 value is a repetition of an earlier id (row 2); an account has one row"]
    assert checked.rows == [0, 2]


def test_a_row_without_a_column_is_named_whatever_others_have() -> None:
    lacking = {name: value for name, value in good(key="b").items() if name != "plan"}
    message = "missing columns: plan; the table has: key, weight, seats, active, region"
    checked = RowCheck(SCHEMA, "accounts")([good(), lacking])
    assert checked.rows == [0]
    assert [(fault.row, fault.column, fault.message) for fault in checked.faults] == [(1, None, message)]
    assert checked.sentences == [f"{message} (row 2)"]
    assert RowCheck(SCHEMA, "accounts")([lacking]).sentences == [message]


@pytest.mark.parametrize("record", [None, [], "key", 7, [["key", "a"]]])
def test_what_is_no_record_is_a_fault(record: Any) -> None:
    checked = RowCheck(SCHEMA, "accounts")([good(), record])
    assert checked.rows == [0]
    (fault,) = checked.faults
    assert (fault.row, fault.column) == (1, None)
    assert fault.message.startswith("the row is no record of columns and their values but ")


def test_other_columns_are_told_or_refused() -> None:
    records = [good(left="yes", colour="red"), good(key="b", colour="blue")]
    check = RowCheck(SCHEMA, "accounts")
    assert check(records).rows == [0, 1]
    assert check.notes(records) == [
        "accounts: ignored columns that are not in the schema: colour",
        "accounts: the label 'left' is not used here",
    ]
    strict = RowCheck(SCHEMA.model_copy(update={"strict": True}), "accounts")(records)
    assert not strict.rows
    assert strict.sentences[0].startswith("columns that are not in the schema: colour")


def test_records_are_not_changed() -> None:
    record = good(seats="3")
    before = dict(record)
    RowCheck(SCHEMA, "accounts")([record])
    assert record == before

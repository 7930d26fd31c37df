"""Dates mean the same in every file, batch and row, and become the time up to the date of the snapshot."""

import datetime as dt
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from churn.config import AccountSchema, FeatureEngineering, Training
from churn.errors import AccountsError
from churn.model import ChurnModel
from churn.tables import check_accounts
from churn.tables.checks import check_rows
from churn.tables.dates import NOT_A_DATE, TWO_DATES, read_date
from churn.tables.faults import sentences
from churn.tables.rows import RowCheck
from tests.conftest import in_batches, train

AS_OF = dt.date(2024, 6, 30)


def schema_of(**more: Any) -> AccountSchema:
    return AccountSchema.model_validate(
        {
            "id": "no",
            "label": {"column": "left", "positive": "1"},
            "numeric": ["visits"],
            "dates": ["joined"],
            "as_of": "2024-06-30",
            **more,
        }
    )


@pytest.mark.parametrize(
    ("text", "order", "expected"),
    [
        ("2024-05-01", None, "2024-05-01"),
        ("2024/5/1", None, "2024-05-01"),
        ("20240501", None, "2024-05-01"),
        ("2024-05", None, "2024-05-01"),
        ("2024-05-01T23:59:59Z", None, "2024-05-01"),
        ("01.05.2024", None, "2024-05-01"),
        ("1. 5. 2024", "month", "2024-05-01"),
        ("01.05.24 10:30", None, "2024-05-01"),
        ("01.05.69", None, "1969-05-01"),
        ("25/12/2023", None, "2023-12-25"),
        ("12/25/2023", None, "2023-12-25"),
        ("03/04/2024", "day", "2024-04-03"),
        ("03/04/2024", "month", "2024-03-04"),
        ("04-04-2024", None, "2024-04-04"),
        ("1 May 2024", None, "2024-05-01"),
        ("01-Sep-24", None, "2024-09-01"),
        ("May 1, 2024", None, "2024-05-01"),
        ("29.02.2024", None, "2024-02-29"),
    ],
)
def test_a_date_in_many_spellings(text: str, order: Any, expected: str) -> None:
    day, fault = read_date(text, order)
    assert fault == ""
    assert dt.date.fromordinal(day or 0) == dt.date.fromisoformat(expected)


@pytest.mark.parametrize(
    ("text", "order", "fault"),
    [
        ("03/04/2024", None, TWO_DATES),
        ("29.02.2023", None, NOT_A_DATE),
        ("25/12/2023", "month", NOT_A_DATE),
        ("31/31/2024", None, NOT_A_DATE),
        ("soon", None, NOT_A_DATE),
        ("45292", None, NOT_A_DATE),
        ("2024", None, NOT_A_DATE),
        ("0000-00-00", None, NOT_A_DATE),
        ("1.5", None, NOT_A_DATE),
        ("\uff11\uff12.05.2024", None, NOT_A_DATE),
    ],
)
def test_no_date(text: str, order: Any, fault: str) -> None:
    assert read_date(text, order) == (None, fault)


def test_the_time_since_a_date_is_a_numeric_column() -> None:
    frame = pd.DataFrame(
        {
            "no": ["1", "2", "3", "4"],
            "visits": [1, 2, 3, 4],
            "joined": ["2024-06-30", "30.06.2023", "2024-05-31T10:00:00", ""],
            "ends": ["2024-07-10", "2024-06-20", None, "2024-06-30"],
        }
    )
    schema = schema_of(dates=["joined", {"column": "ends", "unit": "days", "future": True}])
    checked = check_accounts(frame, schema, subject="accounts", labelled=False).accounts
    assert list(checked) == ["no", "visits", "months_since_joined", "days_since_ends"]
    assert checked["months_since_joined"].tolist()[:3] == [0.0, 12.0, 1.0]
    assert np.isnan(checked["months_since_joined"].iloc[3])
    assert checked["days_since_ends"].fillna(99).tolist() == [-10.0, 10.0, 99.0, 0.0]


def test_a_column_can_have_the_date_of_the_snapshot() -> None:
    frame = pd.DataFrame(
        {
            "no": ["1", "2"],
            "visits": [1, 2],
            "joined": [dt.date(2024, 1, 1), dt.date(2023, 1, 1)],
            "seen": pd.to_datetime(["2024-03-01 12:00", "2023-01-31 00:00"]),
        }
    )
    schema = schema_of(as_of="seen", dates=[{"column": "joined", "unit": "days"}])
    checked = check_accounts(frame, schema, subject="accounts", labelled=False).accounts
    assert checked["days_since_joined"].tolist() == [60.0, 30.0]
    assert schema.counted_to(dt.date(2030, 1, 1)) is schema  # a column is not replaced by a parameter


def test_all_faults_of_dates_are_told_with_row_and_value() -> None:
    frame = pd.DataFrame(
        {
            "no": ["1", "2", "3", "4"],
            "visits": [1, 2, 3, 4],
            "joined": ["soon", "03/04/2024", "2024-07-01", "n/a"],
        }
    )
    with pytest.raises(AccountsError) as error:
        check_accounts(frame, schema_of(), subject="accounts", labelled=False)
    told = str(error.value)
    assert "joined: 1 value is not a date, for example 'soon' (row 1)" in told
    assert "joined: 1 value is a date with two meanings" in told
    assert "'03/04/2024' (row 2); set order" in told
    assert "joined: 1 value is after the date of the snapshot, for example '2024-07-01' (row 3)" in told
    assert told.count("\n") == 3  # n/a is a missing value


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"as_of": None}, "dates need as_of"),
        ({"as_of": "joined"}, "a date has no time since itself"),
        ({"left_out": ["joined"]}, "a column has one role only"),
        ({"numeric": ["months_since_joined"]}, "a column has one role only"),
        ({"carry": ["visits"]}, "a column has one role only"),
    ],
)
def test_a_schema_that_contradicts_itself(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        schema_of(**change)


def test_a_column_with_the_name_of_the_feature_is_refused() -> None:
    frame = pd.DataFrame({"no": ["1"], "visits": [1], "joined": ["2024-01-01"], "months_since_joined": [3]})
    with pytest.raises(AccountsError, match="is the name of the time since joined"):
        check_accounts(frame, schema_of(), subject="accounts", labelled=False)


def test_a_schema_without_dates_is_stored_as_before() -> None:
    plain = AccountSchema.model_validate({"id": "no", "label": {"column": "left"}, "numeric": ["visits"]})
    assert not {"dates", "as_of", "carry"} & set(plain.model_dump())
    again = AccountSchema.model_validate(json.loads(schema_of().model_dump_json()))
    assert again == schema_of()
    assert again.as_of == AS_OF


DATES = st.one_of(
    st.dates(dt.date(1968, 1, 1), dt.date(2031, 1, 1)).map(lambda day: day.isoformat()),
    st.dates(dt.date(1968, 1, 1), dt.date(2031, 1, 1)).map(lambda day: f"{day:%d.%m.%Y}"),
    st.dates(dt.date(2000, 1, 1), dt.date(2031, 1, 1)).map(lambda day: f"{day:%m/%d/%y}"),
    st.datetimes().map(lambda moment: moment.isoformat(sep=" ")),
    st.dates(dt.date(1990, 1, 1), dt.date(2031, 1, 1)),
    st.sampled_from(
        [None, "", " NA ", "soon", "03/04/2024", b"x", [1], 20240501, 1.5, "2024-05-01Tx", "2024-05-01T10:00\nx", "x1"]
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    cells=st.lists(st.tuples(DATES, DATES), min_size=1, max_size=6),
    unit=st.sampled_from(["months", "days"]),
    order=st.sampled_from([None, "day", "month"]),
    future=st.booleans(),
    column=st.booleans(),
)
def test_rows_one_by_one_have_the_values_and_faults_of_a_table(
    cells: list[tuple[Any, Any]], unit: str, order: str | None, future: bool, column: bool
) -> None:
    date = {"column": "joined", "unit": unit, "order": order, "future": future}
    schema = schema_of(dates=[date, "seen"] if not column else [date], as_of="seen" if column else "2024-06-30")
    records = [{"no": f"x{row}", "visits": 1.0, "joined": a, "seen": b} for row, (a, b) in enumerate(cells)]
    frame = pd.DataFrame(records, dtype=object)
    table, found = check_rows(frame, schema)
    checked = RowCheck(schema, "accounts")(records)
    assert checked.sentences == sentences(found, schema)
    for row, account in zip(checked.rows, checked.accounts, strict=True):
        for name in schema.numeric_names:
            assert np.float64(account[name]).tobytes() == table[name].iloc[row].tobytes()


@pytest.fixture(scope="module")
def dated() -> pd.DataFrame:
    """1,200 accounts of which the young ones churn."""
    draw = np.random.default_rng(3)
    days = draw.integers(0, 1500, 1200)
    left = draw.random(1200) < np.where(days < 300, 0.7, 0.1)
    joined = [(AS_OF - dt.timedelta(days=int(day))).strftime("%d.%m.%Y") for day in days]
    frame = pd.DataFrame(
        {"no": [f"{row:05}" for row in range(1200)], "visits": draw.integers(0, 9, 1200), "joined": joined}
    )
    frame.loc[::50, "joined"] = ""
    return frame.assign(left=left.astype(int))


@pytest.fixture(scope="module")
def dated_model(dated: pd.DataFrame) -> ChurnModel:
    canonical = check_accounts(dated, schema_of(), subject="accounts", labelled=True).accounts
    training = Training.model_validate({"portfolio": "quick", "folds": 3, "booster": {"n_estimators": 40}})
    return train(canonical, schema_of(), FeatureEngineering(), training)


def test_every_way_to_score_has_the_same_bits(dated: pd.DataFrame, dated_model: ChurnModel) -> None:
    from churn.tables.batches import CheckedBatches

    model = ChurnModel.from_files(dated_model.files())  # as stored
    canonical = check_accounts(dated, model.schema, subject="accounts", labelled=False).accounts
    expected = model.probability(canonical)
    assert model.importance["months_since_joined"] > model.importance["visits"]
    assert np.array_equal(model.probability(dated.drop(columns="left")), expected)  # raw rows
    streamed = CheckedBatches(in_batches(dated, 250), model.schema, model, "accounts")
    assert np.array_equal(np.concatenate([model.probability(batch) for batch in streamed]), expected)
    records = dated.drop(columns="left").to_dict("records")
    single = [
        score.probability for start in range(0, 1200, 7) for score in model.score_rows(records[start : start + 7])
    ]
    assert np.array_equal(np.array(single, dtype=np.float32), expected)
    later = model.schema.counted_to(dt.date(2024, 9, 30))
    moved = check_accounts(dated, later, subject="accounts", labelled=False).accounts
    good = model.score_good_rows(records[:9], as_of=dt.date(2024, 9, 30))
    assert [score.probability for score in good.scores] == model.probability(moved.head(9)).tolist()
    assert "months_since_joined" in model.reference.numeric


def test_spark_checks_dates_as_one_machine_does(dated: pd.DataFrame) -> None:
    pytest.importorskip("pyspark")
    from churn.spark.checking import SparkAccounts, checked_partition
    from churn.spark.rows import ROW, arrow_schema
    from churn.tables.split import Split

    accounts = SparkAccounts(None, schema_of(), None, "accounts")  # type: ignore[arg-type]
    assert set(accounts._names) == {"no", "visits", "joined", "left"}
    rows = arrow_schema(accounts.row_schema({"(test)": accounts.row_schema()["left"].dataType}))
    run = checked_partition(schema_of(), Split(0, 0.3), rows)
    source = pa.RecordBatch.from_pandas(dated.astype(str), preserve_index=False)
    made = pa.Table.from_batches(list(run([source.slice(0, 700), source.slice(700)])))
    made = made.filter(pa.compute.is_valid(made["months_since_joined"])).sort_by(ROW)
    canonical = check_accounts(dated, schema_of(), subject="accounts", labelled=True).accounts
    assert (
        made["months_since_joined"].to_numpy().tobytes()
        == canonical["months_since_joined"].dropna().to_numpy().tobytes()
    )

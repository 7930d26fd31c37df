"""Properties that hold for any cells and tables, tried on inputs that hypothesis finds."""

import datetime as dt
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv, parquet

from churn.tables import as_numbers, as_text
from churn.tables.cells import as_frame, text_of
from churn.tables.split import Split

# No test may depend on the speed of the machine, and the same commit tries the same inputs.
settings.register_profile("house", deadline=None, derandomize=True, max_examples=150, database=None)
settings.load_profile("house")

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
MOMENTS = st.datetimes(*pd.to_datetime(["1800-01-01", "2200-01-01"]).to_pydatetime())
# What files hold: texts that look like values, with blanks around them.
LOOKALIKES = st.one_of(
    st.sampled_from(["True", "FALSE", "true", "NA", "nan", "None", "-0", "-0.0", "1.0", "1.50", "007", "1e5", "1e-05"]),
    st.floats().map(str),
    st.integers().map(str),
    MOMENTS.map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
)
CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.decimals(allow_infinity=False, places=3),
    st.dates(dt.date(1800, 1, 1)),
    MOMENTS,
    TEXTS,
    LOOKALIKES.flatmap(lambda text: st.sampled_from([text, f" {text}", f"{text}\t"])),
    st.lists(st.integers(), max_size=2),
    st.binary(max_size=3),
)


def column_of(cells: list[Any]) -> pd.Series:
    """A column of objects, each cell as it is: pandas would make a float of a number beside a missing value."""
    values = np.empty(len(cells), object)
    for place, cell in enumerate(cells):
        values[place] = cell
    return pd.Series(values, dtype=object)


@given(st.lists(CELLS, min_size=1, max_size=12))
def test_a_cell_means_the_same_whatever_the_others_hold(cells: list[Any]) -> None:
    column = column_of(cells)
    for convert in (text_of, as_numbers):
        values, wrong = convert(column)
        alone = [convert(column_of([cell])) for cell in cells]
        pd.testing.assert_series_equal(
            values, pd.concat([part for part, _ in alone], ignore_index=True), check_dtype=False
        )
        assert wrong.tolist() == [bool(part[0]) for _, part in alone]


@given(st.lists(CELLS, min_size=1, max_size=12))
def test_canonical_text_stays_as_it_is(cells: list[Any]) -> None:
    once = as_text(column_of(cells))
    pd.testing.assert_series_equal(as_text(once), once)


@given(st.lists(st.one_of(st.none(), st.floats(allow_infinity=False)), min_size=1, max_size=12))
def test_a_number_is_the_same_from_its_text(cells: list[float | None]) -> None:
    numbers, wrong = as_numbers(column_of(cells))
    again, wrong_again = as_numbers(as_text(column_of(cells)))
    np.testing.assert_array_equal(again, np.where(numbers == 0, 0, numbers))
    assert not wrong.any()
    assert not wrong_again.any()


# One type a column, as files have it.
COLUMNS: dict[str, Callable[[int], st.SearchStrategy[Any]]] = {
    "Int64": lambda rows: _column(rows, st.integers(-(2**63), 2**63 - 1)),
    "Float64": lambda rows: _column(rows, st.floats(allow_nan=False, allow_infinity=False)),
    "Float32": lambda rows: _column(rows, st.floats(allow_nan=False, allow_infinity=False, width=32)),
    "boolean": lambda rows: _column(rows, st.booleans()),
    "str": lambda rows: _column(rows, st.one_of(LOOKALIKES, TEXTS.filter(lambda text: "\x00" not in text))),
    "datetime64[us]": lambda rows: _column(rows, MOMENTS),
}


def _column(rows: int, cells: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.one_of(st.none(), cells), min_size=rows, max_size=rows)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(1, 8))
    return pd.DataFrame({kind: pd.Series(draw(cells(rows)), dtype=kind) for kind, cells in COLUMNS.items()})


def from_parquet(frame: pd.DataFrame) -> pd.DataFrame:
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pandas(frame, preserve_index=False), file)
    return as_frame(parquet.read_table(file))


def from_csv_of_arrow(frame: pd.DataFrame) -> pd.DataFrame:
    file = io.BytesIO()
    csv.write_csv(pa.Table.from_pandas(frame, preserve_index=False), file)
    return pd.read_csv(io.BytesIO(file.getvalue()), dtype=str, keep_default_na=False)


def from_csv_of_pandas(frame: pd.DataFrame) -> pd.DataFrame:
    text = frame.to_csv(index=False)
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, lineterminator="\n")


@pytest.mark.parametrize("through", [from_parquet, from_csv_of_arrow, from_csv_of_pandas])
@given(frames())
@settings(max_examples=60)
def test_a_table_means_the_same_from_every_file(
    through: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame
) -> None:
    # A cell with line breaks of several kinds is read by the readers of files, which have tests of their own.
    frame["str"] = frame["str"].str.replace(r"[\r\n]", " ", regex=True)
    read = through(frame)
    for name in frame:
        pd.testing.assert_series_equal(as_text(read[name]), as_text(frame[name]), obj=f"{through.__name__} {name}")
    for name in ("Int64", "Float64", "Float32", "boolean"):
        numbers, _ = as_numbers(read[name])
        np.testing.assert_array_equal(numbers, as_numbers(frame[name])[0], err_msg=f"{through.__name__} {name}")


IDS = st.lists(TEXTS.filter(str.strip), min_size=1, max_size=20, unique_by=str.strip)


@given(IDS, st.floats(0.05, 0.5), st.integers(0, 2**31), st.randoms())
def test_the_part_of_an_account_depends_on_its_id_alone(ids: list[str], share: float, key: int, random: Any) -> None:
    split = Split(key, share)
    part = dict(zip(ids, split.test_rows(pd.Series(ids)), strict=True))
    shuffled = random.sample(ids, len(ids))
    assert [part[each] for each in shuffled] == split.test_rows(pd.Series(shuffled)).tolist()
    assert [part[each] for each in ids] == [bool(split.test_rows(pd.Series([each]))[0]) for each in ids]

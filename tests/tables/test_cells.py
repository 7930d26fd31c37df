"""Cells: a value means the same in every file, batch and type of column."""

import datetime as dt
import decimal
import io
import itertools
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from churn.config import AccountSchema
from churn.datasets import AccountBatchesDataset, AccountsDataset
from churn.errors import AccountsError
from churn.tables import as_numbers, as_text, check_accounts
from churn.tables.batches import Findings
from churn.tables.cells import as_frame, text_of
from tests.conftest import rng


def texts(values: Any, missing: tuple[str, ...] = ("",)) -> list[str | None]:
    column = values if isinstance(values, pd.Series) else pd.Series(values)
    return [None if pd.isna(text) else text for text in as_text(column, missing)]


def arrow(values: list[Any], kind: pa.DataType) -> pd.Series:
    return pd.Series(pa.array(values, kind), dtype=pd.ArrowDtype(kind))


DECIMAL = decimal.Decimal
# Texts with digits that no writer of numbers spells: they stay as they are.
NO_NUMBERS = ["00123", "1.50", "1.00", "007.0", "12e5", "1E5", "1e999", "1.0.0"]


# --- text -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, False], ["true", "false"]),
        ([True, None, False], ["true", None, "false"]),
        (pd.array([True, None], dtype="boolean"), ["true", None]),
        (["True", "TRUE", "true", "tRue"], ["true", "true", "true", "tRue"]),
        ([0.5, 1.0, 2.0, np.nan], ["0.5", "1", "2", None]),
        ([1, 2], ["1", "2"]),
        (np.array([0.1, 1, 16777216], dtype=np.float32), ["0.1", "1", "16777216"]),
        (np.array([0.1, 1], dtype=np.float16), ["0.1", "1"]),
        (pd.array([2**60 + 1, None], dtype="Int64"), ["1152921504606846977", None]),
        ([2**63 + 1], ["9223372036854775809"]),
        ([1e16, 1e22, -0.0, 1e-5, 3e-7], ["10000000000000000", "1e+22", "0", "0.00001", "3e-7"]),
        ([1234567890123456.7, 2.0**64], ["1234567890123456.8", "1.8446744073709552e+19"]),
        (["1.0", "-2.0", "-0.0", "1e-05", "1e+16"], ["1", "-2", "0", "0.00001", "10000000000000000"]),
        (NO_NUMBERS, NO_NUMBERS),
        ([DECIMAL("1.50"), DECIMAL("1E+2"), DECIMAL("NaN")], ["1.50", "100", None]),
        (arrow([DECIMAL("1.50"), None], pa.decimal128(5, 2)), ["1.50", None]),
        ([dt.date(2024, 5, 1), pd.Timestamp("2024-05-01"), pd.NaT], ["2024-05-01", "2024-05-01", None]),
        ([pd.Timestamp("2024-05-01 10:00").to_pydatetime()], ["2024-05-01T10:00:00"]),
        (pd.to_datetime(["2024-05-01 00:00:00", "2024-05-01 10:00:00"]), ["2024-05-01", "2024-05-01T10:00:00"]),
        (pd.to_datetime(["2024-05-01 10:00"]).tz_localize("Europe/Berlin"), ["2024-05-01T08:00:00Z"]),
        (["2024-05-01 00:00:00.000", "2024-05-01 10:00:00.500000"], ["2024-05-01", "2024-05-01T10:00:00.5"]),
        (["2024-05-01 10:00:00+02:00", "2024-13-01 00:00:00"], ["2024-05-01T08:00:00Z", "2024-13-01 00:00:00"]),
        ([dt.time(10, 0)], ["10:00:00"]),
        (pd.Categorical([1.0, 2.5, None]), ["1", "2.5", None]),
        (pd.Categorical([True, None]), ["true", None]),
        ([1, "x", True, 2.0, None], ["1", "x", "true", "2", None]),
        ([uuid.UUID(int=1)], ["00000000-0000-0000-0000-000000000001"]),
        ([" x ", "\u00a0y\t", "", "  ", None, "NA"], ["x", "y", None, None, None, "NA"]),
        (arrow([None, None], pa.null()), [None, None]),
    ],
)  # fmt: skip
def test_the_text_of_a_value(values: Any, expected: list[str | None]) -> None:
    assert texts(values) == expected
    column = values if isinstance(values, pd.Series) else pd.Series(values)
    one_by_one = [as_text(column.iloc[[place]]) for place in range(len(column))]
    pd.testing.assert_series_equal(pd.concat(one_by_one), as_text(column))
    assert texts(as_text(column)) == expected
    # As one of many, which are converted once each.
    many = as_text(pd.concat([column] * 1500, ignore_index=True))
    pd.testing.assert_series_equal(many.tail(len(column)).reset_index(drop=True), as_text(column), check_index=False)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_every_writer_of_numbers_means_the_same(kind: type[np.floating[Any]]) -> None:
    random = rng(3)
    powers = 10.0 ** random.integers(-45, 38, 3000)
    values = np.concatenate([random.normal(size=3000) * powers, np.rint(random.random(1000) * 1e17), powers]).astype(
        kind
    )
    column = pd.Series(values)
    expected = as_text(column)
    for written in (
        pd.Series([str(value) for value in values]),  # as Python and pandas
        pa.array(values).cast(pa.string()).to_pandas(),
        pd.Series(list(values), dtype=object),
        column.astype("category"),
        pd.Series(values, dtype=kind.__name__.capitalize()),
    ):
        pd.testing.assert_series_equal(as_text(written), expected)
    np.testing.assert_array_equal(expected.astype(float).astype(kind), np.where(values == 0, 0, values))


def test_texts_that_mean_missing() -> None:
    assert texts(["n/a", "N/A", "NA", " n/a ", ""], ("n/a",)) == [None, None, "NA", None, None]
    assert texts([-999, 1, -999.0], ("-999",)) == [None, "1", None]
    assert texts(["True", "x"], ("true",)) == [None, "x"]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([[1], "a", None, {"b": 1}, b"c", np.array([1]), (1, 2)]),
        pd.Series([[1], "a", None, {"b": 1}, b"c", np.array([1]), (1, 2)], dtype=object),
    ],
)
def test_what_is_no_single_value(column: pd.Series) -> None:
    found, wrong = text_of(column)
    assert wrong.tolist() == [True, False, False, True, True, True, True]
    assert found.isna().tolist() == [True, False, True, True, True, True, True]
    numbers, not_numbers = as_numbers(column)
    assert not_numbers.tolist() == [True, True, False, True, True, True, True]
    assert numbers.isna().all()


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int64()), pa.struct([("a", pa.int64())]), pa.map_(pa.string(), pa.int64()), pa.binary()]
)
def test_types_that_hold_no_single_value(kind: pa.DataType) -> None:
    value = {pa.binary(): b"x", pa.struct([("a", pa.int64())]): {"a": 1}, pa.list_(pa.int64()): [1]}.get(
        kind, [("k", 1)]
    )
    for column in (arrow([value, None], kind), as_frame(pa.table({"c": pa.array([value, None], kind)}))["c"]):
        assert text_of(column)[1].tolist() == [True, False]
        assert as_numbers(column)[1].tolist() == [True, False]


# --- numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "", "NA", " 2 ", None], [1, None, None, 2, None]),
        (["null", "None", "n/a", "nan", "-NaN"], [None] * 5),
        (["+1", ".5", "1.", "-1e3", "1E-2", "007"], [1, 0.5, 1, -1000, 0.01, 7]),
        (["true", "False", "TRUE", "", "2"], [1, 0, 1, None, 2]),
        ([True, None, 1, "2", DECIMAL("1.5"), 0.25, "NA"], [1, None, 1, 2, 1.5, 0.25, None]),
        (pd.array([True, None], dtype="boolean"), [1, None]),
        (pd.array([3, None], dtype="Int64"), [3, None]),
        (pd.array([0.1, None], dtype="Float32"), [0.1, None]),
        (np.array([0.1], dtype=np.float32), [0.1]),
        (arrow([DECIMAL("1.10"), None], pa.decimal128(5, 2)), [1.1, None]),
        (arrow([True, None], pa.bool_()), [1, None]),
        (arrow([1.5, None], pa.float64()), [1.5, None]),
        (pd.Categorical([1, 2, None]), [1, 2, None]),
        (pd.Categorical(["1", "NA"]), [1, None]),
        (["inf", "-Infinity", "1e400"], [np.inf, -np.inf, np.inf]),
        ([], []),
    ],
)  # fmt: skip
def test_the_number_of_a_value(values: Any, expected: list[float | None]) -> None:
    column = values if isinstance(values, pd.Series) else pd.Series(values)
    numbers, wrong = as_numbers(column)
    assert [None if np.isnan(number) else number for number in numbers] == expected
    assert numbers.dtype == np.float64
    assert not wrong.any()
    for place in range(len(column)):
        alone, _ = as_numbers(column.iloc[[place]])
        np.testing.assert_array_equal(alone, numbers.iloc[[place]])


@pytest.mark.parametrize(
    "values",
    [
        ["x", "1_000", "0x10", "1,5", "12%", "1e", "\u0661"],
        [dt.date(2024, 1, 1)],
        pd.to_datetime(["2024-01-01"]),
        pd.to_timedelta(["1 day"]),
        [1 + 2j],
    ],
)
def test_what_is_no_number(values: Any) -> None:
    numbers, wrong = as_numbers(pd.Series(values))
    assert wrong.all()
    assert numbers.isna().all()


def test_numbers_that_mean_missing() -> None:
    for values in ([-999, 1], [-999.0, 1.0], ["-999", "1"], ["-999.0", "1"], ["-", "1"]):
        numbers, wrong = as_numbers(pd.Series(values), ("-999", "-"))
        assert numbers.isna().tolist() == [True, False]
        assert not wrong.any()
    assert as_numbers(pd.Series(["NA", "1"]), ("-999",))[1].tolist() == [True, False]


# --- files ------------------------------------------------------------------------------------------------------


SCHEMA = AccountSchema.model_validate(
    {
        "id": "key",
        "label": {"column": "left"},
        "numeric": ["whole", "real", "single", "truth", "mixed"],
        "categorical": ["plan", "level", "share", "member", "day", "moment"],
        "left_out": ["tags"],
    }
)


def strange_table(seed: int, rows: int = 30) -> pd.DataFrame:
    """A table of many types, with missing cells in all columns but the id and the label."""
    random = rng(seed)

    def some(values: Any, dtype: Any = None) -> pd.Series:
        column = pd.Series(values, dtype=dtype)
        return column.mask(random.random(rows) < random.choice([0.0, 0.2]))

    keys = {
        0: [f"{number:05}" for number in range(rows)],
        1: np.arange(rows) + 2**60,
        2: [str(uuid.UUID(int=number)) for number in range(rows)],
    }[seed % 3]
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 9, rows), "D")
    hours = pd.to_timedelta(random.choice([0, 10], rows), "h")
    return pd.DataFrame(
        {
            "key": keys,
            "left": random.permutation(np.arange(rows) % 2 == 0),
            "whole": some(random.integers(-5, 5, rows), "Int64" if seed % 2 else None),
            "real": some(random.choice([0.5, 1.0, 1e-7, 1e22, 1 / 3], rows)),
            "single": some(random.choice([0.1, 1.0, 2.5], rows).astype(np.float32)),
            "truth": some(random.random(rows) < 0.5, "boolean"),
            "mixed": some(random.choice([1.0, 2.0], rows)),
            "plan": some(random.choice(["gold", "1.0", "00123", "NA", "True", "1e-05"], rows)),
            "level": some(random.choice([1, 2, 2**54 + 1], rows), "Int64") if seed % 2 else some(random.choice([1, 2], rows)),
            "share": some(random.choice([0.5, 1.0, 2.0, 1e-5, 1e15], rows)),
            "member": some(random.random(rows) < 0.5, "boolean"),
            "day": some(days),
            "moment": some(days + hours),
        }
    )  # fmt: skip


def by_pandas(frame: pd.DataFrame, file: Path) -> Path:
    frame.to_csv(file.with_suffix(".csv"), index=False)
    return file.with_suffix(".csv")


def by_arrow(frame: pd.DataFrame, file: Path) -> Path:
    csv.write_csv(pa.Table.from_pandas(frame, preserve_index=False), file.with_suffix(".csv"))
    return file.with_suffix(".csv")


def as_parquet(frame: pd.DataFrame, file: Path) -> Path:
    frame.to_parquet(file.with_suffix(".parquet"), index=False)
    return file.with_suffix(".parquet")


def with_index(frame: pd.DataFrame, file: Path) -> Path:
    frame.set_index("key").to_parquet(file.with_suffix(".parquet"))
    return file.with_suffix(".parquet")


WRITERS = (by_pandas, by_arrow, as_parquet, with_index)


def canonical(frame: pd.DataFrame) -> pd.DataFrame:
    return check_accounts(frame, SCHEMA, subject="t", labelled=True).accounts


@pytest.mark.parametrize("seed", range(4))
def test_the_table_is_the_same_from_every_file_and_batch(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = strange_table(seed)
    expected = canonical(table)
    assert expected.notna().any().all()
    options = {"schema": SCHEMA.model_dump(mode="json")}
    for write in WRITERS:
        file = write(table, tmp_path / write.__name__)
        whole = AccountsDataset(filepath=str(file), **options).load()
        pd.testing.assert_frame_equal(canonical(whole), expected)
        for rows in (4, 1000):
            monkeypatch.setattr("churn.tables.reading.BATCH_ROWS", rows)
            monkeypatch.setattr("churn.tables.csv_file.PIECE_BYTES", 300 * rows)
            found, parts = Findings(), []
            for batch in AccountBatchesDataset(filepath=str(file), labelled=True, **options).load():
                parts.append(found.check_batch(batch, SCHEMA, None))
            assert not found.faults
            pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), expected)
    for rows in (1, 13):
        parts = [Findings().check_batch(table.iloc[at : at + rows], SCHEMA, None) for at in range(0, len(table), rows)]
        pd.testing.assert_frame_equal(pd.concat(parts), expected)


def test_rows_of_arrow_keep_their_types() -> None:
    table = pa.table(
        {
            "i": pa.array([2**60 + 1, None]),
            "b": pa.array([True, None]),
            "u": pa.array([uuid.UUID(int=5).bytes, None], pa.uuid()),
            "d": pa.array([10_000 * 366, None], pa.int32()).cast(pa.date32()),
            "t": pa.array([36_000_000_000_001, None], pa.time64("ns")),
            "c": pa.array([DECIMAL("1.50"), None], pa.decimal128(5, 2)),
        }
    )
    frame = as_frame(table)
    assert [texts(frame[name]) for name in table.column_names] == [
        ["1152921504606846977", None],
        ["true", None],
        ["00000000-0000-0000-0000-000000000005", None],
        ["11990-09-28", None],
        ["10:00:00.000000001", None],
        ["1.50", None],
    ]
    assert as_frame(pa.table({"whole": [1, 2]}))["whole"].dtype == np.int64
    pd.testing.assert_frame_equal(as_frame(table.to_batches()[0]), frame)


def test_files_of_different_types_are_one_table(tmp_path: Path) -> None:
    table = strange_table(0)
    single = table.assign(**{name: table[name].astype("float32") for name in ("real", "single", "mixed")})
    by_pandas(single.iloc[:10], tmp_path / "1")
    as_parquet(single.iloc[10:20], tmp_path / "2")
    by_arrow(single.iloc[20:], tmp_path / "3")
    whole = AccountsDataset(filepath=str(tmp_path), schema=SCHEMA.model_dump(mode="json")).load()
    pd.testing.assert_frame_equal(canonical(whole), canonical(single))


def stored(table: pa.Table) -> io.BytesIO:
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file


@pytest.mark.parametrize("role", ["left_out", "unnamed"])
@pytest.mark.parametrize("dataset", [AccountsDataset, AccountBatchesDataset])
def test_a_column_of_lists_that_nobody_uses_ends_no_run(tmp_path: Path, role: str, dataset: Callable[..., Any]) -> None:
    table = pa.Table.from_pandas(strange_table(1), preserve_index=False)
    name = "tags" if role == "left_out" else "spare"
    table = table.append_column(name, pa.array([[1, 2]] * len(table)))
    (tmp_path / "t.parquet").write_bytes(stored(table).getvalue())
    options = {"labelled": True} if dataset is AccountBatchesDataset else {}
    loaded = dataset(filepath=str(tmp_path / "t.parquet"), schema=SCHEMA.model_dump(mode="json"), **options).load()
    frames = [loaded] if isinstance(loaded, pd.DataFrame) else list(loaded)
    pd.testing.assert_frame_equal(canonical(pd.concat(frames)), canonical(strange_table(1)))


def test_a_column_of_lists_in_use_is_named_with_the_way_out() -> None:
    lists = pd.Series([[1], [2], *([None] * 28)], dtype=object)
    with pytest.raises(AccountsError) as caught:
        canonical(strange_table(0).assign(plan=lists, whole=lists, key=[b"x", *map(str, range(29))]))
    several = "not a single value but a list, a record, bytes or broken text"
    assert caught.value.faults == [
        f"key: 1 value is {several} (row 1); an id is text or a whole number",
        f"whole: 2 values are {several} (rows 1, 2); take the column out of accounts.numeric",
        f"plan: 2 values are {several} (rows 1, 2); take the column out of accounts.categorical, or write it as text",
    ]


@pytest.mark.parametrize("value", [1e308, -1e39, "1e39", DECIMAL("1e39"), 10**39])
def test_numbers_beyond_those_of_the_model_are_refused(value: Any) -> None:
    table = strange_table(0)
    with pytest.raises(AccountsError) as caught:
        canonical(table.assign(real=[value, *itertools.repeat(1.5, len(table) - 1)]))
    (fault,) = caught.value.faults
    assert fault.startswith("real: 1 value is too large for the model, whose numbers end at 3.4e+38, for example ")
    assert fault.endswith(" (row 1); correct it, or leave the cell empty")


def test_numbers_that_a_spreadsheet_hid_are_named_with_the_remedy() -> None:
    table = strange_table(0)
    with pytest.raises(AccountsError) as caught:
        canonical(table.assign(real=["##########", "##", "#1", *itertools.repeat("1.5", len(table) - 3)]))
    assert caught.value.faults == [
        (
            "real: 2 values are number signs (###) as a spreadsheet shows them for a number in a column that is too narrow "
            "(rows 1, 2); widen the column there and export again"
        ),
        "real: 1 value is not a number, for example '#1' (row 3); if that means missing, add it to accounts.missing",
    ]
    with pytest.raises(AccountsError, match="number signs"):
        canonical(table.assign(real="####"))

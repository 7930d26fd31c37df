"""Tables a batch at a time: read, and checked as if they were there as a whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema
from churn.datasets import AccountBatchesDataset, AccountsDataset
from churn.errors import AccountsError, ChurnError
from churn.model import ChurnModel
from churn.tables import CheckedBatches, check_accounts
from churn.tables.ids import RepeatedIds, hashes_of
from tests.conftest import InMemory, in_batches


def checked(batches: InMemory, schema: AccountSchema, model: ChurnModel) -> list[pd.DataFrame]:
    return list(CheckedBatches(batches, schema, model, "accounts"))


def faults_of(table: pd.DataFrame, rows: int, schema: AccountSchema, model: ChurnModel) -> list[str]:
    with pytest.raises(AccountsError) as caught:
        checked(in_batches(table, rows), schema, model)
    return caught.value.faults


# --- checking ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7, 100, 1000])
def test_a_sound_table_comes_through_as_it_is(
    labelled: pd.DataFrame, schema: AccountSchema, model: ChurnModel, rows: int
) -> None:
    table = labelled.head(150)
    whole = check_accounts(table, schema, subject="accounts", labelled=False).accounts
    parts = checked(in_batches(table, rows), schema, model)
    assert [len(part) for part in parts[:-1]] == [rows] * (len(parts) - 1)
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)


@pytest.mark.parametrize("rows", [1, 40, 1000])
def test_the_faults_are_those_of_the_whole_table(
    labelled: pd.DataFrame, schema: AccountSchema, model: ChurnModel, rows: int
) -> None:
    table = labelled.head(120).reset_index(drop=True).astype({"login_count_p1m": object})
    table.loc[[3, 50, 99, 110], "login_count_p1m"] = ["many", "few", "nil", "some"]
    table.loc[80, "quotes_p1m_vs_prev_month_ratio"] = np.inf
    table.loc[[20, 115], schema.id] = table[schema.id].iloc[[5, 70]].to_numpy()
    table.loc[60, schema.id] = ""
    with pytest.raises(AccountsError) as caught:
        check_accounts(table, schema, subject="accounts", labelled=False)
    found = faults_of(table, rows, schema, model)
    assert sorted(found) == sorted(caught.value.faults)
    assert f"{schema.id}: 2 values are a repetition of an earlier id (rows 21, 116); an account has one row" in found
    assert (
        "login_count_p1m: 4 values are not a number, for example 'many', 'few', 'nil' (rows 4, 51, 100, ...)"
        "; if that means missing, add it to accounts.missing" in found
    )


def test_a_category_may_be_new_in_one_batch_but_not_in_all(
    labelled: pd.DataFrame, schema: AccountSchema, model: ChurnModel
) -> None:
    table = labelled.head(60).reset_index(drop=True).astype({"revenue_trend": "str"})
    table.loc[:39, "revenue_trend"] = "sideways"
    assert len(checked(in_batches(table, 20), schema, model)) == 3
    (fault,) = faults_of(table.assign(revenue_trend="sideways"), 20, schema, model)
    assert "only values that the model has never seen" in fault


def test_columns_are_looked_at_before_any_row(labelled: pd.DataFrame, schema: AccountSchema, model: ChurnModel) -> None:
    class Unread(InMemory):
        def __iter__(self) -> Any:
            raise AssertionError("a row was read")

    with pytest.raises(AccountsError, match="missing columns: revenue_trend"):
        checked(Unread(labelled.drop(columns="revenue_trend")), schema, model)


def test_a_table_without_rows(labelled: pd.DataFrame, schema: AccountSchema, model: ChurnModel) -> None:
    assert faults_of(labelled.head(0), 10, schema, model) == ["the table has no rows"]


def test_rows_after_a_faulty_batch_are_not_given(
    labelled: pd.DataFrame, schema: AccountSchema, model: ChurnModel
) -> None:
    table = labelled.head(100).reset_index(drop=True)
    table.loc[30, "quotes_p1m_vs_prev_month_ratio"] = np.inf
    given: list[int] = []
    with pytest.raises(AccountsError, match="row 31"):
        given.extend(map(len, CheckedBatches(in_batches(table, 20), schema, model, "accounts")))
    assert given == [20]


@pytest.mark.parametrize("limit", [10, 1 << 21])
def test_repeated_ids_in_memory_and_in_files(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr("churn.tables.ids.IDS_IN_MEMORY", limit)
    ids = pd.Series([f"account-{number}" for number in range(5000)], dtype="str")
    with RepeatedIds() as known:
        for start in range(0, 5000, 100):
            known.add(hashes_of(ids.iloc[start : start + 100]))
        assert not len(known.suspects())
    with RepeatedIds() as known:
        for part in (ids.iloc[:3000], ids.iloc[3000:], ids.iloc[[7, 4999, 7]]):
            known.add(hashes_of(part))
        assert set(known.suspects()) == set(hashes_of(ids.iloc[[7, 4999]]))


def test_equal_hashes_of_different_ids_are_no_repetition(
    labelled: pd.DataFrame, schema: AccountSchema, model: ChurnModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("churn.tables.batches.hashes_of", lambda ids: np.full(len(ids), 7, dtype=np.uint64))
    assert sum(map(len, checked(in_batches(labelled.head(50), 20), schema, model))) == 50


@pytest.mark.parametrize("rows", [1, 40, 1000])
def test_rows_to_train_on_keep_their_label(labelled: pd.DataFrame, schema: AccountSchema, rows: int) -> None:
    table = labelled.head(120)
    whole = check_accounts(table, schema, subject="accounts", labelled=True).accounts
    parts = CheckedBatches(in_batches(table, rows), schema, None, "accounts")
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)
    pd.testing.assert_frame_equal(pd.concat(parts.again(), ignore_index=True), whole)


@pytest.mark.parametrize("rows", [1, 40, 1000])
@pytest.mark.parametrize("label", ["three classes", "one class", "another word", "missing"])
def test_faults_of_rows_to_train_on(labelled: pd.DataFrame, schema: AccountSchema, rows: int, label: str) -> None:
    table = labelled.head(120).reset_index(drop=True).astype({"is_churned": object, "login_count_p1m": object})
    outcome = table["is_churned"]
    table["is_churned"] = {
        "three classes": outcome.where(outcome.index != 77, "perhaps"),
        "one class": False,
        "another word": outcome.map({True: "gone", False: "here"}),
        "missing": outcome.where(~outcome.index.isin([5, 66, 99, 101]), None),
    }[label]
    table.loc[[3, 110], "login_count_p1m"] = ["many", "few"]
    table["quotes_p1m_vs_prev_month_ratio"], table["revenue_trend"] = np.nan, None
    with pytest.raises(AccountsError) as whole:
        check_accounts(table, schema, subject="accounts", labelled=True)
    with pytest.raises(AccountsError) as parts:
        list(CheckedBatches(in_batches(table, rows), schema, None, "accounts"))
    assert parts.value.faults == whole.value.faults
    assert "revenue_trend: has no value at all; take it out of accounts.categorical" in parts.value.faults


# --- reading ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.tables.csv_file.PIECE_BYTES", 4 << 10)
    monkeypatch.setattr("churn.tables.reading.BATCH_ROWS", 50)


def dataset(kind: type[Any], file: Path, schema: AccountSchema) -> Any:
    return kind(filepath=str(file), schema=schema.model_dump(mode="json"))


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_batches_are_the_table(labelled: pd.DataFrame, schema: AccountSchema, tmp_path: Path, name: str) -> None:
    table = labelled.head(300).assign(colour="red")
    dataset(AccountsDataset, tmp_path / "t.parquet", schema).save(table)
    table.to_csv(tmp_path / name, index=False) if ".csv" in name else None
    batches = dataset(AccountBatchesDataset, tmp_path / name, schema).load()
    assert batches.columns == list(table.columns)
    first = list(batches)
    assert len(first) > 3
    again = pd.concat(batches, ignore_index=True)
    pd.testing.assert_frame_equal(pd.concat(first, ignore_index=True), again)
    roles_of_all = schema.model_copy(update={"strict": False})
    expected = check_accounts(table, roles_of_all, subject="t", labelled=False).accounts
    canonical = check_accounts(again, roles_of_all, subject="t", labelled=False).accounts
    pd.testing.assert_frame_equal(canonical, expected)


@pytest.mark.usefixtures("small_batches")
def test_text_among_numbers_is_read_on_as_text(labelled: pd.DataFrame, schema: AccountSchema, tmp_path: Path) -> None:
    table = labelled.head(300).reset_index(drop=True).astype({"login_count_p1m": object})
    table.loc[200, "login_count_p1m"] = "many"
    table.loc[210, "login_count_p1m"] = "N/A"
    table.to_csv(tmp_path / "t.csv", index=False)
    read = pd.concat(dataset(AccountBatchesDataset, tmp_path / "t.csv", schema).load(), ignore_index=True)
    assert read[schema.id].tolist() == table[schema.id].tolist()
    with pytest.raises(AccountsError) as caught:
        check_accounts(read, schema, subject="t", labelled=False)
    (fault,) = caught.value.faults
    assert fault.startswith("login_count_p1m: 1 value is not a number, for example 'many' (row 201);")


def test_true_and_false_are_numbers(labelled: pd.DataFrame, schema: AccountSchema, tmp_path: Path) -> None:
    table = labelled.head(4).assign(payment_methods_active_count=[True, False, None, True])
    table.to_csv(tmp_path / "t.csv", index=False)
    (read,) = dataset(AccountBatchesDataset, tmp_path / "t.csv", schema).load()
    canonical = check_accounts(read, schema, subject="t", labelled=False).accounts
    assert canonical["payment_methods_active_count"].tolist()[:2] == [1.0, 0.0]
    assert np.isnan(canonical["payment_methods_active_count"][2])


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00"])
def test_what_is_no_table(schema: AccountSchema, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    batches = dataset(AccountBatchesDataset, tmp_path / "t.csv", schema).load()
    with pytest.raises(ChurnError, match=r"t.csv cannot be read as an account table"):
        _ = batches.columns


def test_a_row_that_is_too_long_is_named(labelled: pd.DataFrame, schema: AccountSchema, tmp_path: Path) -> None:
    text = labelled.head(3).to_csv(index=False)
    (tmp_path / "t.csv").write_text(text + "1,2\n")
    with pytest.raises(ChurnError, match=r"(?s)t.csv cannot be read .* row 4 has 2"):
        list(dataset(AccountBatchesDataset, tmp_path / "t.csv", schema).load())

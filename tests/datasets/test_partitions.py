"""Tables that consist of several files."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.io import DatasetError

from churn.cli.commands import user_error
from churn.config import AccountSchema
from churn.datasets import AccountBatchesDataset, AccountsDataset, FingerprintDataset
from churn.errors import ChurnError
from churn.stores import open_store
from churn.stores.partitions import Partitions


@pytest.fixture
def table(labelled: pd.DataFrame) -> pd.DataFrame:
    return labelled.head(90).reset_index(drop=True)


@pytest.fixture
def folder(table: pd.DataFrame, tmp_path: Path) -> Path:
    """The table in three files of three kinds, with what is no part of it beside them."""
    folder = tmp_path / "accounts"
    (folder / "2026").mkdir(parents=True)
    (folder / "_temporary").mkdir()
    table.iloc[:30].to_csv(folder / "1.csv", index=False)
    table.iloc[30:60].to_csv(folder / "2026/2.csv.gz", index=False)
    table.iloc[60:].iloc[:, ::-1].to_parquet(folder / "3.parquet", index=False)
    for name in ("_SUCCESS", ".1.csv.x.part", "_temporary/1.csv", "notes.txt"):
        (folder / name).write_text("no table")
    return folder


def dataset(kind: type[Any], path: Path, schema: AccountSchema) -> Any:
    return kind(filepath=str(path), schema=schema.model_dump(mode="json"))


def test_a_folder_is_one_table(folder: Path, table: pd.DataFrame, schema: AccountSchema) -> None:
    whole = dataset(AccountsDataset, folder, schema).load()
    assert whole[schema.id].tolist() == table[schema.id].tolist()
    batches = dataset(AccountBatchesDataset, folder, schema).load()
    assert batches.columns == list(table.columns)
    read = pd.concat(batches, ignore_index=True)
    assert read[schema.id].tolist() == table[schema.id].tolist()
    pd.testing.assert_series_equal(read["login_count_p1m"], whole["login_count_p1m"])


def test_a_file_that_is_no_part_is_named(folder: Path, table: pd.DataFrame, schema: AccountSchema) -> None:
    table.drop(columns="revenue_trend").assign(colour="red").to_csv(folder / "9.csv", index=False)
    with pytest.raises(ChurnError, match=r"9\.csv lacks revenue_trend and also has colour"):
        _ = dataset(AccountBatchesDataset, folder, schema).load().columns
    with pytest.raises(DatasetError) as caught:
        dataset(AccountsDataset, folder, schema).load()
    assert "files with other columns than" in str(user_error(caught.value))


def test_an_empty_folder(tmp_path: Path, schema: AccountSchema) -> None:
    for kind in (AccountsDataset, AccountBatchesDataset):
        table = dataset(kind, tmp_path / "none", schema)
        assert not table.exists()
        with pytest.raises(DatasetError, match="none holds no table; put"):
            table.load()


def test_a_table_is_saved_as_one_file_and_not_among_others(
    folder: Path, table: pd.DataFrame, schema: AccountSchema, tmp_path: Path
) -> None:
    new = dataset(AccountsDataset, tmp_path / "new", schema)
    new.save(table)
    new.save(table.head(5))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["part-0.parquet"]
    assert len(new.load()) == 5
    with pytest.raises(DatasetError, match="would be mixed"):
        dataset(AccountsDataset, folder, schema).save(table)


def test_the_fingerprint_is_that_of_the_list_of_files(folder: Path) -> None:
    fingerprint = FingerprintDataset(filepath=str(folder)).load()
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in Partitions(str(folder)).names()}
    assert fingerprint["files"] == files
    assert list(files) == ["1.csv", "2026/2.csv.gz", "3.parquet"]
    assert fingerprint["name"] == "accounts"
    assert fingerprint["bytes"] == sum((folder / name).stat().st_size for name in files)
    lines = "".join(f"{digest}  {name}\n" for name, digest in files.items())
    assert fingerprint["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    (folder / "1.csv").rename(folder / "0.csv")
    assert FingerprintDataset(filepath=str(folder)).load()["sha256"] != fingerprint["sha256"]


def test_other_file_systems_list_their_files() -> None:
    store = open_store("memory://tables/accounts")
    for name in ("b.csv", "2026/a.csv"):
        store.write(lambda file: file.write(b"x"), name)
    assert sorted(store.names()) == ["2026/a.csv", "b.csv"]

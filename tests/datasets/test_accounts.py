from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError

from churn.cli.commands import user_error
from churn.datasets import AccountsDataset
from churn.errors import ChurnError

SCHEMA: dict[str, Any] = {
    "id": "key",
    "label": {"column": "left"},
    "numeric": ["seats", "weight"],
    "categorical": ["country", "code"],
}


def dataset(path: Path, **options: Any) -> AccountsDataset:
    return AccountsDataset(filepath=str(path), schema=SCHEMA, **options)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_types_follow_roles_not_looks(tmp_path: Path) -> None:
    text = "key,left,seats,weight,country,code\n00123,True,1,1.5,NA,1\n7,False,NA,NaN,,01\n"
    frame = dataset(written(tmp_path / "a.csv", text)).load()
    assert frame["key"].tolist() == ["00123", "7"]
    assert frame["left"].tolist() == ["True", "False"]
    assert frame["country"].tolist() == ["NA", ""]  # Namibia is no missing value
    assert frame["code"].tolist() == ["1", "01"]
    assert frame["seats"].tolist()[0] == 1
    assert pd.isna(frame["seats"][1])
    assert np.isnan(frame["weight"][1])


def test_other_delimiter_and_compression(tmp_path: Path) -> None:
    import gzip

    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("key;seats\nx;3\n")
    frame = dataset(tmp_path / "a.csv.gz", delimiter=";").load()
    assert frame.to_dict("list") == {"key": ["x"], "seats": [3]}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame(
        {"key": ["a,b", 'c"d', "e"], "seats": [1, 2, 3], "weight": [0.1, 1 / 3, 1e-9], "country": ["x\ny", "", "z"]}
    )
    table = dataset(tmp_path / "new" / f"a.{suffix}")
    assert not table.exists()
    table.save(frame)
    assert table.exists()
    pd.testing.assert_frame_equal(table.load(), frame, check_dtype=suffix != "csv")  # a number of a CSV file is a float
    assert [file.name for file in (tmp_path / "new").iterdir()] == [f"a.{suffix}"]


def test_plain_text_is_not_quoted(tmp_path: Path) -> None:
    dataset(tmp_path / "a.csv").save(
        pd.DataFrame({"key": ["a", "b"], "weight": np.array([0.1, 1 / 3], dtype=np.float32)})
    )
    assert (tmp_path / "a.csv").read_text() == "key,weight\na,0.1\nb,0.33333334\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty"),
        ("key,seats\na,1\nb\n", "row 2 has 1"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(DatasetError) as caught:
        dataset(written(tmp_path / "bad.csv", text)).load()
    message = user_error(caught.value)
    assert message is not None
    assert "bad.csv cannot be read as an account table" in message
    assert expected in message


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        dataset(written(tmp_path / "bad.parquet", "key,seats\n")).load()
    assert "bad.parquet cannot be read" in str(user_error(caught.value))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        dataset(tmp_path / "none.csv").load()
    assert str(user_error(caught.value)).endswith("none.csv does not exist")


def test_another_format_is_refused() -> None:
    with pytest.raises(Exception, match=r"a.xlsx: an account table is a .csv or .parquet file"):
        AccountsDataset(filepath="a.xlsx", schema=SCHEMA)


def test_a_failing_save_keeps_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = dataset(tmp_path / "a.csv")
    table.save(pd.DataFrame({"key": ["old"]}))

    def half(_: Any, file: Any, **__: Any) -> None:
        file.write(b"key\nnew")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("churn.datasets.accounts.write_csv", half)
    with pytest.raises(DatasetError, match="No space left"):
        table.save(pd.DataFrame({"key": ["new"]}))
    assert table.load()["key"].tolist() == ["old"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_preview(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "key,seats\n" + "".join(f"k{i},{i}\n" for i in range(20)))
    preview = dataset(path).preview(nrows=2)
    assert preview["data"] == [["k0", 0], ["k1", 1]]
    assert "a.csv" in str(dataset(path))


def test_a_catalog_of_before_may_say_roles(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = written(tmp_path / "a.csv", "key,seats\n1,2\n")
    frame = AccountsDataset(filepath=str(file), roles=SCHEMA).load()
    pd.testing.assert_frame_equal(frame, dataset(file).load())
    assert [record.message for record in caplog.records] == [
        f"{file}: the option 'roles' is called 'schema' now; rename it in your catalog"
    ]


@pytest.mark.parametrize("options", [{}, {"schema": SCHEMA, "roles": SCHEMA}])
def test_a_table_has_one_schema(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ChurnError, match="needs one schema"):
        AccountsDataset(filepath=str(tmp_path / "a.csv"), **options)

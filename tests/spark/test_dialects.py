"""Files of other dialects are the same rows on Spark as on one machine."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from churn.config import AccountSchema
from churn.datasets import AccountBatchesDataset, SparkAccountsDataset
from churn.errors import ChurnError
from churn.spark.session import explained
from churn.tables import checked_table
from churn.tables.split import Split

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

SCHEMA = AccountSchema.model_validate(
    {
        "id": "customer",
        "label": {"column": "gone", "positive": "yes"},
        "numeric": ["seats", "revenue"],
        "categorical": ["city"],
    }
)
COMMA = "customer,gone,seats,revenue,city,note\n" + "".join(
    f"C{number:03},{'yes' if number % 3 else 'no'},{number},{number}.25,Köln,\n" for number in range(1, 41)
)
SEMICOLON = COMMA.replace(",", ";").replace(".25", ",25")


def labels_of(kind: type[Any], file: Path) -> tuple[list[int], pd.DataFrame]:
    table = kind(filepath=str(file), schema=SCHEMA.model_dump(mode="json"), labelled=True).load()
    checked = checked_table(table, SCHEMA, None, "accounts")
    labels = checked.checked_rows(Split(1, 0.3)).labels
    names = ["customer", "seats", "revenue", "city"]
    return labels.tolist(), checked.chosen(names, labels >= 0).frame()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", COMMA.encode()),
        ("semicolons.csv", COMMA.replace(",", ";").encode()),
        ("german.csv", SEMICOLON.encode("cp1252")),
        ("unicode.csv", SEMICOLON.replace(";", "\t").encode("utf-16")),
        ("title.csv", b"sep=;\n" + SEMICOLON.encode()),
        ("packed.csv.gz", gzip.compress(COMMA.encode())),
        ("packed.csv", gzip.compress(COMMA.encode())),
        ("breaks.csv", COMMA.replace("C002,yes,2,2.25,Köln,", 'C002,yes,2,2.25,Köln,"a\nb, c"').encode()),
        ("trailing.csv", COMMA.replace("\n", ",\n").encode()),
    ],
)
def test_the_rows_are_the_same(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    labels, rows = labels_of(SparkAccountsDataset, tmp_path / name)
    expected, table = labels_of(AccountBatchesDataset, tmp_path / name)
    assert labels == expected == [int(number % 3 > 0) for number in range(1, 41)]
    pd.testing.assert_frame_equal(rows, table, check_exact=True)
    assert rows["revenue"].tolist() == [number + 0.25 for number in range(1, 41)]
    assert set(rows["city"]) == {"Köln"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text + "C041,yes,1\n", r"1 row has .*row 41 has 3"),
        (lambda text: text.replace("C010,yes", '"C010,yes'), r"the quote that opens in row 10, column customer"),
        (lambda text: text.replace("\n", "\r") + "C041,yes,1\r", r"1 row has .*row 41 has 3"),
    ],
)
def test_faults_are_named_as_locally(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    (tmp_path / "t.csv").write_text(change(COMMA), newline="")
    for kind in (AccountBatchesDataset, SparkAccountsDataset):
        with pytest.raises(ChurnError, match=message):
            labels_of(kind, tmp_path / "t.csv")


def test_rows_between_two_quotes_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = COMMA
    for row in ("C010,yes,10,10.25,Köln,", "C014,yes,14,14.25,Köln,"):
        text = text.replace(row, row + '"')
    (tmp_path / "t.csv").write_text(text)
    labels, _ = labels_of(SparkAccountsDataset, tmp_path / "t.csv")
    assert len(labels) == 36
    assert any("row 10, column note (4 line breaks)" in record.message for record in caplog.records)


def test_what_begins_after_the_first_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.tables.csv_file.SAMPLE_BYTES", 300)
    (tmp_path / "t.csv").write_bytes(COMMA.encode("cp1252").replace(b"K\xf6ln", b"Bonn", 20))
    with pytest.raises(ChurnError, match=r"not UTF-8.*set accounts.format.encoding"):
        labels_of(SparkAccountsDataset, tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text(COMMA.replace("C030,no,30,30.25,Köln,", 'C030,no,30,30.25,Köln,"a\nb"'))
    with pytest.raises(ChurnError, match=r"set accounts.format.line_breaks"):
        labels_of(SparkAccountsDataset, tmp_path / "t.csv")


def test_an_error_of_the_project_in_a_worker_is_one_sentence() -> None:
    with pytest.raises(ChurnError, match=r"^accounts: t.csv: 2 faults\n  - one\n  - two$"), explained("accounts"):
        raise RuntimeError(
            "Traceback (most recent call last):\nchurn.errors.FaultsError: t.csv: 2 faults\n  - one\n  - two\n\n at x"
        )

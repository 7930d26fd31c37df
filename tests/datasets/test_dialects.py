"""Account tables as other programs export them."""

import gzip
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from kedro.io import DatasetError

from churn.cli.commands import user_error
from churn.config import AccountSchema, FeatureEngineering, FileFormat, Staging
from churn.datasets import AccountBatchesDataset, AccountsDataset, OutcomeBatchesDataset
from churn.errors import ChurnError
from churn.pipelines.data_generation.nodes import stage_snapshots
from churn.tables import check_accounts
from churn.tables.csv import write_csv

SCHEMA: dict[str, Any] = {
    "id": "customer",
    "label": {"column": "gone", "positive": "yes"},
    "numeric": ["seats", "revenue"],
    "categorical": ["city"],
    "left_out": ["note"],
}
EXPECTED = pd.DataFrame(
    {
        "customer": ["0012", "0013", "0014"],
        "seats": [3.0, 1200.0, np.nan],
        "revenue": [1207.54, 0.5, 20.0],
        "city": ["Köln", "Zürich", "NA"],
        "gone": ["yes", "no", "yes"],
    }
)


def frames(path: Path, fmt: dict[str, Any] | None = None, **options: Any) -> list[pd.DataFrame]:
    """The table by each reader, without Kedro's error around that of the table."""
    options |= {"filepath": str(path), "schema": {**SCHEMA, "format": fmt or {}}}
    parts = list(AccountBatchesDataset(**options, labelled=True).load())
    return [AccountsDataset(**options).load(), pd.concat(parts, ignore_index=True)]


def message_of(path: Path, fmt: dict[str, Any] | None = None) -> str:
    """The error of each reader, which is the same."""
    messages = []
    for kind, more in ((AccountsDataset, {}), (AccountBatchesDataset, {"labelled": True})):
        with pytest.raises((ChurnError, DatasetError)) as caught:
            list(kind(filepath=str(path), schema={**SCHEMA, "format": fmt or {}}, **more).load())
        messages.append(str(user_error(caught.value)))
    assert messages[0] == messages[1]
    return messages[0]


def assert_read(path: Path, fmt: dict[str, Any] | None = None, **options: Any) -> None:
    for frame in frames(path, fmt, **options):
        pd.testing.assert_frame_equal(frame[EXPECTED.columns], EXPECTED, check_dtype=False)


# Modelled on the exports of these programs.
EXCEL_GERMAN = (
    'customer;gone;seats;revenue;city;note\r\n0012;yes;3;1.207,54 €;Köln;\r\n0013;no;1200;0,50 €;Zürich;"5"" Rohr;\r\n'
    'zweite Zeile"\r\n0014;yes;;20,00 €;NA;ß\r\n'
)
SAP = (
    "Kundenliste 27.11.2026\r\n\r\ncustomer\tgone\t seats \trevenue\tcity\tnote\r\n0012\tyes\t3\t1.207,54\tKöln\t\r\n"
    "0013\tno\t1.200\t0,50\tZürich\t\r\n0014\tyes\t\t20,00\tNA\t\r\n"
)
SALESFORCE = (
    '"customer","gone","seats","revenue","city","note"\n"0012","yes","3","1,207.54","Köln",""\n'
    '"0013","no","1,200","0.5","Zürich","a\nb"\n"0014","yes","","20","NA",""\n'
)
HUBSPOT = (
    "\ufeffcustomer,gone,seats,revenue,city,note\ntext,yes or no,number of seats,USD a month,text,text\n"
    '0012,yes,3,"$1,207.54",Köln,\n0013,no,"1,200",$0.50,Zürich,\n0014,yes,N/A,$20,NA,\n'
)
MYSQL = (
    "customer\tgone\tseats\trevenue\tcity\tnote\n0012\tyes\t3\t1207.54\tKöln\tx, y; z\n0013\tno\t1200\t0.50\tZürich\tNULL\n"
    "0014\tyes\tNULL\t20.00\tNA\tNULL\n"
)
R_CSV2 = (
    '"";"customer";"gone";"seats";"revenue";"city"\n"1";"0012";"yes";3;1207,54;"Köln"\n"2";"0013";"no";1200;0,5;"Zürich"\n'
    '"3";"0014";"yes";NA;20;"NA"\n'
)
SWISS = (
    "sep=;\nNr.;customer;gone;seats;revenue;city;\n1;0012;yes;3;1'207.54;Köln;\n2;0013;no;1'200;0.5;Zürich;\n"
    "3;0014;yes;;20;NA;\n"
)
FRENCH = "customer|gone|seats|revenue|city\n0012|yes|3|1 207,54|Köln\n0013|no|1 200|0,5|Zürich\n0014|yes||20|NA\n"
MAC = EXCEL_GERMAN.replace("\r\nzweite Zeile", "").replace("\r\n", "\r")
PLAIN = (
    "customer,gone,seats,revenue,city,note\n0012,yes,3,1207.54,Köln,\n0013,no,1200,0.5,Zürich,\n0014,yes,NA,20,NA,\n"
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (EXCEL_GERMAN.encode("cp1252"), ["delimiter ';'", "not UTF-8 as cp1252", "decimal comma", "'.'", "currency €"]),
        (SAP.encode("utf-16"), ["delimiter tab", "2 lines above the header", "column names 'seats'", "utf-16-le"]),
        (SALESFORCE.encode(), ["thousands separated by ','"]),
        (HUBSPOT.encode(), ["1 row of descriptions", "currency $ in revenue"]),
        (MYSQL.encode("latin-1"), ["delimiter tab", "cp1252"]),
        (R_CSV2.encode(), ["column 1 without a name", "decimal comma"]),
        (SWISS.encode(), ["1 line above the header", "delimiters at the ends of rows", '"\'"']),
        (FRENCH.replace("1 2", "1\u202f2").encode(), ["delimiter '|'", "decimal comma", "' '"]),
        (MAC.encode(), ["delimiter ';'", "decimal comma"]),
        (MAC.encode() + b"\n", ["delimiter ';'", "decimal comma"]),
        (gzip.compress(SWISS.encode("utf-16-be")), ["utf-16-be"]),
        (PLAIN.encode(), []),
        (PLAIN.replace("\n", "\r\n").encode("utf-8-sig"), []),
    ],
    ids=[
        "excel",
        "sap",
        "salesforce",
        "hubspot",
        "mysql",
        "r",
        "swiss",
        "french",
        "mac",
        "mac lf",
        "unmarked",
        "plain",
        "bom",
    ],
)
def test_exports(tmp_path: Path, content: bytes, words: list[str], caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert_read(tmp_path / "t.csv")
    notes = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(notes) == bool(words)  # told once for both readers
    assert all(word in notes[0] for word in words)


def test_cells_with_line_breaks_and_quotes_are_whole(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(EXCEL_GERMAN.encode("cp1252"))
    frame, _ = frames(tmp_path / "t.csv")
    assert frame["note"].tolist() == ["", '5" Rohr;\r\nzweite Zeile', "ß"]


def test_what_is_detected_is_told_as_parameters(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.csv").write_bytes(b"Kunden\n" + EXCEL_GERMAN.encode("cp1252"))
    assert_read(tmp_path / "t.csv")
    _, _, parameters = caplog.records[0].message.partition("accounts.format: ")
    fmt = yaml.safe_load(parameters)
    assert fmt == {"delimiter": ";", "decimal": ",", "thousands": ".", "encoding": "cp1252", "title_lines": 1}
    caplog.clear()
    assert_read(tmp_path / "t.csv", fmt)
    assert "accounts.format" not in caplog.text


@pytest.mark.parametrize(("size", "sample"), [(64, 300), (1000, 5000), (1 << 20, 1 << 20)])
def test_the_size_of_a_file_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, sample: int
) -> None:
    """Line breaks within quotes, stray quotes and bytes that are not UTF-8, early or late, in pieces of any size."""
    notes = ['"a\nb"', '12" screen', '"say ""hi"""', "Größe", '"x;\r\n\r\n;y"', ""]
    rows = [f"{number:05},yes,{number},{number}.5,C{number % 7},{notes[number % 6]}\n" for number in range(700)]
    text = "customer,gone,seats,revenue,city,note\n" + "".join(rows[:300]) + "\n".join(["", *rows[300:]])
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    monkeypatch.setattr("churn.tables.csv_file.PIECE_BYTES", size)
    monkeypatch.setattr("churn.tables.csv_file.SAMPLE_BYTES", sample)
    for frame in frames(tmp_path / "t.csv"):
        assert frame["customer"].tolist() == [f"{number:05}" for number in range(700)]
        assert frame["revenue"].tolist() == [number + 0.5 for number in range(700)]
    whole, _ = frames(tmp_path / "t.csv")
    assert whole["note"].tolist()[:6] == ["a\nb", '12" screen', 'say "hi"', "Größe", "x;\r\n\r\n;y", ""]


# --- rows that would leave in silence ---------------------------------------------------------------------------


def rows_of(count: int, changes: dict[int, str]) -> str:
    rows = [f"{number:04},no,1,2.5,Köln,note" for number in range(1, count + 1)]
    for number, row in changes.items():
        rows[number - 1] = row
    return "\n".join(["customer,gone,seats,revenue,city,note", *rows, ""])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({301: '0301,no,1,2.5,Köln,"note'}, ["the quote that opens in row 301, column note, is never closed"]),
        (
            {301: '0301,no,1,"2.5,Köln,note', 900: '0900,no,1,2.5,Köln,"note"'},
            ["1 row has more or fewer", "row 301 has"],
        ),
        (
            {7: "0007,no,1", 8: "0008,no,1,2.5,Köln,a,b", 1100: "1100"},
            ["3 rows", "row 7 has 3, row 8 has 7, row 1100 has 1"],
        ),
    ],
)
def test_damaged_rows_are_named(tmp_path: Path, changes: dict[int, str], expected: list[str]) -> None:
    (tmp_path / "t.csv").write_text(rows_of(1200, changes))
    message = message_of(tmp_path / "t.csv")
    assert all(part in message for part in ["t.csv cannot be read", *expected])


def test_damaged_rows_in_other_encodings_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_bytes(rows_of(30, {7: "0007,no,Köln", 9: '0009,no,1,2.5,"Köln,x'}).encode("cp1252"))
    message = message_of(tmp_path / "t.csv")
    assert "row 7 has 3" in message
    assert "opens in row 9, column city" in message
    assert "Traceback" not in capfd.readouterr().err


def test_two_stray_quotes_are_one_cell_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.csv").write_text(rows_of(1200, {301: '0301,no,1,2.5,Köln,"note', 401: 'a"'}))
    for frame in frames(tmp_path / "t.csv"):
        assert len(frame) == 1100
    (note,) = [record.message for record in caplog.records]
    assert "row 301, column note (100 line breaks)" in note


def test_a_value_after_the_last_column(tmp_path: Path) -> None:
    rows = SWISS.replace("1'200;0.5;Zürich;", "1'200;0.5;Zürich;x") + "4;0015;yes;;20;NA;;\n"
    (tmp_path / "t.csv").write_text(rows)
    message = message_of(tmp_path / "t.csv")
    assert "1 row has a value after the last column, where the others have an empty cell (row 2)" in message
    assert "row 4 has 8" in message


def test_a_repeated_name_is_refused_by_every_reader(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(PLAIN.replace("note", " seats "))
    assert "columns that occur more than once: seats; rename" in message_of(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "t.csv cannot be read as an account table: the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"\r\n \r\n", "the file is empty"),
        (b";;;\n1;2;3;4\n", "the file has no header"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00", "it is not text"),
        (gzip.compress(PLAIN.encode() * 100)[:-30], "damaged or incomplete"),
    ],
)
def test_what_is_no_table(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert expected in message_of(tmp_path / "t.csv")


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    for text in (PLAIN.splitlines()[0], PLAIN.splitlines()[0] + "\n\n"):
        (tmp_path / "t.csv").write_text(text)
        options = {"filepath": str(tmp_path / "t.csv"), "schema": SCHEMA}
        assert AccountsDataset(**options).load().shape == (0, 6)
        batches = AccountBatchesDataset(**options).load()
        assert len(batches.columns) == 6
        assert not list(batches)


# --- numbers and letters with two meanings ----------------------------------------------------------------------


def test_a_number_with_two_meanings_is_refused(tmp_path: Path) -> None:
    text = "customer;gone;seats;revenue;city\n1;yes;3;1.207;x\n2;no;4;2.300;x\n"
    (tmp_path / "t.csv").write_text(text)
    message = message_of(tmp_path / "t.csv")
    assert "revenue: '1.207' (row 1) is 1207 or 1.207" in message
    assert "set accounts.format.decimal" in message
    for decimal, expected in ((".", [1.207, 2.3]), (",", [1207, 2300])):
        for frame in frames(tmp_path / "t.csv", {"decimal": decimal}):
            assert frame["revenue"].tolist() == expected


def test_the_whole_file_is_asked_before_a_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.tables.csv_file.SAMPLE_BYTES", 100)
    rows = "".join(f"{number};yes;3;1.{number};x\n" for number in range(100, 200))
    (tmp_path / "t.csv").write_text(f"customer;gone;seats;revenue;city\n{rows}200;no;3;7,5;x\n")
    for frame in frames(tmp_path / "t.csv"):
        assert frame["revenue"].tolist() == [*(1000.0 + number for number in range(100, 200)), 7.5]


def test_three_decimals_in_a_file_with_commas_are_decimals(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "t.csv").write_text("customer,gone,seats,revenue,city\n1,yes,3,1.207,x\n")
    assert all(frame["revenue"].tolist() == [1.207] for frame in frames(tmp_path / "t.csv"))
    (note,) = [record.message for record in caplog.records]
    assert "decimal point: '1.207' (revenue, row 1) could also be a whole number" in note


def test_a_number_of_another_notation_is_a_fault_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(PLAIN.replace("1200,0.5", '1200,"1.200,5"'))
    schema = AccountSchema.model_validate(SCHEMA)
    for frame in frames(tmp_path / "t.csv"):
        with pytest.raises(ChurnError, match=r"revenue: .* '1.200,5 \(see accounts.format\)' \(row 2\)"):
            check_accounts(frame, schema, subject="accounts", labelled=True)


def test_letters_that_are_no_letters_end_a_run_only_in_columns_that_are_used(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(PLAIN.encode().replace("Zürich,".encode(), b"Z\x81rich,\x81"))  # ü of DOS
    assert "city: 1 cell holds bytes that are neither UTF-8 nor cp1252 (row 2)" in message_of(file)
    for frame in frames(file, {"encoding": "cp850"}):
        assert frame["city"].tolist()[1] == "Zürich"
    file.write_bytes(PLAIN.encode().replace("Zürich,".encode(), "Zürich,".encode() + b"\x81"))
    assert_read(file)
    file.write_bytes(PLAIN.encode("cp1252"))
    assert "city: 2 cells hold bytes that are no text in utf-8 (rows 1, 2)" in message_of(file, {"encoding": "utf-8"})


# --- parameters -------------------------------------------------------------------------------------------------


def test_parameters_are_stronger_than_what_is_detected(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("customer;customer,gone,seats,revenue,city\n0,yes,1,2,x\n" + PLAIN)
    assert_read(file, {"title_lines": 2})
    file.write_text(PLAIN.replace("note\n", "note\nthe,gone,seats,revenue,city,note\n", 1))
    assert_read(file, {"description_rows": 1})
    file.write_text(PLAIN.replace(",", ";"))
    assert_read(file, {"delimiter": ","}, delimiter=";")  # that of the catalog is the strongest


@pytest.mark.parametrize(
    "fmt",
    [
        {"delimiter": "tab", "decimal": ",", "thousands": "."},
        {"decimal": ",", "encoding": "utf-16", "title_lines": 3, "description_rows": 1},
        {"delimiter": "|", "encoding": "cp1252"},
        {"title_lines": 1},
        {},
    ],
)
def test_a_saved_table_is_read_with_the_same_parameters(tmp_path: Path, fmt: dict[str, Any]) -> None:
    table = EXPECTED.assign(note=['a;"b",\tc|', "x\r\ny", ""], revenue=[1207.54, 1e-9, 1 / 3])
    dataset = AccountsDataset(filepath=str(tmp_path / "t.csv"), schema={**SCHEMA, "format": fmt})
    dataset.save(table)
    for frame in (
        dataset.load(),
        AccountsDataset(filepath=str(tmp_path / "t.csv"), schema={**SCHEMA, "format": fmt}).load(),
    ):
        pd.testing.assert_frame_equal(frame, table, check_dtype=False, check_exact=True)


def test_a_letter_that_the_encoding_lacks_is_named(tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("wb") as file, pytest.raises(ChurnError, match="'ł' cannot be written in cp1252"):
        write_csv(pa.table({"city": ["Łódź".lower()]}), file, written_as=FileFormat(encoding="cp1252"))


# --- several files ----------------------------------------------------------------------------------------------


def test_each_file_of_a_folder_has_its_dialect(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "accounts"
    folder.mkdir()
    (folder / "1.csv").write_bytes(FRENCH.encode("utf-16"))
    (folder / "2.CSV").write_bytes(PLAIN.replace(",note\n", "\n").replace(",\n", "\n").encode())
    (folder / "3.csv.zst").write_bytes(pa.compress(FRENCH.encode("utf-16"), "zstd", asbytes=True))
    for frame in frames(folder):
        pd.testing.assert_frame_equal(
            frame, pd.concat([EXPECTED] * 3, ignore_index=True)[frame.columns], check_dtype=False
        )
    (note,) = [record.message for record in caplog.records]
    assert "(2 files, such as " in note
    (folder / "4.csv").write_bytes(PLAIN.encode())
    assert "4.csv also has note" in message_of(folder)


def test_outcomes_are_read_by_the_same_reader(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("Stand 1.12.\ncustomer;gone;note\n0012;yes;ä\n0013;;\n".encode("cp1252"))
    (frame,) = OutcomeBatchesDataset(filepath=str(tmp_path / "t.csv"), schema=SCHEMA).load()
    assert frame.to_dict("list") == {"customer": ["0012", "0013"], "gone": ["yes", ""]}


def test_a_staged_table_means_the_same(tmp_path: Path) -> None:
    """What data_generation stages of an export is what a run without staging would read."""
    rows = "".join(
        f'{number:04};{"yes" if number % 3 else "no"};{number};"1.{number:03},5";Straße;"a\n""{number}"""\n'
        for number in range(100, 160)
    )
    (tmp_path / "t.csv").write_bytes(f"customer;gone;seats;revenue;city;note\n{rows}".encode("cp1252"))
    schema = AccountSchema.model_validate(SCHEMA)
    source, _ = frames(tmp_path / "t.csv")
    staged = stage_snapshots(source, schema, Staging(), FeatureEngineering())
    AccountsDataset(filepath=str(tmp_path / "training.csv"), schema=SCHEMA).save(staged.training)
    loaded, parts = frames(tmp_path / "training.csv")
    assert len(loaded) + len(staged.scoring) == 60
    expected = source[source["customer"].isin(staged.training["customer"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(loaded, expected)
    assert parts["revenue"].tolist() == [float(f"1{number}.5") for number in expected["seats"].astype(int)]

"""Account tables in files, workbooks and databases."""

import datetime as dt
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.io import DatasetError

from churn.config.source import Source
from churn.datasets import SourceDataset
from churn.errors import ChurnError
from churn.tables import check_accounts
from tests.cli.test_onboarding import init, project, written
from tests.conftest import Project
from tests.survey.tables import customers

__all__ = ["project"]

SCHEMA = {"id": "no", "label": {"column": "left", "positive": "1"}, "numeric": ["visits"], "categorical": ["plan"]}
ROWS = [
    ("00123", 3, "Köln", dt.date(2024, 5, 1), 1),
    ("00124", None, "", None, 0),
    ("00125", 7, "plus", dt.date(2023, 1, 31), 0),
]
NAMES = ["no", "visits", "plan", "joined", "left"]


def load(given: Any) -> pd.DataFrame:
    return SourceDataset(filepath=given, schema=SCHEMA).load()


def is_right(frame: pd.DataFrame) -> bool:
    checked = check_accounts(
        frame, SourceDataset(filepath="x.csv", schema=SCHEMA)._schema, subject="x", labelled=True
    ).accounts
    return (
        checked["no"].tolist() == ["00123", "00124", "00125"]
        and checked["visits"].fillna(-1).tolist() == [3, -1, 7]
        and checked["plan"].fillna("-").tolist() == ["Köln", "-", "plus"]
        and checked["left"].tolist() == [1, 0, 0]
    )


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    notes = book.active
    notes.title = "Notes"
    notes.append(["Made by hand"])
    notes.append(["See the other sheet"])
    sheet = book.create_sheet("Kunden")
    sheet.append(["Members of the club"])
    sheet.append([])
    sheet.append([*NAMES, None])
    for row in ROWS:
        sheet.append([*row, None])
    hidden = book.create_sheet("Hidden")
    hidden.append(["a"])
    hidden.append([1])
    hidden.sheet_state = "hidden"
    book.save(tmp_path / "club.xlsx")
    return tmp_path / "club.xlsx"


def test_a_sheet_of_a_workbook(workbook: Path) -> None:
    frame = load({"path": str(workbook), "sheet": "Kunden"})
    assert list(frame) == NAMES
    assert is_right(frame)
    assert pd.Timestamp(frame["joined"].iloc[0]) == pd.Timestamp("2024-05-01")
    with pytest.raises(DatasetError, match="2 sheets with rows: Notes, Kunden"):
        load(str(workbook))
    with pytest.raises(DatasetError, match="no sheet 'Members'; it has Notes, Kunden, Hidden"):
        load({"path": str(workbook), "sheet": "Members"})


def test_what_is_no_workbook(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    (tmp_path / "a.xlsx").write_text("no zip")
    with pytest.raises(DatasetError, match="cannot be read as a workbook"):
        load(str(tmp_path / "a.xlsx"))
    with pytest.raises(DatasetError, match="does not exist"):
        load(str(tmp_path / "b.xlsx"))


@pytest.fixture
def database(tmp_path: Path) -> str:
    file = tmp_path / "club.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE members (no TEXT, visits INTEGER, plan TEXT, joined TEXT, left INTEGER)")
        rows = [(*row[:3], row[3].isoformat() if row[3] else None, row[4]) for row in ROWS]
        connection.executemany("INSERT INTO members VALUES (?, ?, ?, ?, ?)", rows)
    connection.close()
    return f"sqlite:///{file}"


def test_a_table_and_a_query_of_a_database(database: str) -> None:
    assert is_right(load({"path": database, "table": "members"}))
    some = load({"path": database, "query": "SELECT no, visits FROM members WHERE visits > 5"})
    assert some.to_dict("records") == [{"no": "00125", "visits": 7}]
    assert list(load({"path": database, "query": "SELECT * FROM members WHERE 1 = 0"})) == NAMES
    with pytest.raises(DatasetError, match="no such table: nobody"):
        load({"path": database, "table": "nobody"})
    with pytest.raises(DatasetError, match="columns that occur more than once: no"):
        load({"path": database, "query": "SELECT a.no, b.no FROM members a, members b"})


def test_errors_of_databases_hide_the_password() -> None:
    url = "postgresql+psycopg://me:s3cretword@127.0.0.1:9/x?connect_timeout=2"
    with pytest.raises(DatasetError) as error:
        load({"path": url, "table": "t"})
    assert "s3cretword" not in str(error.value)
    assert "s3cretword" not in str(SourceDataset(filepath={"path": url, "table": "t"}, schema=SCHEMA)._describe())
    with pytest.raises(DatasetError, match="driver of this database is not installed"):
        load({"path": "oracle://me:s3cretword@host/x", "table": "t"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"path": "a.xls"}, "save it as .xlsx"),
        ({"path": "a.csv", "sheet": "x"}, "sheet is for workbooks"),
        ({"path": "sqlite:///a.db"}, "a table or a query"),
        ({"path": "sqlite:///a.db", "table": "a", "query": "b"}, "not both"),
        ({"path": "a.csv", "table": "a"}, "for connection URLs"),
        ({"path": "a.csv", "shet": "x"}, "shet"),
        ({}, "path"),
    ],
)
def test_sources_that_contradict_themselves(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ChurnError, match=said):
        Source.of(given)


def test_rows_are_numbered_where_there_is_no_id(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("visits,plan,left\n1,a,0\n2,b,1\n")
    frame = load({"path": str(tmp_path / "a.csv"), "row_number": True})
    assert frame["no"].tolist() == ["1", "2"]
    (tmp_path / "b.csv").write_text("no,visits,plan,left\n7,1,a,0\n")
    with pytest.raises(DatasetError, match="the table has a column no"):
        load({"path": str(tmp_path / "b.csv"), "row_number": True})
    with pytest.raises(DatasetError):
        SourceDataset(filepath="a.csv", schema=SCHEMA).save(frame)  # type: ignore[arg-type]


def test_init_of_a_database(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "crm.db"
    with sqlite3.connect(file) as connection:
        customers().to_sql("customers", connection, index=False)
    connection.close()
    result = init(project, f"sqlite:///{file}", "--table", "customers", "--yes")
    assert result.exit_code == 0, result.output
    source = written(project, "customers", "globals")["source_accounts"]
    assert source == {"path": f"sqlite:///{file}", "table": "customers"}
    accounts = written(project, "customers", "parameters")["accounts"]
    assert len(SourceDataset(filepath=source, schema=accounts).load()) == 400
    assert init(project, f"sqlite:///{file}", "--env", "customers", "--table", "customers", "--check").exit_code == 0


def test_init_of_a_workbook(project: Project, tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    file = tmp_path / "Kunden.xlsx"
    with pd.ExcelWriter(file) as book:
        customers().to_excel(book, sheet_name="März", index=False, startrow=2)
        pd.DataFrame({"a": ["x"]}).to_excel(book, sheet_name="Info", index=False)
    result = init(project, str(file), "--yes")
    assert result.exit_code == 0, result.output
    assert "sheet 'März' is read, as it has the most rows; --sheet takes another (Info)" in result.output
    assert written(project, "kunden", "globals")["source_accounts"] == {"path": str(file), "sheet": "März"}
    accounts = written(project, "kunden", "parameters")["accounts"]
    assert accounts["dates"] == ["Joined On", {"column": "Contract End", "future": True}]


def test_init_names_the_tables_of_a_database_and_makes_none(project: Project, database: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.db"
    refused = init(project, f"sqlite:///{missing}", "--yes")
    assert refused.exit_code == 1
    assert f"there is no file {missing}" in refused.output
    assert not missing.exists()
    file = database.removeprefix("sqlite:///")
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE VIEW active AS SELECT * FROM members WHERE left = 0")
    connection.close()
    several = init(project, database, "--yes")
    assert several.exit_code == 1
    assert "name the table with --table, or write a --query; it has active, members" in several.output
    with sqlite3.connect(file) as connection:
        connection.execute("DROP VIEW active")
    connection.close()
    assert "The database has one table, members" in init(project, database, "--yes").output

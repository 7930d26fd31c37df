"""`churn init`: from a table that nobody has described to an environment."""

import json
import os
import pty
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result
from kedro.framework.startup import bootstrap_project

from churn.cli import cli
from churn.config import check_parameters
from churn.operations.onboarding import SAMPLE_ROWS
from tests.conftest import ROOT, Project, base_parameters, make_project, run_process
from tests.survey.tables import customers


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def init(project: Project, *arguments: str) -> Result:
    bootstrap_project(ROOT)
    return CliRunner().invoke(cli, ["init", *arguments, "--conf-source", str(project.conf)])


def written(project: Project, env: str, kind: str) -> dict:
    return yaml.safe_load((project.conf / env / f"{kind}.yml").read_text())


def european(frame: pd.DataFrame, file: Path) -> Path:
    """Write a table as a European spreadsheet does."""
    dates = frame.filter(regex=" On$|End$").apply(
        lambda column: column.str.replace(r"(\d+)-(\d+)-(\d+)", r"\3.\2.\1", regex=True)
    )
    fees = frame["Monthly Fee"].map(lambda fee: f"{fee:,.2f} €".translate(str.maketrans(",.", ".,")))
    german = frame.assign(
        **dict(dates.items()), **{"Monthly Fee": fees, "Left": frame["Left"].map({"Yes": "Ja", "No": "Nein"})}
    )
    german = german.rename(columns={"Left": "Gekündigt"})
    german.to_csv(file, sep=";", index=False, encoding="cp1252")
    return file


def test_an_export_becomes_an_environment(project: Project, tmp_path: Path) -> None:
    file = european(customers(), tmp_path / "Kunden 2024.csv")
    result = init(project, str(file), "--yes", "--contact-cost", "2.5")
    assert result.exit_code == 0, result.output
    assert "kedro run --env kunden_2024" in result.output
    assert (
        "(!) Left out, because they seem to know the outcome: Cancelled On, Churn Reason, Churn Score" in result.output
    )
    assert sorted(path.name for path in (project.conf / "kunden_2024").iterdir()) == ["globals.yml", "parameters.yml"]
    accounts = written(project, "kunden_2024", "parameters")["accounts"]
    assert accounts["id"] == "Customer No"
    assert accounts["label"] == {"column": "Gekündigt", "positive": "Ja", "negative": "Nein"}
    assert accounts["dates"] == ["Joined On", {"column": "Contract End", "future": True}]
    assert accounts["carry"] == ["Name", "E-Mail", "Account Manager"]
    assert accounts["format"] == {"delimiter": ";", "decimal": ",", "thousands": ".", "encoding": "cp1252"}
    assert written(project, "kunden_2024", "parameters")["profit"]["contact_cost"] == 2.5
    assert written(project, "kunden_2024", "globals")["source_accounts"] == str(file)
    check_parameters(base_parameters() | written(project, "kunden_2024", "parameters"))


def test_nothing_is_overwritten_and_check_says_what_changes(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    customers().to_csv(file, index=False)
    assert init(project, str(file), "--yes").exit_code == 0
    before = (project.conf / "people/parameters.yml").read_bytes()
    again = init(project, str(file), "--yes")
    assert again.exit_code == 1
    assert "nothing is overwritten" in again.output
    same = init(project, str(file), "--check")
    assert (same.exit_code, "nothing would change" in same.output) == (0, True)
    other = customers().rename(columns={"Plan": "Tariff"}).assign(Visits=["many", "few"] * 200)
    other.loc[7, "Left"] = "Perhaps"
    other.to_csv(file, index=False)
    changed = init(project, str(file), "--check")
    assert changed.exit_code == 1
    for said in (
        "Plan: the table has no such column, which is a categorical column",
        "Tariff: is new; it looks like a categorical column",
        "Visits: looks like a categorical column now",
        "Left: 'Perhaps' is a value without a meaning",
    ):
        assert said in changed.output
    assert (project.conf / "people/parameters.yml").read_bytes() == before


def table(**columns: object) -> str:
    return pd.DataFrame(columns).to_csv(index=False)


MANY = {"id": range(40), "churn": [0, 1] * 20, "visits": [1, 2, 3, 4] * 10}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", "", "the file is empty"),
        ("blank.csv", "\n\n  \n", "the file is empty"),
        ("header.csv", "id,visits,churn\n", "the table has no rows"),
        ("one.csv", table(churn=[0, 1] * 20), "the table has one column only"),
        ("no_label.csv", table(id=range(40), visits=[1, 2, 3, 4] * 10), "name it with --label"),
        ("constant.csv", table(**MANY | {"churn": [0] * 40}), "churn: has one value only, '0'"),
        ("three.csv", table(**MANY | {"churn": ["a", "b", "c", "a"] * 10}), "--positive"),
        ("twice.csv", "id,visits,visits,churn\n1,2,3,0\n", "columns that occur more than once: visits"),
        ("repeated.csv", table(**MANY | {"id": [1, *range(39)]}), "1 rows repeat an earlier id"),
        ("headless.csv", "1,5,0\n2,7,1\n3,8,0\n", "the file has no header"),
        ("old.xls", "x", "save it as .xlsx"),
        ("letter.docx", "x", "an account table is a .csv or .parquet file"),
        ("binary.csv", "\0\1\2\3,\0\n", "is not text"),
        (
            "few.csv",
            table(id=range(4), churn=[0, 1, 0, 1], visits=["x", "y", "z", "w"]),
            "no column is left to learn from",
        ),
    ],
)
def test_tables_that_cannot_be_used_are_refused_in_words(
    project: Project, tmp_path: Path, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    result = init(project, str(tmp_path / name), "--yes", "--env", "strange")
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output
    assert not (project.conf / "strange").exists()


def test_other_mistakes(project: Project, tmp_path: Path) -> None:
    assert "does not exist" in init(project, str(tmp_path / "nowhere.csv"), "--yes").output
    file = tmp_path / "a.csv"
    file.write_text(table(**MANY))
    assert "no one can be asked here" in init(project, str(file)).output
    assert "there is no such name" not in init(project, str(file), "--yes", "--env", "base").output
    assert init(project, str(file), "--yes", "--env", "base").exit_code == 1
    assert "letters, digits" in init(project, str(file), "--yes", "--env", "../x").output
    both = init(project, str(file), "--yes", "--carry", "visits", "--leave-out", "visits")
    assert "--leave-out visits: the column was given another role too" in both.output
    assert "neither a date" in init(project, str(file), "--yes", "--as-of", "soon").output


LABELLED = table(id=range(60), outcome=["lapsed", "other", "void"] * 20, visits=[1, 2, 3, 4, 5, 6] * 10)


@pytest.mark.parametrize(
    ("options", "said", "unsaid"),
    [
        (
            ["--label", "outcome", "--positive", "lapsed"],
            "what 'other', 'void' mean is not clear; say it with --positive, --negative, --drop or --unknown",
            "which values mean churned",
        ),
        (
            ["--label", "outcome", "--positive", "laps"],
            "'laps' of --positive never occurs; its values are 'lapsed', 'other', 'void'",
            "not clear;",
        ),
        (["--label", "outcome"], "outcome: which values mean churned is not clear", "what 'lapsed'"),
        (["--label", "id", "--positive", "7", "--id", "row_number"], "id: has one value or more than 12", "not clear;"),
    ],
)
def test_only_what_is_open_about_the_label_is_said(
    project: Project, tmp_path: Path, options: list[str], said: str, unsaid: str
) -> None:
    file = tmp_path / "labelled.csv"
    file.write_text(LABELLED)
    result = init(project, str(file), "--yes", *options)
    assert result.exit_code == 1
    assert said in result.output
    assert unsaid not in result.output


def test_texts_in_rows_that_are_not_looked_at(project: Project, tmp_path: Path) -> None:
    rows = SAMPLE_ROWS + 21
    file = tmp_path / "long.csv"
    churn = [int(row % 7 < 2) for row in range(rows)]
    # Of a table that long every other row is looked at.
    amount = ["n.k." if row == 4001 else "not said" if row == 9000 else row % 977 for row in range(rows)]
    codes = [f"V{row % 200}" if row % 100 == 1 else row % 90 + 100 for row in range(rows)]
    file.write_text(table(id=range(rows), churn=churn, amount=amount, codes=codes))
    result = init(project, str(file), "--yes")
    assert result.exit_code == 0, result.output
    accounts = written(project, "long", "parameters")["accounts"]
    assert (accounts["numeric"], accounts["categorical"]) == (["amount"], ["codes"])
    assert {"n.k.", "not said"} <= set(accounts["missing"])


def test_rows_without_an_outcome(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "open.csv"
    file.write_text(table(id=range(60), churn=["yes", "no", ""] * 20, visits=[1, 2, 3, 4, 5, 6] * 10))
    assert "churn: 20 rows have no value; --unknown '' leaves them out" in init(project, str(file), "--yes").output
    result = init(project, str(file), "--yes", "--unknown", "")
    assert result.exit_code == 0, result.output
    assert "40 rows are ready" in result.output


def test_only_the_other_of_two_values_is_left_for_stayed(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "turned.csv"
    file.write_text(table(id=range(60), granted=[0, 1, 1] * 20, visits=[1, 2, 3, 4, 5, 6] * 10))
    result = init(project, str(file), "--yes", "--label", "granted", "--positive", "0")
    assert result.exit_code == 0, result.output
    label = written(project, "turned", "parameters")["accounts"]["label"]
    assert (label["positive"], label["negative"]) == ("0", "1")


def test_spellings_of_missing_values_are_written(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "marks.csv"
    width = ["?" if row % 3 == 0 else row % 90 + 10 for row in range(600)]
    seen = ["?" if row % 200 == 0 else f"2024-{row % 12 + 1:02}-11" for row in range(600)]
    codes = [f"V{row % 60}" if row % 30 == 0 else f"{row % 40 + 200}" for row in range(600)]
    left = [int(row % 7 < 2) for row in range(600)]
    file.write_text(table(id=range(600), churn=left, width=width, seen=seen, kind=["?", "a", "b"] * 200, codes=codes))
    result = init(project, str(file), "--yes")
    assert result.exit_code == 0, result.output
    assert result.output.count("'?' read as missing") == 3
    accounts = written(project, "marks", "parameters")["accounts"]
    assert "?" in accounts["missing"]
    assert accounts["missing_text"] == ["?"]
    assert (accounts["numeric"], accounts["categorical"], accounts["dates"]) == (["width"], ["kind", "codes"], ["seen"])


def test_names_in_any_script_and_500_columns(project: Project, tmp_path: Path) -> None:
    names = {f"列 {number}: “x” #{{y}}": [1.5, 2.5, 3.5, 4.5] * 10 for number in range(500)}
    file = tmp_path / "wide.csv"
    file.write_text(table(**{"客户 ID": [f"c{row}" for row in range(40)], "churn?": ["yes", "no"] * 20, **names}))
    result = init(project, str(file), "--yes")
    assert result.exit_code == 0, result.output[-2000:]
    accounts = written(project, "wide", "parameters")["accounts"]
    assert len(accounts["numeric"]) == 500
    assert (accounts["id"], accounts["label"]["column"]) == ("客户 ID", "churn?")
    check_parameters(base_parameters() | written(project, "wide", "parameters"))


def test_a_table_without_an_id_is_numbered(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "nameless.csv"
    file.write_text(table(churn=[0, 1] * 20, visits=[1, 2, 3, 4] * 10))
    assert init(project, str(file), "--yes").exit_code == 0
    assert written(project, "nameless", "globals")["source_accounts"] == {"path": str(file), "row_number": True}
    assert written(project, "nameless", "parameters")["accounts"]["id"] == "row_number"
    assert init(project, str(file), "--check").exit_code == 0


def test_a_folder_of_files(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    frame = customers()
    frame.head(250).to_csv(folder / "a.csv", index=False)
    frame.tail(150).to_csv(folder / "b.csv", index=False)
    result = init(project, str(folder), "--yes")
    assert "400 rows, 17 columns" in result.output
    assert result.exit_code == 0, result.output


def test_questions_on_a_terminal(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "asked.csv"
    file.write_text(table(id=range(84), churn=["gone", "here", "new", "here"] * 21, visits=[1, 2, 3, 4, 5, 6, 7] * 12))
    command = [sys.executable, "-m", "churn", "init", str(file), "--conf-source", str(project.conf)]
    ours, theirs = pty.openpty()
    answers = ["churn", "gone", "here", "eur", "2", "30", "0.25", "400", "y"]
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    done = run_process(*command, stdin=theirs, timeout=120)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stdout + done.stderr
    parameters = written(project, "asked", "parameters")
    assert parameters["accounts"]["label"] == {
        "column": "churn",
        "positive": "gone",
        "negative": "here",
        "drop": ["new"],
    }
    assert parameters["profit"]["account_value"] == 400
    assert "EUR" in (project.conf / "asked/parameters.yml").read_text()


@pytest.mark.pipelines
def test_an_environment_that_was_written_runs_at_once(project: Project, tmp_path: Path) -> None:
    file = european(customers(700), tmp_path / "studio.csv")
    assert init(project, str(file), "--yes", "--report", str(tmp_path / "report.html")).exit_code == 0
    assert "Contract End" in (tmp_path / "report.html").read_text()
    settings = project.conf / "studio/globals.yml"
    settings.write_text(settings.read_text().replace("data/studio", str(tmp_path / "studio")))
    project.run("data_generation", "feature_engineering", env="studio")
    report = json.loads((tmp_path / "studio/ml-result/training/data_report.json").read_text())
    kinds = {entry["column"]: entry["kind"] for entry in report["columns"]}
    assert kinds["months_since_Joined On"] == "date"
    assert {each["name"] for each in report["set_aside"]} >= {"Churn Reason", "Name"}
    assert (tmp_path / "studio/ml-result/training/data_report.html").stat().st_size > 10_000

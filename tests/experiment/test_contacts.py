"""The log of contacts: late, partial, from several hands, and from files of many kinds."""

from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
import sqlalchemy
from kedro.io import DatasetError

from churn.config import AccountSchema, Contacts, Policy
from churn.datasets import ContactsDataset
from churn.errors import AccountsError
from churn.experiment.contacts import ContactLog, join_contacts, read_contacts
from churn.experiment.policy import excluded_accounts

ROWS = [
    ("a", "2026-06", "2026-06-03", "Accepted"),
    ("a", "2026-06", "2026-06-02", "no answer"),
    ("b", "", "2026-06-05T10:00:00", " do_not  CONTACT "),
    ("c", None, None, None),
    ("d", None, "2026-06-09", None),
]
COLUMNS = ["account_id", "campaign", "contacted_at", "result"]


def read(table: pd.DataFrame, schema: AccountSchema, **columns: Any) -> ContactLog:
    return read_contacts(table, Contacts(**columns), schema)


def test_words_dates_and_rows_that_nobody_has_worked_on(schema: AccountSchema) -> None:
    log = read(pd.DataFrame(ROWS, columns=COLUMNS), schema)
    assert log.waiting == 1
    assert log.rows["account"].tolist() == ["a", "a", "b", "d"]
    assert log.rows["reached"].tolist() == [True, False, True, False]
    assert log.rows["accepted"].tolist() == [True, False, False, False]
    assert log.rows["do_not_contact"].tolist() == [False, False, True, False]
    assert log.rows["at"].dt.day.tolist() == [3, 2, 5, 9]
    assert log.rows["campaign"].isna().tolist() == [False, False, True, True]


def test_every_fault_is_named_with_row_value_and_remedy(schema: AccountSchema) -> None:
    table = pd.DataFrame(
        [
            ("a", "x", "3.6.2026", "talked"),
            (None, "x", "2026-06-03", "talked"),
            ("c", "x", "2026-02-30", "gone fishing"),
        ],
        columns=COLUMNS,
    )
    with pytest.raises(AccountsError) as caught:
        read(table, schema)
    dates, results, ids = caught.value.faults
    assert dates.startswith("contacted_at: 2 values are not a date, for example '3.6.2026', '2026-02-30' (rows 1, 3)")
    assert results.startswith(
        "result: 1 value is no known result, for example 'gone fishing' (row 3); add the word to one of"
    )
    assert ids == "account_id: 1 value is empty (row 2); a contact is with an account"


@pytest.mark.parametrize("columns", [[], ["account_id"], ["account", "result"], ["account_id", "outcome"]])
def test_a_log_without_its_columns_says_what_it_needs(schema: AccountSchema, columns: list[str]) -> None:
    with pytest.raises(AccountsError, match="the log needs account_id and at least one of contacted_at and result"):
        read(pd.DataFrame(columns=columns), schema)


def test_other_columns_words_and_numbers_as_ids(schema: AccountSchema) -> None:
    table = pd.DataFrame(
        {"Kunde": [7, 8], "Ergebnis": ["erreicht", "Zusage ✓"], "Datum": pd.to_datetime(["2026-06-01"] * 2)}
    )
    log = read(
        table, schema, account="Kunde", result="Ergebnis", at="Datum", reached=["Erreicht"], accepted=["zusage ✓"]
    )
    assert log.rows["account"].tolist() == ["7", "8"]
    assert log.rows["accepted"].tolist() == [False, True]
    with pytest.raises(ValueError, match="'X' is in reached and in accepted"):
        Contacts(reached=("x",), accepted=("X",))


def test_an_empty_log_is_a_log(schema: AccountSchema) -> None:
    assert read(pd.DataFrame(columns=COLUMNS), schema).rows.empty
    assert read(pd.DataFrame([(None,) * 4], columns=COLUMNS), schema).rows.empty


def test_contacts_join_by_id_and_campaign_and_others_are_counted(schema: AccountSchema) -> None:
    cohort = pd.DataFrame(
        {
            "campaign": ["june", "july", "june"],
            "account": ["a", "a", "b"],
            "as_of": pd.to_datetime(["2026-06-01", "2026-07-01", "2026-06-01"]),
        }
    )
    log = read(
        pd.DataFrame(
            [
                ("a", "june", "2026-07-20", "accepted"),  # late, but named
                ("a", None, "2026-07-02", "no answer"),  # july by its day
                ("a", None, "2026-06-30", "refused"),  # june by its day
                ("b", "july", "2026-07-02", "refused"),  # not in that campaign
                ("b", None, "2026-05-01", "refused"),  # before any
                ("z", None, "2026-06-02", "refused"),  # on no list
                ("b", None, None, "accepted"),
            ],
            columns=COLUMNS,
        ),
        schema,
    )
    joined = join_contacts(log, cohort)
    assert (joined.outside, joined.elsewhere) == (1, 2)
    found = joined.accounts.set_index(["campaign", "account"])
    assert found["attempts"].to_dict() == {("june", "a"): 2, ("july", "a"): 1, ("june", "b"): 1}
    assert found["reached"].to_dict() == {("june", "a"): True, ("july", "a"): False, ("june", "b"): True}
    assert found.loc[("june", "a"), "contacted_at"] == pd.Timestamp("2026-06-30")


def test_the_policy_excludes_who_was_contacted_lately_or_asked_for_it(schema: AccountSchema) -> None:
    log = read(pd.DataFrame(ROWS, columns=COLUMNS), schema)
    day = date(2026, 6, 10)
    assert excluded_accounts(log, Policy(days_between=5), day) == ({"d"}, {"b"})
    assert excluded_accounts(log, Policy(days_between=8), day) == ({"a", "b", "d"}, {"b"})
    assert excluded_accounts(log, Policy(), day) == (set(), {"b"})
    assert excluded_accounts(None, Policy(days_between=5), day) == (set(), set())


@pytest.mark.parametrize(("name", "options"), [("c.csv", {"sep": ";"}), ("c.tsv", {"sep": "\t"}), ("c.parquet", None)])
def test_files_of_many_kinds(tmp_path: Path, schema: AccountSchema, name: str, options: dict[str, str] | None) -> None:
    table = pd.DataFrame(ROWS, columns=COLUMNS).assign(account_id=["00123", "00123", "Zoë", "c", "-1"])
    if options is None:
        table.to_parquet(tmp_path / name)
    else:
        table.to_csv(tmp_path / name, index=False, **options)
    loaded = ContactsDataset(filepath=str(tmp_path / name), schema=schema.model_dump(mode="json")).load()
    assert read(loaded, schema).rows["account"].tolist() == ["00123", "00123", "Zoë", "-1"]


def test_a_table_of_a_database(schema: AccountSchema, tmp_path: Path) -> None:
    from kedro_datasets.pandas import SQLQueryDataset

    place = f"sqlite:///{tmp_path / 'crm.db'}"
    pd.DataFrame(ROWS, columns=COLUMNS).to_sql("calls", sqlalchemy.create_engine(place), index=False)
    loaded = SQLQueryDataset(sql="select * from calls", credentials={"con": place}).load()
    assert len(read(loaded, schema).rows) == 4


def workbook(file: Path, schema: AccountSchema, *sheets: list[list[Any]], **options: Any) -> ContactsDataset:
    """Write a workbook of some sheets, and return the log that is read from it."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"Sheet {number}")
        for row in rows:
            sheet.append(row)
    book.save(file)
    return ContactsDataset(filepath=str(file), schema=schema.model_dump(mode="json"), **options)


def test_a_sheet_of_a_workbook_with_dates_numbers_and_a_title(tmp_path: Path, schema: AccountSchema) -> None:
    rows: list[list[Any]] = [
        ["00123", None, date(2026, 6, 3), "accepted"],
        [77, None, date(2026, 6, 5), "no answer"],
        [],
        ["Zoë", None, None, None],
    ]
    sheets = ([COLUMNS, *rows], [["Calls of June"], [], COLUMNS, *rows[:1]])
    log = read(workbook(tmp_path / "c.xlsx", schema, *sheets).load(), schema)
    assert log.rows["account"].tolist() == ["00123", "77"]
    assert log.rows["at"].dt.day.tolist() == [3, 5]
    assert log.waiting == 1
    for sheet in (1, "Sheet 1"):
        named = workbook(tmp_path / "c.xlsx", schema, *sheets, sheet=sheet)
        assert read(named.load(), schema).rows["account"].tolist() == ["00123"]
    with pytest.raises(DatasetError, match="has no sheet '2'; it has Sheet 0, Sheet 1"):
        workbook(tmp_path / "c.xlsx", schema, *sheets, sheet=2).load()


def test_a_workbook_that_nobody_has_filled_in_is_a_log_without_rows(tmp_path: Path, schema: AccountSchema) -> None:
    log = read(workbook(tmp_path / "c.xlsx", schema, [COLUMNS]).load(), schema)
    assert len(log.rows) == 0
    assert log.waiting == 0


def test_a_workbook_that_is_none_is_told(tmp_path: Path, schema: AccountSchema) -> None:
    (tmp_path / "c.xlsx").write_bytes(b"no workbook")
    log = ContactsDataset(filepath=str(tmp_path / "c.xlsx"), schema=schema.model_dump(mode="json"))
    with pytest.raises(DatasetError, match=r"c\.xlsx cannot be read as a workbook"):
        log.load()

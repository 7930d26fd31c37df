"""The workbook of the retention list, read back from its XML, and by LibreOffice where the machine has it."""

import io
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd
import pytest

from churn.config import Profit
from churn.reporting.retention_workbook import MOST_CHARACTERS, retention_workbook
from tests.reporting.listed import record_of, to_act_on

COSTS = Profit(contact_cost=5, offer_cost=50, save_rate=0.3, account_value=600, currency="EUR")
MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def parts_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        return {name: book.read(name) for name in book.namelist()}


def cells_of(content: bytes, sheet: int = 1) -> list[list[Any]]:
    """The cells of a sheet: texts as str, numbers as float, None for blank ones; a formula is an error."""
    root = ET.fromstring(parts_of(content)[f"xl/worksheets/sheet{sheet}.xml"])  # noqa: S314, our own file
    rows = []
    for row in root.iter(f"{MAIN}row"):
        cells: list[Any] = []
        for cell in row.iter(f"{MAIN}c"):
            assert cell.find(f"{MAIN}f") is None
            letters = re.match("[A-Z]+", cell.attrib["r"])
            assert letters is not None
            place = 0
            for letter in letters[0]:
                place = 26 * place + ord(letter) - 64
            cells += [None] * (place - 1 - len(cells))
            text, value = cell.find(f"{MAIN}is"), cell.find(f"{MAIN}v")
            if text is not None:
                cells.append("".join(text.itertext()))
            else:
                cells.append(None if value is None else float(value.text or ""))
        rows.append(cells)
    return rows


def test_the_first_sheet_has_the_accounts_to_act_on_with_their_values() -> None:
    record = record_of(40, COSTS)
    acted = to_act_on(record)
    header, *rows = cells_of(retention_workbook(record))
    assert header == [
        *("account_id", "Name", "Owner", "Probability of churn", "Value of the account"),
        *("Expected profit of a contact", "Reason 1", "Reason 2", "Suggested action", "Result", "Note"),
    ]
    found = pd.DataFrame(rows, columns=header)
    assert found["account_id"].tolist() == acted["account_id"].tolist()  # with their leading zeros
    odd = {"\x01": "\N{REPLACEMENT CHARACTER}", "\x0b": "\N{REPLACEMENT CHARACTER}", "_x0041_": "_x005F_x0041_"}
    names = acted["name"].fillna("").tolist()
    for old, new in odd.items():  # as a cell has them
        names = [name.replace(old, new) for name in names]
    assert found["Name"].fillna("").tolist() == names
    assert found["Probability of churn"].tolist() == [float(str(each)) for each in acted["probability"].to_numpy()]
    assert found["Expected profit of a contact"].tolist() == acted["expected_profit"].tolist()
    assert found["Value of the account"].tolist() == [600.0] * len(acted)
    assert found["Reason 1"].tolist() == acted["reason_1"].fillna("No single reason stands out").tolist()
    assert found["Suggested action"].fillna("").tolist() == acted["suggested_action"].fillna("").tolist()
    assert found["Result"].isna().all()


def test_it_is_made_to_work_from() -> None:
    record = record_of(40, COSTS)
    parts = parts_of(retention_workbook(record))
    sheet, styles = (parts[name].decode() for name in ("xl/worksheets/sheet1.xml", "xl/styles.xml"))
    assert '<pane xSplit="1" ySplit="1" topLeftCell="B2"' in sheet
    assert f'<autoFilter ref="A1:K{record.to_act_on + 1}"/>' in sheet
    assert sheet.count("<col ") >= 8
    assert '<dataValidation type="list"' in sheet
    assert "0.0%" in styles
    assert '#,##0.00 "EUR"' in styles.replace("&quot;", '"')
    assert "landscape" in sheet
    assert "_xlnm.Print_Titles" in parts["xl/workbook.xml"].decode()


def test_the_second_sheet_has_what_the_list_rests_on() -> None:
    record = record_of(40, COSTS, minimum_gain=3)
    assert record.facts is not None
    rows = cells_of(retention_workbook(record), 2)
    known = {row[0]: row[1] for row in rows if len(row) == 3}
    assert known["Expected profit"] == record.expected_profit
    assert known["Expected cost"] == record.facts.cost
    assert (known["Offer cost"], known["Save rate"], known["Minimum gain"]) == (50.0, 0.3, 3.0)
    assert known["Date of the data"] == "2026-11-02"
    calls = {row[0]: row for row in rows if len(row) == 6}
    step = next(step for step in record.facts.plan.steps if step.calls == record.to_act_on)
    assert calls[float(step.calls)][1:5] == [step.cost, step.brings, step.profit, step.last]


def test_equal_lists_are_equal_files() -> None:
    content = retention_workbook(record_of(40, COSTS))
    assert retention_workbook(record_of(40, COSTS)) == content
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        assert len({each.date_time for each in book.infolist()}) == 1
    assert b"2026-11-02T00:00:00Z" in parts_of(content)["docProps/core.xml"]


@pytest.mark.parametrize("rows", [0, 1])
def test_few_accounts_or_none(rows: int) -> None:
    assert len(cells_of(retention_workbook(record_of(rows)))) == 1 + rows


@pytest.mark.parametrize("text", ["x" * 40_000, "👩" * 30_000, "\ud800 half a pair", "a\x00b"])
def test_texts_that_no_cell_can_hold_are_cut_or_replaced(text: str) -> None:
    record = record_of(1, COSTS)
    record.retention_list["name"] = pd.Series([text], dtype=object)
    cell = cells_of(retention_workbook(record))[1][1]
    assert len(cell.encode("utf-16-le")) <= 2 * MOST_CHARACTERS
    if len(text) > 100:
        assert cell.endswith("…")
        assert text.startswith(cell[:-1])


@pytest.mark.skipif(shutil.which("soffice") is None, reason="needs LibreOffice")
@pytest.mark.slow
def test_libreoffice_reads_the_same_values(tmp_path: Path) -> None:
    record = record_of(40, COSTS)
    file = tmp_path / "retention_list.xlsx"
    file.write_bytes(retention_workbook(record))
    subprocess.run(
        [
            *("soffice", "--headless", f"-env:UserInstallation=file://{tmp_path}/profile", "--convert-to"),
            *(
                "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,1",
                "--outdir",
                tmp_path,
                file,
            ),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    (table,) = tmp_path.glob("*.csv")
    found, acted = pd.read_csv(table, dtype=str, keep_default_na=False), to_act_on(record)
    assert found["account_id"].tolist() == acted["account_id"].tolist()
    assert found["Name"].iloc[0] == "Müller & Söhne"
    assert found["Name"].iloc[1] == '=HYPERLINK("http://x.example","click")'
    assert found["Expected profit of a contact"].astype(float).tolist() == acted["expected_profit"].tolist()
    assert found["Suggested action"].tolist() == acted["suggested_action"].fillna("").tolist()

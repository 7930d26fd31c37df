"""The retention list as a workbook: a sheet to work from, and a sheet with what it rests on."""

import io
from collections.abc import Iterable
from datetime import datetime, time
from typing import Any, NamedTuple

import numpy as np

from churn.reporting.retention_view import NO_REASON, ListView
from churn.scoring import Record
from churn.tables import humanize

# Limits of the format.
MOST_ROWS, MOST_CHARACTERS = 1_048_575, 32_767
# Characters that XML 1.0 does not have.
_NO_XML = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF], "\N{REPLACEMENT CHARACTER}")
WIDTHS = (8, 44)
RESULTS = ("Reached", "Not reached", "Offer taken", "Offer declined", "Call again")


class _Column(NamedTuple):
    """A column of the sheet: its title, its cells, and their format."""

    title: str
    cells: Iterable[Any]
    form: str
    width: float


def retention_workbook(record: Record) -> bytes:
    """Return the workbook of a retention list, in the format of Excel 2007 and later.

    The first sheet has the accounts to act on, the best first, with a filter, a fixed header, and columns for the result of
    each contact. Texts are texts: no cell is a formula, and leading zeros stay. The second sheet has costs and rules. Equal
    input results in equal bytes.

    Args:
        record: The results of a run, with their facts.

    Raises:
        ValueError: If the record has no facts.
    """
    import xlsxwriter

    if record.facts is None:
        raise ValueError("the record has no facts, of which the second sheet consists")
    view, out = ListView(record, record.facts), io.BytesIO()
    book = xlsxwriter.Workbook(
        out,
        {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "nan_inf_to_errors": False,
        },
    )
    # The date of the data in place of the clock, so that equal lists are equal files.
    book.set_properties({"title": "Retention list", "created": datetime.combine(record.as_of, time())})
    forms = _formats(book, view.currency)
    _write_accounts(book.add_worksheet("Accounts to act on"), view, forms)
    _write_assumptions(book.add_worksheet("Assumptions"), view, forms)
    book.close()
    return out.getvalue()


def _formats(book: Any, currency: str | None) -> dict[str, Any]:
    money = "#,##0.00" + (f' "{currency}"' if currency else "")
    top = {"valign": "top"}
    return {
        "header": book.add_format(
            {"bold": True, "text_wrap": True, "valign": "bottom", "bottom": 1, "bg_color": "#F5F6F8"}
        ),
        "text": book.add_format({**top, "num_format": "@"}),
        "words": book.add_format({**top, "text_wrap": True}),
        "percent": book.add_format({**top, "num_format": "0.0%"}),
        "money": book.add_format({**top, "num_format": money}),
        "count": book.add_format({**top, "num_format": "#,##0"}),
        "input": book.add_format({**top, "text_wrap": True, "border": 1, "border_color": "#C3C8D2"}),
    }


def _write_accounts(sheet: Any, view: ListView, forms: dict[str, Any]) -> None:
    accounts = view.accounts.head(MOST_ROWS)
    columns = list(_columns(view, len(accounts)))
    for place, column in enumerate(columns):
        sheet.set_column(place, place, column.width)
    last = len(accounts)
    sheet.freeze_panes(1, 1)
    sheet.autofilter(0, 0, max(last, 1), len(columns) - 1)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    sheet.set_footer("&C&P / &N")
    result = next(place for place, column in enumerate(columns) if column.title == "Result")
    sheet.data_validation(
        1, result, max(last, 1), result, {"validate": "list", "source": list(RESULTS), "error_type": "information"}
    )
    for place, column in enumerate(columns):
        sheet.write_string(0, place, _text(column.title), forms["header"])
    cells = [iter(column.cells) for column in columns]
    for row in range(1, last + 1):
        for place, column in enumerate(columns):
            _write(sheet, row, place, next(cells[place]), forms[column.form])


def _columns(view: ListView, rows: int) -> Iterable[_Column]:
    """Yield the columns of the first sheet."""
    accounts = view.accounts.head(rows)
    ids = accounts[view.id_column].tolist()
    yield _Column(view.id_column, ids, "text", _width(view.id_column, ids))
    for name in view.facts.own_columns:
        cells = accounts[name].tolist()
        yield _Column(humanize(name), cells, "text", _width(humanize(name), cells))
    # Rounded as float32 is: 0.1 is shown as 0.1 and not as 0.10000000149.
    chances = [float(str(value)) for value in accounts["probability"].to_numpy(np.float32)]
    yield _Column("Probability of churn", chances, "percent", 12)
    yield _Column("Value of the account", accounts["account_value"].tolist(), "money", 16)
    yield _Column("Expected profit of a contact", accounts["expected_profit"].tolist(), "money", 16)
    for rank, name in enumerate(view.reason_columns, start=1):
        cells = accounts[name].tolist()
        if rank == 1:
            cells = [NO_REASON if _is_missing(cell) else cell for cell in cells]
        yield _Column(f"Reason {rank}", cells, "words", 40)
    if accounts["suggested_action"].notna().any():
        yield _Column("Suggested action", accounts["suggested_action"].tolist(), "words", 30)
    yield _Column("Result", [None] * rows, "input", 16)
    yield _Column("Note", [None] * rows, "input", 30)


def _write_assumptions(sheet: Any, view: ListView, forms: dict[str, Any]) -> None:
    for place, width in enumerate((24, 18, 18, 18, 18, 60)):
        sheet.set_column(place, place, width)
    amounts = {"Expected profit", "Expected cost", "Contact cost", "Offer cost", "Account value", "Minimum gain"}
    for place, title in enumerate(("What the list rests on", "Value", "Meaning")):
        sheet.write_string(0, place, title, forms["header"])
    row = 1
    for name, value, meaning in view.assumptions():
        sheet.write_string(row, 0, name)
        form = "money" if name in amounts else "percent" if name == "Save rate" else "count"
        _write(sheet, row, 1, value, forms["text" if isinstance(value, str) else form])
        sheet.write_string(row, 2, _text(meaning))
        row += 1
    row += 1
    titles = (
        "Calls, the best first",
        "Expected cost",
        "Expected to bring",
        "Expected profit",
        "Profit of the last call",
        "",
    )
    for place, title in enumerate(titles):
        sheet.write_string(row, place, title, forms["header"])
    for step, note in view.notes():
        row += 1
        sheet.write_number(row, 0, step.calls, forms["count"])
        for place, amount in enumerate((step.cost, step.brings, step.profit, step.last), start=1):
            sheet.write_number(row, place, amount, forms["money"])
        sheet.write_string(row, 5, note)


def _write(sheet: Any, row: int, place: int, value: Any, form: Any) -> None:
    if _is_missing(value):
        sheet.write_blank(row, place, None, form)
    elif isinstance(value, str):
        sheet.write_string(row, place, _text(value), form)
    else:
        sheet.write_number(row, place, float(value), form)


def _text(text: str) -> str:
    """Return a text that a cell can hold."""
    shown = text.translate(_NO_XML).encode("utf-8", "replace").decode()
    counted = shown.encode("utf-16-le")  # as a cell counts
    if len(counted) <= 2 * MOST_CHARACTERS:
        return shown
    return counted[: 2 * (MOST_CHARACTERS - 1)].decode("utf-16-le", "ignore") + "\N{HORIZONTAL ELLIPSIS}"


def _width(title: str, cells: list[Any]) -> float:
    longest = max([len(title) + 3, *(len(cell) for cell in cells[:1000] if isinstance(cell, str))])
    return float(min(max(longest + 1, WIDTHS[0]), WIDTHS[1]))


def _is_missing(value: Any) -> bool:
    return value is None or value != value

"""Numbers in other notations."""

from typing import Any

import pyarrow as pa
import pytest

from churn.config import FileFormat
from churn.tables.numbers import Evidence, Numbers


def evidence_of(*columns: list[str]) -> Evidence:
    evidence = Evidence()
    for place, cells in enumerate(columns):
        evidence.add(f"c{place}", pa.array(cells))
    return evidence


def read(cells: list[str], numbers: Numbers) -> list[Any]:
    texts: list[str | None] = numbers.plain_text(pa.array(cells), "c0", ["", "NA"]).to_pylist()
    return [text if text is None or "(" in text or text.isalpha() else float(text) for text in texts]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1.207,54", "1.207", "3", "NA", ""], [1207.54, 1207, 3, None, None]),
        (["1.207,54-", "12,5", "-0,5", "+7"], [-1207.54, 12.5, -0.5, 7]),
        (["1,207.54", "1,207", "(12.5)", " 7 "], [1207.54, 1207, -12.5, 7]),
        (["1 207,54", "1\u00a0207", "1\u202f207\u202f300", "0,5"], [1207.54, 1207, 1207300, 0.5]),
        (["1'207.54", "1\u2019207", "0.5"], [1207.54, 1207, 0.5]),
        (["1.207.300", "1.207", "12"], [1207300, 1207, 12]),
        (["1,207,300", "1,207"], [1207300, 1207]),
        (["1207,540", "0,123"], [1207.54, 0.123]),
        (["1.5e-05", "1E3", ".5", "5."], [1.5e-05, 1000, 0.5, 5]),
        (["1,5e-05"], [1.5e-05]),
        (["1.207,54 €", "-3,00 €", "€ 7", "8"], [1207.54, -3, 7, 8]),
        (["$1,207.54", "-$3.5", "($1,000.00)"], [1207.54, -3.5, -1000]),
        (["EUR 1.207,50", "2,5 EUR"], [1207.5, 2.5]),
        (["1.234,5 kr", "0,5 kr"], [1234.5, 0.5]),
        (["12%", "12,5 %", "-1%", "0"], [0.12, 0.125, -0.01, 0]),
        (["true", "False", "1"], [1, 0, 1]),
        (["\u22125", "- 5", "-0.5"], [-5, -5, -0.5]),
    ],
)
def test_values(cells: list[str], values: list[Any]) -> None:
    evidence = evidence_of(cells)
    assert not evidence.is_undecided(FileFormat())
    assert read(cells, evidence.numbers(FileFormat())) == values


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (["0.5", "1,5"], "1,5 (see accounts.format)"),
        (["0,5", "1,5", "1.50"], "1.50 (see accounts.format)"),
        (["12%", "13%", "14"], "14 (without %)"),
        (["$5", "$6.5", "€7"], "€7 (another currency)"),
        (["3", "12.05.2024"], "12.05.2024 (see accounts.format)"),
        (["0.5", "1,20,7"], "1,20,7 (see accounts.format)"),
        (["0.5", "many"], "many"),
    ],
)
def test_what_is_no_number_of_the_file_stays_text(cells: list[str], shown: str) -> None:
    assert read(cells, evidence_of(cells).numbers(FileFormat()))[-1] == shown


def test_one_column_decides_for_another() -> None:
    assert evidence_of(["1.207", "2.300"], ["0,5"]).numbers(FileFormat()) == Numbers(",", ".")
    assert evidence_of(["1,207", "2,300"], ["0.5"]).numbers(FileFormat()) == Numbers(".", ",")


@pytest.mark.parametrize(
    ("cell", "given", "value"),
    [
        ("1.207", {"decimal": "."}, 1.207),
        ("1.207", {"decimal": ","}, 1207),
        ("1,207", {"decimal": "."}, 1207),
        ("1,207", {"decimal": ","}, 1.207),
        ("1,207", {"thousands": ","}, 1207),
        ("1.207", {"thousands": ","}, 1.207),
        ("1,207", {"thousands": ""}, 1.207),
        ("1.207", {"thousands": ""}, 1.207),
    ],
)
def test_a_number_with_two_meanings_needs_a_parameter(cell: str, given: dict[str, Any], value: float) -> None:
    evidence = evidence_of(["12", cell])
    assert evidence.is_undecided(FileFormat())
    assert not evidence.is_undecided(FileFormat(**given))
    assert read([cell], evidence.numbers(FileFormat(**given))) == [value]


def test_plain_numbers_are_plain() -> None:
    evidence = evidence_of(["0.5", "12", "-7.25", "1e-9", "NA", "1234.567"], ["1", "2"], ["5.125"])
    assert evidence.numbers(FileFormat()).are_plain

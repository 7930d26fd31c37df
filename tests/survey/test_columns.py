"""What the cells of a column show."""

from typing import Any

import pandas as pd
import pytest

from churn.survey import facts_of
from churn.survey.words import has_word, parts_of


def column(*cells: Any, dtype: Any = object) -> pd.Series:
    return pd.Series(list(cells), name="x", dtype=dtype)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([None, "", " "], "empty"),
        (["a"] * 30, "constant"),
        (["7"] * 30, "constant"),
        (["1", "2.5", "-3", ""] * 10, "numbers"),
        (["1,5", "1.207,54", "€ 7"] * 10, "numbers"),
        (["1", "2", "NA", "n/a"] * 10, "numbers"),
        ([1.5, None, 3.0] * 10, "numbers"),
        (["01.05.2024", "31.12.2023", ""] * 10, "dates"),
        (["05/01/2024", "12/31/2023"] * 10, "dates"),
        (pd.to_datetime(["2024-05-01 10:00", "2023-01-01 11:30"] * 10).tolist(), "dates"),
        (["basic", "plus"] * 15, "categories"),
        ([True, False] * 10, "categories"),
        ([f"word {number}" for number in range(30)], "texts"),
        ([[1], [2]] * 10, "unreadable"),
        (["Köln", "Düsseldorf", "東京"] * 10, "categories"),
    ],
)
def test_the_kind_of_a_column(cells: list[Any], kind: str) -> None:
    assert facts_of(column(*cells)).kind == kind


def test_eight_digits_are_a_date_only_if_the_name_says_so() -> None:
    cells = ["20240501", "20231231", "20220101"] * 10
    assert facts_of(pd.Series(cells, name="joined_date")).kind == "dates"
    assert facts_of(pd.Series(cells, name="amount")).kind == "numbers"


def test_words_in_numbers_may_mean_missing() -> None:
    facts = facts_of(column(*["1", "2", "3", "4", "5"] * 20, "n.k.", "-"))
    assert (facts.kind, set(facts.words), facts.missing) == ("numbers", {"n.k.", "-"}, 2)


@pytest.mark.parametrize(
    ("cells", "order", "is_open"),
    [
        (["03/04/2024", "25/04/2024"], "day", False),
        (["03/04/2024", "04/25/2024"], "month", False),
        (["03/04/2024", "05/06/2024"], None, True),
        (["2024-04-03"], None, False),
        (["25/04/2024", "04/25/2024"], None, True),
    ],
)
def test_what_comes_first_in_a_date(cells: list[str], order: str | None, is_open: bool) -> None:
    facts = facts_of(column(*cells * 20, "", *["2020-01-01"]))
    assert (facts.order, facts.is_order_open) == (order, is_open)


def test_bounds_codes_and_currency() -> None:
    codes = facts_of(column(*["00123", "00456"] * 10))
    assert codes.has_leading_zeros
    assert facts_of(column(*["7 EUR", "8 EUR"] * 10)).currency == "EUR"
    rows = facts_of(column(*map(str, range(1, 60))))
    assert (rows.counts_up, rows.all_differ, rows.are_whole) == (True, True, True)
    assert (rows.lowest, rows.highest) == ("1", "59")


def test_words_of_names() -> None:
    assert parts_of("CustomerID") == ("customer", "id")
    assert parts_of("custid") == ("cust", "id")
    assert parts_of("Kündigungs-Grund") == ("kundigungs", "grund")
    assert parts_of("東京") == ("東京",)
    assert has_word("Kundennummer", ("kundennummer",))
    assert not has_word("CreditScore", ("churn",))
    assert not has_word("paid", ("id",))

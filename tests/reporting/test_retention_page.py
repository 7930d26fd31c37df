"""The page of the retention list: what is on it, what is escaped, and that it needs nothing else."""

import re
from html.parser import HTMLParser

import pytest

from churn.config import Profit
from churn.reporting.retention_page import render_retention_page
from tests.reporting.listed import NAMES, record_of, to_act_on

COSTS = Profit(contact_cost=5, offer_cost=50, save_rate=0.3, account_value=600, currency="EUR")


class Page(HTMLParser):
    """The elements of a page: tags with their attributes, and the text of table cells by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.headings: list[int] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data


def accounts_of(page: Page) -> list[list[str]]:
    return [row for row in page.rows if len(row) in (7, 8) and row[0].isdigit()]


def test_only_accounts_to_act_on_the_best_first() -> None:
    record = record_of(40, COSTS)
    acted = to_act_on(record)
    assert 0 < len(acted) < 40
    text = render_retention_page(record)
    found = accounts_of(Page(text))
    assert [row[1][:6] for row in found] == acted["account_id"].tolist()
    for row, (_, account) in zip(found, acted.iterrows(), strict=True):
        own = [
            f"{title}{account[title.lower()]}" for title in ("Name", "Owner") if isinstance(account[title.lower()], str)
        ]
        assert row[1] == account["account_id"] + "".join(own)
        assert row[3] == "600 EUR"
        assert row[4].removesuffix(" EUR") == f"{account['expected_profit']:,.2f}".removesuffix(".00")
        expected = account["reason_1"] if isinstance(account["reason_1"], str) else "No single reason stands out"
        assert row[5].replace("\N{NO-BREAK SPACE}", " ") == expected
        assert row[6] == (
            account["suggested_action"] if isinstance(account["suggested_action"], str) else "\N{EN DASH}"
        )
        assert row[7] == ""
    assert "accounts to act on" in text


def test_everything_from_data_is_escaped_and_nothing_is_fetched() -> None:
    text = render_retention_page(record_of(40, COSTS))
    assert NAMES[4] not in text
    assert "&lt;script&gt;" in text
    page = Page(text)
    assert {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags} == set()
    assert not [attrs for _, attrs in page.tags if "src" in attrs or "href" in attrs]
    assert "url(" not in text
    assert "@import" not in text
    assert render_retention_page(record_of(40, COSTS)) == text


def test_the_page_can_be_read_by_everybody() -> None:
    page = Page(render_retention_page(record_of(40, COSTS)))
    tags = dict(page.tags)
    assert tags["html"]["lang"] == "en"
    assert ("ul", {"class": "why", "lang": "de"}) in page.tags
    assert "viewport" in {attrs.get("name") for tag, attrs in page.tags if tag == "meta"}
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(page.headings, page.headings[1:], strict=False))
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in page.tags if tag == "th")
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = " ".join(str(attrs["aria-labelledby"]) for _, attrs in page.tags if "aria-labelledby" in attrs).split()
    assert set(named) <= set(ids)
    assert all("aria-label" in attrs for tag, attrs in page.tags if attrs.get("role") == "group")


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, by WCAG 2.2."""

    def light(colour: str) -> float:
        digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((light(one), light(other)))
    return (bright + 0.05) / (dark + 0.05)


def test_texts_have_enough_contrast_on_screens_and_on_paper() -> None:
    text = render_retention_page(record_of(3, COSTS))
    schemes = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    assert len(schemes) == 3  # light, dark, paper
    for scheme in schemes:
        colours = dict(re.findall(r"--([a-z-]+): #([0-9a-f]{3,6});", scheme))
        for front in ("ink", "quiet", "accent"):
            assert contrast(colours[front], colours["paper"]) >= 4.5, (front, colours)
        assert contrast(colours["quiet"], colours["soft"]) >= 4.5


def test_the_table_of_calls_is_equal_to_profit() -> None:
    record = record_of(120, COSTS)
    assert record.facts is not None
    rows = {row[0]: row for row in Page(render_retention_page(record)).rows if len(row) == 6}
    acted = rows[f"{record.to_act_on:,} contacts"]
    assert acted[3] == f"{record.expected_profit:,.2f}"
    assert acted[1] == f"{record.facts.cost:,.2f}"
    assert acted[5] == "the accounts to act on; the last that pays"
    listed = record.retention_list["expected_profit"]
    for calls in (10, 20, 50, 100, 120):
        assert rows[f"{calls} contacts"][3] == f"{listed.head(calls).sum():,.2f}"
        assert rows[f"{calls} contacts"][4] == f"{listed[calls - 1]:,.2f}"


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("rule", ["profit", "capacity", "threshold"])
def test_few_accounts_or_none(rows: int, rule: str) -> None:
    record = record_of(rows, rule=rule)
    text = render_retention_page(record)
    assert len(accounts_of(Page(text))) == rows
    assert f"{rows} account{'s' if rows != 1 else ''} to act on" in text
    if not rows:
        nobody = "No account is at risk" if rule == "threshold" else "No account is expected to bring more"
        assert nobody in text


def test_no_account_may_pay() -> None:
    record = record_of(20, Profit(contact_cost=5000, offer_cost=50, save_rate=0.3, account_value=600))
    assert record.to_act_on == 0
    assert "No account is expected to bring more" in render_retention_page(record)


def test_a_long_list_is_cut_and_says_so() -> None:
    record = record_of(60, COSTS, page_length=7)
    text = render_retention_page(record)
    assert len(accounts_of(Page(text))) == 7
    assert f"The first 7 of {record.to_act_on}" in text
    assert "retention_list.xlsx" in text


def test_example_costs_are_told() -> None:
    assert "at example costs" in render_retention_page(record_of(20, Profit()))
    assert "at example costs" not in render_retention_page(record_of(20, COSTS))


def test_the_two_numbers_are_explained() -> None:
    text = render_retention_page(record_of(20, COSTS, minimum_gain=12.5))
    assert "accounts at risk: their probability of churn is 50 % or more" in text
    assert "for which a probability below 50 % can be enough, and 12.50 EUR at least" in text


def test_a_record_without_facts_has_no_page() -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="no facts"):
        render_retention_page(replace(record_of(1), facts=None))

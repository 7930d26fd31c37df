"""What both pages promise to people who read them on a phone, on paper, or with a screen reader."""

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest

from churn.reporting.health_report import render_health_report
from churn.reporting.model_card import render_model_card
from churn.reporting.pages import amount
from tests.reporting.page import Page
from tests.reporting.test_health_report import health
from tests.reporting.test_model_card import whole

# The least contrast of text by WCAG 2.2, level AA.
LEAST_CONTRAST = 4.5
# Columns that fit the width of a phone beside each other.
MOST_COLUMNS = 3
PAGES = {
    "healthy": render_health_report(health(known=1.0), card="model_card.html"),
    "alarm": render_health_report(health(moved=True)),
    "card": render_model_card(whole()),
}


def schemes(html: str) -> Iterator[dict[str, str]]:
    """The colours of the light, the dark and the printed page by their names."""
    for block in re.findall(r":root \{(.*?)\}", html, re.DOTALL):
        yield dict(re.findall(r"--([\w-]+): (#\w+)", block))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("html", PAGES.values(), ids=PAGES.keys())
def test_text_has_contrast_on_screen_and_on_paper(html: str) -> None:
    found = list(schemes(html))
    assert len(found) == 3
    for colours in found:
        for text in ("ink", "quiet", "accent", "ok", "watch", "alarm"):
            for ground in ("paper", "soft") if text in ("ink", "quiet") else ("paper",):
                assert contrast(colours[text], colours[ground]) >= LEAST_CONTRAST, (text, ground, colours)
        for status in ("ok", "watch", "alarm"):
            assert contrast(colours[status], colours[f"{status}-soft"]) >= LEAST_CONTRAST
            assert contrast(colours["ink"], colours[f"{status}-soft"]) >= LEAST_CONTRAST


@pytest.mark.parametrize("html", PAGES.values(), ids=PAGES.keys())
def test_headings_are_in_order(html: str) -> None:
    levels = [int(tag[1]) for tag, _ in Page(html).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


@pytest.mark.parametrize("html", PAGES.values(), ids=PAGES.keys())
def test_wide_tables_become_blocks_on_a_phone(html: str) -> None:
    tables = re.findall(r"<table(.*?)</thead>", html, re.DOTALL)
    assert tables
    for table in tables:
        if table.count("<th ") > MOST_COLUMNS:
            assert 'class="stack"' in table or 'class="drift"' in table or 'class="gates"' in table, table
    # Without the heads, each cell has its name.
    for row in re.findall(
        r"<tr.*?</tr>", "".join(re.findall(r'class="stack">.*?</table>', html, re.DOTALL)), re.DOTALL
    ):
        assert row.count("<td") == row.count("data-name=")


@pytest.mark.parametrize("html", PAGES.values(), ids=PAGES.keys())
def test_links_have_words_and_pictures_have_titles(html: str) -> None:
    assert all(re.sub(r"<.*?>", "", words).strip() for words in re.findall(r"<a [^>]*>(.*?)</a>", html, re.DOTALL))
    assert '<html lang="en">' in html
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    for drawing in re.findall(r'<svg[^>]*role="img".*?</svg>', html, re.DOTALL):
        assert "<title" in drawing


@pytest.mark.parametrize(
    ("money", "currency", "digits", "words"),
    [
        (1234.4, "EUR", 0, "1,234 EUR"),
        (-0.001, None, 2, "0.00"),
        (-1234.5, "USD", 2, "-1,234.50 USD"),
        (None, "EUR", 0, "\N{EN DASH}"),
    ],
)
def test_amounts(money: float | None, currency: str | None, digits: int, words: str) -> None:
    assert amount(money, currency, digits) == words

"""The data report: what it counts, and its page."""

import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema
from churn.reporting.data_report import render_data_report
from churn.survey.report import SAMPLE_ROWS, SetAside, data_report
from churn.tables import check_accounts

SCHEMA = AccountSchema.model_validate(
    {
        "id": "no",
        "label": {"column": "left", "positive": "1", "negative": "0", "drop": ["2"]},
        "numeric": ["visits", "after"],
        "categorical": ["plan"],
        "dates": ["joined"],
        "as_of": "2024-06-30",
        "missing": ["NA", "-"],
        "left_out": ["note"],
    }
)


@pytest.fixture(scope="module")
def accounts() -> pd.DataFrame:
    draw = np.random.default_rng(1)
    left = draw.random(600) < 0.25
    visits = np.where(left, draw.integers(0, 3, 600), draw.integers(0, 9, 600)).astype(object)
    visits[:60] = "-"
    frame = pd.DataFrame(
        {
            "no": [f"{row}" for row in range(600)],
            "visits": visits,
            "after": np.where(left, draw.normal(9, 1, 600), draw.normal(0, 1, 600)),
            "plan": draw.choice(["<b>basic</b>", "plus"], 600),
            "joined": "2024-01-01",
            "left": left.astype(int),
        }
    )
    frame.loc[::2, "joined"] = ""
    return check_accounts(frame, SCHEMA, subject="accounts", labelled=True).accounts


def test_what_is_counted(accounts: pd.DataFrame) -> None:
    aside = [SetAside("note", "left_out", "free text"), SetAside("reason", "left_out", "written later", suspected=True)]
    report = data_report(accounts, SCHEMA, name="members.csv", rows=600, notes=["a decimal comma"], set_aside=aside)
    json.dumps(report, allow_nan=False)
    columns = {entry["column"]: entry for entry in report["columns"]}
    assert set(columns) == {"visits", "after", "plan", "months_since_joined"}
    assert report["columns"][0]["column"] == "after"  # the best by itself comes first
    assert (columns["after"]["status"], columns["plan"]["status"]) == ("alarm", "ok")
    assert columns["months_since_joined"]["kind"] == "date"
    assert columns["months_since_joined"]["status"] == "watch"  # half of the dates are missing
    assert columns["visits"]["missing"] == pytest.approx(0.1)
    assert columns["visits"]["labels"] == [str(number) for number in range(9)]
    for entry in columns.values():
        assert sum(entry["by_churned"]) == pytest.approx(1)
        assert sum(entry["by_stayed"]) == pytest.approx(1)
    churned = accounts["left"].to_numpy() == 1
    zero = (accounts["visits"] == 0).to_numpy()
    assert columns["visits"]["rates"][0] == pytest.approx(churned[zero].mean())
    assert any("'-'" in note for note in report["notes"])
    assert any("'2'" in note for note in report["notes"])
    assert report["churned"] == churned.sum()


class Texts(HTMLParser):
    """Headings, cells of headers without a scope, and whether a file or script is used."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.faults: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("h1", "h2", "h3"):
            self.levels.append(int(tag[1]))
        if tag == "th" and "scope" not in given:
            self.faults.append("a th without scope")
        if tag in ("script", "link", "img", "iframe") or {"src", "href"} & set(given):
            self.faults.append(f"{tag} needs another file")
        if tag == "svg" and not ({"aria-labelledby", "aria-hidden"} & set(given)):
            self.faults.append("a drawing without a name")
        if tag == "html" and not given.get("lang"):
            self.faults.append("no language")


def test_the_page_is_one_file_that_everybody_can_read(accounts: pd.DataFrame) -> None:
    report = data_report(
        accounts,
        SCHEMA,
        name="<script>",
        rows=9000,
        is_sampled=True,
        set_aside=[SetAside("x", "left_out", "why", True)],
    )
    page = render_data_report(report)
    assert render_data_report(json.loads(json.dumps(report))) == page
    assert "<script>" not in page
    assert "<b>basic</b>" not in page
    found = Texts(page)
    assert found.faults == []
    assert found.levels[0] == 1
    assert set(np.diff(found.levels)) <= {1, 0, -1}
    assert "600 of them are described, evenly spaced" in page
    assert "x is left out: why." in page


def test_a_long_table_is_sampled_evenly(accounts: pd.DataFrame) -> None:
    long = pd.concat([accounts] * (SAMPLE_ROWS // 600 + 2), ignore_index=True)
    report = data_report(long, SCHEMA, name="x", rows=len(long))
    assert report["is_sampled"]
    assert report["sampled"] <= SAMPLE_ROWS


def test_columns_without_values_and_one_class() -> None:
    frame = pd.DataFrame(
        {
            "no": ["1", "2"],
            "visits": [np.nan, np.nan],
            "after": [1.0, np.inf],
            "plan": pd.array([None, None], dtype="str"),
        }
    )
    frame = frame.assign(months_since_joined=1.0, left=np.int8(1))
    page = render_data_report(data_report(frame, SCHEMA, name="x", rows=2))
    assert "no value" in page

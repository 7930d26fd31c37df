"""The page of the health report: what it says, that it needs nothing else, and that data cannot break out of it."""

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, Monitoring
from churn.model.profile import count_profile, fit_profile, fit_score_profile
from churn.monitoring import health_metrics, scored_accounts
from churn.reporting.advice import advice_of
from churn.reporting.health_report import render_health_report
from churn.reporting.pages import count, decimal, of_hundred, percent
from churn.tables import FrameTable, humanize
from tests.conftest import InMemory
from tests.reporting.page import Page, check_page

EVIL = '<script>alert("1")</script>'


def health(
    rows: int = 2000,
    moved: bool = False,
    known: float | None = None,
    bands: tuple[str, ...] = ("low", "medium", "high"),
    column: str = "revenue_trend",
    category: str = "up",
    **options: Any,
) -> dict[str, Any]:
    rng = np.random.default_rng(1)

    def accounts(size: int) -> pd.DataFrame:
        trend = pd.Series(rng.choice([category, "flat", "down"], size), dtype="str")
        return pd.DataFrame({"active_users_count": rng.integers(1, 151, size), column: trend})

    reference = fit_profile(accounts(3000), ["active_users_count"], [column])
    reference = reference.with_score(fit_score_profile(rng.beta(1, 4, 3000)))
    frame, score = accounts(rows), rng.beta(1, 4, rows)
    if moved:
        frame["active_users_count"] //= 2
        frame[column] = frame[column].where(frame[column] == category, "sideways")
    starts = [at / len(bands) for at in range(len(bands))]
    predictions = pd.DataFrame(
        {
            "account_id": [f"account-{number}" for number in range(rows)],
            "probability": score,
            "prediction": (score >= 0.5).astype(int),
            "risk_band": [bands[at] for at in np.searchsorted(starts, score, side="right") - 1],
            "model_version": "3",
        }
    )
    outcomes = None
    if known is not None:
        outcomes = pd.DataFrame({"account_id": predictions["account_id"], "left": rng.random(rows) < score})
        outcomes = InMemory(outcomes.head(round(known * rows)))
    schema = {"id": "account_id", "label": {"column": "left", "positive": "True"}, "categorical": ["c"]}
    given: dict[str, Any] = {
        "bands": bands,
        "reference": reference,
        "analysis": count_profile(reference, frame, score),
        "reference_performance": {"roc_auc": 0.71, "precision": 0.66},
        "importance": {"active_users_count": 0.4, column: 0.1},
        "threshold": 0.5,
        "limits": Monitoring(),
        "provenance": {"run_id": "run-77", "model_version": "3", "as_of": "2026-11-01", "input": "accounts.csv"},
    }
    rows_scored = scored_accounts(FrameTable(predictions), outcomes, AccountSchema.model_validate(schema), bands)
    return health_metrics(rows_scored, **(given | options))


CASES = {
    "healthy": {},
    "alarm": {"moved": True},
    "outcomes": {"known": 1.0},
    "some outcomes": {"known": 0.3},
    "no outcome yet": {"known": 0.0},
    "few": {"rows": 12, "known": 1.0},
    "one": {"rows": 1, "known": 1.0},
    "none": {"rows": 0, "known": 1.0},
    "one band": {"bands": ("all",)},
    "seven bands": {"bands": tuple("abcdefg")},
    "no importance": {"importance": {}},
    "no provenance": {"provenance": {}},
    "no reference performance": {"reference_performance": {}, "known": 1.0},
    "threshold near the edge": {"threshold": 0.97},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_every_page_is_whole_accessible_and_needs_nothing_else(options):
    found = health(**options)
    page = check_page(render_health_report(found))
    # It links to files beside it only.
    links = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
    listed = {"retention_list.html", "retention_list.csv", "inference_result.csv"}
    assert links == (listed if found["provenance"] else set())


def test_the_page_is_the_same_for_the_health_read_back_from_json():
    found = health(known=1.0)
    html = render_health_report(found)
    assert render_health_report(json.loads(json.dumps(found))) == html
    assert render_health_report(json.loads(json.dumps(found, sort_keys=True))).count("<tr>") == html.count("<tr>")


def test_a_healthy_page_says_so():
    page = Page(render_health_report(health()))
    assert "Use the scores Healthy: no metric has reached a limit." in page.text
    assert "Call from the top of the retention list" in page.text
    assert "Alarm" not in page.text
    assert "Realised churn rate \N{EN DASH} not known yet" in page.text


def test_an_alarm_names_its_reasons():
    found = health(moved=True)
    page = Page(render_health_report(found))
    assert len(found["alarms"]) >= 2
    for sentence in [*found["alarms"], *found["to_watch"]]:
        assert f"{sentence}." in page.text
    assert "Lower values than at training" in page.text
    assert "New categories" in page.text


def test_a_page_with_warnings_says_so():
    page = Page(render_health_report(health(moved=True, limits=Monitoring(psi_alarm=50, unseen_share=1))))
    assert "Look first, then use the scores Warning: " in page.text
    assert "Call from the top of the retention list" in page.text


def test_the_page_begins_with_the_decision_and_what_to_do():
    found = health(moved=True)
    text = Page(render_health_report(found)).text
    decision, steps, figures = (
        text.index(words) for words in ("Do not use the scores yet", "What to do", "Accounts scored")
    )
    assert decision < steps < figures
    told = advice_of(found)
    assert [each.status for each in told] == sorted(each.status for each in told)
    for each in told:
        assert steps < text.index(each.title) < figures
    assert "Call from the top" not in text


def test_what_has_not_moved_is_folded():
    found = health(moved=True)
    found["drift"].append({**found["drift"][0], "column": "calm", "status": "ok"})
    fine = [entry for entry in found["drift"] if entry["status"] == "ok"]
    html = render_health_report(found)
    open_part, _, folded = html.partition('<h2 id="drift">')[2].partition("</section>")[0].partition("<details>")
    assert fine
    for entry in found["drift"]:
        title = f'<th scope="row">{humanize(entry["column"])}</th>'
        assert (title in folded) == (entry["status"] == "ok")
        assert (title in open_part) == (entry["status"] != "ok")
    everything = render_health_report(health())
    assert "All 3 distributions are as at training" in everything


def test_the_card_is_linked_if_there_is_one():
    links = [
        attrs["href"] for tag, attrs in Page(render_health_report(health(), card="model_card.html")).tags if tag == "a"
    ]
    assert "model_card.html" in links


def test_a_report_of_requests_links_to_no_list():
    origin = {"run_id": None, "model_version": "3", "as_of": "2026-11-01", "input": "requests"}
    html = render_health_report(health(provenance=origin), card="model_card.html")
    assert [attrs["href"] for tag, attrs in Page(html).tags if tag == "a"] == ["model_card.html"]


def test_notes_are_shown():
    found = health(rows=12)
    assert found["notes"]
    page = Page(render_health_report(found))
    assert all(f"{note}." in page.text for note in found["notes"])
    assert "Within random variation" in page.text


def test_the_figures_are_those_of_the_json():
    found = health(known=0.5)
    text = Page(render_health_report(found)).text
    real, estimated = found["realised_performance"], found["estimated_performance"]
    assert f"Accounts scored {found['unique_accounts']:,} At risk {found['prediction_counts']['1']:,}" in text
    assert f"Expected to leave {estimated['churners']:,.0f}" in text
    assert f"Expected churn rate {100 * estimated['churn_rate']:.1f}%" in text
    assert f"Realised churn rate {100 * real['churn_rate']:.1f}%" in text
    assert f"{real['churned']:,} of the {real['outcomes']:,} accounts whose outcome is known" in text
    assert f"Of 100 accounts we flagged, {100 * real['precision']:.0f} left." in text
    assert f"Of 100 accounts that left, we had flagged {100 * real['recall']:.0f}." in text
    assert f"ROC AUC {real['roc_auc']:.3f} 0.710" in text
    assert f"Calibration error {real['calibration_error']:.3f} \N{EN DASH}" in text
    for band in found["bands"]:
        assert re.search(
            rf"{band['name'].capitalize()} \S+ to \S+ {band['count']:,} {100 * band['share']:.1f}% "
            rf"{band['expected_churners']:,.0f} {100 * band['expected_churn_rate']:.1f}% {100 * band['churn_rate']:.1f}%",
            text,
        )
    for entry in found["drift"]:
        assert f"{entry['psi']:.2f} {100 * entry['missing_reference']:.1f}% → " in text
    for low, number in zip(found["histogram"]["edges"], found["histogram"]["counts"], strict=False):
        assert f"{100 * low:.0f}% to {100 * low + 5:.0f}% {number:,}" in text
    for point in real["calibration_curve"]:
        assert f"{point['count']:,} {100 * point['predicted']:.1f}% {100 * point['observed']:.1f}%" in text
    assert "Active users 80.0%" in text
    assert "Run id run-77 Model version 3 As of 2026-11-01 Input accounts.csv" in text


def test_without_outcomes_the_page_speaks_of_estimates():
    found = health()
    text = Page(render_health_report(found)).text
    estimated = found["estimated_performance"]
    assert "Estimated quality of the scores" in text
    assert f"Of 100 accounts we flagged, {100 * estimated['precision']:.0f} should leave." in text
    assert f"ROC AUC {estimated['roc_auc']:.3f} 0.710" in text
    assert "Realised churn rate against score" not in text


def test_the_drawings_show_the_figures():
    found = health()
    page = Page(render_health_report(found))
    strip = [attrs for tag, attrs in page.tags if tag == "rect"][: len(found["bands"])]
    assert [float(attrs["width"] or 0) for attrs in strip] == pytest.approx(
        [100 * band["share"] for band in found["bands"]], abs=0.01
    )
    stacked = [attrs for tag, attrs in page.tags if tag == "rect" and {"class", "height"} - attrs.keys() == {"class"}]
    heights = np.zeros(20)
    for attrs in stacked:
        heights[round(float(attrs["x"] or 0) / 5)] += float(attrs["height"] or 0)
    counts = np.array(found["histogram"]["counts"])
    np.testing.assert_allclose(heights / heights.max(), counts / counts.max(), atol=0.001)


@pytest.mark.parametrize(
    "options",
    [
        {"column": EVIL, "category": EVIL, "moved": True},
        {"bands": (EVIL, "b", "c")},
        {"provenance": {EVIL: EVIL, "as_of": f'"{EVIL}', "nested": {"a": [EVIL]}}},
        {"column": '"><img src=x onerror=alert(1)>'},
    ],
)
def test_texts_from_data_cannot_break_out(options):
    html = render_health_report(health(**options))
    names = {tag for tag, _ in Page(html).tags}
    assert not names & {"script", "img"}
    assert "<script" not in html
    assert "&lt;" in html


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"missing_reference": 0.1, "missing_analysis": 0.3}, "Lower values than at training. More values are missing"),
        (
            {"missing_reference": 0.3, "missing_analysis": 0.1},
            "Lower values than at training. Fewer values are missing",
        ),
        ({"unseen_share": 0.2}, "Lower values than at training. Values outside the range seen at training"),
        (
            {"distribution": {"labels": ["a", "b"], "reference": [0.5, 0.5], "analysis": [0.5, 0.5]}},
            "Other distribution than at training",
        ),
        ({"psi": None, "status": "ok"}, "Nothing to compare"),
        (
            {
                "kind": "categorical",
                "distribution": {"labels": ["up", "down"], "reference": [0.3, 0.7], "analysis": [0.6, 0.4]},
            },
            "More of “up”: 60%, 30% at training",
        ),
    ],
)
def test_what_has_moved_is_said_in_words(change, words):
    found = health(moved=True)
    found["drift"] = [{**found["drift"][0], **change}]
    assert words in Page(render_health_report(found)).text


def test_a_model_that_gives_no_scores_of_its_own_has_no_row_for_them():
    found = health()
    assert "Scores: at training and now" not in Page(render_health_report({**found, "score_drift": None})).text


def test_drift_rows_begin_with_the_scores_and_the_worst():
    found = health(moved=True)
    found["drift"].append({**found["drift"][0], "column": "calm", "status": "ok", "psi": 9.0})
    found["score_drift"] = {**found["score_drift"], "status": "watch"}
    page = Page(render_health_report(found))
    titles = re.findall(r"(Scores|Active users|Calm|Revenue trend): at training and now", page.text)
    assert titles[0] == "Scores"
    assert titles[-1] == "Calm"


@pytest.mark.parametrize(
    ("change", "title"),
    [
        (
            {"missing_analysis": 0.4, "missing_by_chance": False, "status": "alarm"},
            "Values are missing in Active users",
        ),
        (
            {"psi": 0.2, "moved_by_chance": False, "status": "watch"},
            "Active users is distributed otherwise than at training",
        ),
    ],
)
def test_each_kind_of_finding_has_its_advice(change, title):
    found = health()
    found["drift"] = [
        {**entry, **(change if entry["column"] == "active_users_count" else {})} for entry in found["drift"]
    ]
    assert [each.title for each in advice_of(found)] == [title]


def test_quality_that_has_fallen_has_its_advice():
    found = health(known=1.0)
    assert advice_of(found) == []
    found["realised_performance"] |= {"roc_auc_status": "watch", "calibration_status": "alarm"}
    assert [each.status for each in advice_of(found)] == ["alarm", "watch"]
    assert advice_of(health(rows=0))[0].title == "No accounts were scored"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (percent(0.1234), "12.3%"),
        (percent(0.5, 0), "50%"),
        (percent(None), "\N{EN DASH}"),
        (count(30000), "30,000"),
        (count(None), "\N{EN DASH}"),
        (decimal(0.3149), "0.31"),
        (decimal(None), "\N{EN DASH}"),
        (of_hundred(0.43), "43"),
        (of_hundred(None), "\N{EN DASH}"),
    ],
)
def test_numbers_for_people(written, expected):
    assert written == expected

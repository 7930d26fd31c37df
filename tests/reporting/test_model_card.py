"""The model card: what it says, that it needs nothing else, and that data cannot break out of it."""

import json
import re
from datetime import date
from typing import Any

import numpy as np
import pytest

from churn.config import Profit, Promotion, Training
from churn.errors import ChurnError
from churn.metrics import CalibrationCurve, Interval, calibration_curve, classification_metrics
from churn.reporting.model_card import INTENDED_USE, LIMITS, NOT_FOR, model_card, number, render_model_card
from churn.reporting.model_card_summary import card_in_markdown
from churn.reporting.money import worth
from churn.retention.trade_off import trade_off
from churn.training import decide
from churn.training.challenge import Challenge, segment_figures
from tests.conftest import rng
from tests.reporting.page import Page, check_page
from tests.reporting.test_health_report import EVIL

RANDOM = rng(2)
SCORES = RANDOM.beta(1, 4, 2000)
LABELS = (RANDOM.random(2000) < SCORES).astype(int)
TREND = RANDOM.choice(["up", "flat", "down"], 2000)
FIGURES = classification_metrics(LABELS, SCORES, 0.5)
SEARCH = {
    "trials": 20,
    "pruned": 7,
    "chosen": 12,
    "parameters": {"max_depth": 3, "learning_rate": 0.04},
    "gain": 0.0042,
    "gain_error": 0.0011,
}
PROFIT = Profit(contact_cost=5, offer_cost=20, save_rate=0.4, account_value=600, currency="EUR")
PROMOTION = Promotion(segments=("revenue_trend",))


def decision(**options: Any) -> dict[str, Any]:
    return decide(challenge(), PROMOTION.model_copy(update=options)).to_dict()


def challenge() -> Challenge:
    return Challenge(LABELS, SCORES, SCORES, segments={"revenue_trend": TREND}, latency_ms=12.0)


def whole(**given: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "figures": {name: Interval(value, value - 0.02, value + 0.02) for name, value in FIGURES.items()},
        "name": "churn",
        "version": "7",
        "sha256": "ab" * 32,
        "confidence": 0.95,
        "data": {
            "name": "training accounts",
            "sha256": "cd" * 32,
            "rows": 30_000,
            "churn_rate": 0.1234,
            "from": date(2026, 1, 1),
        },
        "baselines": {"logistic_regression": {"roc_auc": 0.6, "brier": 0.2}, "coin": {"roc_auc": 0.5}},
        "calibration": calibration_curve(LABELS, SCORES),
        "segments": [figures._asdict() for figures in segment_figures(challenge(), PROMOTION)],
        "promotion": decision(),
        "importance": {"active_users_count": 0.4, "revenue_trend": 0.1},
        "money": worth(trade_off(LABELS, SCORES, 600.0, PROFIT, 0.5), PROFIT),
        "tuning": SEARCH,
        "parameters": {"training": Training().model_dump(), "promotion": PROMOTION.model_dump()},
        "reproduce": {
            "command": "kedro run --pipelines training",
            "code_version": "0.1.0",
            "data_sha256": "cd" * 32,
            "packages": {"numpy": "2.4.0", "xgboost": "3.2.0"},
        },
    }
    return model_card(**(options | given))


CASES: dict[str, dict[str, Any]] = {
    "whole": {},
    "nothing but figures": dict.fromkeys(
        (
            "version",
            "sha256",
            "confidence",
            "data",
            "baselines",
            "calibration",
            "segments",
            "promotion",
            "importance",
            "tuning",
        )
    )
    | {"parameters": None, "reproduce": None},
    "no figures": {"figures": {}},
    "figures without intervals": {"figures": dict(FIGURES)},
    "figures that are nan": {"figures": {"roc_auc": np.nan, "brier": (np.nan, np.inf, None), "odd_measure": None}},
    "refused": {"promotion": decision(calibration_limit=0.0)},
    "forced": {"promotion": decision(calibration_limit=0.0, force=True)},
    "no importance": {"importance": {"a": 0.0}},
    "nan in everything": {
        "baselines": {"coin": {"roc_auc": np.nan}},
        "importance": {"a": np.nan},
        "data": {"rows": np.int64(3), "churn_rate": np.nan, "empty": ""},
        "parameters": {"a": np.float64(np.nan), "b": {}, "c": [np.inf]},
    },
    "no command": {"reproduce": {"code_version": "0.1.0"}},
    "no texts": {"intended_use": (), "not_for": (), "limits": ()},
    "no points": {"calibration": CalibrationCurve(np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64))},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_every_page_is_whole_accessible_and_needs_nothing_else(options):
    page = check_page(render_model_card(whole(**options)))
    assert not [attrs for tag, attrs in page.tags if tag == "a" or "href" in attrs]


@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_the_card_is_json_and_gives_the_same_page_when_read_back(options):
    card = whole(**options)
    again = json.loads(json.dumps(card, allow_nan=False))
    assert again == card
    assert render_model_card(again) == render_model_card(card)


def test_the_page_has_the_style_of_the_health_report():
    from churn.reporting.health_report import render_health_report
    from tests.reporting.test_health_report import health

    style = re.compile(r"--accent: #\w+; --then: #\w+;")
    assert style.search(render_model_card(whole())).group() == style.search(render_health_report(health())).group()


def test_the_figures_stand_with_their_intervals():
    text = Page(render_model_card(whole())).text
    for name, title in (("roc_auc", "ROC AUC"), ("brier", "Brier score"), ("lift_at_10", "Lift in the top 10%")):
        value = FIGURES[name]
        assert f"{title} {value:.3f} {value - 0.02:.3f} to {value + 0.02:.3f}" in text
    assert "with a confidence of 95%" in text


def test_what_was_not_given_was_not_measured():
    card = model_card({"roc_auc": 0.8})
    text = Page(render_model_card(card)).text
    assert text.count("Not checked") == 7
    assert text.count("Not recorded.") == 2
    assert "ROC AUC 0.800 not checked" in text
    assert "Not judged No decision on its promotion is recorded." in text
    assert card["calibration"] is None
    for sentence in (*INTENDED_USE, *NOT_FOR, *LIMITS):
        assert f"{sentence}." in text


def test_all_else_is_on_the_page():
    card = whole(intended_use=("Calling people",))
    text = Page(render_model_card(card)).text
    assert "churn, version 7" in text
    assert "Use it for Calling people." in text
    assert f"Name training accounts SHA-256 {'cd' * 32} Rows 30,000 Churn rate 12.3% From 2026-01-01" in text
    assert f"Metric This model Logistic regression Coin ROC AUC {FIGURES['roc_auc']:.3f} 0.600 0.500" in text
    assert "Active users 80.0% Revenue trend 20.0%" in text
    assert f"training.booster.max_depth {Training().booster.max_depth}" in text
    assert "kedro run --pipelines training Code version 0.1.0" in text
    assert "numpy 2.4.0 xgboost 3.2.0" in text
    for item in card["segments"]:
        assert f"Revenue trend: {item['category']} {item['rows']:,} {item['churned']:,} {item['roc_auc']:.3f}" in text
    for point in card["calibration"]:
        assert f"{point['count']:,} {100 * point['predicted']:.1f}% {100 * point['observed']:.1f}%" in text
    assert f"{len(card['parameters'])} parameters" in text


def test_the_search_is_told() -> None:
    page = render_model_card(whole())
    assert (
        "20 sets of parameters were tried, 7 of them given up early. Number 12 was taken: log loss lower by 0.0042"
        in page
    )
    assert "2 parameters that the search set" in page
    assert "<dt>learning_rate</dt><dd>0.040</dd>" in page
    kept = render_model_card(whole(tuning=SEARCH | {"chosen": None, "parameters": {}}))
    assert "The first ones were kept" in kept
    assert "that the search set" not in kept
    assert "sets of parameters were tried" not in render_model_card(whole(tuning=None))


def test_the_calibration_is_drawn():
    curve = CalibrationCurve(np.array([0.1, 0.3]), np.array([0.2, 0.4]), np.array([10, 10]))
    page = Page(render_model_card(whole(calibration=curve)))
    drawn = [(attrs["cx"], attrs["cy"]) for tag, attrs in page.tags if tag == "circle" and "cx" in attrs]
    # The axes run to 40%; y grows downwards.
    assert [point for point in drawn if point != ("10", "10")] == [("25.0", "50.0"), ("75.0", "0.0")]


@pytest.mark.parametrize(
    ("promotion", "verdict", "result"),
    [
        (decision(), "Promoted Promoted, all gates passed", "Calibration Passed The probabilities are off by"),
        (decision(latency_limit=10.0), "Not promoted Not promoted, 1 of 5 gates", "Latency Failed 1,000 accounts"),
        (
            decision(latency_limit=10.0, force=True),
            "Promoted by force Promoted by force although 1 of 5 gates",
            "Latency Failed 1,000 accounts are scored in 12 ms",
        ),
    ],
)
def test_the_gates_and_what_came_of_them(promotion, verdict, result):
    text = Page(render_model_card(whole(promotion=promotion))).text
    assert verdict in text
    assert result in text
    assert all(gate["sentence"][1:] in text for gate in promotion["gates"])


@pytest.mark.parametrize(
    ("theirs", "status", "said"),
    [
        (0.81, "alarm", "The model does not beat the baseline logistic regression: ROC AUC 0.810, the model has 0.800"),
        (0.80, "alarm", "The model does not beat the baseline logistic regression: ROC AUC 0.800, the model has 0.800"),
        (0.79, "watch", "gain over the baseline logistic regression is within the confidence interval: ROC AUC 0.790"),
        (0.70, "ok", "The model beats every baseline; the best is logistic regression: ROC AUC 0.700, the model has"),
    ],
)
def test_a_model_that_does_not_beat_a_baseline_says_so(theirs, status, said):
    card = whole(
        figures={"roc_auc": (0.8, 0.785, 0.815)},
        baselines={"logistic_regression": {"roc_auc": theirs}, "coin": {"roc_auc": 0.5}},
    )
    assert [item["status"] for item in card["comparison"]] == [status]
    assert said in card["comparison"][0]["sentence"]
    assert said in Page(render_model_card(card)).text


def test_baselines_without_the_measure_are_not_compared():
    assert whole(baselines={"coin": {"brier": 0.2}})["comparison"] == []
    assert whole(figures={"brier": 0.1})["comparison"] == []


@pytest.mark.parametrize(
    "options",
    [
        {"name": EVIL, "version": EVIL, "sha256": EVIL},
        {"figures": {EVIL: 1.0}},
        {"intended_use": (EVIL,), "not_for": (EVIL,), "limits": (EVIL,)},
        {"data": {EVIL: EVIL}},
        {"baselines": {EVIL: {"roc_auc": 1.0, EVIL: 1.0}}},
        {
            "segments": [
                {
                    "segment": EVIL,
                    "category": EVIL,
                    "rows": 1,
                    "churned": 0,
                    "roc_auc": None,
                    "champion_roc_auc": None,
                    "judged": False,
                }
            ]
        },
        {"promotion": {**decision(), "reason": EVIL}},
        {"importance": {EVIL: 1.0}},
        {"parameters": {EVIL: {EVIL: EVIL}}},
        {"reproduce": {"command": EVIL, EVIL: EVIL, "packages": {EVIL: EVIL}}},
    ],
)
def test_texts_from_data_cannot_break_out(options):
    html = render_model_card(whole(**options))
    assert "script" not in {tag for tag, _ in Page(html).tags}
    assert "<script" not in html
    assert "&lt;script&gt;" in html.lower()


def test_a_figure_of_another_shape_is_refused():
    with pytest.raises(ChurnError, match=r"the metric 'roc_auc' is .* expected a number, or a value with the two ends"):
        model_card({"roc_auc": (0.8, 0.7)})


def test_the_card_does_not_change_what_it_is_given():
    reproduce = {"command": "kedro run", "packages": {"numpy": "2"}}
    card = whole(reproduce=reproduce)
    before = json.dumps(card)
    render_model_card(card)
    assert json.dumps(card) == before
    assert reproduce == {"command": "kedro run", "packages": {"numpy": "2"}}


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.8421, "0.842"), (-0.0001, "0.000"), (12345.6, "12,346"), (3, "3"), (None, "\N{EN DASH}"), (-1234.0, "-1,234")],
)
def test_numbers_for_people(value, written):
    assert number(value) == written


def test_money_at_example_costs_is_a_limitation() -> None:
    assert model_card(FIGURES)["limits"] == list(LIMITS)
    card = model_card(FIGURES, example_costs=("contact_cost", "save_rate"))
    (said,) = card["limits"][len(LIMITS) :]
    assert "contact cost, save rate" in said
    assert "profit.contact_cost, profit.save_rate" in said
    assert said in render_model_card(card)


def test_columns_that_are_churn_rates_are_a_limitation() -> None:
    card = model_card(FIGURES, rated=["city", "agent"])
    assert card["limits"][-1].startswith("The categories of city, agent count by their churn rate in the training rows")
    assert "count by their churn rate" in render_model_card(card)
    assert not any("churn rate in the training rows" in limit for limit in model_card(FIGURES)["limits"])


def test_the_card_shows_what_calls_bring_and_what_the_threshold_trades() -> None:
    card = whole()
    text = Page(render_model_card(card)).text
    money = card["money"]
    chosen = money["policies"]["profit"]
    everybody = money["policies"]["everybody"]
    assert f"Profit per account {chosen['per_account']:z,.2f} EUR" in text
    assert f"Call everybody {len(LABELS):,} {int(LABELS.sum()):,} {everybody['per_account']:z,.2f} EUR" in text
    assert "Call nobody 0 0 0.00 EUR 0 EUR" in text
    assert "(the model)" in text
    for row in money["thresholds"]:
        assert f"{row['called']:,.0f} {row['churners']:,.0f} {100 * row['found']:.0f}%" in text
    assert f"{chosen['per_account']:z,.2f} EUR per account" in money["sentence"]


def test_the_summary_in_markdown_escapes_what_comes_from_data() -> None:
    card = whole(promotion={**decision(), "reason": "| <b> *bold* `code` [link](x)"})
    text = card_in_markdown(card)
    assert "\\| \\<b\\> \\*bold\\* \\`code\\` \\[link\\](x)" in text
    value = FIGURES["roc_auc"]
    assert f"| ROC AUC | {value:.3f} ({value - 0.02:.3f} to {value + 0.02:.3f}) |" in text
    assert card["money"]["sentence"] in text
    assert len(text.splitlines()) < 30
    assert "No decision on its promotion is recorded" in card_in_markdown(model_card({"brier": 0.1}))

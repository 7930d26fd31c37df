"""Each gate refuses and grants by itself, and the decision says why."""

import json
import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from churn.config import Profit, Promotion
from churn.errors import ChurnError
from churn.metrics import calibration_error
from churn.metrics.ranking import weighted_roc_auc
from churn.training import decide
from churn.training.challenge import Challenge, segment_figures
from churn.training.gates import Gate, PromotionDecision
from tests.conftest import rng

GATES = ("performance", "calibration", "leakage", "latency", "segments")


def scored(rows: int = 3000, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes, and their true probabilities with noise on the log-odds."""
    random = rng(seed)
    logit = random.normal(-1.5, 1.5, rows)
    labels = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    return labels, 1 / (1 + np.exp(-(logit + noise * rng(seed + 1).normal(size=rows))))


def challenge(mine: float = 0.0, theirs: float | None = 0.0, rows: int = 3000, **given: Any) -> Challenge:
    labels, challenger = scored(rows, mine)
    champion = None if theirs is None else scored(rows, theirs)[1]
    unseen = {} if theirs is None else {"unseen": np.ones(rows, bool)}
    return Challenge(
        **({"labels": labels, "challenger": challenger, "champion": champion, "latency_ms": 20.0} | unseen | given)
    )


def gate(decision: PromotionDecision, name: str) -> Gate:
    return next(gate for gate in decision.gates if gate.name == name)


def failed(decision: PromotionDecision) -> list[str]:
    return [gate.name for gate in decision.gates if not gate.passed]


# --- performance ------------------------------------------------------------------------------------------------


def test_the_first_model_passes():
    decision = decide(challenge(theirs=None), Promotion())
    assert decision.promote
    assert not decision.forced
    assert decision.gain is None
    assert "there is no champion yet" in decision.reason
    assert gate(decision, "performance").figure is None


def test_a_first_model_that_knows_nothing_says_so():
    labels, scores = scored(1500)
    guessing = Challenge(labels, rng(1).permutation(scores), latency_ms=1.0)
    assert "no better than chance" in decide(guessing, Promotion(calibration_limit=1)).reason
    assert "no better than chance" not in decide(challenge(theirs=None), Promotion()).reason


def test_the_same_model_gains_exactly_nothing():
    for margin, promoted in ((0.0, True), (-0.005, True), (0.001, False)):
        decision = decide(challenge(), Promotion(margin=margin))
        assert decision.gain == 0.0
        assert gate(decision, "performance").figure == 0.0
        assert decision.promote is promoted


def test_the_same_order_gains_exactly_nothing():
    one = challenge()
    assert decide(replace(one, champion=one.challenger / 2), Promotion(margin=0)).gain == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_a_clearly_better_model_passes_and_a_clearly_worse_one_fails(seed):
    options = Promotion(margin=0.0, confidence=0.95, random_state=seed, calibration_limit=1)
    better, worse = decide(challenge(0.0, 1.5), options), decide(challenge(1.5, 0.0), options)
    assert better.promote
    assert better.gain is not None
    assert better.gain > 0.02
    assert gate(worse, "performance").figure > worse.gain
    assert not worse.promote
    assert failed(worse) == ["performance"]
    assert worse.gain == pytest.approx(-better.gain)


def test_noise_passes_unless_a_gain_is_required():
    for seed in range(3):
        labels, champion = scored(3000, 0.3, seed)
        challenger = scored(3000, 0.3, seed)[1] * 0.98 + 0.02 * scored(3000, 0.6, seed + 50)[1][::-1]
        noise = Challenge(labels, challenger, champion, latency_ms=1.0, unseen=np.ones(3000, bool))
        assert gate(decide(noise, Promotion(margin=-0.005)), "performance").passed
        assert not gate(decide(noise, Promotion(margin=0.005)), "performance").passed


def test_the_bounds_of_the_gain_widen_with_the_confidence():
    for margin, widening in ((-0.005, 1), (0.001, -1)):
        figures = [
            gate(decide(challenge(0.5, 0.8), Promotion(margin=margin, confidence=confidence)), "performance").figure
            for confidence in (0.1, 0.5, 0.8, 0.95, 0.99)
        ]
        assert figures == sorted(figures)[::widening]
        assert figures[0] == pytest.approx(decide(challenge(0.5, 0.8), Promotion()).gain, abs=0.005)


def test_the_bound_is_a_quantile_of_the_resamples():
    from churn.metrics.bootstrap import bootstrap_weights

    one, options = challenge(0.5, 0.55, rows=800), Promotion(bootstrap_samples=100)
    measured = partial(weighted_roc_auc, one.labels)
    gains = np.sort(
        np.concatenate(
            [
                measured(one.challenger)(weights) - measured(one.champion)(weights)
                for weights in bootstrap_weights(800, 100, options.random_state)
            ]
        )
    )
    # Two metrics are compared if a loss is tolerated: each bound has half of the error of 5 %.
    assert gate(decide(one, options), "performance").figure == gains[-1 - 2]
    needed = options.model_copy(update={"margin": 0.1})
    assert gate(decide(one, needed), "performance").figure == gains[5]


def test_probabilities_that_got_worse_are_refused_though_the_ranking_is_the_same():
    one = challenge()
    flat = replace(one, challenger=0.5 + (one.challenger - 0.5) / 2)
    decision = decide(flat, Promotion(calibration_limit=1))
    assert decision.gain == 0.0
    assert failed(decision) == ["performance"]
    assert "log loss" in decision.reason


def test_models_meet_on_rows_that_neither_was_trained_on():
    # The champion knows the outcomes of the rows that it was trained on, and guesses on the others.
    labels, scores = scored(4000)
    unseen = np.arange(4000) % 2 == 0
    champion = np.where(unseen, rng(3).permutation(scores), np.where(labels == 1, 0.9, 0.1))
    both = Challenge(labels, scores, champion, latency_ms=1.0, unseen=unseen)
    decision = decide(both, Promotion())
    assert decision.promote
    mine, theirs = (roc_auc_score(labels[unseen], given[unseen]) for given in (scores, champion))
    assert decision.gain == pytest.approx(mine - theirs)
    assert "2,000 accounts that neither was trained on" in decision.reason


def test_without_such_rows_the_challenger_meets_the_record_of_the_champion():
    labels, scores = scored(4000)
    knows = np.where(labels == 1, 0.9, 0.1)
    unknown = Challenge(labels, scores, knows, latency_ms=1.0, doubt="nobody knows")
    record = {"roc_auc": roc_auc_score(labels, scores), "rows": 4000, "churn_rate": float(labels.mean())}
    fair = decide(replace(unknown, champion_performance=record), Promotion())
    assert fair.promote
    assert "nobody knows" in fair.reason
    better = decide(replace(unknown, champion_performance={**record, "roc_auc": 0.95}), Promotion())
    assert failed(better) == ["performance"]
    # The champion's advantage does not matter to a challenger that wins all the same.
    assert decide(replace(unknown, champion=rng(3).permutation(scores)), Promotion()).promote
    assert failed(decide(unknown, Promotion())) == ["performance"]


def test_the_champion_trained_again_is_no_promotion():
    decision = decide(replace(challenge(), unchanged=True), Promotion())
    assert decision.promote
    assert decision.unchanged
    assert "the same model as the champion" in decision.reason
    assert not decision.reason.startswith("Promoted")
    assert decision.tags["promotion"] == "unchanged"
    assert {name: gate(decision, name).word for name in ("performance", "segments", "leakage")} == {
        "performance": "not checked",
        "segments": "not checked",
        "leakage": "passed",
    }


def test_test_rows_of_one_outcome_settle_nothing():
    one = challenge(rows=50, labels=np.zeros(50))
    decision = decide(one, Promotion(calibration_limit=1))
    assert failed(decision) == ["performance"]
    assert "one outcome only" in decision.reason
    json.dumps(decision.to_dict(), allow_nan=False)
    assert decide(replace(one, champion=None), Promotion(calibration_limit=1)).promote


def test_samples_without_a_churned_row_are_left_aside():
    labels = np.zeros(40, dtype=int)
    labels[7] = 1
    scores = np.linspace(0, 1, 40)
    decision = decide(Challenge(labels, scores, scores[::-1], latency_ms=1.0), Promotion(calibration_limit=1))
    assert decision.gain == pytest.approx(roc_auc_score(labels, scores) - roc_auc_score(labels, scores[::-1]))
    assert " of 500 resamples" not in decision.reason
    json.dumps(decision.to_dict(), allow_nan=False)


PROFIT = Profit(contact_cost=5, offer_cost=50, save_rate=0.3, account_value=600)


def test_expected_profit_by_hand():
    # Acting pays where 0.3 p (v - 50) - 50 (1 - p) - 5 > 0: from p = 55 / 215 = 0.256 on for v = 600.
    labels = np.array([1, 1, 0, 0] * 10)
    mine, theirs = np.array([0.9, 0.2, 0.1, 0.3] * 10), np.array([0.9, 0.9, 0.1, 0.1] * 10)
    decision = decide(
        Challenge(labels, mine, theirs, latency_ms=1.0),
        Promotion(metric="expected_profit", calibration_limit=1),
        PROFIT,
    )
    saved, lost = 0.3 * 550 - 5, -55
    assert decision.gain == pytest.approx((saved + lost) / 4 - 2 * saved / 4)
    assert f"expected profit per account {(saved + lost) / 4:.3f}, the champion's {saved / 2:.3f}" in decision.reason
    assert failed(decision) == ["performance"]


def test_the_value_of_each_account_counts():
    labels, scores = np.array([1, 1, 1, 0] * 10), np.full(40, 0.5)
    value = np.array([1000.0, 100.0, np.nan, 1000.0] * 10)
    # Of these, acting pays for 1000 and for the missing one (600), not for 100: 0.3 x 0.5 x 50 - 25 - 5 < 0.
    decision = decide(
        Challenge(labels, scores, np.zeros(40), value=value, latency_ms=1.0),
        Promotion(metric="expected_profit", calibration_limit=1),
        PROFIT,
    )
    assert decision.gain == pytest.approx((0.3 * 950 - 5 + 0.3 * 550 - 5 - 55) / 4)
    assert decision.promote


def test_expected_profit_needs_its_parameters():
    with pytest.raises(ChurnError, match=r"promotion\.metric = 'expected_profit' needs the parameters of profit"):
        decide(challenge(), Promotion(metric="expected_profit"))


def test_the_bootstrap_is_fast():
    one = challenge(0.3, 0.4, rows=9000)
    began = time.process_time()
    decide(one, Promotion(bootstrap_samples=500))
    assert time.process_time() - began < 4


def test_the_same_challenge_gives_the_same_decision():
    one = challenge(0.3, 0.4, segments={"trend": rng().choice(["up", "down"], 3000)})
    options = Promotion(segments=("trend",))
    assert decide(one, options) == decide(one, options)
    other = gate(decide(one, options.model_copy(update={"random_state": 1})), "performance")
    assert other.figure != gate(decide(one, options), "performance").figure


# --- the other gates --------------------------------------------------------------------------------------------


def test_the_calibration_gate():
    labels, scores = scored()
    figure = calibration_error(labels, scores**2)
    one = Challenge(labels, scores**2, None, latency_ms=1.0)
    refused = decide(one, Promotion(calibration_limit=0.05))
    assert failed(refused) == ["calibration"]
    assert gate(refused, "calibration")[2:4] == (figure, 0.05)
    assert f"the probabilities are off by {figure:.4f} on average (limit 0.05)" in refused.reason
    assert decide(one, Promotion(calibration_limit=figure)).promote
    assert decide(challenge(), Promotion()).promote


def test_what_chance_makes_refuses_no_model():
    labels, scores = scored(60)
    decision = decide(Challenge(labels, scores, None, latency_ms=1.0), Promotion(calibration_limit=0.05))
    judged = gate(decision, "calibration")
    assert judged.figure > 0.05
    assert judged.passed
    assert "with 60 test rows, chance alone accounts for about 0.1" in judged.sentence
    wrong = decide(Challenge(labels, scores / 4, None, latency_ms=1.0), Promotion(calibration_limit=0.05))
    assert failed(wrong) == ["calibration"]


def test_the_leakage_gate():
    refused = decide(challenge(leaks=["closed_on: tells all", "status: tells all"]), Promotion())
    assert failed(refused) == ["leakage"]
    assert gate(refused, "leakage")[2:4] == (2.0, 0.0)
    assert "leakage: closed_on: tells all; status: tells all" in refused.reason


def test_the_latency_gate():
    assert failed(decide(challenge(latency_ms=2000.1), Promotion())) == ["latency"]
    assert decide(challenge(latency_ms=2000.0), Promotion()).promote
    assert decide(challenge(latency_ms=2000.1), Promotion(latency_limit=3000)).promote


def test_a_latency_that_was_not_measured_is_refused():
    decision = decide(challenge(latency_ms=float("nan")), Promotion())
    assert failed(decision) == ["latency"]
    json.dumps(decision.to_dict(), allow_nan=False)


def segmented(rows: int = 4000) -> Challenge:
    """A challenger that is as good as the champion but for the category `bad`, where it guesses."""
    labels, scores = scored(rows)
    trend = np.array(["good", "bad", "fine", "fine"], dtype=object)[np.arange(rows) % 4]
    trend[:10] = None
    challenger = np.where(trend == "bad", rng(9).permutation(scores), scores)
    return Challenge(
        labels,
        challenger,
        scores,
        segments={"trend": trend, "other": trend[::-1]},
        latency_ms=1.0,
        unseen=np.ones(rows, bool),
    )


def test_the_segments_gate():
    options = Promotion(margin=-1, log_loss_rise=1, calibration_limit=1, segments=("trend",))
    one = segmented()
    decision = decide(one, options)
    assert failed(decision) == ["segments"]
    inside = one.segments["trend"] == "bad"
    mine, theirs = (roc_auc_score(one.labels[inside], scores[inside]) for scores in (one.challenger, one.champion))
    assert gate(decision, "segments").figure == pytest.approx(theirs - mine)
    assert f"trend 'bad' ({inside.sum():,} rows): ROC AUC {mine:.4f}, the champion's {theirs:.4f}" in decision.reason
    assert "'good'" not in decision.reason
    assert decide(one, options.model_copy(update={"segment_drop": 0.6})).promote
    assert decide(one, options.model_copy(update={"segments": ()})).promote
    assert decide(replace(one, champion=None), options).promote


def test_small_segments_are_not_judged():
    options = Promotion(margin=-1, log_loss_rise=1, calibration_limit=1, segments=("trend",), segment_rows=1500)
    decision = decide(segmented(), options)
    assert decision.promote
    assert "1 judged" in gate(decision, "segments").sentence
    none = decide(segmented(), options.model_copy(update={"segment_rows": 5000}))
    assert none.promote
    assert "none is judged" in gate(none, "segments").sentence


def test_a_segment_of_one_outcome_is_not_judged():
    one = challenge()
    segments = {"trend": np.where(one.labels == 1, "left", "stayed")}
    decision = decide(replace(one, segments=segments), Promotion(segments=("trend",)))
    assert decision.promote
    assert gate(decision, "segments").figure is None


def test_an_unknown_segment_is_a_mistake():
    with pytest.raises(ChurnError, match=r"promotion\.segments names region, which .* choose from: trend, other"):
        decide(segmented(), Promotion(segments=("region",)))


def test_segment_figures():
    one = segmented()
    figures = segment_figures(one, Promotion())
    assert [(item.segment, item.category) for item in figures[:4]] == [
        ("trend", "fine"),
        ("trend", "bad"),
        ("trend", "good"),
        ("trend", "(missing)"),
    ]
    assert sum(item.rows for item in figures[:4]) == len(one.labels)
    assert sum(item.churned for item in figures[:4]) == one.labels.sum()
    inside = one.segments["trend"] == "good"
    assert figures[2].roc_auc == pytest.approx(roc_auc_score(one.labels[inside], one.challenger[inside]))
    assert [item.judged for item in figures[:4]] == [True, True, True, False]
    assert {item.champion_roc_auc for item in segment_figures(replace(one, champion=None), Promotion())} == {None}


# --- the decision -----------------------------------------------------------------------------------------------


def test_force_promotes_and_records_what_failed():
    one = challenge(1.5, 0.0, latency_ms=9999.0)
    refused, forced = decide(one, Promotion()), decide(one, Promotion(force=True))
    assert (refused.promote, refused.forced) == (False, False)
    assert refused.reason.startswith("Not promoted, 3 of 5 gates refused it: performance: ROC AUC ")
    assert (forced.promote, forced.forced) == (True, True)
    assert forced.reason.startswith("Promoted by force although 3 of 5 gates refused it: performance: ROC AUC ")
    assert forced.gates == refused.gates
    assert failed(forced) == ["performance", "calibration", "latency"]


def test_force_that_was_not_needed_is_no_force():
    decision = decide(challenge(), Promotion(force=True))
    assert (decision.promote, decision.forced) == (True, False)


def test_the_decision_as_json():
    decision = decide(challenge(), Promotion())
    written = decision.to_dict()
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert written["promote"] is True
    assert written["reason"] == decision.reason
    assert [item["name"] for item in written["gates"]] == list(GATES)
    assert set(written["gates"][0]) == {"name", "passed", "figure", "limit", "sentence", "checked"}
    assert not any(text.endswith(".") for text in (decision.reason, *(item.sentence for item in decision.gates)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"challenger": np.zeros(3)}, r"challenger has the shape \(3,\), the labels have \(2,\)"),
        ({"champion": np.zeros(3)}, "champion has the shape"),
        ({"value": np.zeros((2, 1))}, "value has the shape"),
        ({"segments": {"trend": np.array(["a"])}}, "trend has the shape"),
        ({"labels": np.array([0, 2])}, "the label 2 in row 2 is neither 0 nor 1"),
        ({"challenger": np.array([0.1, np.nan])}, "1 of 2 probabilities of the challenger are missing or not between"),
        ({"champion": np.array([0.1, 1.1])}, "1 of 2 probabilities of the champion"),
        ({"labels": np.zeros(0), "challenger": np.zeros(0)}, "test rows: there are none"),
    ],
)
def test_a_challenge_that_makes_no_sense_is_refused(given, message):
    with pytest.raises(ChurnError, match=message):
        Challenge(**({"labels": np.array([0, 1]), "challenger": np.array([0.1, 0.2])} | given))

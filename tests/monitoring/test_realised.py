"""What the health report says of scores whose outcomes have come."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from tests.monitoring.checked import check, outcomes_of, predict, scored


def test_realised_performance_is_that_of_scikit_learn():
    frame, scores = scored()
    churned = np.random.default_rng(3).random(len(scores)) < scores
    real = check(scores, frame, churned, reference_performance={"roc_auc": 0.7})["realised_performance"]
    assert real["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(churned, scores))
    assert real["average_precision"] == pytest.approx(sklearn_metrics.average_precision_score(churned, scores))
    assert real["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(churned, scores))
    assert real["precision"] == pytest.approx(sklearn_metrics.precision_score(churned, scores >= 0.5))
    assert real["recall"] == pytest.approx(sklearn_metrics.recall_score(churned, scores >= 0.5))
    assert real["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(churned, scores >= 0.5))
    assert real["churn_rate"] == pytest.approx(churned.mean())
    assert real["coverage"] == 1
    assert sum(point["count"] for point in real["calibration_curve"]) == len(scores)


def test_good_scores_stay_healthy_when_their_outcomes_come():
    frame, scores = scored()
    churned = np.random.default_rng(3).random(len(scores)) < scores
    assert check(scores, frame, churned)["status"] == "ok"


def test_the_estimate_meets_what_is_realised_where_the_scores_are_right():
    frame, scores = scored(30_000)
    churned = np.random.default_rng(3).random(len(scores)) < scores
    health = check(scores, frame, churned)
    for name in ("roc_auc", "churn_rate", "precision", "recall"):
        assert health["estimated_performance"][name] == pytest.approx(health["realised_performance"][name], abs=0.02)


@pytest.mark.parametrize(
    "known",
    [
        pd.array([True, False, None, True], dtype="boolean"),
        pd.array([1, 0, None, 1], dtype="Int64"),
        [1.0, 0.0, math.nan, 1.0],
        pd.Series([True, False, None, True], dtype="object"),
    ],
)
def test_outcomes_of_any_type_may_be_missing(known):
    health = check([0.9, 0.1, 0.2, 0.3], churned=known)
    real = health["realised_performance"]
    assert (real["outcomes"], real["coverage"], real["churned"]) == (3, 0.75, 2)
    assert (real["flagged"], real["flagged_churned"], real["precision"], real["recall"]) == (1, 1, 1.0, 0.5)
    assert any("Outcomes are known for 75.0% of the accounts" in note for note in health["notes"])


def test_outcomes_are_joined_on_the_id_in_any_order_and_strangers_are_left_out():
    predictions = predict([0.9, 0.1, 0.2, 0.3])
    known = outcomes_of(predictions, [1, 0, 0, 1])
    stranger = pd.DataFrame({"account_id": ["somebody"], "is_churned": [1]})
    mixed = pd.concat([stranger, known.iloc[::-1]], ignore_index=True)
    scores = predictions["probability"]
    assert check(scores, outcomes=mixed) == check(scores, outcomes=known)


def test_outcomes_of_other_accounts_only_say_nothing():
    health = check([0.9, 0.1], outcomes=pd.DataFrame({"account_id": ["x"], "is_churned": [1]}))
    assert health["realised_performance"]["coverage"] == 0
    assert health["realised_performance"]["roc_auc"] is None
    assert "No outcome of a scored account is known yet" in health["notes"]
    assert any("are they of others?" in sentence for sentence in health["to_watch"])


@pytest.mark.parametrize(("churned", "word"), [([1, 1, 1], "churned"), ([0, 0, 0], "stayed")])
def test_one_outcome_only_has_no_roc_auc_and_says_so(churned, word):
    health = check([0.9, 0.1, 0.2], churned=churned)
    real = health["realised_performance"]
    assert (real["roc_auc"], real["average_precision"]) == (None, None)
    assert real["brier"] is not None
    assert (
        f"All accounts with a known outcome {word}: ROC AUC and average precision need both outcomes" in health["notes"]
    )
    json.dumps(health, allow_nan=False)


def test_a_fallen_roc_auc_is_an_alarm():
    frame, scores = scored()
    churned = np.random.default_rng(3).random(len(scores)) < scores.mean()
    health = check(scores, frame, churned)
    real = health["realised_performance"]
    assert real["roc_auc_status"] == "alarm"
    assert f"ROC AUC is {real['roc_auc']:.3f}, 0.750 at training (limit: a fall of 0.05)" in health["alarms"]


def test_probabilities_that_are_off_are_an_alarm():
    frame, scores = scored()
    churned = np.random.default_rng(3).random(len(scores)) < np.minimum(1, scores + 0.1)
    health = check(scores, frame, churned, reference_performance={})
    error = health["realised_performance"]["calibration_error"]
    assert health["realised_performance"]["calibration_status"] == "alarm"
    assert health["alarms"] == [f"Scores are off by {100 * error:.1f} percentage points on average (limit 5)"]


def test_what_so_few_outcomes_give_by_chance_is_a_note():
    frame, scores = scored(60)
    churned = np.random.default_rng(5).random(60) < scores
    health = check(scores, frame, churned, reference_performance={"roc_auc": 0.8})
    assert health["status"] == "ok"
    real = health["realised_performance"]
    assert 0.05 <= real["calibration_error"] <= real["calibration_error_chance"]
    assert [note for note in health["notes"] if "60 outcomes" in note]


def test_the_standard_error_of_the_roc_auc_is_that_of_repeated_samples():
    rng = np.random.default_rng(6)
    areas, errors = [], []
    for _ in range(60):
        scores = rng.beta(1, 4, 400)
        real = check(scores, churned=rng.random(400) < scores)["realised_performance"]
        areas.append(real["roc_auc"])
        errors.append(real["roc_auc_standard_error"])
    assert np.mean(errors) == pytest.approx(np.std(areas), rel=0.25)


def test_calibrated_scores_seldom_exceed_the_calibration_error_of_chance():
    rng = np.random.default_rng(6)
    beyond = 0
    for _ in range(60):
        scores = rng.beta(1, 4, 200)
        real = check(scores, churned=rng.random(200) < scores)["realised_performance"]
        beyond += real["calibration_error"] > real["calibration_error_chance"]
    assert beyond <= 1


def test_rounded_probabilities_do_not_change_who_was_flagged():
    predictions = predict([0.4999, 0.1, 0.9])
    predictions["probability"] = predictions["probability"].round(2)
    health = check([0.5, 0.1, 0.9], predictions=predictions, churned=[0, 0, 1])
    assert health["prediction_counts"]["1"] == 1
    assert (health["realised_performance"]["flagged"], health["realised_performance"]["precision"]) == (1, 1.0)

"""The figures, sentences and verdicts of the health report."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from churn.config import AccountSchema, Monitoring
from churn.errors import ChurnError
from churn.model import Profile
from churn.model.profile import count_profile, fit_profile, fit_score_profile
from churn.monitoring import health_metrics, scored_accounts
from churn.monitoring.health import flat_metrics
from churn.tables import FrameTable
from tests.conftest import InMemory

BANDS = ("low", "medium", "high")
AT_TRAINING = {"roc_auc": 0.75, "calibration_error": 0.01}


def accounts(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "active_users_count": rng.integers(1, 151, rows),
            "payments_ratio": pd.Series(rng.normal(0, 1, rows)).mask(rng.random(rows) < 0.05),
            "operating_country": pd.Series(rng.choice(["ca", "us", "uk"], rows), dtype="str"),
        }
    )
    return frame, rng.beta(1, 4, rows)


def predict(probability: Any, model_version: str = "3") -> pd.DataFrame:
    scores = np.asarray(probability, dtype=np.float64)
    return pd.DataFrame(
        {
            "account_id": pd.Series([f"account-{number}" for number in range(len(scores))], dtype="str"),
            "probability": scores,
            "prediction": (scores >= 0.5).astype(int),
            "risk_band": pd.Series(np.select([scores >= 0.5, scores >= 0.2], ["high", "medium"], "low"), dtype="str"),
            "model_version": model_version,
        }
    )


def outcomes_of(predictions: pd.DataFrame, churned: Any) -> pd.DataFrame:
    return pd.DataFrame({"account_id": predictions["account_id"], "is_churned": churned})


TRAINING, HELD_OUT = accounts(5000, seed=1)
REFERENCE = fit_profile(TRAINING, ["active_users_count", "payments_ratio"], ["operating_country"]).with_score(
    fit_score_profile(HELD_OUT)
)


def roles_of(outcomes: pd.DataFrame | None) -> AccountSchema:
    """Labels are True and False, or 1 and 0."""
    values = [] if outcomes is None else outcomes["is_churned"].dropna().tolist()
    label = {"column": "is_churned", "positive": "True" if any(value is True for value in values) else "1"}
    return AccountSchema.model_validate({"id": "account_id", "label": label, "categorical": ["operating_country"]})


def check(
    probability: Any,
    frame: pd.DataFrame | None = None,
    churned: Any = None,
    reference: Profile = REFERENCE,
    **options: Any,
) -> dict[str, Any]:
    """The health of scores, by default of accounts like those at training."""
    scores = np.asarray(probability, dtype=np.float64)
    predictions = options.pop("predictions", None)
    predictions = predict(scores) if predictions is None else predictions
    table = accounts(len(scores), seed=2)[0] if frame is None else frame
    outcomes = options.pop("outcomes", None if churned is None else outcomes_of(predictions, churned))
    bands = options.pop("bands", BANDS)
    given: dict[str, Any] = {
        "bands": bands,
        "reference": reference,
        "analysis": count_profile(reference, table, scores),
        "reference_performance": AT_TRAINING,
        "importance": {"payments_ratio": 0.1, "active_users_count": 0.3},
        "threshold": 0.5,
        "limits": Monitoring(),
        "provenance": {"run_id": "r-1", "model_version": "3"},
    }
    rows = scored_accounts(
        FrameTable(predictions), None if outcomes is None else InMemory(outcomes), roles_of(outcomes), bands
    )
    return health_metrics(rows, **(given | options))


def scored(rows: int = 3000, seed: int = 2) -> tuple[pd.DataFrame, np.ndarray]:
    return accounts(rows, seed)


# --- the scores


def test_counts_and_distribution_by_hand():
    health = check([0.1, 0.3, 0.5, 0.9])
    assert (health["total_samples"], health["unique_accounts"]) == (4, 4)
    assert (health["positive_rate"], health["prediction_counts"]) == (0.5, {"0": 2, "1": 2})
    assert health["probability"] == pytest.approx(
        {"mean": 0.45, "std": math.sqrt(0.0875), "minimum": 0.1, "q25": 0.25, "median": 0.4, "q75": 0.6, "maximum": 0.9}
    )
    assert health["estimated_performance"]["churn_rate"] == pytest.approx(0.45)
    assert health["estimated_performance"]["churners"] == pytest.approx(1.8)
    assert health["estimated_performance"]["precision"] == pytest.approx(0.7)
    assert health["estimated_performance"]["recall"] == pytest.approx(1.4 / 1.8)


def test_bands_by_hand():
    health = check([0.1, 0.3, 0.4, 0.6], churned=[False, True, False, True])
    low, medium, high = health["bands"]
    assert [band["name"] for band in health["bands"]] == ["low", "medium", "high"]
    assert (low["count"], medium["count"], high["count"]) == (1, 2, 1)
    assert (low["share"], medium["share"], high["share"]) == (0.25, 0.5, 0.25)
    assert (medium["lowest_probability"], medium["highest_probability"]) == (0.3, 0.4)
    assert medium["expected_churners"] == pytest.approx(0.7)
    assert (low["churn_rate"], medium["churn_rate"], high["churn_rate"]) == (0.0, 0.5, 1.0)


def test_an_empty_band_has_no_rates():
    high = check([0.1, 0.3])["bands"][2]
    assert (high["count"], high["share"], high["lowest_probability"], high["expected_churn_rate"]) == (0, 0, None, None)


def test_the_histogram_holds_every_account_once():
    health = check([0.0, 0.049, 0.05, 0.22, 0.999, 1.0])
    histogram = health["histogram"]
    assert histogram["counts"][:2] == [2, 1]
    assert histogram["counts"][4] == 1
    assert histogram["counts"][-1] == 2
    assert sum(histogram["counts"]) == 6
    assert np.sum(histogram["by_band"], axis=0).tolist() == histogram["counts"]
    assert (histogram["edges"][0], histogram["edges"][-1], len(histogram["edges"])) == (0, 1, 21)


def test_importance_is_ranked_and_adds_up():
    importance = check([0.1])["importance"]
    assert [item["column"] for item in importance] == ["active_users_count", "payments_ratio"]
    assert [item["share"] for item in importance] == pytest.approx([0.75, 0.25])


def test_repeated_accounts_and_mixed_models_are_to_be_watched():
    predictions = predict([0.1, 0.2, 0.3])
    predictions["account_id"] = ["a", "a", "b"]
    predictions["model_version"] = ["3", "4", "4"]
    health = check([0.1, 0.2, 0.3], predictions=predictions)
    assert health["status"] == "watch"
    assert health["unique_accounts"] == 2
    assert health["to_watch"] == [
        "1 of 3 scores are repeats of an account",
        "The scores come from 2 versions of the model: 3, 4",
    ]


def test_a_table_without_accounts_is_an_alarm_and_not_a_crash():
    health = check([], churned=[])
    assert (health["status"], health["alarms"]) == ("alarm", ["No accounts were scored"])
    assert health["probability"]["mean"] is None
    assert health["drift"][0]["psi"] is None
    json.dumps(health, allow_nan=False)


def test_scores_as_the_model_gives_them_count_like_plain_ones():
    scores = np.array([0.1, 0.3, 0.6, 0.9], dtype=np.float32)
    plain = predict(scores)
    typed = plain.astype({"probability": "float32", "prediction": "int8"})
    typed["risk_band"] = pd.Categorical(plain["risk_band"], categories=BANDS, ordered=True)
    assert check(scores, predictions=typed) == check(scores, predictions=plain)


# --- what has moved


def test_accounts_like_those_at_training_are_healthy():
    frame, scores = scored()
    health = check(scores, frame)
    assert (health["status"], health["alarms"], health["to_watch"], health["notes"]) == ("ok", [], [], [])
    assert [entry["column"] for entry in health["drift"]] == [
        "active_users_count",
        "payments_ratio",
        "operating_country",
    ]
    assert {entry["status"] for entry in health["drift"]} == {"ok"}
    assert health["score_drift"]["status"] == "ok"
    assert health["realised_performance"] is None


def test_a_column_that_moved_is_an_alarm_with_its_figure_and_limit():
    frame, scores = scored()
    health = check(scores, frame.assign(active_users_count=frame["active_users_count"] // 2))
    entry = health["drift"][0]
    assert (health["status"], entry["status"]) == ("alarm", "alarm")
    assert health["alarms"] == [f"Active users: the distribution moved (PSI {entry['psi']:.2f}, limit 0.25)"]


def test_a_column_between_the_limits_is_to_be_watched():
    frame, scores = scored()
    moved = frame.assign(payments_ratio=frame["payments_ratio"] + 0.4)
    health = check(scores, moved)
    psi = health["drift"][1]["psi"]
    assert 0.1 <= psi < 0.25
    assert health["status"] == "watch"
    assert health["to_watch"] == [f"Payments ratio: the distribution is moving (PSI {psi:.2f}, watched from 0.04)"]
    assert check(scores, moved, limits=Monitoring(psi_watch=psi + 0.01, psi_alarm=1.0))["status"] == "ok"
    assert check(scores, moved, limits=Monitoring(psi_watch=0.01, psi_alarm=psi))["status"] == "alarm"


def test_scores_that_moved_are_an_alarm():
    frame, scores = scored()
    health = check(np.sqrt(scores), frame)
    assert health["score_drift"]["status"] == "alarm"
    assert health["alarms"] == [f"Scores: the distribution moved (PSI {health['score_drift']['psi']:.2f}, limit 0.25)"]


def test_a_rise_of_missing_values_is_an_alarm():
    frame, scores = scored()
    emptied = frame.assign(payments_ratio=frame["payments_ratio"].where(np.arange(len(frame)) % 10 != 0))
    entry = check(scores, emptied)["drift"][1]
    now, then = entry["missing_analysis"], entry["missing_reference"]
    sentence = (
        f"Payments ratio: {100 * now:.1f}% of the accounts have no value, {100 * then:.1f}% at training "
        "(limit: a rise of 5 percentage points)"
    )
    assert check(scores, emptied)["alarms"] == [sentence]
    assert check(scores, emptied, limits=Monitoring(missing_rise=0.2))["alarms"] == []


def test_a_fall_of_missing_values_is_none_even_at_a_limit_of_zero():
    frame, scores = scored()
    fresh = pd.Series(np.random.default_rng(7).normal(size=len(frame)))
    filled = frame.assign(payments_ratio=frame["payments_ratio"].fillna(fresh))
    assert check(scores, filled, limits=Monitoring(missing_rise=0, unseen_share=0))["alarms"] == []


def test_unseen_categories_are_an_alarm_from_the_limit_on():
    frame, scores = scored(1000)
    country = frame["operating_country"].to_numpy(dtype=object).copy()
    country[:9] = "br"
    assert check(scores, frame.assign(operating_country=country))["alarms"] == []
    country[9] = "mx"
    health = check(scores, frame.assign(operating_country=country))
    assert health["alarms"] == [
        "Operating country: 1.0% of the accounts have a category never seen at training (limit 1%)"
    ]
    assert health["drift"][2]["unseen_share"] == 0.01


def test_numbers_out_of_range_are_told_but_are_no_unseen_categories():
    frame, scores = scored(1000)
    users = frame["active_users_count"].to_numpy().copy()
    users[:20] = 999
    health = check(scores, frame.assign(active_users_count=users))
    assert health["drift"][0]["unseen_share"] == 0.02
    assert health["alarms"] == []


def test_few_accounts_raise_no_alarm_by_chance():
    frame, scores = scored(30, seed=5)
    health = check(scores, frame)
    passed = sum(entry["psi"] >= 0.1 for entry in [*health["drift"], health["score_drift"]])
    assert passed > 0
    assert health["status"] == "ok"
    sentence = (
        f"With 30 accounts, {passed} of the distributions passed a limit by no more than chance alone explains; "
        "that raises no alarm"
    )
    assert health["notes"] == [sentence]


def test_a_reference_without_scores_has_no_score_drift():
    frame, scores = scored(500)
    bare = REFERENCE.with_score(None)
    health = check(scores, frame, analysis=count_profile(bare, frame), reference=REFERENCE)
    assert health["score_drift"] is None
    json.dumps(health, allow_nan=False)
    assert "score_psi" not in flat_metrics(health)


# --- outcomes


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


# --- JSON and flat figures


def test_the_report_is_strict_json_and_the_order_of_the_rows_does_not_matter():
    frame, scores = scored(400)
    churned = np.random.default_rng(3).random(400) < scores
    provenance = {"as_of": pd.Timestamp("2026-11-01").date(), "share": math.nan, "rows": np.int64(3), "input": None}
    health = check(scores, frame, churned, provenance=provenance)
    text = json.dumps(health, allow_nan=False)
    assert json.loads(text) == health
    assert health["provenance"] == {"as_of": "2026-11-01", "share": None, "rows": 3, "input": None}
    again = check(scores, frame, churned, provenance=provenance)
    assert json.dumps(again) == text
    shuffled = np.random.default_rng(4).permutation(400)
    other = check(
        scores[shuffled],
        frame.iloc[shuffled],
        predictions=predict(scores).iloc[shuffled],
        outcomes=outcomes_of(predict(scores), churned),
        provenance=provenance,
    )
    assert flat_metrics(other) == pytest.approx(flat_metrics(health))
    assert other["alarms"] == health["alarms"]


def test_inputs_are_not_changed():
    predictions, outcomes = predict([0.1, 0.9]), pd.DataFrame({"account_id": ["account-1"], "is_churned": [True]})
    before = predictions.copy(), outcomes.copy()
    check([0.1, 0.9], predictions=predictions, outcomes=outcomes)
    pd.testing.assert_frame_equal(predictions, before[0])
    pd.testing.assert_frame_equal(outcomes, before[1])


def test_flat_figures_are_those_of_the_report():
    frame, scores = scored(400)
    churned = np.random.default_rng(3).random(400) < scores
    health = check(scores, frame, churned)
    flat = flat_metrics(health)
    assert flat["total_samples"] == 400
    assert flat["probability/median"] == health["probability"]["median"]
    assert flat["realised/roc_auc"] == health["realised_performance"]["roc_auc"]
    assert flat["estimated/roc_auc"] == health["estimated_performance"]["roc_auc"]
    assert flat["band_share/high"] == health["bands"][2]["share"]
    assert flat["psi/active_users_count"] == health["drift"][0]["psi"]
    assert flat["score_psi"] == health["score_drift"]["psi"]
    assert flat["status"] == {"ok": 0, "watch": 1, "alarm": 2}[health["status"]]
    assert all(isinstance(value, float) and math.isfinite(value) for value in flat.values())


def test_names_of_flat_figures_are_valid_for_mlflow_whatever_the_columns_are_called():
    from mlflow.utils.validation import _validate_metric_name

    names = ["prix (€)", "prix [€]", "..", "a/b", "score", "x" * 400, "日本"]
    frame = pd.DataFrame({name: [1.0, 2.0] for name in names})
    reference = fit_profile(frame, names, []).with_score(fit_score_profile([0.1, 0.9]))
    health = check([0.1, 0.9], frame, reference=reference)
    flat = flat_metrics(health)
    for name in flat:
        _validate_metric_name(name)
        assert len(name) <= 250
        assert name.replace("/", "").replace("-", "").replace(".", "").replace(" ", "").replace("_", "").isascii()
    assert sum(name.startswith("psi/") for name in flat) == len(names)
    assert {"psi/prix ___", "psi/prix ____2", "psi/score", "score_psi"} <= set(flat)


# --- faults


def test_impossible_probabilities_are_refused():
    predictions = predict([0.1, 0.2, 0.3])
    predictions["probability"] = [math.nan, 1.2, 0.3]
    with pytest.raises(ChurnError, match=r"2 of 3 probabilities are missing or not between 0 and 1"):
        check([0.1, 0.2, 0.3], predictions=predictions)


def test_unknown_bands_are_refused():
    with pytest.raises(ChurnError, match=r"risk_band has 'high', but the model's bands are low, medium"):
        check([0.1, 0.9], bands=("low", "medium"))

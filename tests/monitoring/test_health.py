"""The figures, sentences and verdicts of the health report."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from churn.config import Monitoring
from churn.errors import ChurnError
from churn.model.profile import count_profile, fit_profile, fit_score_profile
from churn.monitoring.health import flat_metrics
from tests.monitoring.checked import BANDS, REFERENCE, check, outcomes_of, predict, scored

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

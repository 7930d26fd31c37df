import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve as sklearn_curve

from churn.metrics import calibration, classification, ranking
from tests.conftest import rng

LABELS = np.array([0, 0, 1, 1])
SCORES = np.array([0.1, 0.6, 0.4, 0.8])


def test_values_by_hand() -> None:
    measured = classification.classification_metrics(LABELS, SCORES, 0.5)
    assert measured["roc_auc"] == 0.75
    assert measured["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert measured["accuracy"] == 0.5
    assert measured["precision"] == 0.5
    assert measured["recall"] == 0.5
    assert measured["f1"] == 0.5
    assert measured["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.04) / 4)
    assert measured["log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.4, 0.4, 0.8])))
    assert measured["lift_at_10"] == 2.0


def test_roc_auc_comes_from_probabilities_not_from_predictions() -> None:
    ranked = np.array([0.1, 0.2, 0.3, 0.4])
    assert classification.classification_metrics(LABELS, ranked, 0.5)["roc_auc"] == 1.0


def test_nothing_flagged_gives_zero_without_a_warning() -> None:
    measured = classification.classification_metrics(LABELS, SCORES / 10, 0.5)
    assert (measured["precision"], measured["recall"], measured["f1"]) == (0.0, 0.0, 0.0)


def test_lift() -> None:
    labels = np.r_[np.ones(10), np.zeros(90)]
    assert ranking.lift(labels, np.linspace(1, 0, 100), 0.1) == 10.0
    assert ranking.lift(labels, np.linspace(0, 1, 100), 0.1) == 0.0
    assert ranking.lift(labels, np.zeros(100), 0.1) == pytest.approx(1.0)
    assert ranking.lift(labels, np.linspace(1, 0, 100), 1.0) == 1.0


def test_the_order_of_tied_rows_does_not_matter() -> None:
    random = rng()
    scores = random.integers(0, 5, 500) / 5
    labels = random.random(500) < scores
    order = random.permutation(500)
    for measure in (ranking.lift, calibration.calibration_error):
        extra = (0.1,) if measure is ranking.lift else ()
        assert measure(labels, scores, *extra) == pytest.approx(
            measure(labels[order], scores[order], *extra), abs=1e-12
        )


@pytest.mark.parametrize("digits", [1, 3, 17])
@pytest.mark.parametrize("rows_a_piece", [7, ranking.PIECE_ROWS])
def test_measures_agree_with_scikit_learn_whatever_is_looked_at_in_one_piece(
    monkeypatch: pytest.MonkeyPatch, rows_a_piece: int, digits: int
) -> None:
    monkeypatch.setattr("churn.metrics.ranking.PIECE_ROWS", rows_a_piece)
    random = rng(digits)
    scores = random.beta(1, 4, 2_000).round(digits)
    scores[:2] = 0.0, 1.0
    labels = random.random(2_000) < scores
    measured = classification.classification_metrics(labels, scores, 0.3)
    for name, measure in {
        "roc_auc": sklearn_metrics.roc_auc_score,
        "average_precision": sklearn_metrics.average_precision_score,
        "brier": sklearn_metrics.brier_score_loss,
        "log_loss": sklearn_metrics.log_loss,
    }.items():
        assert measured[name] == pytest.approx(measure(labels, scores), rel=1e-14), name


def test_pieces_change_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = rng(4).beta(1, 4, 3_000).round(3)
    labels = rng(5).random(3_000) < scores
    whole = calibration.calibration_curve(labels, scores), ranking.estimated_roc_auc(scores)
    monkeypatch.setattr("churn.metrics.ranking.PIECE_ROWS", 10)
    for found, expected in zip(calibration.calibration_curve(labels, scores), whole[0], strict=True):
        np.testing.assert_array_equal(found, expected)
    assert ranking.estimated_roc_auc(scores) == pytest.approx(whole[1], rel=1e-13)  # other sums, rounded otherwise


def test_one_outcome_only_cannot_be_ranked() -> None:
    for labels in ([], [0, 0], [1, 1]):
        assert np.isnan(ranking.Ranking.of(labels, np.linspace(0, 1, len(labels))).roc_auc())
    assert np.isnan(ranking.Ranking.of([0], [0.5]).average_precision())


def test_calibration_curve_agrees_with_scikit_learn() -> None:
    random = rng(1)
    scores = random.random(10_000)
    labels = random.random(10_000) < scores**2
    observed, predicted = sklearn_curve(labels, scores, n_bins=10, strategy="quantile")
    curve = calibration.calibration_curve(labels, scores)
    np.testing.assert_allclose(curve.observed, observed, atol=0.003)
    np.testing.assert_allclose(curve.predicted, predicted, atol=0.003)
    assert curve.rows.tolist() == [1000] * 10
    assert calibration.calibration_error(labels, scores) == pytest.approx(
        np.abs(observed - predicted).mean(), abs=0.002
    )


def test_calibration_error_of_right_and_wrong_probabilities() -> None:
    random = rng(2)
    scores = random.random(100_000)
    labels = random.random(100_000) < scores
    assert calibration.calibration_error(labels, scores) < 0.01
    assert calibration.calibration_error(labels, scores / 2) == pytest.approx(0.25, abs=0.01)
    assert calibration.calibration_error([0, 1], [0.5, 0.5]) == 0.0


def test_estimated_roc_auc_meets_the_realised_one() -> None:
    random = rng(3)
    scores = random.beta(1, 5, 200_000).round(3)
    labels = random.random(200_000) < scores
    realised = classification.classification_metrics(labels, scores, 0.5)["roc_auc"]
    assert ranking.estimated_roc_auc(scores) == pytest.approx(realised, abs=0.005)
    assert ranking.estimated_roc_auc([0.3, 0.3]) == pytest.approx(0.5)
    assert np.isnan(ranking.estimated_roc_auc([0.0, 0.0]))
    assert np.isnan(ranking.estimated_roc_auc([1.0, 1.0, 1.0]))
    assert np.isnan(ranking.estimated_roc_auc([0.3]))
    assert np.isnan(ranking.estimated_roc_auc([]))
    # Of two rows either one churned and the other stayed, or the pair does not count: .8 * .9 against .1 * .2.
    assert ranking.estimated_roc_auc([0.8, 0.1]) == pytest.approx(0.72 / 0.74)


@pytest.mark.parametrize("rows", [2, 3, 17, 60])
@pytest.mark.parametrize("digits", [0, 1, 12])
def test_estimated_roc_auc_is_the_sum_over_pairs_of_different_rows(rows: int, digits: int) -> None:
    for seed in range(20):
        scores = np.round(rng(seed).beta(1, 2, rows), digits)
        won = total = 0.0
        for one, p in enumerate(scores):
            for other, q in enumerate(scores):
                if one != other:
                    total += p * (1 - q)
                    won += p * (1 - q) * (1.0 if p > q else 0.5 if p == q else 0.0)
        found = ranking.estimated_roc_auc(scores)
        assert np.isnan(found) if total == 0 else found == pytest.approx(won / total, abs=1e-12)


@pytest.mark.parametrize("digits", [1, 2, 8])
def test_the_roc_auc_of_resampled_rows_is_that_of_scikit_learn(digits: int) -> None:
    random = rng(5)
    scores = random.beta(1, 3, 400).round(digits)
    labels = (random.random(400) < scores).astype(np.int8)
    weights = random.multinomial(400, np.full(400, 1 / 400), size=20).astype(np.float64)
    whole = sklearn_metrics.roc_auc_score(labels, scores)
    assert ranking.Ranking.of(labels, scores).roc_auc() == pytest.approx(whole, abs=1e-12)
    expected = [sklearn_metrics.roc_auc_score(labels, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(ranking.weighted_roc_auc(labels, scores)(weights), expected, atol=1e-12)


def test_the_roc_auc_by_hand() -> None:
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.8])
    assert ranking.Ranking.of(labels, scores).roc_auc() == 0.75
    assert ranking.Ranking.of([0, 1], [0.5, 0.5]).roc_auc() == 0.5
    # The one that stayed with 0.6 counts twice: 0.4 is above 1 of 3, and 0.8 above 3 of 3.
    assert ranking.weighted_roc_auc(labels, scores)(np.array([[1.0, 2.0, 1.0, 1.0]]))[0] == pytest.approx(4 / 6)
    assert np.isnan(ranking.Ranking.of([1, 1], [0.1, 0.2]).roc_auc())
    assert np.isnan(ranking.Ranking.of([], []).roc_auc())


def test_the_standard_error_of_the_roc_auc_is_that_of_the_placements(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4)
    labels = random.random(400) < 0.3
    scores = np.round(random.normal(labels.astype(float)), 1)
    one, other = scores[labels][:, None], scores[~labels][None, :]
    won = (one > other) + (one == other) / 2
    expected = math.sqrt(won.mean(axis=1).var(ddof=1) / labels.sum() + won.mean(axis=0).var(ddof=1) / (~labels).sum())
    assert ranking.Ranking.of(labels, scores).roc_auc_standard_error() == pytest.approx(expected)
    monkeypatch.setattr("churn.metrics.ranking.PIECE_ROWS", 7)
    assert ranking.Ranking.of(labels, scores).roc_auc_standard_error() == pytest.approx(expected)
    assert math.isnan(ranking.Ranking.of([1, 0, 0], [0.1, 0.2, 0.3]).roc_auc_standard_error())


def test_the_difference_of_two_areas_has_the_spread_of_repeated_samples() -> None:
    random = np.random.default_rng(5)
    found = []
    for _ in range(200):
        labels = random.random(300) < 0.3
        signal = random.normal(labels.astype(float))
        found.append(
            ranking.roc_auc_difference(labels, signal + random.normal(size=300) / 2, signal + random.normal(size=300))
        )
    values, errors = np.array(found).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.15)
    same = ranking.roc_auc_difference(labels, signal, signal)
    assert same == (0.0, 0.0)

import numpy as np
import pandas as pd
import pytest

from churn.config import Evaluation
from churn.metrics import Interval, bootstrap_intervals, classification_metrics
from churn.metrics.bootstrap import bootstrap_weights, weighted_metrics
from churn.training.evaluation import BASELINES, baseline_probabilities, cross_validate, folds
from tests.conftest import rng

LINEAR = ("roc_auc", "average_precision", "accuracy", "precision", "recall", "brier", "log_loss", "lift_at_10")


def rows(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = rng(seed)
    scores = random.beta(1, 4, count).round(2)
    return (random.random(count) < scores).astype(float), scores


@pytest.mark.parametrize("count", [50, 1000])
def test_equal_weights_give_the_plain_measures(count: int) -> None:
    truth, scores = rows(count)
    weighted = weighted_metrics(truth, scores, 0.3, np.ones((1, count)))
    plain = classification_metrics(truth, scores, 0.3)
    for name in LINEAR:
        assert weighted[name][0] == pytest.approx(plain[name], abs=1e-9), name


def test_weights_are_repetitions() -> None:
    truth, scores = rows(300, 1)
    times = rng(2).integers(0, 4, 300)
    weighted = weighted_metrics(truth, scores, 0.3, times[None, :].astype(float))
    plain = classification_metrics(np.repeat(truth, times), np.repeat(scores, times), 0.3)
    for name in LINEAR:
        tolerance = 0.05 if name == "lift_at_10" else 1e-9  # a tenth of the rows is rounded to whole rows there
        assert weighted[name][0] == pytest.approx(plain[name], abs=tolerance), name


def test_bootstrap_weights_are_drawn_with_replacement_and_seeded() -> None:
    drawn = np.concatenate(list(bootstrap_weights(100, 50, 3)))
    assert drawn.shape == (50, 100)
    assert (drawn.sum(axis=1) == 100).all()
    assert drawn.std() == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(drawn, np.concatenate(list(bootstrap_weights(100, 50, 3))))


def test_blocks_do_not_change_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(bootstrap_weights(100, 20, 3)))
    monkeypatch.setattr("churn.metrics.bootstrap.BLOCK", 300)
    blocks = list(bootstrap_weights(100, 20, 3))
    assert len(blocks) == 7
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_intervals_hold_the_value_and_cover_the_truth() -> None:
    population = rows(400_000, 9)
    truth_value = classification_metrics(*population, 0.3)["roc_auc"]
    covered = 0
    for seed in range(20):
        at = rng(seed).integers(0, 400_000, 1000)
        labels, scores = population[0][at], population[1][at]
        interval = bootstrap_intervals(labels, scores, 0.3, Evaluation(bootstrap_samples=300))["roc_auc"]
        assert interval.low < interval.value < interval.high
        covered += interval.low <= truth_value <= interval.high
    assert covered >= 16


def test_more_rows_make_narrower_intervals() -> None:
    def width(count: int) -> float:
        interval = bootstrap_intervals(*rows(count), 0.3, Evaluation())["roc_auc"]
        return interval.high - interval.low

    assert width(10_000) < 0.5 * width(500)


def test_without_samples_there_are_no_intervals() -> None:
    assert bootstrap_intervals(*rows(100), 0.3, Evaluation(bootstrap_samples=0)) == {}


def test_folds_are_repeated_stratified_and_seeded() -> None:
    truth, _ = rows(500)
    found = folds(truth, Evaluation(folds=5, repeats=2))
    assert len(found) == 10
    for repeat in (found[:5], found[5:]):
        assert sorted(np.concatenate([fold.test for fold in repeat]).tolist()) == list(range(500))
    for fold in found:
        assert not set(fold.train) & set(fold.test)
        assert truth[fold.test].mean() == pytest.approx(truth.mean(), abs=0.01)
    again = folds(truth, Evaluation(folds=5, repeats=2))
    assert all((one.test == two.test).all() for one, two in zip(found, again, strict=True))


def test_everything_is_fitted_in_each_fold() -> None:
    truth, scores = rows(400)
    accounts = pd.DataFrame({"score": scores, "row": range(400)})
    seen: list[set[int]] = []

    def fit(part: pd.DataFrame):
        seen.append(set(part["row"]))

        def predict(rest: pd.DataFrame) -> np.ndarray:
            assert not set(rest["row"]) & seen[-1]
            return rest["score"].to_numpy()

        return predict

    measured = cross_validate(accounts, truth, fit, 0.3, Evaluation(folds=4, repeats=2))
    assert len(seen) == 8
    interval = measured["roc_auc"]
    assert isinstance(interval, Interval)
    assert interval.low < interval.value < interval.high
    assert interval.value == pytest.approx(classification_metrics(truth, scores, 0.3)["roc_auc"], abs=0.03)


def test_baselines_learn_and_are_seeded() -> None:
    random = rng(5)
    features = random.normal(size=(2000, 4)).astype(np.float32)
    labels = (random.random(2000) < 1 / (1 + np.exp(-2 * features[:, 0]))).astype(int)
    first = baseline_probabilities(features[:1500], labels[:1500], features[1500:], 1)
    second = baseline_probabilities(features[:1500], labels[:1500], features[1500:], 1)
    assert tuple(first) == BASELINES
    for name in BASELINES:
        np.testing.assert_array_equal(first[name], second[name])
        assert classification_metrics(labels[1500:], first[name], 0.5)["roc_auc"] > 0.8

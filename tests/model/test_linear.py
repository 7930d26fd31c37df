import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from churn.model.linear import Linear
from churn.training.linear import fit_linear, learn_weight
from churn.training.rows import TrainingRows
from tests.conftest import rng

LINE = Linear(
    intercept=-1.0, weights=(2.0, 0.0, -0.5), low=(-1.0, 0.0, 0.0), high=(1.0, 1.0, 4.0), means=(0.5, 0.5, 2.0)
)
ROWS = np.array([[0.5, 1, 3], [9, 0, -7], [-9, 1, 9]], dtype=np.float32)


def log_odds(margin: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-margin))


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = rng(5)
    features = random.normal(size=(2_000, 4)).astype(np.float32) * np.float32([1, 100, 0.01, 0]) + np.float32(
        [0, 5, 0, 3]
    )
    truth = log_odds(1.5 * features[:, 0] - 0.01 * features[:, 1] - 1)
    return features, (random.random(2_000) < truth).astype(np.int8), (np.arange(2_000) % 5).astype(np.int8)


def test_the_margin_is_a_sum_over_features_that_are_held_within_their_range() -> None:
    np.testing.assert_allclose(LINE.margin(ROWS), [-1 + 1 - 1.5, -1 + 2 - 0, -1 - 2 - 2])


def test_contributions_and_baseline_add_up_to_the_margin() -> None:
    parts = LINE.contributions(ROWS)
    assert parts.shape == (3, 3)
    np.testing.assert_allclose(parts.sum(axis=1) + LINE.baseline, LINE.margin(ROWS))
    np.testing.assert_allclose(parts[0], [0, 0, -0.5])


def test_a_row_has_the_same_margin_in_any_company(rows: tuple[np.ndarray, ...]) -> None:
    features = np.tile(rows[0], (10, 1))
    line = fit_linear(TrainingRows(*rows)).linear
    together = line.margin(features)
    for size in (1, 7, 8_192):
        apart = np.concatenate([line.margin(features[at : at + size]) for at in range(0, 3 * size, size)])
        np.testing.assert_array_equal(apart, together[: len(apart)])


def test_it_is_the_mean_of_logistic_regressions_on_standardised_features(rows: tuple[np.ndarray, ...]) -> None:
    features, labels, folds = rows
    spread = features.std(axis=0, dtype=float)
    spread[spread == 0] = 1
    means = features.mean(axis=0, dtype=float)
    reach = np.clip((features - means) / spread, -5, 5)
    margins = []
    for fold in range(5):
        fitted = LogisticRegression(C=0.1).fit(reach[folds != fold], labels[folds != fold])
        margins.append(fitted.decision_function(reach))
    found = fit_linear(TrainingRows(features, labels, folds))
    np.testing.assert_allclose(found.linear.margin(features), np.mean(margins, axis=0), atol=2e-3)
    unseen = np.stack(margins)[folds, np.arange(len(labels))]
    np.testing.assert_allclose(found.margin, unseen, atol=2e-3)
    assert found.linear.weights[3] == 0  # a feature that never changes


def test_large_tables_are_thinned_out(rows: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_linear(TrainingRows(*rows))
    monkeypatch.setattr("churn.training.linear.FIT_CELLS", 4_000)
    thin = fit_linear(TrainingRows(*rows))
    assert thin.linear != whole.linear
    assert len(thin.margin) == len(rows[1])
    assert np.corrcoef(thin.margin, whole.margin)[0, 1] > 0.98


def test_weighted_beside_trees_that_start_from_a_base() -> None:
    part = LINE.weighted(0.25, base=-2.0)
    np.testing.assert_allclose(part.margin(ROWS), 0.25 * (LINE.margin(ROWS) + 2.0))


def test_the_better_part_counts_more_and_none_counts_against() -> None:
    random = rng(6)
    truth = random.normal(size=5_000)
    labels = (random.random(5_000) < log_odds(truth)).astype(np.int8)
    noise = random.normal(size=5_000)
    assert learn_weight(truth + noise, truth, labels) > 0.9
    assert learn_weight(truth, -truth, labels) == 0.0
    assert learn_weight(-truth, truth, labels) == 1.0
    assert learn_weight(-truth, -truth, labels) == 0.0
    assert 0.3 < learn_weight(truth + noise, truth + random.normal(size=5_000), labels) < 0.7


def test_stored_and_read_back() -> None:
    assert Linear.from_dict(LINE.to_dict()) == LINE

"""What the models of each fold may know of the churn rates of categories."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from churn.config import AccountSchema, FeatureEngineering, Training
from churn.tables import FrameTable, check_accounts
from churn.training.boosting import assign_folds, fit_booster
from churn.training.encoding import fit_encoder
from churn.training.feature_choice import count_categories
from churn.training.linear import fit_linear
from churn.training.rows import PRIOR_ROWS, TrainingRows, parts_of
from tests.conftest import rng

SCHEMA = AccountSchema.model_validate(
    {"id": "id", "label": {"column": "left", "positive": "yes"}, "categorical": ["city"], "numeric": ["age"]}
)


def drawn(count: int = 600, categories: int = 40, seed: int = 0, effect: float = 0.0, folds: int = 5) -> TrainingRows:
    """Rows with a code and a number that say nothing about the outcome, but for the effect of a category."""
    random = rng(seed)
    codes = random.integers(0, categories, count)
    effects = effect * rng(99).normal(size=categories)
    labels = (random.random(count) < 1 / (1 + np.exp(1 - effects[codes]))).astype(np.int8)
    features = np.column_stack([random.normal(size=count), codes]).astype(np.float32)
    return TrainingRows.of(features, labels, assign_folds(labels, Training(folds=folds)), {1: categories})


def rate(labels: np.ndarray, codes: np.ndarray, used: np.ndarray, code: int) -> float:
    prior = (labels[used].sum() + 0.5) / (used.sum() + 1)
    here = used & (codes == code)
    found = (labels[here].sum() + PRIOR_ROWS * prior) / (here.sum() + PRIOR_ROWS)
    return float(np.log(found / (1 - found)))


@pytest.mark.parametrize(("folds", "parts"), [(5, 5), (7, 7), (3, 6), (2, 6)])
def test_a_model_sees_no_rate_that_knows_the_outcome_of_the_row(folds: int, parts: int) -> None:
    rows = drawn(200, 7, folds=folds)
    assert sorted(set(rows.parts.tolist())) == list(range(parts))
    codes = rows.features[:, 1].astype(int)
    for fold in range(folds):
        here = rows.folds == fold
        expected = [rate(rows.labels, codes, ~here, code) for code in codes[here]]
        np.testing.assert_allclose(rows.held_out(fold)[:, 1], expected, rtol=1e-5)
        # A row to fit on: without the rows of its own part and the held-out ones.
        expected = [
            rate(rows.labels, codes, ~here & (rows.parts != own), code)
            for code, own in zip(codes[~here], rows.parts[~here], strict=True)
        ]
        np.testing.assert_allclose(rows.others(fold)[:, 1], expected, rtol=1e-5)
    every = np.ones(200, bool)
    np.testing.assert_allclose(rows.known()[:, 1], [rate(rows.labels, codes, every, code) for code in codes], rtol=1e-5)
    for filled in (rows.held_out(0)[:, 0], rows.others(0)[:, 0], rows.known()[:, 0]):
        assert np.isin(filled, rows.features[:, 0]).all()
    np.testing.assert_array_equal(rows.features[:, 1], codes)


def test_outcomes_of_the_held_out_fold_change_nothing_that_its_model_is_fitted_on() -> None:
    rows = drawn()
    turned = np.where(rows.folds == 2, 1 - rows.labels, rows.labels).astype(np.int8)
    other = TrainingRows.of(rows.features, turned, rows.folds, {1: 40})
    np.testing.assert_array_equal(rows.others(2), other.others(2))
    np.testing.assert_array_equal(rows.held_out(2), other.held_out(2))
    assert (rows.others(1) != other.others(1)).any()


def test_categories_without_an_effect_look_like_none() -> None:
    """Rates that knew the outcomes of their rows would give more than .7 here."""
    found = {"trees": [], "line": []}  # type: dict[str, list[float]]
    for seed in range(12):
        rows = drawn(800, 200, seed)
        found["trees"].append(roc_auc_score(rows.labels, fit_booster(rows, Training()).margin))
        found["line"].append(roc_auc_score(rows.labels, fit_linear(rows).margin))
    # The standard error of one is about .022; out-of-fold scores of nothing are a little below one half.
    assert all(0.44 < np.mean(each) < 0.515 for each in found.values()), found
    naive = rows.known()
    assert roc_auc_score(rows.labels, naive[:, 1]) > 0.65


def test_categories_with_an_effect_are_ranked_for_new_rows_as_for_held_out_ones() -> None:
    rows, fresh = drawn(4000, 400, 1, effect=1.0), drawn(4000, 400, 2, effect=1.0)
    fitted = fit_booster(rows, Training())
    new = fresh.features.copy()
    rows.counts.fill(new, [])
    margin = fitted.booster.inplace_predict(new, predict_type="margin")
    found = roc_auc_score(rows.labels, fitted.margin), roc_auc_score(fresh.labels, margin)
    assert found[1] > 0.62
    # New rows are told rates of five folds, held-out ones rates of four.
    assert -0.01 < found[1] - found[0] < 0.05


@pytest.mark.parametrize("folds", [2, 3])
def test_few_folds_leave_enough_rows_to_learn_rates_from(folds: int) -> None:
    few, five = (fit_linear(drawn(4000, 100, 1, 1.0, folds=count)).margin for count in (folds, 5))
    labels = drawn(4000, 100, 1, 1.0).labels
    assert roc_auc_score(labels, few) > roc_auc_score(labels, five) - 0.03


def test_some_features_and_some_rows_keep_their_counts() -> None:
    rows = drawn()
    swapped = rows.only([1, 0])
    np.testing.assert_array_equal(swapped.others(3), rows.others(3)[:, [1, 0]])
    assert rows.only([0, 1]) is rows
    assert not rows.only([0]).counts.rows
    fewer = rows.drawn(3)
    assert len(fewer) == 200
    np.testing.assert_array_equal(fewer.known(), rows.known()[::3])
    own = fewer.in_folds(assign_folds(fewer.labels, Training(folds=3)))
    assert own.fold_count == 3
    assert own.counts.rows[1].sum() == 200


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_counts_are_those_of_all_batches(size: int) -> None:
    random = rng()
    frame = pd.DataFrame(
        {
            "id": [f"a{row}" for row in range(300)],
            "city": random.choice([*(f"c{city}" for city in range(20)), None], 300),
            "age": random.normal(size=300),
            "left": random.choice(["yes", "no"], 300),
        }
    )
    accounts = check_accounts(frame, SCHEMA, subject="accounts", labelled=True).accounts
    encoder = fit_encoder(accounts, SCHEMA, FeatureEngineering(min_category_count=3))
    labels = accounts["left"].to_numpy(np.int8)
    encoded = pd.DataFrame(encoder.transform(accounts), columns=encoder.feature_names).assign(left=labels)
    parts = parts_of(assign_folds(labels, Training(folds=3)))

    class InBatches(FrameTable):
        def batches(self, columns: object = None) -> object:  # type: ignore[override]
            return (encoded[columns].iloc[at : at + size] for at in range(0, len(encoded), size))  # type: ignore[index]

    found = count_categories(InBatches(encoded), encoder, "left", parts)
    [(position, codes)] = encoder.codes.items()
    assert found.rows[position].shape == (6, codes)
    assert found.rows[position].sum() == 300
    city = accounts["city"].to_numpy(object)
    for code, name in enumerate([*encoder.rated["city"]]):
        here = city == name
        assert found.rows[position][:, code].tolist() == np.bincount(parts[here], minlength=6).tolist()
        assert found.churned[position][:, code].sum() == labels[here].sum()
    assert found.rows[position][:, codes - 1].sum() == pd.isna(city).sum()

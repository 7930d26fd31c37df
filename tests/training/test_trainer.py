from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pytest

from churn.config import AccountSchema, Parameters, Simulation
from churn.errors import AccountsError
from churn.metrics import classification_metrics
from churn.model import ChurnModel
from churn.model.profile import fit_score_profile
from churn.pipelines.data_generation.simulation import simulate_accounts
from churn.tables import FrameTable, check_accounts
from churn.tables.split import Split
from churn.training import train_model
from churn.training.boosting import assign_folds, fit_booster
from churn.training.encoding import fit_encoder, plain_features
from churn.training.linear import fit_linear
from churn.training.rows import TrainingRows
from churn.training.trainer import blend, unseen_probability
from tests.conftest import rng


def test_the_pipeline_trains_the_same_model(canonical: pd.DataFrame, parameters: Parameters) -> None:
    from churn.pipelines.feature_engineering.nodes import encode_accounts, fit_encoder
    from churn.pipelines.training.nodes import assemble_model, fit_parts, hold_out_validation

    accounts, training = parameters.accounts, parameters.training
    encoder = fit_encoder(FrameTable(canonical), accounts, parameters.feature_engineering)
    features = encode_accounts(FrameTable(canonical), encoder, accounts)
    folds = hold_out_validation(features, accounts, training)
    assert list(folds) == ["outcome", "fold"]
    parts = fit_parts(features, folds, encoder, accounts, training)
    assert list(parts.margins) == ["outcome", "fold", "trees", "linear"]
    assert list(folds) == ["outcome", "fold"]
    split, test = Split(1, 0.3), canonical.tail(500)
    built = assemble_model(*parts, canonical, test, split.to_dict(), accounts, training)
    given = canonical, accounts, parameters.feature_engineering, training
    assert built.sha256 == train_model(*given, test_accounts=test, split=split).sha256
    assert built.reference.score == fit_score_profile(built.probability(test))
    assert built.performance["rows"] == len(canonical) + 500
    assert built.split == split


def test_a_model_does_not_depend_on_the_number_of_threads(parameters: Parameters) -> None:
    from threadpoolctl import threadpool_limits

    schema = parameters.accounts
    simulated = simulate_accounts(12_000, 3, Simulation())
    labelled = simulated.accounts.assign(**{schema.label.column: simulated.churned})
    accounts = check_accounts(labelled, schema, subject="accounts", labelled=True).accounts
    few = parameters.training.model_copy(
        update={"booster": parameters.training.booster.model_copy(update={"n_estimators": 30})}
    )
    models = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            models.append(train_model(accounts, schema, parameters.feature_engineering, few).sha256)
    assert models[0] == models[1]


class InParts(FrameTable):
    """A table in batches of 700 rows."""

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        (whole,) = super().batches(columns)
        for start in range(0, len(whole), 700):
            yield whole.iloc[start : start + 700]


def test_a_long_table_is_trained_on_from_batches(
    canonical: pd.DataFrame, parameters: Parameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    from churn.pipelines.data_generation.simulation import simulate_accounts
    from churn.pipelines.feature_engineering.nodes import encode_accounts, fit_encoder
    from churn.pipelines.training.nodes import assemble_model, fit_parts, hold_out_validation

    few = parameters.training.booster.model_copy(update={"n_estimators": 60, "learning_rate": 0.15})
    accounts, training = parameters.accounts, parameters.training.model_copy(update={"booster": few})
    encoder = fit_encoder(InParts(canonical), accounts, parameters.feature_engineering)
    assert encoder == fit_encoder(FrameTable(canonical), accounts, parameters.feature_engineering)
    fewer = training.model_copy(update={"evaluation": training.evaluation.model_copy(update={"rows": 1500})})
    models = []
    for shared, settings, known in ((0, fewer, 1334), (0, fewer, 1334), (1 << 40, training, 4000)):
        monkeypatch.setattr("churn.training.trainer.SHARED_ROWS", shared)
        features = encode_accounts(InParts(canonical), encoder, accounts)
        folds = hold_out_validation(features, accounts, settings)
        parts = fit_parts(features, folds, encoder, accounts, settings)
        assert len(parts.margins) == known
        models.append(
            assemble_model(*parts, canonical, canonical.head(300), Split(1, 0.3).to_dict(), accounts, settings)
        )
    streamed, again, in_memory = models
    assert streamed.sha256 == again.sha256
    fresh = simulate_accounts(10_000, 8, Simulation(base_rate=0.25))
    figures = [
        classification_metrics(fresh.churned, model.probability(fresh.accounts), 0.5) for model in (streamed, in_memory)
    ]
    assert figures[0]["roc_auc"] == pytest.approx(figures[1]["roc_auc"], abs=0.005)
    assert figures[0]["log_loss"] == pytest.approx(figures[1]["log_loss"], abs=0.005)
    # No row is measured by trees that saw it.
    assert streamed.performance["roc_auc"] == pytest.approx(figures[0]["roc_auc"], abs=0.03)


def test_an_encoder_that_is_given_is_used(model: ChurnModel, canonical: pd.DataFrame, parameters: Parameters) -> None:
    settings = parameters.feature_engineering.model_copy(update={"min_category_count": 1000})
    given = train_model(canonical, parameters.accounts, settings, parameters.training, model.encoder)
    assert given.sha256 == model.sha256


def test_the_performance_holds_on_rows_never_seen(
    model: ChurnModel, canonical: pd.DataFrame, schema: AccountSchema
) -> None:
    from churn.pipelines.data_generation.simulation import simulate_accounts

    fresh = simulate_accounts(10_000, 8, Simulation(base_rate=0.25))
    measured = classification_metrics(fresh.churned, model.probability(fresh.accounts), 0.5)
    assert model.performance["roc_auc"] == pytest.approx(measured["roc_auc"], abs=0.02)
    assert model.performance["log_loss"] == pytest.approx(measured["log_loss"], abs=0.02)
    seen = classification_metrics(canonical[schema.label.column], model.probability(canonical), 0.5)
    assert seen["roc_auc"] > model.performance["roc_auc"]
    assert measured["calibration_error"] < 0.03


def test_without_test_rows_the_reference_is_made_of_all_training_rows(
    model: ChurnModel, canonical: pd.DataFrame
) -> None:
    assert model.reference.score is not None
    assert model.reference.score.rows == len(canonical)


def test_no_row_is_calibrated_by_itself(parameters: Parameters) -> None:
    random = rng()
    margin = random.normal(size=2000).astype(np.float32)
    labels = (random.random(2000) < 0.3).astype(np.int8)
    folds = (np.arange(2000) % 2).astype(np.int8)
    training = parameters.training.model_copy(update={"calibration": "sigmoid"})
    before = unseen_probability(margin, labels, folds, training)
    turned = np.where(folds == 0, 1 - labels, labels).astype(np.int8)
    after = unseen_probability(margin, turned, folds, training)
    np.testing.assert_array_equal(before[folds == 0], after[folds == 0])
    assert (before[folds == 1] != after[folds == 1]).all()


@pytest.mark.parametrize("method", ["none", "sigmoid", "isotonic"])
def test_the_calibration_that_is_asked_for(canonical: pd.DataFrame, parameters: Parameters, method: str) -> None:
    training = parameters.training.model_copy(update={"calibration": method})
    built = train_model(canonical.head(1000), parameters.accounts, parameters.feature_engineering, training)
    assert built.calibration.method == method


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_the_linear_weight_that_is_asked_for(canonical: pd.DataFrame, parameters: Parameters, weight: float) -> None:
    training = parameters.training.model_copy(update={"linear_weight": weight})
    rows, accounts = canonical.head(1000), parameters.accounts
    features = plain_features(parameters.feature_engineering)
    built = train_model(rows, accounts, features, training)
    matrix, labels = built.encoder.transform(rows), rows[accounts.label.column].to_numpy(np.int8)
    folds = assign_folds(labels, training)
    rows = TrainingRows(matrix, labels, folds)
    trees, line = fit_booster(rows, training), fit_linear(rows)
    apart = trees.booster.inplace_predict(matrix, predict_type="margin"), line.linear.margin(matrix)
    expected = (1 - weight) * apart[0] + weight * apart[1]
    np.testing.assert_allclose(built.margin_of(matrix), expected, atol=1e-5)
    assert (built.linear is None) == (weight == 0)


def test_the_weight_is_learned_from_rows_that_neither_part_saw(canonical: pd.DataFrame, parameters: Parameters) -> None:
    accounts, training = parameters.accounts, parameters.training
    features = plain_features(parameters.feature_engineering)
    matrix = fit_encoder(canonical, accounts, features).transform(canonical)
    labels = canonical[accounts.label.column].to_numpy(np.int8)
    folds = assign_folds(labels, training)
    rows = TrainingRows(matrix, labels, folds)
    trees, line = fit_booster(rows, training), fit_linear(rows)
    mixed = blend(trees, line, labels, training)

    def loss(margin: np.ndarray) -> float:
        probability = unseen_probability(margin.astype(np.float32), labels, folds, training)
        return classification_metrics(labels, probability, 0.5)["log_loss"]

    assert mixed.linear is not None
    assert loss(mixed.margin) < min(loss(trees.margin), loss(line.margin))


def test_one_class_is_refused(canonical: pd.DataFrame, parameters: Parameters) -> None:
    label = parameters.accounts.label.column
    stayed = canonical[canonical[label].to_numpy(np.int8) == 0].reset_index(drop=True)
    with pytest.raises(AccountsError, match="a class has 0 rows"):
        train_model(stayed, parameters.accounts, parameters.feature_engineering, parameters.training)

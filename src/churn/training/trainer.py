"""Train a model on canonical labelled rows; used by the pipeline, cross-validation and tuning alike."""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, FeatureEngineering, Training
from churn.metrics import Ranking, classification_metrics
from churn.model import ChurnModel, Encoder, canaries
from churn.model.encoder import encode_rows
from churn.model.linear import Linear
from churn.model.profile import fit_profile, fit_score_profile
from churn.model.trees import Booster, scaled
from churn.model.xgboost_trees import XGBoostTrees
from churn.tables import FrameTable, Table, spacing
from churn.tables.parallel import one_thread
from churn.tables.split import Split
from churn.training import tuning
from churn.training.boosting import FittedTrees, assign_folds, fit_booster_of, with_directions
from churn.training.calibration import fit_calibration
from churn.training.encoding import fit_encoder
from churn.training.feature_choice import choose_encoding, count_categories, learned_rates, places
from churn.training.linear import FittedLinear, fit_linear, learn_weight
from churn.training.portfolio import choose_setting, fit_portfolio, in_words
from churn.training.rows import TrainingRows, parts_of

logger = logging.getLogger(__name__)

# Rows from which mean contributions are computed: the more, the better, as long as it takes a second or two. What a row takes
# grows with the splits of the trees and their depth.
IMPORTANCE_ROWS = range(50, 501)
IMPORTANCE_WORK = 30_000_000
# From this number of rows on, the folds are grown one after the other from files; with fewer, all at once in memory.
SHARED_ROWS = 1_000_000
# Rows on which the encoding is chosen, and of such a table the setting of the booster.
CHOICE_ROWS = 50_000


def train_model(
    accounts: pd.DataFrame,
    schema: AccountSchema,
    features: FeatureEngineering,
    training: Training,
    encoder: Encoder | None = None,
    *,
    test_accounts: pd.DataFrame | None = None,
    split: Split | None = None,
) -> ChurnModel:
    """Train a model, by the same steps as the pipeline.

    Args:
        accounts: Canonical training rows with their label, without test rows.
        schema: Schema of the table.
        features: Ratios and the least number of rows of a category; not used if an encoder is given.
        training: Parameters of booster, folds, search and calibration.
        encoder: Encoder fitted on these rows; None to fit one.
        test_accounts: Canonical test rows for the reference of the scores, see `assemble_model`.
        split: The split by which they are test rows, likewise.

    Raises:
        AccountsError: If a class has fewer than two rows.
    """
    # Rates that it learned elsewhere are learned anew.
    encoder = replace(encoder, rates={}) if encoder else fit_encoder(accounts, schema, features)
    folds = fold_rows(accounts[schema.label.column].to_numpy(np.int8), training)
    if training.tuning.enabled:
        trials = list(tuning.search(accounts, encoder, folds["fold"].to_numpy(), schema, features, training))
        training, encoder, _ = choose_parameters(trials, accounts, encoder, schema, features, training)
    encoded = encode_rows(FrameTable(accounts), encoder, [schema.label.column])
    parts = fit_parts(encoded, folds, encoder, schema, training)
    return assemble_model(parts, accounts, schema, training, test_accounts=test_accounts, split=split)


def fold_rows(labels: NDArray[np.int8], training: Training) -> pd.DataFrame:
    """Assign each training row to the fold that holds it out.

    Returns:
        A frame of n rows with ``outcome``, 0 or 1, and ``fold``, from 0, stratified by outcome and seeded.
    """
    return pd.DataFrame({"outcome": labels, "fold": assign_folds(labels, training)})


class Chosen(NamedTuple):
    """Parameters and encoder to train with after a search; ``summary`` is empty if there was no search."""

    training: Training
    encoder: Encoder
    summary: dict[str, Any]


def choose_parameters(
    trials: Sequence[tuning.Trial],
    accounts: pd.DataFrame,
    encoder: Encoder,
    schema: AccountSchema,
    features: FeatureEngineering,
    training: Training,
) -> Chosen:
    """Choose the best trial if it is clearly better than the configured parameters.

    Args:
        trials: Trials of `churn.training.tuning.search`; empty if there was no search.
        accounts: Canonical training rows; a sample of a long table.
        encoder: Encoder fitted on all training rows, as configured.
        schema: Schema of the table.
        features: Configured encoding.
        training: Configured parameters.
    """
    chosen = tuning.choose(trials, training, features, (len(accounts), len(encoder.feature_names)))
    if chosen.features != features:
        narrower = fit_encoder(accounts, schema, chosen.features)
        # The accounts may be a sample of a long table; the medians stay those of all rows.
        encoder = replace(narrower, medians={name: encoder.medians[name] for name in narrower.medians})
    return Chosen(chosen.training, encoder, tuning.summarise(trials, chosen))


class Parts(NamedTuple):
    """The two parts of a model, and their out-of-fold margins.

    Attributes:
        booster: The average of the boosters of all folds.
        linear: The average of the logistic regressions of all folds.
        encoder: Encoder of their features, with the rates of categories.
        margins: ``outcome`` and ``fold`` of training rows, and ``trees`` and ``linear``, their out-of-fold log-odds by
            booster and logistic regression.
        portfolio: Weights of the settings of the booster, from `churn.training.portfolio`; empty if there is one only.
    """

    booster: Booster
    linear: Linear
    encoder: Encoder
    margins: pd.DataFrame
    portfolio: dict[str, Any]


def fit_parts(
    features: Table, folds: pd.DataFrame, encoder: Encoder, schema: AccountSchema, training: Training
) -> Parts:
    """Fit a booster and a logistic regression for each fold, and average each kind.

    A long table is not held in memory; its margins are those of evenly spaced rows.

    Args:
        features: Encoded training rows with their label, n rows.
        folds: Result of `fold_rows` for them.
        encoder: Encoder that encoded them.
        schema: Schema of the table.
        training: Parameters of the fit.
    """
    names, label = encoder.feature_names, schema.label.column
    fold_of = folds["fold"].to_numpy()
    is_short = len(features) < SHARED_ROWS and not features.is_distributed
    # Early stopping, the linear part, calibration and metrics need no more rows than this sample.
    most = None if is_short else training.evaluation.rows
    some = features.frame([*names, label], most_rows=most)
    parts = parts_of(fold_of)
    counts = count_categories(FrameTable(some) if is_short else features, encoder, label, parts)
    step = 1 if most is None else spacing(len(folds), most)
    matrix, labels = some[names].to_numpy(np.float32), some[label].to_numpy(np.int8)
    rows = TrainingRows(matrix, labels, fold_of[::step], counts, parts[::step])
    # So few rows need more folds than a long table has.
    sample = rows.drawn(spacing(len(rows), CHOICE_ROWS))
    sample = sample.in_folds(assign_folds(sample.labels, training)) if len(sample) < len(folds) else sample
    chosen = choose_encoding(sample, encoder, training)
    used = places(encoder, chosen)
    rows, names = rows.only(used), chosen.feature_names
    training = with_directions(training, chosen)
    linear = fit_linear(rows, training.booster.monotone_constraints)
    if is_short:
        trees, summary = fit_portfolio(rows, linear.margin, training)
    else:
        training, summary = choose_setting(sample.only(used), training)
        trees = fit_booster_of(features, names, label, parts, rows, training)
    if summary:
        logger.info("%s.", in_words(summary))
    margins = folds.iloc[::step].assign(trees=trees.margin, linear=linear.margin)
    return Parts(trees.booster, linear.linear, learned_rates(chosen, rows.counts), margins, summary)


class Blend(NamedTuple):
    """Weighted trees and linear part, whose margins add up to that of the model.

    Attributes:
        booster: The trees, with leaves multiplied by their weight.
        linear: The weighted logistic regression; None if its weight is 0.
        margin: Out-of-fold log-odds of each training row, shape (n,).
    """

    booster: Booster
    linear: Linear | None
    margin: NDArray[np.float32]


def blend(trees: FittedTrees, linear: FittedLinear, labels: NDArray[np.int8], training: Training) -> Blend:
    """Blend trees and linear part with the configured weight, or one learned on out-of-fold margins."""
    weight = training.linear_weight
    if weight is None:
        weight = learn_weight(trees.margin, linear.margin, labels)
    if weight == 0:
        return Blend(trees.booster, None, trees.margin)
    rate = float(labels.mean())
    margin = ((1 - weight) * trees.margin + weight * linear.margin).astype(np.float32)
    return Blend(scaled(trees.booster, 1 - weight), linear.linear.weighted(weight, math.log(rate / (1 - rate))), margin)


@one_thread()
def assemble_model(
    parts: Parts,
    accounts: pd.DataFrame,
    schema: AccountSchema,
    training: Training,
    *,
    test_accounts: pd.DataFrame | None = None,
    split: Split | None = None,
) -> ChurnModel:
    """Blend trees and logistic regression, calibrate them and assemble the deployable model.

    Args:
        parts: Result of `fit_parts`.
        accounts: Canonical training rows, all or a sample, for the reference profile and the importance of columns.
        schema: Schema of the table.
        training: Weight, calibration, threshold and risk bands.
        test_accounts: Canonical test rows with their label, all or a sample, for the reference of the scores: what the
            deployed model emits on rows that it was not fitted on. The models of the folds emit other scores. None if
            there are no test rows.
        split: The split by which they are test rows, stored with the model.
    """
    encoder = parts.encoder
    labels, folds = parts.margins["outcome"].to_numpy(), parts.margins["fold"].to_numpy()
    blended = blend(
        FittedTrees(parts.booster, parts.margins["trees"].to_numpy()),
        FittedLinear(parts.linear, parts.margins["linear"].to_numpy()),
        labels,
        training,
    )
    probability = unseen_probability(blended.margin, labels, folds, training)
    profile = fit_profile(accounts, schema.numeric_names, schema.categorical, encoder.ratio_values(accounts))
    model = ChurnModel(
        schema=schema.for_model,
        encoder=encoder,
        trees=XGBoostTrees(blended.booster),
        linear=blended.linear,
        threshold=training.threshold,
        risk_bands=training.risk_bands,
        reference=profile,
        calibration=fit_calibration(blended.margin, labels, training.calibration),
        split=split,
    )
    emitted = probability
    if test_accounts is not None:
        emitted = model.probability(test_accounts)
        # Together they are more rows than the test rows alone, and neither was fitted on.
        labels = np.append(labels, test_accounts[schema.label.column].to_numpy(np.int8))
        probability = np.append(probability, emitted)
    model = replace(
        model,
        reference=profile.with_score(fit_score_profile(emitted)),
        performance={
            **classification_metrics(labels, probability, training.threshold),
            "roc_auc_standard_error": Ranking.of(labels, probability).roc_auc_standard_error(),
            "rows": len(labels),
            "churn_rate": float(labels.mean()),
        },
    )
    # Evenly spaced rows: a table may be sorted.
    rows = min(max(IMPORTANCE_WORK // (model.trees.work + 1), IMPORTANCE_ROWS[0]), IMPORTANCE_ROWS[-1])
    few = accounts.iloc[:: spacing(len(accounts), rows)]
    some = accounts.iloc[:: spacing(len(accounts), canaries.CANDIDATES)]
    return replace(
        model,
        importance=model.mean_contributions(encoder.transform(few)),
        canaries=canaries.Canaries.of(some, model.probability(some), schema.numeric_names, schema.categorical),
    )


def unseen_probability(
    margin: NDArray[np.float32], labels: NDArray[np.int8], folds: NDArray[np.int8], training: Training
) -> NDArray[np.float32]:
    """Return the out-of-fold probability of each training row, shape (n,); the calibration is out-of-fold too.

    With a calibration fitted on the same rows, the model would look better calibrated than it is.
    """
    probability = np.empty(len(labels), dtype=np.float32)
    for fold in range(int(folds.max()) + 1):
        held_out = folds == fold
        calibration = fit_calibration(margin[~held_out], labels[~held_out], training.calibration)
        probability[held_out] = calibration.apply(margin[held_out])
    return probability

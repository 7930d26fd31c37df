"""Whether columns with many categories are better as churn rates than as 0/1 features."""

import logging

import numpy as np
from numpy.typing import NDArray

from churn.config import Training
from churn.model import Encoder
from churn.tables import Table
from churn.training.boosting import grow_each, with_directions
from churn.training.portfolio import first_losses, is_worse, settings_of
from churn.training.rows import CategoryCounts, TrainingRows

logger = logging.getLogger(__name__)

# The setting of the portfolio by which encodings are compared: it needs few trees.
JUDGE = "whole"


def count_categories(features: Table, encoder: Encoder, label: str, parts: NDArray[np.int8]) -> CategoryCounts:
    """Count the rows of each category and part in encoded training rows, a batch at a time.

    Args:
        features: Encoded training rows with their label, n rows.
        encoder: Encoder that encoded them, before the rates are known.
        label: Column of the label.
        parts: Parts of the rows, shape (n,), see `churn.training.rows.parts_of`.
    """
    if not encoder.rated:
        return CategoryCounts()
    names = [encoder.feature_names[position] for position in encoder.codes]
    codes = dict(enumerate(encoder.codes.values()))
    count = int(parts.max()) + 1
    total: CategoryCounts | None = None
    before = 0
    for rows in features.batches([*names, label]):
        part_of = parts[before : before + len(rows)]
        before += len(rows)
        matrix, labels = rows[names].to_numpy(np.float32), rows[label].to_numpy(np.int8)
        found = CategoryCounts.of(matrix, labels, part_of, codes, count)
        total = found if total is None else total + found
    return (total or CategoryCounts()).at(list(encoder.codes))


def choose_encoding(rows: TrainingRows, encoder: Encoder, training: Training) -> Encoder:
    """Choose between 0/1 features and rates for the columns that can be either, all in the same way.

    A booster is grown with each. Rates are taken unless they are clearly worse on the first fold, which the booster was not
    grown on: they are fewer features, and with categories of few rows they are seldom worse.

    Args:
        rows: Encoded training rows, or a sample of them.
        encoder: Encoder that encoded them.
        training: Parameters.

    Returns:
        The encoder with the features that are used.
    """
    either = [name for name in encoder.rated if encoder.vocabularies[name]]
    as_features, as_rates = encoder.with_features_of(()), encoder.with_features_of(encoder.rated)
    if not either or not as_features.feature_names:
        return as_rates
    by_features, by_rates = (
        _losses(rows.only(places(encoder, each)), with_directions(training, each)) for each in (as_features, as_rates)
    )
    logger.info(
        "%s: log loss %.4f with a 0/1 feature for each category, %.4f with the churn rate of the category.",
        ", ".join(either),
        by_features.mean(),
        by_rates.mean(),
    )
    return as_features if is_worse(by_rates, by_features) else as_rates


def places(encoder: Encoder, narrower: Encoder) -> list[int]:
    """Return the positions of the features of a narrower encoder among those of another."""
    place = {name: position for position, name in enumerate(encoder.feature_names)}
    return [place[name] for name in narrower.feature_names]


def learned_rates(encoder: Encoder, counts: CategoryCounts) -> Encoder:
    """Return the encoder with the rates of all training rows."""
    rates = [counts.log_odds(position).tolist() for position in encoder.codes]
    return encoder.with_rates(dict(zip(encoder.rated, rates, strict=True)))


def _losses(rows: TrainingRows, training: Training) -> NDArray[np.float64]:
    """Return the log loss of each row of the first fold."""
    settings = settings_of(training, *rows.features.shape)
    [grown] = grow_each(rows, [(settings.get(JUDGE, training), 0)])
    return first_losses(grown, rows.held_out(0), rows.labels[rows.folds == 0])

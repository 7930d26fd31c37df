"""Which of the possible features a table gets: rates or 0/1 features of many categories, and differences of numeric columns."""

import logging
from dataclasses import replace

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
    """Choose features by boosters that are grown with and without, and their log loss on the first fold, which is held out.

    Columns with many categories are rates unless that is clearly worse than 0/1 features: they are fewer features, and with
    categories of few rows they are seldom worse. Differences are features only if that is clearly better: most tables need none.

    Args:
        rows: Encoded training rows, or a sample of them.
        encoder: Encoder that encoded them.
        training: Parameters. A column with a direction is in no difference.

    Returns:
        The encoder with the features that are used.
    """

    def losses_of(each: Encoder) -> NDArray[np.float64]:
        return _losses(rows.only(places(encoder, each)), with_directions(training, each))

    plain = replace(encoder, differences=())
    chosen, loss = plain.with_features_of(encoder.rated), None
    either = [name for name in encoder.rated if encoder.vocabularies[name]]
    by_features = plain.with_features_of(())
    if either and by_features.feature_names:
        others, loss = losses_of(by_features), losses_of(chosen)
        logger.info(
            "%s: log loss %.4f with a 0/1 feature for each category, %.4f with the churn rate of the category.",
            ", ".join(either),
            others.mean(),
            loss.mean(),
        )
        if is_worse(loss, others):
            chosen, loss = by_features, others
    differences = tuple(each for each in encoder.differences if not {each.first, each.second} & set(training.monotone))
    if differences:
        apart = replace(chosen, differences=differences)
        loss, others = losses_of(chosen) if loss is None else loss, losses_of(apart)
        logger.info(
            "%s: log loss %.4f without, %.4f with their differences as features.",
            ", ".join(f"{each.first} and {each.second}" for each in differences),
            loss.mean(),
            others.mean(),
        )
        chosen = apart if is_worse(loss, others) else chosen
    return chosen


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

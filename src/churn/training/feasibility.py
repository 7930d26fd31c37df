"""What a later step would refuse in a training and a scoring snapshot, found before the snapshots replace older ones."""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, FeatureEngineering
from churn.tables import FrameTable
from churn.training.encoding import learn_vocabularies, no_feature_fault
from churn.training.splitting import MIN_CLASS_ROWS, training_rows


def class_fault(labels: NDArray[np.int8], schema: AccountSchema) -> str | None:
    """Return a sentence if a training snapshot has too few accounts of a class; ``None`` if it has enough.

    Args:
        labels: Label of each account of the snapshot, shape (n,), 0 or 1.
        schema: Schema of the table.
    """
    stayed, churned = np.bincount(labels, minlength=2).tolist()
    if min(stayed, churned) >= MIN_CLASS_ROWS:
        return None
    return (
        f"{schema.label.column}: the training snapshot would have too few accounts of a class ({churned:,} churned, "
        f"{stayed:,} stayed); training needs {MIN_CLASS_ROWS} of each"
    )


def split_fault(rows: int, share: float, parameter: str) -> str | None:
    """Return a sentence if a stratified split leaves a part with fewer rows than classes; ``None`` if it does not.

    Args:
        rows: Number of rows to split.
        share: Share of the rows that is held out.
        parameter: Name of the parameter with the share.
    """
    held_out = math.ceil(share * rows)
    if min(held_out, rows - held_out) >= 2:
        return None
    return (
        f"{parameter} = {share:g} would hold out {held_out:,} of {rows:,} accounts, and both parts need accounts of both "
        "classes; choose a share nearer to 0.5, or add accounts"
    )


def snapshot_faults(
    training: pd.DataFrame, scoring: pd.DataFrame, schema: AccountSchema, settings: FeatureEngineering
) -> list[str]:
    """Return what feature_engineering, training and inference would refuse in two snapshots, one sentence each.

    Args:
        training: Canonical rows of the training snapshot, with enough accounts of each class (see `class_fault`).
        scoring: Canonical rows of the scoring snapshot.
        schema: Schema of the table.
        settings: Share of the test rows, and the least number of rows of a category.
    """
    roles = [
        *((name, "numeric") for name in schema.numeric_names),
        *((name, "categorical") for name in schema.categorical),
    ]
    faults = [
        f"{name}: no account of the training snapshot has a value; take it out of accounts.{role}"
        for name, role in roles
        if training[name].isna().all()
    ]
    if fault := split_fault(len(training), settings.test_share, "feature_engineering.test_share"):
        return [*faults, fault]
    label = schema.label.column
    is_train = training_rows(training[label].to_numpy(np.int8), settings, label=label, subject="training accounts")
    train = FrameTable(training.loc[is_train, list(schema.categorical)])
    vocabularies, missing = learn_vocabularies(train, schema.categorical, settings.min_category_count)
    if not schema.numeric and not missing and not any(vocabularies.values()):
        faults.append(no_feature_fault(schema, settings))
    for name, vocabulary in vocabularies.items():
        values = scoring[name].dropna()
        if vocabulary and len(values) and not values.isin(vocabulary).any():
            faults.append(
                f"{name}: the scoring snapshot would hold no category that the model knows; take it out of "
                "accounts.categorical, or lower feature_engineering.min_category_count "
                f"({settings.min_category_count})"
            )
    return faults

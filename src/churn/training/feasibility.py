"""What a later step would refuse in a training and a scoring snapshot, found before the snapshots replace older ones."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import AccountSchema, FeatureEngineering
from churn.tables import FrameTable
from churn.training.encoding import learn_categories, no_feature_fault
from churn.training.splitting import MIN_CLASS_ROWS, split_fault, split_of


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
    label, is_test = schema.label.column, split_of(settings).test_rows(training[schema.id])
    if fault := split_fault(training[label].to_numpy(np.int8), is_test, label):
        return [*faults, fault]
    train = FrameTable(training.loc[~is_test, list(schema.categorical)])
    categories = learn_categories(train, schema.categorical, settings)
    if not schema.numeric and not any([categories.incomplete, categories.rated, *categories.vocabularies.values()]):
        faults.append(no_feature_fault(schema, settings))
    for name, listed in categories.vocabularies.items():
        vocabulary = categories.rated.get(name, listed)
        values = scoring[name].dropna()
        if vocabulary and len(values) and not values.isin(vocabulary).any():
            faults.append(
                f"{name}: the scoring snapshot would hold no category that the model knows; take it out of "
                "accounts.categorical, or lower feature_engineering.min_category_count "
                f"({settings.min_category_count})"
            )
    return faults

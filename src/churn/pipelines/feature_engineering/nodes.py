"""Nodes that split and encode the training accounts. What they give is lazy: rows pass through when it is stored."""

from typing import Any, NamedTuple

import numpy as np

from churn.config import AccountSchema, FeatureEngineering
from churn.errors import AccountsError
from churn.model import Encoder
from churn.model.encoder import encode_rows
from churn.tables import Batches, CheckedTable, Table, checked_table
from churn.training import encoding

SUBJECT = "training accounts"

# Below this, training, validation and test rows cannot each have accounts of both classes.
MIN_CLASS_ROWS = 10


class Split(NamedTuple):
    """Training and test rows, disjoint, in the order of the source."""

    train: Table
    test: Table


def describe_source(
    training_fingerprint: dict[str, Any], train_features: Table, test_features: Table
) -> dict[str, Any]:
    """Say what the features are made of, when they are there: the table may be another one when they are used."""
    return {**training_fingerprint, "train_rows": len(train_features), "test_rows": len(test_features)}


def validate_accounts(training_accounts: Batches, schema: AccountSchema) -> CheckedTable:
    """Check the training table and bring it into canonical form."""
    checked: CheckedTable = checked_table(training_accounts, schema, None, SUBJECT)
    return checked


def split_accounts(
    valid_accounts: CheckedTable, schema: AccountSchema, feature_engineering: FeatureEngineering
) -> Split:
    """Split into training and test rows, stratified by label and seeded."""
    from sklearn.model_selection import train_test_split

    name = schema.label.column
    labels = valid_accounts.labels()
    fewest = int(np.bincount(labels, minlength=2).min())
    if fewest < MIN_CLASS_ROWS:
        raise AccountsError(SUBJECT, [f"{name}: a class has only {fewest} rows, {MIN_CLASS_ROWS} are needed"])
    train, _ = train_test_split(
        np.arange(len(labels)),
        test_size=feature_engineering.test_share,
        random_state=feature_engineering.random_state,
        stratify=labels,
    )
    is_train = np.zeros(len(labels), dtype=bool)
    is_train[train] = True
    columns = [schema.id, *schema.numeric_names, *schema.categorical, name]
    return Split(valid_accounts.chosen(columns, is_train), valid_accounts.chosen(columns, ~is_train))


def fit_encoder(
    train_accounts: Table, schema: AccountSchema, feature_engineering: FeatureEngineering
) -> dict[str, Any]:
    """Learn medians and vocabularies from the training rows alone."""
    return encoding.fit_encoder(train_accounts, schema, feature_engineering).to_dict()


def encode_accounts(split: Table, encoder: dict[str, Any], schema: AccountSchema) -> Table:
    """Encode the rows of a split: id, label, then one float32 column a feature."""
    return encode_rows(split, Encoder.from_dict(encoder), [schema.id, schema.label.column])

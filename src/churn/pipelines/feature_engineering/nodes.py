"""Nodes of the pipeline feature_engineering. Their tables are lazy: rows are processed when the table is saved."""

from typing import Any, NamedTuple

from churn.config import AccountSchema, FeatureEngineering
from churn.model import Encoder
from churn.model.encoder import encode_rows
from churn.tables import Batches, CheckedTable, Table, checked_table
from churn.training import encoding
from churn.training.splitting import split_rows

SUBJECT = "training accounts"


class Split(NamedTuple):
    """Disjoint training and test rows, in the order of the source."""

    train: Table
    test: Table


def describe_source(
    training_fingerprint: dict[str, Any], train_features: Table, test_features: Table
) -> dict[str, Any]:
    """Record the fingerprint of the training table once the features are saved, as the table may change before training."""
    return {**training_fingerprint, "train_rows": len(train_features), "test_rows": len(test_features)}


def validate_accounts(training_accounts: Batches, schema: AccountSchema) -> CheckedTable:
    """Check the training table and convert it to canonical form."""
    checked: CheckedTable = checked_table(training_accounts, schema, None, SUBJECT)
    return checked


def split_accounts(
    valid_accounts: CheckedTable, schema: AccountSchema, feature_engineering: FeatureEngineering
) -> Split:
    """Split into training and test rows, stratified by label and seeded."""
    label = schema.label.column
    is_train, is_test = split_rows(valid_accounts.labels(), feature_engineering, label=label, subject=SUBJECT)
    columns = [schema.id, *schema.numeric_names, *schema.categorical, label]
    return Split(valid_accounts.chosen(columns, is_train), valid_accounts.chosen(columns, is_test))


def fit_encoder(
    train_accounts: Table, schema: AccountSchema, feature_engineering: FeatureEngineering
) -> dict[str, Any]:
    """Learn medians and vocabularies from the training rows only."""
    return encoding.fit_encoder(train_accounts, schema, feature_engineering).to_dict()


def encode_accounts(split: Table, encoder: dict[str, Any], schema: AccountSchema) -> Table:
    """Encode the rows of a split: id, label, then one float32 column per feature."""
    return encode_rows(split, Encoder.from_dict(encoder), [schema.id, schema.label.column])

"""Nodes of the pipeline feature_engineering. Their tables are lazy: rows are processed when the table is saved."""

from typing import Any, NamedTuple

from churn.config import AccountSchema, FeatureEngineering, Training
from churn.errors import AccountsError
from churn.model import Encoder
from churn.model.encoder import encode_rows
from churn.survey.report import SAMPLE_ROWS, SetAside, data_report
from churn.tables import Batches, CheckedTable, Table, checked_table
from churn.training import encoding
from churn.training.splitting import split_fault, split_of

SUBJECT = "training accounts"


class Parts(NamedTuple):
    """Disjoint training and test rows, in the order of the source, and the description of the split.

    The description has the label that was taken for stayed in ``stayed``, if the schema does not say it.
    """

    train: Table
    test: Table
    split: dict[str, Any]


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
) -> Parts:
    """Split into training and test rows by a keyed hash of the id, the same for an account in every training.

    Raises:
        AccountsError: Lists every fault of the table, or says that one of the parts would have too few accounts of a class.
    """
    label, split = schema.label.column, split_of(feature_engineering)
    labels, is_test, sketch, guessed = valid_accounts.checked_rows(split)
    used = labels >= 0
    if fault := split_fault(labels[used], is_test[used], label):
        raise AccountsError(SUBJECT, [fault])
    columns = [schema.id, *schema.numeric_names, *schema.categorical, label]
    return Parts(
        valid_accounts.chosen(columns, used & ~is_test),
        valid_accounts.chosen(columns, used & is_test),
        split.of(sketch).to_dict() | ({"stayed": list(guessed)} if guessed else {}),
    )


def fit_encoder(
    train_accounts: Table, schema: AccountSchema, feature_engineering: FeatureEngineering
) -> dict[str, Any]:
    """Learn medians and vocabularies from the training rows only."""
    return encoding.fit_encoder(train_accounts, schema, feature_engineering).to_dict()


def encode_accounts(split: Table, encoder: dict[str, Any], schema: AccountSchema) -> Table:
    """Encode the rows of a split: id, label, then one float32 column per feature."""
    return encode_rows(split, Encoder.from_dict(encoder), [schema.id, schema.label.column])


def describe_accounts(
    train_accounts: Table, training_accounts: Batches, schema: AccountSchema, training: Training
) -> dict[str, Any]:
    """Describe the training rows column by column, by outcome, for a person to read before a model is trained."""
    known = {*schema.source_columns, schema.label.column}
    others = [str(name) for name in training_accounts.columns if name not in known]
    some = train_accounts.frame(most_rows=SAMPLE_ROWS)
    return data_report(
        some,
        schema,
        name="the training rows",
        rows=len(train_accounts),
        is_sampled=len(some) < len(train_accounts),
        leakage=training.leakage,
        set_aside=[_set_aside(name, schema) for name in others],
    )


def _set_aside(name: str, schema: AccountSchema) -> SetAside:
    if name in schema.carry:
        return SetAside(name, "carry", "accounts.carry names it")
    if name in schema.left_out:
        return SetAside(name, "left_out", "accounts.left_out names it")
    return SetAside(name, "left_out", "the schema does not name it")


def render_report(data_report: dict[str, Any]) -> str:
    """Render the data report as an HTML page."""
    from churn.reporting.data_report import render_data_report

    return render_data_report(data_report)

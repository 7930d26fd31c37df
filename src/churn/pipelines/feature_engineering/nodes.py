"""Nodes that split and encode the training accounts."""

import logging
from typing import Any, NamedTuple

import pandas as pd

from churn import encoding
from churn.accounts import check_accounts
from churn.errors import AccountsError
from churn.parameters import Accounts, FeatureEngineering

logger = logging.getLogger(__name__)

# Below this, training, validation and test rows cannot each have accounts of both classes.
MIN_CLASS_ROWS = 10


class Split(NamedTuple):
    """Training and test rows, disjoint, in the order of the source."""

    train: pd.DataFrame
    test: pd.DataFrame


def validate_accounts(training_accounts: pd.DataFrame, accounts: Accounts) -> pd.DataFrame:
    """Check the training table and bring it into canonical form."""
    checked = check_accounts(training_accounts, accounts, subject="training accounts", labelled=True)
    for note in checked.notes:
        logger.warning(note)
    return checked.accounts


def split_accounts(valid_accounts: pd.DataFrame, accounts: Accounts, feature_engineering: FeatureEngineering) -> Split:
    """Split into training and test rows, stratified by label and seeded."""
    from sklearn.model_selection import train_test_split

    label = valid_accounts[accounts.label.column]
    if label.value_counts().min() < MIN_CLASS_ROWS:
        raise AccountsError(
            "training accounts",
            [
                f"{accounts.label.column}: a class has only {label.value_counts().min()} rows, {MIN_CLASS_ROWS} are needed"
            ],
        )
    train, test = train_test_split(
        valid_accounts.index,
        test_size=feature_engineering.test_share,
        random_state=feature_engineering.random_state,
        stratify=label,
    )
    return Split(
        train=valid_accounts.loc[train.sort_values()].reset_index(drop=True),
        test=valid_accounts.loc[test.sort_values()].reset_index(drop=True),
    )


def fit_encoder(
    train_accounts: pd.DataFrame, accounts: Accounts, feature_engineering: FeatureEngineering
) -> dict[str, Any]:
    """Learn medians and vocabularies from the training rows alone."""
    return encoding.fit_encoder(train_accounts, accounts, feature_engineering).to_dict()


def encode_accounts(split: pd.DataFrame, encoder: dict[str, Any], accounts: Accounts) -> pd.DataFrame:
    """Encode the rows of a split: id, label, then one float32 column a feature."""
    fitted = encoding.Encoder.from_dict(encoder)
    features = pd.DataFrame(fitted.transform(split), columns=fitted.feature_names)
    return pd.concat([split[[accounts.id, accounts.label.column]], features], axis="columns")

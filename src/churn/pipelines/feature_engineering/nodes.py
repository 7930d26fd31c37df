"""Nodes that split and encode the training accounts. What they give is lazy: rows pass through when it is stored."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn import encoding
from churn.batches import Batches, CheckedBatches
from churn.errors import AccountsError, ChurnError
from churn.parallel import cores
from churn.parameters import Accounts, FeatureEngineering
from churn.tables import Table

SUBJECT = "training accounts"

# Below this, training, validation and test rows cannot each have accounts of both classes.
MIN_CLASS_ROWS = 10


class Split(NamedTuple):
    """Training and test rows, disjoint, in the order of the source."""

    train: Table
    test: Table


def validate_accounts(training_accounts: Batches, accounts: Accounts) -> CheckedBatches:
    """Check the training table and bring it into canonical form."""
    return CheckedBatches(training_accounts, accounts, None, SUBJECT)


def split_accounts(
    valid_accounts: CheckedBatches, accounts: Accounts, feature_engineering: FeatureEngineering
) -> Split:
    """Split into training and test rows, stratified by label and seeded."""
    from sklearn.model_selection import train_test_split

    name = accounts.label.column
    labels = np.concatenate(list(valid_accounts.mapped(lambda rows: rows[name].to_numpy(np.int8), cores())))
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
    columns = [accounts.id, *accounts.numeric_names, *accounts.categorical, name]
    return Split(SomeRows(valid_accounts, columns, is_train), SomeRows(valid_accounts, columns, ~is_train))


class SomeRows(Table):
    """Chosen rows of a table that was found sound."""

    def __init__(self, source: CheckedBatches, columns: list[str], chosen: NDArray[np.bool_]) -> None:
        """Declare which rows, shape (n,)."""
        self._source, self._columns, self._chosen = source, columns, chosen

    @property
    def columns(self) -> list[str]:
        """Names of its columns."""
        return self._columns

    def __len__(self) -> int:
        """How many rows there are."""
        return int(self._chosen.sum())

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """The rows, read from the source again.

        Raises:
            ChurnError: If the source has changed since it was checked.
        """
        before = 0
        for rows in self._source.again():
            chosen = self._chosen[before : before + len(rows)]
            before += len(rows)
            if before > len(self._chosen):
                break
            yield rows.loc[chosen, list(columns or self._columns)].reset_index(drop=True)
        if before != len(self._chosen):
            raise ChurnError(f"{SUBJECT}: the table has changed while it was read; run again")


def fit_encoder(train_accounts: Table, accounts: Accounts, feature_engineering: FeatureEngineering) -> dict[str, Any]:
    """Learn medians and vocabularies from the training rows alone."""
    return encoding.fit_encoder(train_accounts, accounts, feature_engineering).to_dict()


def encode_accounts(split: Table, encoder: dict[str, Any], accounts: Accounts) -> Table:
    """Encode the rows of a split: id, label, then one float32 column a feature."""
    return EncodedRows(split, encoding.Encoder.from_dict(encoder), [accounts.id, accounts.label.column])


class EncodedRows(Table):
    """Rows of a table, encoded while they pass."""

    def __init__(self, source: Table, encoder: encoding.Encoder, kept: list[str]) -> None:
        """Declare the rows, how they are encoded, and which of their columns stand before the features."""
        self._source, self._encoder, self._kept = source, encoder, kept

    @property
    def columns(self) -> list[str]:
        """Names of its columns."""
        return [*self._kept, *self._encoder.feature_names]

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._source)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """The encoded rows."""
        for rows in self._source.batches():
            features = pd.DataFrame(
                self._encoder.transform(rows), index=rows.index, columns=self._encoder.feature_names
            )
            encoded = pd.concat([rows[self._kept], features], axis="columns")
            yield encoded if columns is None else encoded[list(columns)]

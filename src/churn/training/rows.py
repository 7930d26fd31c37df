"""Encoded training rows, and the churn rates of categories as the models of each fold may know them.

A column with many categories becomes one number, the log-odds of the churn rate of its category (target encoding, Micci-Barreca
2001, doi:10.1145/507533.507538). If that rate came from the rows that a model is fitted on, it would tell the model their
outcomes, and would count for more than it does for new rows (Pargent et al. 2022, doi:10.1007/s00180-022-01207-6). So a model
of a fold sees, for each row that it is fitted on, the rate without the row's own part of the rows and without the fold that is
held out, and for each held-out row the rate of all rows that it was fitted on. The model that is deployed has the rates of all
training rows. A part is a fold, or with few folds a share of one, so that enough rows are left to learn a rate from.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

# A rate is drawn towards that of all rows as if its category had so many rows more, with that rate.
PRIOR_ROWS = 10.0
# Parts that rows are in at least.
LEAST_PARTS = 5


def parts_of(folds: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the part of each row, shape (n,): the parts of fold f are f * m to f * m + m - 1, with the same m for all."""
    each = parts_each(int(folds.max()) + 1)
    return (folds * each + np.arange(len(folds)) % each).astype(np.int8)


def parts_each(fold_count: int) -> int:
    """Return the number of parts of a fold."""
    return -(-LEAST_PARTS // fold_count)


@dataclass(frozen=True)
class CategoryCounts:
    """Training rows and churned ones of each category and part.

    Attributes:
        rows: Number of rows by position of the feature: arrays of shape (parts, codes).
        churned: Number of churned rows, likewise.
    """

    rows: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)
    churned: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        features: NDArray[np.float32],
        labels: NDArray[np.int8],
        parts: NDArray[np.int8],
        codes: Mapping[int, int],
        count: int,
    ) -> Self:
        """Count rows.

        Args:
            features: Encoded rows, shape (n, k), in which the features to count are codes, from 0.
            labels: Their outcomes, shape (n,), 0 or 1.
            parts: Their parts, shape (n,), from 0.
            codes: Number of codes of each of these features, by its position.
            count: Number of parts.
        """
        rows, churned = {}, {}
        for position, most in codes.items():
            cells = parts.astype(np.int64) * most + features[:, position].astype(np.int64)
            rows[position], churned[position] = (
                np.bincount(some, minlength=count * most).reshape(count, most) for some in (cells, cells[labels == 1])
            )
        return cls(rows, churned)

    def __add__(self, other: Self) -> Self:
        """Return the counts of both sets of rows."""
        return type(self)(
            {position: each + other.rows[position] for position, each in self.rows.items()},
            {position: each + other.churned[position] for position, each in self.churned.items()},
        )

    def at(self, positions: Sequence[int]) -> Self:
        """Return the same counts for features at other positions, given in the order of the present ones."""
        rows, churned = self.rows.values(), self.churned.values()
        return type(self)(dict(zip(positions, rows, strict=True)), dict(zip(positions, churned, strict=True)))

    def only(self, positions: Sequence[int]) -> Self:
        """Return the counts of some of the features, in this order, by their new positions."""
        places = [(new, old) for new, old in enumerate(positions) if old in self.rows]
        return type(self)({new: self.rows[old] for new, old in places}, {new: self.churned[old] for new, old in places})

    def log_odds(self, position: int, without: Collection[int] = ()) -> NDArray[np.float32]:
        """Return the log-odds of the churn rate by each code of a feature, shape (codes,), without the rows of some parts."""
        used = [part for part in range(len(self.rows[position])) if part not in without]
        rows, churned = self.rows[position][used].sum(axis=0), self.churned[position][used].sum(axis=0)
        # Also without any rows it is between 0 and 1.
        prior = (churned.sum() + 0.5) / (rows.sum() + 1.0)
        rate = (churned + PRIOR_ROWS * prior) / (rows + PRIOR_ROWS)
        return np.asarray(np.log(rate / (1.0 - rate)), dtype=np.float32)

    def fill(
        self, features: NDArray[np.float32], without: Collection[int], chosen: NDArray[np.bool_] | slice = slice(None)
    ) -> None:
        """Replace the codes in chosen rows of a matrix, shape (n, k), by log-odds without the rows of some parts."""
        for position in self.rows:
            codes = features[chosen, position].astype(np.int64)
            features[chosen, position] = self.log_odds(position, without)[codes]


@dataclass(frozen=True)
class TrainingRows:
    """Encoded training rows.

    Attributes:
        features: Features, shape (n, k), float32; those that are counted are codes of categories.
        labels: Outcomes, shape (n,), 0 or 1.
        folds: Folds, shape (n,), from 0: each row is held out of the models of its fold.
        counts: Categories of all training rows, of which these may be a sample; empty if no feature is a code.
        parts: Parts, shape (n,), by which the categories were counted; not needed if no feature is a code.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int8]
    folds: NDArray[np.int8]
    counts: CategoryCounts = field(default_factory=CategoryCounts)
    parts: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, np.int8))

    @classmethod
    def of(
        cls,
        features: NDArray[np.float32],
        labels: NDArray[np.int8],
        folds: NDArray[np.int8],
        codes: Mapping[int, int],
    ) -> Self:
        """Return rows and the counts of their own categories; ``codes`` has the number of codes by position."""
        parts = parts_of(folds)
        counts = CategoryCounts.of(features, labels, parts, codes, int(parts.max()) + 1)
        return cls(features, labels, folds, counts, parts)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.labels)

    @property
    def fold_count(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1

    def parts_of_fold(self, fold: int) -> range:
        """Return the parts of a fold."""
        each = parts_each(self.fold_count)
        return range(fold * each, fold * each + each)

    def held_out(self, fold: int) -> NDArray[np.float32]:
        """Return the features of the rows of a fold, as the models know them that were not fitted on these."""
        rows: NDArray[np.float32] = self.features[self.folds == fold]
        self.counts.fill(rows, self.parts_of_fold(fold))
        return rows

    def others(self, fold: int) -> NDArray[np.float32]:
        """Return the features of the other rows, as the models know them that are fitted on these."""
        chosen = self.folds != fold
        rows: NDArray[np.float32] = self.features[chosen]
        if self.counts.rows:
            parts, left_out = self.parts[chosen], self.parts_of_fold(fold)
            for part in np.unique(parts).tolist():
                self.counts.fill(rows, {*left_out, part}, parts == part)
        return rows

    def known(self) -> NDArray[np.float32]:
        """Return the features of all rows with the rates of all training rows."""
        if not self.counts.rows:
            return self.features
        rows = self.features.copy()
        self.counts.fill(rows, [])
        return rows

    def only(self, positions: Sequence[int]) -> "TrainingRows":
        """Return the rows with some of the features, in this order."""
        if list(positions) == list(range(self.features.shape[1])):
            return self
        features = np.ascontiguousarray(self.features[:, positions])
        return replace(self, features=features, counts=self.counts.only(positions))

    def drawn(self, step: int) -> "TrainingRows":
        """Return evenly spaced rows, one of so many, with the counts of all."""
        every = slice(None, None, step)
        return replace(
            self,
            features=self.features[every],
            labels=self.labels[every],
            folds=self.folds[every],
            parts=self.parts[every],
        )

    def in_folds(self, folds: NDArray[np.int8]) -> "TrainingRows":
        """Return the rows in other folds, shape (n,), with the counts of their own categories."""
        codes = {position: rows.shape[1] for position, rows in self.counts.rows.items()}
        return TrainingRows.of(self.features, self.labels, folds, codes)

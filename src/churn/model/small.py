"""Scores of a few rows at a time, as a service needs them: without pandas, on the thread that asks.

Each result is that of the batch path, to the last bit: the checks are those of `churn.tables.rows`, the features those of
`Encoder.transform`, the margins those of XGBoost. Only the way is another one: values are converted one by one instead of
column by column, whose fixed costs are milliseconds.
"""

import math
from array import array
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn.config import AccountSchema, RiskBand
from churn.errors import AccountsError
from churn.model.calibration import Calibration
from churn.model.encoder import Encoder
from churn.model.linear import Linear
from churn.model.trees import Trees
from churn.tables.cells import respelled
from churn.tables.checks import NO_ROWS
from churn.tables.faults import LARGEST_NUMBER
from churn.tables.rows import CheckedRecords, RowCheck, RowFault, Value

SUBJECT = "accounts to score"


class RowScore(NamedTuple):
    """The score of one row.

    Attributes:
        row: Position of the row among the records, from 0.
        id: Canonical id of the account.
        probability: Probability of churn, exactly the float32 of the batch path.
        prediction: 1 if the probability is at or above the threshold, else 0.
        risk_band: Name of the risk band.
        account: Canonical values by column: id, numeric columns (nan where missing) and categorical ones (None).
        contributions: Contributions of the terms to the margin in log-odds, in the order of `Encoder.terms`; none if they
            were not asked for.
    """

    row: int
    id: str
    probability: float
    prediction: int
    risk_band: str
    account: Mapping[str, Value]
    contributions: tuple[float, ...] = ()


class PartialScores(NamedTuple):
    """Scores of the rows without faults, and the faults of the others, both in the order of the records."""

    scores: list[RowScore]
    faults: list[RowFault]


class RowScorer:
    """Scores a few rows by a model. Threads may share it."""

    def __init__(
        self,
        schema: AccountSchema,
        encoder: Encoder,
        trees: Trees,
        linear: Linear | None,
        calibration: Calibration,
        threshold: float,
        risk_bands: Sequence[RiskBand],
    ) -> None:
        """Prepare the parts of a model; see `churn.model.ChurnModel`."""
        self.check = RowCheck(schema, SUBJECT)
        self._id = schema.id
        self._features = RowEncoder(encoder)
        self._trees, self._linear, self._calibration = trees, linear, calibration
        self._threshold = threshold
        self._starts = np.array([band.minimum for band in risk_bands], dtype=np.float32)
        self._bands = [band.name for band in risk_bands]
        self._shares = encoder.term_shares
        self._parts = [
            (int(feature), int(term), float(self._shares[feature, term])) for feature, term in np.argwhere(self._shares)
        ]

    def prepare(self, *, reasons: bool) -> None:
        """Compute the tables that the first call would compute, also those of the reasons if they will be asked for."""
        row = np.zeros((1, self._features.width), np.float32)
        self._trees.few_margins(row)
        if reasons:
            self._trees.row_contributions(row, self._shares)

    def score(self, records: Sequence[Mapping[str, Any]], reasons: bool = False) -> list[RowScore]:
        """Score rows, see `ChurnModel.score_rows`."""
        checked = self.check(records)
        sentences = checked.sentences if len(records) else [NO_ROWS]
        if sentences:
            raise AccountsError(SUBJECT, sentences)
        return self._scores(checked, reasons)

    def score_good(
        self, records: Sequence[Mapping[str, Any]], reasons: bool = False, as_of: date | None = None
    ) -> PartialScores:
        """Score the rows without faults, see `ChurnModel.score_good_rows`."""
        checked = self.check(records, as_of)
        return PartialScores(self._scores(checked, reasons), checked.faults)

    def _scores(self, checked: CheckedRecords, reasons: bool) -> list[RowScore]:
        if not checked.rows:
            return []
        features = self._features(checked.accounts)
        margin: NDArray[np.floating] = self._trees.few_margins(features)
        if self._linear is not None:
            margin = (margin + self._linear.few_margins(features)).astype(np.float32)
        probability = self._calibration.apply(margin)
        found = zip(
            checked.rows,
            checked.accounts,
            probability.tolist(),
            (probability >= self._threshold).astype(np.int8).tolist(),
            (np.searchsorted(self._starts, probability, side="right") - 1).tolist(),
            self._contributions(features) if reasons else [()] * len(features),
            strict=True,
        )
        # The check lets no row without an id pass.
        return [
            RowScore(row, str(account[self._id]), chance, prediction, self._bands[band], account, parts)
            for row, account, chance, prediction, band, parts in found
        ]

    def _contributions(self, features: NDArray[np.float32]) -> list[tuple[float, ...]]:
        """Return the contributions of the terms to the margin of each row."""
        contributions: list[list[float]] = self._trees.row_contributions(features, self._shares).tolist()
        if self._linear is not None:
            # One after the other, as `by_column` adds them.
            for row, of_features in zip(contributions, self._linear.contributions(features).tolist(), strict=True):
                of_terms = [0.0] * len(row)
                for feature, term, share in self._parts:
                    of_terms[term] += of_features[feature] * share
                row[:] = [one + other for one, other in zip(row, of_terms, strict=True)]
        return [tuple(row) for row in contributions]


class RowEncoder:
    """`Encoder.transform` for canonical rows that are mappings.

    Attributes:
        width: Number of features.
    """

    def __init__(self, encoder: Encoder) -> None:
        """Prepare the places of the features."""
        self.width = len(encoder.feature_names)
        self._start = array("f", bytes(4 * self.width))
        self._numeric: list[tuple[str, int, float, bool]] = []
        self._ratios: list[tuple[str, str, int, float, bool]] = []
        at = 0
        for name in encoder.numeric:
            self._numeric.append((name, at, _held(encoder.medians[name]), name in encoder.missing))
            at += 1 + (name in encoder.missing)
        for ratio in encoder.ratios:
            has_missing = ratio.name in encoder.missing
            median = _held(encoder.medians[ratio.name])
            self._ratios.append((ratio.numerator, ratio.denominator, at, median, has_missing))
            at += 1 + has_missing
        self._places: list[tuple[str, dict[str | None, int]]] = []
        self._rates: list[tuple[str, int, dict[str | None, float], float]] = []
        for name, vocabulary in encoder.vocabularies.items():
            places: dict[str | None, int] = {}
            for place, value in enumerate(respelled(vocabulary), at):
                places.setdefault(value, place)
            at += len(vocabulary)
            if name in encoder.missing:
                places[None] = at
                at += 1
            self._places.append((name, places))
            if name in encoder.rated:
                self._rates.append((name, at, *_rates_of(encoder, name)))
                at += 1
        self._differences: list[tuple[str, float, str, float, float, int]] = []
        for place, (first, second, factor) in enumerate(encoder.differences, at):
            medians = encoder.medians[first], encoder.medians[second]
            self._differences.append((first, medians[0], second, medians[1], factor, place))

    def __call__(self, accounts: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
        """Encode canonical rows; the result has shape (n, width), without nan."""
        width = self.width
        matrix = self._start * len(accounts)
        first = 0
        for account in accounts:
            for name, at, median, has_missing in self._numeric:
                number = account[name]
                if number == number:
                    matrix[first + at] = number
                else:
                    matrix[first + at] = median
                    if has_missing:
                        matrix[first + at + 1] = 1.0
            for over, under, at, median, has_missing in self._ratios:
                divisor = account[under]
                number = account[over] / divisor if divisor else math.nan
                if number == number:
                    matrix[first + at] = _held(number)
                else:
                    matrix[first + at] = median
                    if has_missing:
                        matrix[first + at + 1] = 1.0
            for name, places in self._places:
                place = places.get(account[name])
                if place is not None:
                    matrix[first + place] = 1.0
            for name, at, rates, others in self._rates:
                matrix[first + at] = rates.get(account[name], others)
            for name, median, other, other_median, factor, at in self._differences:
                number, less = account[name], account[other]
                number = number if number == number else median
                less = less if less == less else other_median
                matrix[first + at] = _held(number - factor * less)
            first += width
        return np.frombuffer(matrix, dtype=np.float32).reshape(len(accounts), width)


def _rates_of(encoder: Encoder, name: str) -> tuple[dict[str | None, float], float]:
    """Return the rate of each category and of a missing value, and that of all others."""
    *of_categories, others, missing = encoder.rates[name]
    rates: dict[str | None, float] = {None: missing}
    for value, rate in zip(respelled(encoder.rated[name]), of_categories, strict=True):
        rates.setdefault(value, rate)
    return rates, others


def _held(number: float) -> float:
    # A ratio of two numbers can exceed float32.
    return min(max(number, -LARGEST_NUMBER), LARGEST_NUMBER)

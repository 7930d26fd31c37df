"""The encoder: fitted on training rows, stored with the model and applied as stored.

Numeric columns and ratios become one feature each, with missing values replaced by the median of the training rows. A
column that had missing values in training also gets a 0/1 feature for *missing*. A categorical column becomes one 0/1
feature for each category of its vocabulary, and one for *missing* if it had missing values in training. A category outside
the vocabulary, unseen or too rare in training, is 0 in all of them. A column with many categories can become one number instead,
the log-odds of the churn rate of its category in the training rows (target encoding). Two numeric columns that go together can
have one more feature, how far they are apart.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from churn.config import Ratio
from churn.config.schema import BLANK, MISSING_NUMBERS
from churn.errors import AccountsError
from churn.tables import Table, as_numbers, as_text
from churn.tables.cells import respelled
from churn.tables.faults import LARGEST_NUMBER, NOT_A_NUMBER, TOO_LARGE, Fault

MISSING = "(missing)"
RATE = "(churn rate)"


class Difference(NamedTuple):
    """A feature that is a numeric column minus a multiple of another; missing values are their medians in it."""

    first: str
    second: str
    factor: float

    @property
    def name(self) -> str:
        """Name of the feature."""
        return f"{self.first}=(against {self.second})"


@dataclass(frozen=True)
class Encoder:
    """Encoding of account rows as features, learned from the training rows.

    Attributes:
        numeric: Numeric columns, in the order of the features.
        ratios: Features that are the ratio of two numeric columns.
        medians: Median of the training rows for each numeric column and ratio.
        missing: Numeric columns, ratios and categorical columns with a feature for *missing*.
        vocabularies: Categories of each categorical column that are 0/1 features, sorted.
        rated: Categories of the columns that have a rate as a feature, sorted.
        rates: Their log-odds of churn: of each category, of all others together, and of missing values. Empty until training
            has learned them; the feature is the position of the rate then.
        differences: Features of two numeric columns, after all others.
    """

    numeric: tuple[str, ...]
    ratios: tuple[Ratio, ...]
    medians: Mapping[str, float]
    missing: frozenset[str]
    vocabularies: Mapping[str, tuple[str, ...]]
    rated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()

    @property
    def known(self) -> dict[str, tuple[str, ...]]:
        """Categories of each categorical column that make a difference, sorted."""
        return {name: self.rated.get(name, vocabulary) for name, vocabulary in self.vocabularies.items()}

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the account columns that the encoder reads."""
        return (*self.numeric, *self.vocabularies)

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, in the order of the columns of `transform`."""
        return [each.name for each in self._features()]

    @property
    def feature_columns(self) -> list[tuple[str, ...]]:
        """For each feature the account columns that it is computed from."""
        return [each.columns for each in self._features()]

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of each column in each feature, shape (features, columns): the two columns of a ratio have half each."""
        shares = np.zeros((len(self.feature_names), len(self.columns)))
        for position, sources in enumerate(self.feature_columns):
            for source in sources:
                shares[position, self.columns.index(source)] += 1 / len(sources)
        return shares

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms: numeric columns, ratios and categorical columns."""
        return (*self.numeric, *(ratio.name for ratio in self.ratios), *self.vocabularies)

    @property
    def term_shares(self) -> NDArray[np.float64]:
        """Share of each term in each feature, shape (features, terms): one has it all, but for the two of a difference."""
        features = self._features()
        place = {name: position for position, name in enumerate(self.terms)}
        shares = np.zeros((len(features), len(place)))
        for position, each in enumerate(features):
            for term in each.terms:
                shares[position, place[term]] += 1 / len(each.terms)
        return shares

    def ratio_values(self, accounts: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
        """Return the values of each ratio, nan where one is missing; of canonical accounts, n rows."""
        numbers = {name: accounts[name].to_numpy(np.float64) for name in self.numeric}
        return {
            ratio.name: divide(numbers[ratio.numerator], numbers[ratio.denominator])
            for ratio in self.ratios
            if {ratio.numerator, ratio.denominator} <= set(numbers)
        }

    def directions(self, monotone: Mapping[str, int]) -> tuple[int, ...]:
        """Return the direction of each feature, 1, -1 or 0 for none, given those of some numeric columns.

        A ratio rises with its numerator and falls with its denominator, neither of which may be negative.
        """
        of_feature = dict(monotone)
        for ratio in self.ratios:
            of_feature[ratio.name] = monotone.get(ratio.numerator) or -monotone.get(ratio.denominator, 0)
        return tuple(of_feature.get(name, 0) for name in self.feature_names)

    def _features(self) -> list["_Feature"]:
        """Return the features in their order."""
        sources: dict[str, tuple[str, ...]] = {name: (name,) for name in self.numeric}
        sources |= {ratio.name: (ratio.numerator, ratio.denominator) for ratio in self.ratios}
        features: list[_Feature] = []
        for name, columns in sources.items():
            features.append(_Feature(name, (name,), columns))
            if name in self.missing:
                features.append(_Feature(f"{name}={MISSING}", (name,), columns))
        for name, vocabulary in self.vocabularies.items():
            names = [f"{name}={value}" for value in vocabulary]
            names += [f"{name}={MISSING}"] * (name in self.missing) + [f"{name}={RATE}"] * (name in self.rated)
            features += [_Feature(each, (name,), (name,)) for each in names]
        for each in self.differences:
            both = (each.first, each.second)
            features.append(_Feature(each.name, both, both))
        return features

    @property
    def codes(self) -> dict[int, int]:
        """For each feature that is a rate, by its position: the number of rates."""
        place = {name: position for position, name in enumerate(self.feature_names)}
        return {place[f"{name}={RATE}"]: len(categories) + 2 for name, categories in self.rated.items()}

    @property
    def plain(self) -> Self:
        """The encoder without rates and differences."""
        return replace(self, rated={}, rates={}, differences=())

    def with_rates(self, rates: Mapping[str, Sequence[float]]) -> Self:
        """Return the encoder with the rates that training has learned, by column."""
        return replace(self, rates={name: tuple(map(float, rates[name])) for name in self.rated})

    def with_features_of(self, columns: Collection[str]) -> Self:
        """Return the encoder with rates for these columns, and for those without 0/1 features; 0/1 features for the others."""
        return replace(
            self,
            vocabularies={name: () if name in columns else known for name, known in self.vocabularies.items()},
            rated={name: known for name, known in self.rated.items() if name in columns or not self.vocabularies[name]},
        )

    def transform(
        self,
        accounts: pd.DataFrame,
        missing: Collection[str] = MISSING_NUMBERS,
        missing_text: Collection[str] = BLANK,
    ) -> NDArray[np.float32]:
        """Encode accounts.

        Args:
            accounts: Account rows, raw or canonical, shape (n, any); the order of the columns does not matter.
            missing: Values of numeric columns of raw rows that mean missing.
            missing_text: Values of categorical columns of raw rows that mean missing.

        Returns:
            Matrix of shape (n, number of features), without nan.

        Raises:
            AccountsError: If a column is missing, or a numeric column holds values that are not numbers or too large.
        """
        numbers = self._numbers(accounts, missing)
        for ratio in self.ratios:
            numbers[ratio.name] = divide(numbers[ratio.numerator], numbers[ratio.denominator])
        matrix = np.zeros((len(accounts), len(self.feature_names)), dtype=np.float32)
        at = 0
        for name, values in numbers.items():
            absent = np.isnan(values)
            # A ratio of two numbers can exceed float32.
            matrix[:, at] = np.clip(np.where(absent, self.medians[name], values), -LARGEST_NUMBER, LARGEST_NUMBER)
            at += 1
            if name in self.missing:
                matrix[:, at] = absent
                at += 1
        for name, vocabulary in self.vocabularies.items():
            codes = category_codes(accounts[name], vocabulary, missing_text)
            known = np.flatnonzero(codes >= 0)
            matrix[known, at + codes[known]] = 1.0
            at += len(vocabulary)
            if name in self.missing:
                matrix[:, at] = codes == MISSING_CODE
                at += 1
            if name in self.rated:
                matrix[:, at] = self._rate(name, accounts[name], missing_text)
                at += 1
        for first, second, factor in self.differences:
            one, other = (
                np.where(np.isnan(numbers[name]), self.medians[name], numbers[name]) for name in (first, second)
            )
            matrix[:, at] = np.clip(one - factor * other, -LARGEST_NUMBER, LARGEST_NUMBER)
            at += 1
        return matrix

    def _rate(self, name: str, values: pd.Series, missing: Collection[str]) -> NDArray[np.number]:
        """Return the rate of each value, or its position while the rates are unknown."""
        known = self.rated[name]
        codes = category_codes(values, known, missing)
        codes[codes == UNSEEN_CODE] = len(known)
        codes[codes == MISSING_CODE] = len(known) + 1
        return np.asarray(self.rates[name])[codes] if name in self.rates else codes

    def _numbers(self, accounts: pd.DataFrame, missing: Collection[str]) -> dict[str, NDArray[np.float64]]:
        faults = [f"missing column: {name}" for name in self.columns if name not in accounts.columns]
        numbers: dict[str, NDArray[np.float64]] = {}
        for name in self.numeric:
            if name not in accounts.columns:
                continue
            values, wrong = as_numbers(accounts[name], missing)
            numbers[name] = values.to_numpy(np.float64)
            # Without examples: text in a numeric column may be a shifted row, and an id must not reach the log.
            for reason, broken in ((NOT_A_NUMBER, wrong), (TOO_LARGE, np.abs(numbers[name]) > LARGEST_NUMBER)):
                if broken.any():
                    faults.append(Fault.of(name, reason, broken, None).sentence)
        if faults:
            raise AccountsError("accounts to encode", faults)
        return numbers

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, from which `from_dict` restores an equal encoder."""
        return {
            "numeric": list(self.numeric),
            "ratios": [ratio.model_dump() for ratio in self.ratios],
            "medians": dict(self.medians),
            "missing": sorted(self.missing),
            "vocabularies": {name: list(values) for name, values in self.vocabularies.items()},
            **({"rated": {name: list(values) for name, values in self.rated.items()}} if self.rated else {}),
            **({"rates": {name: list(values) for name, values in self.rates.items()}} if self.rates else {}),
            **({"differences": [list(each) for each in self.differences]} if self.differences else {}),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Restore an encoder from the result of `to_dict`."""
        return cls(
            numeric=tuple(stored["numeric"]),
            ratios=tuple(Ratio.model_validate(ratio) for ratio in stored["ratios"]),
            medians={name: float(value) for name, value in stored["medians"].items()},
            missing=frozenset(stored["missing"]),
            vocabularies={name: tuple(values) for name, values in stored["vocabularies"].items()},
            rated={name: tuple(values) for name, values in stored.get("rated", {}).items()},
            rates={name: tuple(map(float, values)) for name, values in stored.get("rates", {}).items()},
            differences=tuple(Difference(*each) for each in stored.get("differences", ())),
        )


class _Feature(NamedTuple):
    """A feature: its name, the terms that share it, and the columns that it is computed from."""

    name: str
    terms: tuple[str, ...]
    columns: tuple[str, ...]


UNSEEN_CODE = -1
MISSING_CODE = -2


def category_codes(
    series: pd.Series, vocabulary: tuple[str, ...], missing: Collection[str] = BLANK
) -> NDArray[np.int64]:
    """Return the position of each value in the vocabulary; `UNSEEN_CODE` if outside, `MISSING_CODE` if missing."""
    text = pa.array(as_text(series, missing), type=pa.large_string(), from_pandas=True)
    codes = pc.index_in(text, value_set=pa.array(respelled(vocabulary), type=pa.large_string()))
    result: NDArray[np.int64] = codes.fill_null(UNSEEN_CODE).to_numpy(zero_copy_only=False).astype(np.int64)
    result[text.is_null().to_numpy(zero_copy_only=False)] = MISSING_CODE
    return result


def divide(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the element-wise ratio, nan where the denominator is zero or either is missing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator == 0, np.nan, numerator / denominator)


@singledispatch
def encode_rows(table: Table, encoder: Encoder, kept: list[str]) -> Table:
    """Return a lazily encoded table: the kept columns, then one float32 column per feature.

    Args:
        table: Canonical rows; `churn.spark` registers the implementation for Spark frames.
        encoder: Fitted encoder.
        kept: Account columns to keep, in this order.
    """
    return EncodedRows(table, encoder, kept)


class EncodedRows(Table):
    """Rows of a table, encoded when they are read."""

    def __init__(self, source: Table, encoder: Encoder, kept: list[str]) -> None:
        """Declare the rows, the encoder, and the columns to keep before the features."""
        self._source, self._encoder, self._kept = source, encoder, kept

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return [*self._kept, *self._encoder.feature_names]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._source)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Iterate over the encoded rows in batches."""
        for rows in self._source.batches():
            features = pd.DataFrame(
                self._encoder.transform(rows), index=rows.index, columns=self._encoder.feature_names
            )
            encoded = pd.concat([rows[self._kept], features], axis="columns")
            yield encoded if columns is None else encoded[list(columns)]

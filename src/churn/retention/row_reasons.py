"""Reasons of single rows, as a service needs them: those of a table, one row at a time."""

import math
from typing import NamedTuple

import numpy as np

from churn.config import Reasons
from churn.model import RowScore
from churn.retention.reasons import NO_ACTION, Writer
from churn.retention.terms import Terms
from churn.retention.wording import check_sentences


class Reason(NamedTuple):
    """A reason of one row.

    Attributes:
        column: The column or ratio that raises the score.
        code: Its name in capitals and its case, see `Explanation`.
        text: The sentence.
        contribution: Contribution of the reason in log-odds.
    """

    column: str
    code: str
    text: str
    contribution: float


class RowExplanation(NamedTuple):
    """Reasons of one row.

    Attributes:
        reasons: The reasons, the largest contribution first.
        other: Contribution of everything else but the baseline; nan for rows that are not explained.
        action: Position of the suggested action in ``reasons.actions``; -1 for none.
    """

    reasons: list[Reason]
    other: float
    action: int


class RowReasons:
    """Reasons of single rows: those of `explain_accounts`, without a table."""

    def __init__(self, terms: Terms, reasons: Reasons, currency: str | None = None) -> None:
        """Prepare the sentences.

        Args:
            terms: Terms of the model.
            reasons: Number of reasons, minimum probability, sentences and actions.
            currency: Currency of amounts, if it is known.

        Raises:
            ParametersError: See `churn.retention.wording.check_texts`.
        """
        check_sentences(reasons, terms)
        self.count, self._least = reasons.count, reasons.minimum_probability
        self._terms = terms
        self._close = [term.close(reasons.close_to_typical) for term in terms.items]
        self._writers = [Writer(term, reasons, currency) for term in terms.items]

    def __call__(self, score: RowScore, count: int | None = None) -> RowExplanation:
        """Return the reasons of a score of `ChurnModel.score_rows` with contributions.

        Args:
            score: The score.
            count: Maximum number of reasons, for any probability; by default ``reasons.count``, from
                ``reasons.minimum_probability`` on. The action is that of the default in any case.
        """
        is_listed = np.float32(score.probability) >= self._least
        if count is None:
            if not is_listed:
                return RowExplanation([], math.nan, NO_ACTION)
            count = self.count
        found = self._found(score)
        other = 0.0
        for part in score.contributions:
            other = other + part
        told: list[Reason] = []
        action = NO_ACTION
        for rank, (total, position) in enumerate(found[: max(count, self.count)]):
            code, text, fitting = self._words(position, score)
            if rank < count:
                told.append(Reason(self._terms.items[position].name, code, text, total))
                other = other - total
            if rank < self.count and is_listed and action == NO_ACTION:
                action = fitting
        return RowExplanation(told, other, action)

    def _found(self, score: RowScore) -> list[tuple[float, int]]:
        """Return contribution and term of each reason, the largest first."""
        parts, found = score.contributions, []
        for members in self._terms.groups:
            total, best, most = parts[members[0]], -1, -math.inf
            for member in members[1:]:
                total = total + parts[member]
            for member in members:
                if parts[member] > 0 and parts[member] > most and not self._is_close(member, score):
                    best, most = member, parts[member]
            if best >= 0 and total > 0:
                found.append((total, best))
        return sorted(found, key=lambda each: -each[0])

    def _is_close(self, position: int, score: RowScore) -> bool:
        term = self._terms.items[position]
        if isinstance(term.typical, str):
            return False
        return self._close[position].is_close(term.value(score.account))

    def _words(self, position: int, score: RowScore) -> tuple[str, str, int]:
        term, writer = self._terms.items[position], self._writers[position]
        value = term.value(score.account)
        if value is None or value != value:
            return writer.of_missing()
        if isinstance(term.typical, str):
            return writer.of_category(str(value))
        if term.columns is None:
            return writer.of_number(float(value))
        over, under = (float(score.account[name]) for name in term.columns)  # type: ignore[arg-type]
        return writer.of_number(float(value), (over, under))

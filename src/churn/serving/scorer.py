"""From the body of a request to scores: what may be asked, what is wrong with its rows, and what the answer says."""

import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from churn.config import AccountSchema, Decision, Profit, Reasons, at_costs
from churn.errors import closest
from churn.model.small import RowScore
from churn.retention.order import in_cents
from churn.retention.profit import choose, expected_profit
from churn.retention.reasons import NO_ACTION, offer_costs
from churn.retention.row_reasons import RowExplanation, RowReasons
from churn.serving.champion import InUse
from churn.serving.forms import Refusal
from churn.tables.rows import RowFault

MOST_REASONS = 20
# Most faults that an answer lists.
MOST_FAULTS = 1000
# Most characters of a note.
MOST_SHOWN = 1000


class Wish(NamedTuple):
    """What a request asks for.

    Attributes:
        rows: Rows, each a mapping from column to value.
        reasons: Number of reasons of each score.
        decision: Whether to say if an account is one to act on.
        partial: Whether to score the rows without faults if others have some.
        as_of: Date of the values; the day of the request by default.
    """

    rows: Sequence[Any]
    reasons: int = 0
    decision: bool = False
    partial: bool = False
    as_of: date | None = None


class Scored(NamedTuple):
    """Scores of a request.

    Attributes:
        scores: Scores of the rows without faults.
        faults: Faults of the others.
        notes: Columns that were given and are not used.
    """

    scores: list[RowScore]
    faults: list[RowFault]
    notes: list[str]


def parsed(body: bytes) -> Any:
    """Return a JSON document.

    Raises:
        Refusal: If it is none, or holds numbers that JSON does not have.
    """

    def strange(name: str) -> Any:
        raise ValueError(f"{name} is no number of JSON; null is a missing value")

    try:
        document = json.loads(body.decode("utf-8-sig"), parse_constant=strange)
        if b"\\u" in body:  # half a pair of surrogates is valid JSON, but no text
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeError:
        raise Refusal(400, "not_json", "the body is not text in UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "not_json", f"the body is not JSON: {error if body else 'it is empty'}") from None
    return document


def read_wish(document: Any, most_rows: int) -> Wish:
    """Return what the document of a request asks for.

    Raises:
        Refusal: Names the field, its value, and what is expected.
    """
    if not isinstance(document, dict):
        raise Refusal(422, "invalid_request", 'the body must be an object like {"rows": [{column: value, ...}]}')
    if strange := [name for name in document if name not in Wish._fields]:
        close = closest(str(strange[0]), Wish._fields)
        hint = f"did you mean {close}?" if close else f"there are {', '.join(Wish._fields)}"
        raise Refusal(422, "invalid_request", f"{_shown(strange[0])}: there is no such field; {hint}")
    rows, reasons = document.get("rows"), document.get("reasons", 0)
    if not isinstance(rows, list) or not rows:
        raise Refusal(422, "invalid_request", "rows must be a list of one row or more")
    check_size(len(rows), most_rows)
    if isinstance(reasons, bool) or not isinstance(reasons, int) or not 0 <= reasons <= MOST_REASONS:
        raise Refusal(
            422, "invalid_request", f"reasons = {_shown(reasons)}: a number from 0 to {MOST_REASONS} is expected"
        )
    for name in ("decision", "partial"):
        if not isinstance(document.get(name, False), bool):
            raise Refusal(422, "invalid_request", f"{name} = {_shown(document[name])}: true or false is expected")
    return Wish(
        rows, reasons, document.get("decision", False), document.get("partial", False), _day(document.get("as_of"))
    )


def check_size(rows: int, most_rows: int) -> None:
    """Check the number of rows of a request.

    Raises:
        Refusal: If there are too many.
    """
    if rows > most_rows:
        raise Refusal(
            413, "too_many_rows", f"the request has {rows:,} rows; at most {most_rows:,} are allowed (serve.rows)"
        )


def _day(given: Any) -> date | None:
    if given is None:
        return None
    try:
        return date.fromisoformat(given)
    except (TypeError, ValueError):
        raise Refusal(422, "invalid_request", f"as_of = {_shown(given)}: a date like 2026-01-31 is expected") from None


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."


class Scorer:
    """Scores requests with the model in use, and says what follows from a score."""

    def __init__(self, profit: Profit, decision: Decision, reasons: Reasons) -> None:
        """Set the terms of decisions and the sentences of reasons."""
        self._profit, self._decision, self._reasons = profit, decision, reasons
        # The model belongs to `Champion`, which decides when it goes.
        self._sentences: WeakKeyDictionary[InUse, RowReasons] = WeakKeyDictionary()

    def score(self, used: InUse, wish: Wish) -> Scored:
        """Score the rows of a request.

        Raises:
            Refusal: If rows have faults and the request does not want partial answers; lists all of them.
        """
        schema, rows = used.model.schema, wish.rows
        as_of = wish.as_of or datetime.now(UTC).date()
        faults = list(_form_faults(rows, schema))
        faulty = {fault.row for fault in faults}
        records = [row if isinstance(row, dict) else {} for row in rows] if faulty else rows
        explained = wish.reasons > 0 or (wish.decision and bool(self._reasons.actions))
        scores, found = used.model.score_good_rows(records, reasons=explained, as_of=as_of)
        # Of a row without its form, that is told and nothing else.
        faults += [fault for fault in found if fault.row not in faulty]
        spare = sorted(set().union(*records) - (schema.known_columns - {schema.label.column}))
        notes = [f"columns that are not used: {', '.join(spare)}"[:MOST_SHOWN]] if spare else []
        if wish.decision and self._profit.value_column is not None:
            faults += _value_faults(scores, self._profit.value_column)
            faulty = {fault.row for fault in faults}
            scores = [score for score in scores if score.row not in faulty]
        faults.sort(key=lambda fault: fault.row)
        if faults and not wish.partial:
            bad = len({fault.row for fault in faults})
            raise Refusal(
                422,
                "invalid_rows",
                f"{bad} of {len(rows)} rows {'has' if bad == 1 else 'have'} faults, and nothing was scored; "
                '"partial": true scores the others',
                shown_faults(faults),
            )
        return Scored(scores, faults, notes)

    def content(self, used: InUse, wish: Wish, scored: Scored, request_id: str) -> dict[str, Any]:
        """Return the content of an answer: with partial answers, rows with faults have the score ``null``."""
        items: list[dict[str, Any]] = [
            {
                "id": score.id,
                "probability": score.probability,
                "prediction": score.prediction,
                "risk_band": score.risk_band,
            }
            for score in scored.scores
        ]
        acts_on_reasons = wish.decision and bool(self._reasons.actions)
        told: list[RowExplanation] = []
        if wish.reasons or acts_on_reasons:
            sentences = self._sentences_of(used)
            told = [sentences(score, wish.reasons) for score in scored.scores]
        if wish.decision:
            actions = [each.action for each in told] if acts_on_reasons else [NO_ACTION] * len(items)
            for item, decided in zip(items, self._decided(used, scored.scores, actions), strict=True):
                item["decision"] = decided
        if wish.reasons:
            for item, each in zip(items, told, strict=True):
                item["reasons"] = [reason._asdict() for reason in each.reasons]
                item["other"] = each.other
        places: list[dict[str, Any] | None] = [None] * len(wish.rows) if wish.partial else list(items)
        if wish.partial:
            for item, score in zip(items, scored.scores, strict=True):
                places[score.row] = item
        content: dict[str, Any] = {
            "scores": places,
            "model": used.described,
            "as_of": (wish.as_of or datetime.now(UTC).date()).isoformat(),
            "request_id": request_id,
        }
        if wish.partial:
            content["faults"] = shown_faults(scored.faults)
        if scored.notes:
            content["notes"] = scored.notes
        if wish.decision:
            content["decision"] = {
                "rule": self._decision.rule,
                "costs": at_costs(self._profit.examples) or "as configured",
            }
        return content

    def _decided(self, used: InUse, scores: Sequence[RowScore], actions: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Say of each account whether to act on it, how, and what that is expected to bring.

        The rule ``capacity`` depends on all accounts together, so that it cannot say whether to act on these.
        """
        if not scores:
            return
        probability = np.array([score.probability for score in scores], dtype=np.float32)
        column, default = self._profit.value_column, self._profit.account_value
        given = [None if column is None else score.account[column] for score in scores]
        value = np.array([default if _is_missing(each) else each for each in given], dtype=np.float64)
        offer = offer_costs(np.array(actions, dtype=np.intp), self._reasons, self._profit)
        expected = in_cents(expected_profit(probability, value, self._profit, offer))
        acts: list[bool | None] = [None] * len(scores)
        if self._decision.rule != "capacity":
            acts = choose(
                probability, value, self._profit, self._decision, used.model.threshold, offer_cost=offer
            ).tolist()
        for act, profit, worth, action in zip(acts, expected.tolist(), value.tolist(), actions, strict=True):
            text = None if action == NO_ACTION else self._reasons.text(self._reasons.actions[action][1].action)
            yield {"act": act, "expected_profit": profit, "account_value": worth, "suggested_action": text}

    def _sentences_of(self, used: InUse) -> RowReasons:
        known = self._sentences.get(used)
        if known is None:
            known = self._sentences[used] = RowReasons(used.terms, self._reasons, self._profit.currency)
        return known


def shown_faults(faults: Sequence[RowFault]) -> list[dict[str, Any]]:
    """Return faults as answers list them; rows count from 1, as in the messages of a batch."""
    return [{"row": fault.row + 1, "field": fault.column, "message": fault.message} for fault in faults[:MOST_FAULTS]]


def _form_faults(rows: Sequence[Any], schema: AccountSchema) -> Iterator[RowFault]:
    """Yield the faults of rows that are not objects, lack a column, or have one that a strict schema does not know."""
    needed = schema.source_columns
    names = set(needed)
    known = schema.known_columns if schema.strict else frozenset()
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            yield _form_fault(number, None, "not an object of columns and values")
            continue
        if not names <= row.keys():
            for name in needed:
                if name not in row:
                    yield _form_fault(number, name, "missing column; write null where a value is not known")
        if schema.strict and (spare := row.keys() - known):
            for name in sorted(spare):
                yield _form_fault(number, name[:80], "not in the schema (accounts.strict)")


def _form_fault(row: int, column: str | None, reason: str) -> RowFault:
    return RowFault(row, column, f"{column or 'row'}: {reason} (row {row + 1})", reason)


def _value_faults(scores: Sequence[RowScore], column: str) -> Iterator[RowFault]:
    """Yield the faults of values of accounts that no profit can be computed from."""
    for score in scores:
        value = score.account[column]
        if not _is_missing(value) and not (isinstance(value, float) and 0 <= value < math.inf):
            yield _form_fault(score.row, column, "the value of an account must be a finite number from 0 on")


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))

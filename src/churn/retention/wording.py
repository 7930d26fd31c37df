"""The sentences of reasons: numbers with their unit, in the words of a language."""

import string
from collections.abc import Collection, Iterator, Mapping
from typing import Literal, get_args

from churn.config import Action, Parameters, Reasons, ReasonText
from churn.config.languages import Language
from churn.config.retention import Case, Unit
from churn.errors import ParametersError
from churn.retention.terms import Term, Terms
from churn.tables import humanize

CASES: tuple[Case, ...] = get_args(Case)
DECIMALS = 4
PLACEHOLDERS = ("value", "typical")
OF_RATIOS = ("numerator", "denominator")
# Decimals with which the numbers of a unit are written first; there are more only where two numbers would look equal.
FIRST_DECIMALS: dict[Unit | None, int] = {None: DECIMALS, "currency": 2, "ratio": 1}
SPANS: dict[Unit | None, tuple[str, str]] = {
    "days": ("one_day", "days"),
    "months": ("one_month", "months"),
    "years": ("one_year", "years"),
}


def number_text(number: float, decimals: int = DECIMALS, language: Language | None = None) -> str:
    """Format a number for sentences: ``1,200``, ``0.25``, without trailing zeros.

    Args:
        number: The number.
        decimals: Maximum number of decimals.
        language: Marks of the number; English by default.
    """
    text = f"{number:,.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    text = "0" if text == "-0" else text
    if language is None or (language.decimal, language.thousands) == (".", ","):
        return text
    return text.translate({ord(","): language.thousands, ord("."): language.decimal})


def amount_text(number: float, currency: str | None, language: Language | None = None) -> str:
    """Format an amount of money: ``600 EUR``, ``70.40 EUR``; without a currency the number alone."""
    words = language or Language()
    text = f"{number:,.2f}".removesuffix(".00")
    text = "0" if text == "-0" else text
    text = text.translate({ord(","): words.thousands, ord("."): words.decimal})
    return words.currency.format(number=text, currency=currency) if currency else text


class Sentences:
    """Writes the sentences about one term."""

    def __init__(self, term: Term, reasons: Reasons, currency: str | None) -> None:
        """Prepare the sentences.

        Args:
            term: The term.
            reasons: The configured sentences, which `check_texts` accepts.
            currency: Currency of amounts, if it is known.
        """
        text = next((text for text in reasons.texts if text.column == term.name), ReasonText(column=term.name))
        self._language, self._currency, self.unit = reasons.words, currency, text.unit
        self._name = reasons.text(text.name) or humanize(term.name)
        self._typical = term.typical
        self._own: dict[Case, str | None] = {case: reasons.text(getattr(text, case)) for case in CASES}
        self._of_columns = [
            next((other.unit for other in reasons.texts if other.column == name), None) for name in term.columns or ()
        ]

    def number(self, case: Case, value: float, parts: tuple[float, float] | None = None) -> tuple[Case, str]:
        """Return the case of the sentence and the sentence for a number.

        Args:
            case: ``high`` or ``low``.
            value: The number.
            parts: Numerator and denominator of a ratio.
        """
        usual = float(self._typical)
        first = FIRST_DECIMALS.get(self.unit, 0)
        for decimals in range(first, max(first, DECIMALS) + 1):
            shown, typical = self._written(value, decimals, self.unit), self._written(usual, decimals, self.unit)
            if shown != typical:
                break
        told = case
        if self.unit == "change" and value:
            told = "rose" if value > 0 else "fell"
        placeholders = {"value": shown, "typical": typical}
        if parts is not None:
            columns = zip(OF_RATIOS, parts, self._of_columns, strict=True)
            placeholders |= {
                name: self._written(part, FIRST_DECIMALS.get(unit, 0), unit) for name, part, unit in columns
            }
        if told != case and (self._own[told] or self._own[case] is None):
            return told, self._told(told, {**placeholders, "value": shown.lstrip("+-")})
        return told, self._told("usual" if shown == typical and self._own[case] is None else case, placeholders)

    def category(self, value: str) -> str:
        """Return the sentence for a category."""
        placeholders = {"value": value, "typical": str(self._typical)}
        is_usual = value == self._typical and self._own["category"] is None
        return self._told("usual" if is_usual else "category", placeholders)

    def missing(self) -> str:
        """Return the sentence for a missing value."""
        first = FIRST_DECIMALS.get(self.unit, 0)
        usual = self._typical if isinstance(self._typical, str) else self._written(self._typical, first, self.unit)
        unknown = dict.fromkeys(("value", *OF_RATIOS), self._language.unknown)
        return self._told("missing", {**unknown, "typical": usual})

    def _told(self, case: Case | Literal["usual"], placeholders: Mapping[str, str]) -> str:
        own = None if case == "usual" else self._own[case]
        if own is not None:
            return own.format(**placeholders)
        return str(getattr(self._language, case)).format(name=self._name, **placeholders)

    def _written(self, number: float, decimals: int, unit: Unit | None) -> str:
        words = self._language
        if unit == "currency":
            return amount_text(number, self._currency, words)
        if unit in ("share", "percent", "change"):
            text = number_text(number if unit == "percent" else 100 * number, decimals, words)
            sign = "+" if unit == "change" and number > 0 and text != "0" else ""
            return words.percent.format(number=f"{sign}{text}")
        text = number_text(number, decimals, words)
        if unit in SPANS:
            one, several = SPANS[unit]
            return str(getattr(words, one if text == "1" else several)).format(number=text)
        return text


def check_reasons(parameters: Parameters) -> None:
    """Check the configured sentences and actions against the table; raises the errors of `check_texts`."""
    accounts = parameters.accounts
    ratios = [ratio.name for ratio in parameters.feature_engineering.ratios]
    check_texts(parameters.reasons, [*accounts.numeric_names, *accounts.categorical, *ratios], ratios)


def check_texts(
    reasons: Reasons, columns: Collection[str], ratios: Collection[str] = (), *, of_model: bool = False
) -> None:
    """Check the configured sentences and actions.

    Args:
        reasons: The sentences, in ``texts``, and the ``actions``.
        columns: Columns and ratios that can be a reason.
        ratios: Those of them that are ratios, whose sentences may name numerator and denominator.
        of_model: Whether these are those of a model, which may be older than the sentences: other columns are no fault.

    Raises:
        ParametersError: Lists every sentence with a placeholder that it does not have, with broken braces, without text or
            not in the language, and every column that is not in the table or occurs twice.
    """
    known = None if of_model else columns
    faults = [
        *_text_faults(reasons, columns, known, ratios),
        *_language_faults(reasons),
    ]
    if faults:
        raise ParametersError("parameters", faults)


def _text_faults(
    reasons: Reasons, columns: Collection[str], known: Collection[str] | None, ratios: Collection[str]
) -> Iterator[str]:
    seen: set[str] = set()
    for position, text in enumerate(reasons.texts):
        at = f"reasons.texts[{position}]"
        yield from _column_faults(at, text.column, known)
        if text.column in seen:
            yield f"{at}.column = {text.column!r}: occurs more than once; give all sentences of a column in one entry"
        seen.add(text.column)
        is_ratio = text.column in ratios or text.column not in columns
        allowed = (*PLACEHOLDERS, *OF_RATIOS) if is_ratio else PLACEHOLDERS
        for case in CASES:
            given = getattr(text, case)
            for name, template in _templates(f"{at}.{case}", given):
                yield from (f"{name} = {_short(template)}: {fault}" for fault in _template_faults(template, allowed))
            yield from _unspoken(f"{at}.{case}", given, reasons)
        yield from _unspoken(f"{at}.name", text.name, reasons)
        yield from _action_faults(at, text.actions, reasons)


def _action_faults(at: str, actions: Collection[Action], reasons: Reasons) -> Iterator[str]:
    for position, action in enumerate(actions):
        place = f"{at}.actions[{position}].action"
        for name, text in _templates(place, action.action):
            if not text.strip():
                yield f"{name}: the text is empty; leave the action out for no suggestion"
        yield from _unspoken(place, action.action, reasons)


def _language_faults(reasons: Reasons) -> Iterator[str]:
    for code, language in reasons.languages.items():
        for name, template in language.model_dump().items():
            if name in ("decimal", "thousands", "unknown"):
                continue
            is_sentence = name in (*CASES, "usual")
            allowed = ("name", *PLACEHOLDERS) if is_sentence else ("number",)
            faults = _template_faults(template, (*allowed, "currency") if name == "currency" else allowed)
            yield from (f"reasons.languages.{code}.{name} = {_short(template)}: {fault}" for fault in faults)


def _column_faults(at: str, column: str, columns: Collection[str] | None) -> Iterator[str]:
    if columns is not None and column not in columns:
        yield f"{at}.column = {column!r}: not a column that can be a reason; choose from {', '.join(columns)}"


def _templates(at: str, given: str | Mapping[str, str] | None) -> Iterator[tuple[str, str]]:
    if isinstance(given, Mapping):
        yield from ((f"{at}.{language}", text) for language, text in given.items())
    elif given is not None:
        yield at, given


def _unspoken(at: str, given: str | Mapping[str, str] | None, reasons: Reasons) -> Iterator[str]:
    if isinstance(given, Mapping) and reasons.language not in given:
        yield f"{at}: has no text for reasons.language = {reasons.language}; it has {', '.join(given) or 'none'}"


def _template_faults(template: str, allowed: Collection[str]) -> Iterator[str]:
    """Yield the faults of a sentence.

    Only the bare placeholders are allowed, so that `str.format` can neither access attributes nor pad its output to any
    length.
    """
    known = " or ".join(f"{{{name}}}" for name in allowed)
    if not template.strip():
        yield "the text is empty; leave it out to use the general sentence"
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        yield f"broken braces ({error}); write {known}, and {{{{ or }}}} for a brace"
        return
    for _, name, form, conversion in parts:
        if name is not None and (name not in allowed or form or conversion):
            written = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            yield f"{{{_short(written, quote=False)}}} is not a placeholder; use {known}"


def _short(text: str, *, quote: bool = True) -> str:
    text = text if len(text) <= 60 else text[:60] + "..."
    return repr(text) if quote else text


def check_sentences(reasons: Reasons, terms: Terms) -> None:
    """Check the configured sentences against a model; raises the errors of `check_texts`."""
    check_texts(reasons, terms.names, [term.name for term in terms.items if term.columns], of_model=True)


def suggested(actions: Collection[tuple[str, Action]], column: str, cases: Collection[Case], value: str | None) -> int:
    """Return the position of the first action that fits a reason; -1 if none does.

    Args:
        actions: The actions, each with its column or ratio.
        column: Column or ratio of the reason.
        cases: Cases of the reason: that of its code and that of its sentence.
        value: The account's category, if it is one.
    """
    for position, (name, action) in enumerate(actions):
        fits = name == column and (action.case is None or action.case in cases)
        if fits and (not action.categories or value in action.categories):
            return position
    return -1

"""Numbers with their units and sentences in several languages."""

from typing import Any

import pytest

from churn.config import Language, Profit, Reasons
from churn.errors import ParametersError
from churn.retention.reasons import Writer, offer_costs
from churn.retention.terms import Term
from churn.retention.wording import amount_text, check_texts


def said(
    value: float | str | None,
    typical: float | str,
    parts: tuple[float, float] | None = None,
    *,
    language: str = "en",
    currency: str | None = None,
    **text: Any,
) -> tuple[str, str, int]:
    """Code, sentence and action of a value of the column x."""
    reasons = Reasons(language=language, texts=[{"column": "x", **text}])
    columns = ("a", "b") if parts else None
    check_texts(reasons, ["x"], ["x"] if parts else [])
    writer = Writer(Term("x", "X", typical, columns), reasons, currency)
    if value is None:
        return writer.of_missing()
    return writer.of_category(value) if isinstance(value, str) else writer.of_number(value, parts)


@pytest.mark.parametrize(
    ("unit", "value", "typical", "sentence"),
    [
        (None, 1234.5, 7, "X is high: 1,234.5, typical 7"),
        ("count", 3, 19, "X is low: 3, typical 19"),
        ("share", 0.16, 0.6, "X is low: 16 %, typical 60 %"),
        ("percent", 16.2, 60, "X is low: 16 %, typical 60 %"),
        ("share", 0.161, 0.164, "X is low: 16.1 %, typical 16.4 %"),  # never a number beside itself
        ("change", -0.39, 0.02, "X fell 39 %"),
        ("change", 0.051, -0.02, "X rose 5 %"),
        ("change", 0.0, 0.12, "X is low: 0 %, typical +12 %"),
        ("currency", 70.4, 65, "X is high: 70.40 EUR, typical 65 EUR"),
        ("months", 1, 12, "X is low: one month, typical 12 months"),
        ("days", 1, 2, "X is low: one day, typical 2 days"),
        ("years", 20, 1, "X is high: 20 years, typical one year"),
        ("ratio", 4.26, 31, "X is low: 4.3, typical 31"),
    ],
)
def test_numbers_have_their_unit(unit: str | None, value: float, typical: float, sentence: str) -> None:
    assert said(value, typical, unit=unit, currency="EUR")[1] == sentence


def test_sentences_as_people_say_them() -> None:
    fell = {"en": "Payments fell {value} against the month before", "de": "Zahlungen um {value} unter dem Vormonat"}
    assert said(-0.39, 0.02, unit="change", fell=fell)[1] == "Payments fell 39 % against the month before"
    assert said(-0.39, 0.02, unit="change", fell=fell, language="de")[1] == "Zahlungen um 39 % unter dem Vormonat"
    of = "{numerator} of {denominator} users active ({value}), typical {typical}"
    assert said(3 / 19, 0.6, (3, 19), unit="share", low=of)[1] == "3 of 19 users active (16 %), typical 60 %"
    assert said(1, 24, unit="months", low="Customer for {value}")[1] == "Customer for one month"
    assert said(1, 24, unit="months", low="Kunde seit {value}", language="de")[1] == "Kunde seit einem Monat"
    # A change has a sign where the sentence does not say the direction.
    assert said(-0.39, 0.02, unit="change", low="Payments: {value}, typical {typical}")[1] == (
        "Payments: -39 %, typical +2 %"
    )


def test_numbers_of_other_languages() -> None:
    assert said(1234.5, 7, language="de")[1] == "X ist hoch: 1.234,5, üblich 7"
    assert (
        said(1234.5, 7, unit="currency", currency="EUR", language="de")[1] == "X ist hoch: 1.234,50 EUR, üblich 7 EUR"
    )
    assert said(None, 7, language="de")[1] == "X ist nicht bekannt"
    assert said("blau", "rot", language="de", name={"de": "Farbe", "en": "Colour"})[1] == "Farbe ist blau, üblich rot"
    french = Language(decimal=",", thousands="\N{NARROW NO-BREAK SPACE}", low="{name} : {value}, d'habitude {typical}")
    reasons = Reasons(language="fr", languages={"fr": french})
    writer = Writer(Term("x", "X", 2000.0), reasons, None)
    assert (
        writer.of_number(1000.5)[1] == "X : 1\N{NARROW NO-BREAK SPACE}000,5, d'habitude 2\N{NARROW NO-BREAK SPACE}000"
    )
    with pytest.raises(ValueError, match=r"no general sentences; describe it in reasons\.languages\.fr"):
        Reasons(language="fr")


@pytest.mark.parametrize(
    ("number", "text"),
    [(600, "600 EUR"), (70.4, "70.40 EUR"), (-3.999, "-4 EUR"), (-0.001, "0 EUR"), (1e6, "1,000,000 EUR")],
)
def test_amounts_of_money(number: float, text: str) -> None:
    assert amount_text(number, "EUR") == text
    assert amount_text(number, None) == text.removesuffix(" EUR")


def test_the_first_action_that_fits_is_suggested() -> None:
    actions = [
        {"case": "fell", "action": "plan", "cost": 20},
        {"case": "low", "action": "visit"},
        {"case": "missing", "action": "ask", "cost": 0},
    ]
    assert [said(value, 0.1, unit="change", actions=actions)[2] for value in (-0.2, 0.05, 0.3)] == [0, 1, -1]
    assert said(None, 0.1, unit="change", actions=actions)[2] == 2
    kinds = [{"categories": ["paper", "fax"], "action": "call"}, {"action": "write"}]
    assert [said(value, "web", actions=kinds)[2] for value in ("fax", "web")] == [0, 1]
    reasons = Reasons(texts=[{"column": "x", "actions": actions}])
    assert offer_costs([0, 1, 2, -1], reasons, Profit(offer_cost=50)).tolist() == [20, 50, 0, 50]


def test_faults_of_texts_and_actions_are_all_listed() -> None:
    reasons = Reasons(
        language="de",
        texts=[
            {"column": "x", "low": {"en": "{value}"}, "high": "{numerator}", "actions": [{"action": {"de": " "}}]},
            {"column": "r", "low": "{numerator} of {denominator}", "fell": {"de": "{price}"}},
            {"column": "z", "actions": [{"action": "call"}]},
        ],
        languages={"it": Language(days="{count} giorni", high="{name} {value} {numerator}")},
    )
    with pytest.raises(ParametersError) as caught:
        check_texts(reasons, ["x", "r"], ["r"])
    assert [fault.partition(":")[0].partition(" =")[0] for fault in caught.value.faults] == [
        "reasons.texts[0].high",
        "reasons.texts[0].low",
        "reasons.texts[0].actions[0].action.de",
        "reasons.texts[1].fell.de",
        "reasons.texts[2].column",
        "reasons.languages.it.days",
        "reasons.languages.it.high",
    ]
    # A model may be older than the sentences.
    with pytest.raises(ParametersError) as caught:
        check_texts(reasons, ["x", "r"], ["r"], of_model=True)
    assert len(caught.value.faults) == 6

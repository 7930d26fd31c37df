"""The summary of a model card in Markdown, for places that show text beside a link to the card."""

from collections.abc import Iterator, Mapping
from typing import Any

from churn.reporting.model_card import HEADLINES, measure_title, number
from churn.tables import humanize


def card_in_markdown(card: Mapping[str, Any]) -> str:
    """Return decision, metrics, money, gates and data of a model card as Markdown.

    Args:
        card: Result of `churn.reporting.model_card.model_card`, or the same read from JSON.

    Returns:
        Some twenty lines. Signs of Markdown in texts that come from data are escaped.
    """
    return "\n".join(_lines(card))


def _lines(card: Mapping[str, Any]) -> Iterator[str]:
    promotion = card["promotion"]
    yield f"**{_plain(promotion['reason'])}.**" if promotion else "No decision on its promotion is recorded."
    known = [measure for measure in HEADLINES if measure in card["figures"]]
    if known:
        interval = f" ({100 * card['confidence']:.0f}% interval)" if card["confidence"] is not None else ""
        yield f"\n| metric on test rows | value{interval} |\n| --- | --- |"
        for measure in known:
            figure = card["figures"][measure]
            ends = "" if figure["low"] is None else f" ({number(figure['low'])} to {number(figure['high'])})"
            yield f"| {measure_title(measure)} | {number(figure['value'])}{ends} |"
    for item in card["comparison"]:
        yield f"\n{_plain(item['sentence'])}."
    if card.get("money"):
        yield f"\n{_plain(card['money']['sentence'])}."
    if promotion and promotion["gates"]:
        words = [
            f"{gate['name']} {'failed' if not gate['passed'] else 'passed' if gate.get('checked', True) else 'not checked'}"
            for gate in promotion["gates"]
        ]
        yield f"\nGates: {', '.join(words)}."
    if data := card["data"]:
        facts = [f"{humanize(key).lower()} {_fact(value)}" for key, value in data.items() if key in SHOWN]
        yield f"\nData: {_plain(str(data.get('name', 'accounts')))}, {', '.join(facts)}."
    yield "\nThe whole card is the artifact `model_card.html`."


SHOWN = ("training_rows", "test_rows", "churn_rate")


def _fact(value: Any) -> str:
    return f"{100 * value:.1f}%" if isinstance(value, float) else f"{value:,}"


def _plain(text: str) -> str:
    """Escape what Markdown or a table would take for something else."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#" else sign for sign in text)

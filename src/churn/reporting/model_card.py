"""The model card: intended use, quality and provenance of a model, as JSON and as an HTML page.

The contents follow Mitchell et al. (2019, doi:10.1145/3287560.3287596).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from churn.config import at_costs
from churn.errors import ChurnError
from churn.metrics import CalibrationCurve
from churn.reporting.money import money_drawing
from churn.reporting.pages import NOTHING, calibration_drawing, cell_text, page_environment
from churn.tables import flat, humanize, plain, ranked_shares
from churn.training.portfolio import in_words as portfolio_in_words
from churn.training.tuning import in_words as tuning_in_words

SCHEMA_VERSION = 1

INTENDED_USE = (
    "Ranking accounts by their risk of ending the subscription, so that those most at risk are contacted first",
    "Estimating how many accounts will leave, by adding up their scores",
)
NOT_FOR = (
    "Decisions about an account without human review, for example on prices, contracts or credit",
    "Accounts of another kind than those that the model was trained on",
    "Finding out why accounts leave: the model shows correlations with churn, not causes",
)
LIMITS = (
    "A score is a probability, not a certainty: of 100 accounts with a score of 30%, about 30 leave and 70 stay",
    "The test rows come from the same snapshot as the training rows; later accounts may be harder to predict",
    "The model does not know what the table does not record, for example a takeover or a change of the person in charge",
)

# Titles of the metrics, and which values are better.
MEASURES = {
    "roc_auc": ("ROC AUC", "higher; 0.5 is random"),
    "average_precision": ("Average precision", "higher; the churn rate is random"),
    "lift_at_10": ("Lift in the top 10%", "higher; 1 is random"),
    "calibration_error": ("Calibration error", "lower"),
    "brier": ("Brier score", "lower"),
    "log_loss": ("Log loss", "lower"),
    "accuracy": ("Accuracy", "higher"),
    "precision": ("Precision", "higher"),
    "recall": ("Recall", "higher"),
    "f1": ("F1", "higher"),
    "expected_profit": ("Expected profit per account", "higher"),
}
HEADLINES = ("roc_auc", "average_precision", "lift_at_10", "calibration_error")
DATA_LABELS = {"sha256": "SHA-256", "churn_rate": "Churn rate"}


def model_card(
    figures: Mapping[str, float | Sequence[float | None] | None],
    *,
    name: str = "churn",
    version: str | None = None,
    sha256: str | None = None,
    confidence: float | None = None,
    intended_use: Sequence[str] = INTENDED_USE,
    not_for: Sequence[str] = NOT_FOR,
    limits: Sequence[str] = LIMITS,
    data: Mapping[str, Any] | None = None,
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    compare_by: str = "roc_auc",
    calibration: CalibrationCurve | None = None,
    segments: Sequence[Mapping[str, Any]] | None = None,
    promotion: Mapping[str, Any] | None = None,
    importance: Mapping[str, float] | None = None,
    save_rate: str | None = None,
    example_costs: Sequence[str] = (),
    money: Mapping[str, Any] | None = None,
    tuning: Mapping[str, Any] | None = None,
    portfolio: Mapping[str, Any] | None = None,
    rated: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    reproduce: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of the model card as plain JSON types, without nan or infinity.

    Only the metrics are required. Missing content is None, and the page shows it as not checked.

    Args:
        figures: Metrics on the test rows, by the names of `churn.metrics.classification.classification_metrics`: a value,
            or a value with the ends of its confidence interval, each None if unknown.
        name: Name of the registered model.
        version: Version of the registered model.
        sha256: Content hash of the model.
        confidence: Confidence level of the intervals, from 0 to 1.
        intended_use: Intended uses, as sentences without a full stop.
        not_for: Uses that are out of scope.
        limits: Limitations.
        data: Facts about the training accounts, for example ``name``, ``sha256``, ``rows``, ``churn_rate`` and dates;
            shown in the given order.
        baselines: Metrics of simpler models on the same test rows, by name of the baseline.
        compare_by: Metric, better if higher, in which the model should beat the baselines.
        calibration: Observed against predicted churn rate on the test rows.
        segments: Metrics of categories, from `churn.training.challenge.SegmentFigures._asdict`.
        promotion: Decision, from `churn.training.gates.PromotionDecision.to_dict`.
        importance: Mean absolute contribution of each column to the scores, in log-odds.
        save_rate: The save rate that amounts of money are computed with and how it was measured; None for the assumed one.
        example_costs: Names of the amounts of ``profit`` that nobody has set; the limitations mention them.
        money: What the model is worth, from `churn.reporting.money.worth`.
        tuning: Summary of the search, from `churn.training.tuning.summarise`.
        portfolio: Weights of the settings of the trees, from `churn.training.portfolio.Portfolio.summary`.
        rated: Columns whose categories count by their churn rate in the training rows; a limitation names them.
        parameters: Parameters of the run; nested ones get dotted names.
        reproduce: Facts to reproduce the model: ``command``, ``code_version``, ``data_sha256`` and ``packages``
            (versions by name), and others.

    Raises:
        ChurnError: If a metric is neither a number nor a value with two ends.
    """
    measured = {measure: _figure(measure, given) for measure, given in figures.items()}
    card: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "version": version,
        "sha256": sha256,
        "intended_use": list(intended_use),
        "not_for": list(not_for),
        "limits": [*limits, *_limits_of_money(example_costs), *_limits_of_rate(save_rate), *_limits_of_rated(rated)],
        "data": data or None,
        "figures": measured,
        "confidence": confidence,
        "baselines": baselines or None,
        "comparison": list(_comparison(measured.get(compare_by), baselines or {}, compare_by)),
        "calibration": None if calibration is None or not len(calibration.rows) else _points(calibration),
        "segments": list(segments) if segments else None,
        "promotion": promotion,
        "importance": ranked_shares(importance) if importance else None,
        "money": money or None,
        "tuning": tuning or None,
        "portfolio": portfolio or None,
        "parameters": dict(flat(parameters)) if parameters else None,
        "reproduce": reproduce or None,
    }
    document: dict[str, Any] = plain(card)
    return document


def _limits_of_money(example_costs: Sequence[str]) -> Iterator[str]:
    if said := at_costs(example_costs):
        names = ", ".join(f"profit.{name}" for name in example_costs)
        yield f"Amounts of money are {said}; this table has none of its own until {names} are set"


def _limits_of_rate(save_rate: str | None) -> Iterator[str]:
    if save_rate is not None:
        yield f"Amounts of money are computed with a save rate of {save_rate}"


def _limits_of_rated(rated: Sequence[str]) -> Iterator[str]:
    if rated:
        yield (
            f"The categories of {', '.join(rated)} count by their churn rate in the training rows; those that were not "
            "there count like the rare ones"
        )


def render_model_card(card: Mapping[str, Any]) -> str:
    """Render the page of a model card.

    Args:
        card: Result of `model_card`, or the same read from JSON.

    Returns:
        A complete HTML page with styles and drawings inside, without scripts, links or other files. All texts that come
        from data are escaped. Equal input results in equal bytes.
    """
    reproduce = dict(card["reproduce"] or {})
    baselines = card["baselines"] or {}
    return (
        page_environment()
        .get_template("model_card.html.j2")
        .render(
            card=card,
            verdict=_verdict(card["promotion"]),
            headlines=[
                (measure_title(measure), card["figures"][measure])
                for measure in HEADLINES
                if measure in card["figures"]
            ],
            figures=[(measure_title(measure), figure, _better(measure)) for measure, figure in card["figures"].items()],
            compared=_columns(card["figures"], baselines),
            baselines=[(humanize(baseline), measures) for baseline, measures in baselines.items()],
            calibration=calibration_drawing(card["calibration"]),
            money=money_drawing(card["money"]) if card.get("money") else None,
            longest=max((item["contribution"] or 0.0 for item in card["importance"] or ()), default=0.0) or 1.0,
            data=[
                (DATA_LABELS.get(key, humanize(key)), _datum(key, value)) for key, value in (card["data"] or {}).items()
            ],
            tuning=tuning_in_words(card["tuning"]) if card["tuning"] else None,
            portfolio=portfolio_in_words(card["portfolio"]) if card.get("portfolio") else None,
            parameters=[(key, cell_text(value)) for key, value in (card["parameters"] or {}).items()],
            command=reproduce.pop("command", None),
            packages=reproduce.pop("packages", None) or {},
            reproduce=[(_fact(key), cell_text(value)) for key, value in reproduce.items()],
            title=measure_title,
            number=number,
        )
    )


def number(value: float | None) -> str:
    """Format a number of any size: ``0.842``, ``3.120``, ``12,345``; a dash for None."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 1000 or isinstance(value, int) else f"{value:z.3f}"


def _figure(measure: str, given: float | Sequence[float | None] | None) -> dict[str, float | None]:
    ends = (given, None, None) if given is None or isinstance(given, (int, float)) else tuple(given)
    if len(ends) != 3:
        raise ChurnError(
            f"model card: the metric '{measure}' is {given!r}, expected a number, or a value with the two ends of its interval"
        )
    return dict(zip(("value", "low", "high"), ends, strict=True))


def _comparison(
    figure: Mapping[str, float | None] | None, baselines: Mapping[str, Mapping[str, float]], measure: str
) -> Iterator[dict[str, str]]:
    """Yield a sentence for each baseline that the model does not clearly beat, or one if it beats them all."""
    mine = _finite((figure or {}).get("value"))
    theirs = {name: _finite(measures.get(measure)) for name, measures in baselines.items()}
    known = {name: value for name, value in theirs.items() if value is not None}
    if mine is None or not known:
        return
    low, title = _finite((figure or {}).get("low")), measure_title(measure)
    doubts = 0
    for name, value in known.items():
        figures = f"{title} {value:.3f}, the model has {mine:.3f}"
        if value >= mine:
            doubts += 1
            yield {"status": "alarm", "sentence": f"The model does not beat the baseline {_lower(name)}: {figures}"}
        elif low is not None and value >= low:
            doubts += 1
            sentence = f"The gain over the baseline {_lower(name)} is within the confidence interval: {figures}"
            yield {"status": "watch", "sentence": sentence}
    if not doubts:
        best = max(known, key=lambda name: known[name])
        figures = f"{title} {known[best]:.3f}, the model has {mine:.3f}"
        yield {"status": "ok", "sentence": f"The model beats every baseline; the best is {_lower(best)}: {figures}"}


def _points(curve: CalibrationCurve) -> list[dict[str, Any]]:
    rows = zip(curve.predicted.tolist(), curve.observed.tolist(), curve.rows.tolist(), strict=True)
    return [{"predicted": predicted, "observed": observed, "count": count} for predicted, observed, count in rows]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _verdict(promotion: Mapping[str, Any] | None) -> dict[str, str]:
    if promotion is None:
        return {"status": "watch", "word": "Not judged", "more": "No decision on its promotion is recorded"}
    if promotion["forced"]:
        return {"status": "watch", "word": "Promoted by force", "more": promotion["reason"]}
    if promotion.get("unchanged"):
        return {"status": "ok", "word": "Champion", "more": promotion["reason"]}
    if promotion["promote"]:
        return {"status": "ok", "word": "Promoted", "more": promotion["reason"]}
    return {"status": "alarm", "word": "Not promoted", "more": promotion["reason"]}


def measure_title(measure: str) -> str:
    """Return the name of a metric as reports show it."""
    return MEASURES[measure][0] if measure in MEASURES else humanize(measure)


def _better(measure: str) -> str:
    return MEASURES[measure][1] if measure in MEASURES else NOTHING


def _lower(baseline: str) -> str:
    return humanize(baseline).lower()


def _columns(figures: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the metrics of the model that at least one baseline has."""
    found = {measure for measures in baselines.values() for measure in measures}
    return [measure for measure in figures if measure in found]


def _datum(key: str, value: Any) -> str:
    if isinstance(value, float) and key.endswith(("rate", "share")):
        return f"{100 * value:.1f}%"
    return number(value) if isinstance(value, int) and not isinstance(value, bool) else cell_text(value)


def _fact(key: str) -> str:
    return humanize(key).replace("sha256", "SHA-256")

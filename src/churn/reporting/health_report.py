"""The health report as a self-contained HTML page."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from churn.config.health import SEVERITY
from churn.monitoring.drift import UNSEEN_LABEL
from churn.reporting.advice import advice_of
from churn.reporting.pages import calibration_drawing, cell_text, page_environment, percent
from churn.tables import humanize

# Smallest change that the page mentions: of the mean bin as a share of all bins, or of a share of the accounts.
WORTH_A_WORD = 0.02


class Bar(NamedTuple):
    """A rectangle in the coordinates of its drawing; y grows downwards."""

    x: float
    y: float
    width: float
    height: float


def render_health_report(health: Mapping[str, Any], *, card: str | None = None) -> str:
    """Render the page of a health report: the decision whether to use the scores, what to do, and the figures behind it.

    Args:
        health: Result of ``churn.monitoring.health.health_metrics``, or the same read from JSON.
        card: Address of the model card, relative to the page; ``None`` if there is none to link to.

    Returns:
        A complete HTML page with styles and drawings inside, without scripts or other files. It links to the files of the run.
        All texts that come from data are escaped. Equal input results in equal bytes.
    """
    bands = [{**band, "strength": _strength(at, len(health["bands"]))} for at, band in enumerate(health["bands"])]
    moved = sorted(health["drift"], key=lambda entry: (-SEVERITY[entry["status"]], -(entry["psi"] or 0.0)))
    if health["score_drift"]:
        moved.insert(0, health["score_drift"])
    page = page_environment().get_template("health_report.html.j2")
    return page.render(
        health=health,
        advice=advice_of(health),
        card=card,
        # Requests to the service are scored one by one, and no list is made of them.
        listed=health["provenance"].get("run_id") is not None,
        explained=list(health.get("explained", {}).values()),
        bands=bands,
        band_bars=_side_by_side([band["share"] or 0.0 for band in bands]),
        histogram=_histogram(health["histogram"]),
        moved=[_moved(entry, health["limits"]["psi_watch"]) for entry in moved],
        importance=_importance(health["importance"]),
        calibration=calibration_drawing((health["realised_performance"] or {}).get("calibration_curve")),
        provenance=[(humanize(key), cell_text(value)) for key, value in health["provenance"].items()],
    )


def _strength(at: int, of: int) -> float:
    """Return the opacity of a band's colour; the highest band has 1."""
    return round(0.28 + 0.72 * at / (of - 1), 2) if of > 1 else 1.0


def _side_by_side(shares: Sequence[float]) -> list[Bar]:
    bars, start = [], 0.0
    for share in shares:
        bars.append(Bar(round(100 * start, 3), 0, round(100 * share, 3), 10))
        start += share
    return bars


def _histogram(histogram: Mapping[str, Any]) -> dict[str, Any]:
    """Return stacked bars, a stack per bin and a bar per band, in a drawing of 100 by 100, with grid lines and rows."""
    tallest = max(histogram["counts"], default=0)
    top = _round_up(tallest)
    width = 100 / max(1, len(histogram["counts"]))
    stacks: list[list[Bar]] = []
    floors = [100.0] * len(histogram["counts"])
    for counts in histogram["by_band"]:
        bars = []
        for at, number in enumerate(counts):
            height = 100 * number / top
            floors[at] -= height
            bars.append(Bar(round(at * width, 3), round(floors[at], 3), round(width * 0.9, 3), round(height, 3)))
        stacks.append(bars)
    return {
        "stacks": stacks,
        "rules": [{"y": 100 - 50 * step, "value": top * step / 2} for step in (0, 1, 2)],
        "rows": list(zip(histogram["edges"], histogram["edges"][1:], histogram["counts"], strict=False)),
    }


def _round_up(number: float) -> int:
    """Return the next even round number: 2, 4, 6, 8 or 10 times a power of ten."""
    scale = 1
    while number > 10 * scale:
        scale *= 10
    return next(step * scale for step in (2, 4, 6, 8, 10) if number <= step * scale)


def _importance(importance: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    longest = max((item["contribution"] or 0.0 for item in importance), default=0.0)
    return [
        {**item, "length": round(100 * (item["contribution"] or 0.0) / longest, 2) if longest > 0 else 0.0}
        for item in importance
    ]


def _moved(entry: Mapping[str, Any], psi_watch: float) -> dict[str, Any]:
    reference, analysis = entry["distribution"]["reference"], entry["distribution"]["analysis"]
    tallest = max([*reference, *analysis], default=0.0) or 1.0
    step = 100 / max(1, len(reference))
    return {
        **entry,
        "title": "Scores" if entry["kind"] == "score" else humanize(entry["column"]),
        "words": _words(entry, psi_watch),
        "bars": [
            {
                "label": label,
                "then": Bar(round(at * step + step * 0.05, 2), *_standing(before, tallest, step * 0.9)),
                "now": Bar(round(at * step + step * 0.3, 2), *_standing(after, tallest, step * 0.4)),
                "shares": (before, after),
            }
            for at, (label, before, after) in enumerate(
                zip(entry["distribution"]["labels"], reference, analysis, strict=True)
            )
        ],
    }


def _standing(share: float, tallest: float, width: float) -> tuple[float, float, float]:
    height = round(100 * share / tallest, 2)
    return round(100 - height, 2), round(width, 2), height


def _words(entry: Mapping[str, Any], psi_watch: float) -> str:
    """Return a short text on what has changed."""
    if entry["psi"] is None:
        return "Nothing to compare"
    if entry["status"] == "ok":
        by_chance = entry["psi"] >= psi_watch
        return "Within random variation, for so few accounts" if by_chance else "Similar to training"
    labels, before, after = (entry["distribution"][key] for key in ("labels", "reference", "analysis"))
    change = [now - then for then, now in zip(before, after, strict=True)]
    said = []
    if entry["kind"] != "categorical":
        shift = sum(at * step for at, step in enumerate(change)) / max(1, len(change) - 1)
        if any(before) and any(after) and abs(shift) >= WORTH_A_WORD:
            said.append("Higher values than at training" if shift > 0 else "Lower values than at training")
    elif max(change, default=0.0) >= WORTH_A_WORD and labels[change.index(max(change))] != UNSEEN_LABEL:
        rise = change.index(max(change))
        said.append(f"More of “{labels[rise]}”: {percent(after[rise], 0)}, {percent(before[rise], 0)} at training")
    gap = (entry["missing_analysis"] or 0.0) - (entry["missing_reference"] or 0.0)
    if gap >= WORTH_A_WORD:
        said.append("More values are missing")
    elif gap <= -WORTH_A_WORD:
        said.append("Fewer values are missing")
    if (entry["unseen_share"] or 0.0) > 0 and entry["kind"] == "categorical":
        said.append("New categories")
    elif (entry["unseen_share"] or 0.0) >= WORTH_A_WORD:
        said.append("Values outside the range seen at training")
    return ". ".join(said) or "Other distribution than at training"

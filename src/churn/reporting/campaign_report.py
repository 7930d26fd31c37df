"""The campaign report as a self-contained HTML page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from churn.reporting.pages import page_environment

# Verdicts as the pages colour them: their status, and the word at the top.
VERDICTS = {
    "help": ("ok", "The calls help"),
    "harm": ("alarm", "The calls drive accounts away"),
    "open": ("watch", "Not known yet"),
    "none": ("watch", "Nothing to compare yet"),
}
# The drawing of intervals is so many units wide.
WIDTH = 100.0


def render_campaign_report(report: Mapping[str, Any]) -> str:
    """Render the page of a campaign report.

    Args:
        report: Result of ``churn.experiment.measure.measured_campaigns`` with ``in_use``, or the same read from JSON.

    Returns:
        A complete HTML page with styles and drawings inside, without scripts, links or other files. All texts that come
        from data are escaped. Equal input results in equal bytes.
    """
    status, word = VERDICTS[report["verdict"]]
    campaigns = list(report["campaigns"])
    page = page_environment().get_template("campaign_report.html.j2")
    groups = [(title, intervals_drawing(parts)) for title, parts in _level_groups(campaigns[:1])]
    return page.render(
        report=report,
        status=status,
        word=word,
        last=campaigns[0] if campaigns else None,
        ladders=intervals_drawing([(each["campaign"], each["kept"]) for each in campaigns]),
        groups=[(title, drawing) for title, drawing in groups if drawing is not None],
    )


def _level_groups(campaigns: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    for each in campaigns:
        for title, levels in [("risk band", each["bands"]), *each["segments"].items()]:
            if len(levels) > 1:
                yield title, [(level["level"] or "no value", level["kept"]) for level in levels]


def intervals_drawing(parts: Sequence[tuple[str, Mapping[str, float | None]]]) -> dict[str, Any] | None:
    """Return estimates with intervals as bars in a drawing of 100 by 10 a row, with the place of 0; None without any.

    Args:
        parts: Name and estimate (``value``, ``low``, ``high``) of each row.
    """
    known = [part for _, part in parts if part["low"] is not None and part["high"] is not None]
    if not known:
        return None
    least = min(0.0, *(part["low"] or 0.0 for part in known))
    most = max(0.0, *(part["high"] or 0.0 for part in known))
    scale = WIDTH / ((most - least) or 1.0)

    rows = []
    for name, part in parts:
        drawn: dict[str, float | None] = {"left": None, "width": None, "mark": None}
        value, low, high = part["value"], part["low"], part["high"]
        if value is not None and low is not None and high is not None:
            drawn = {
                "left": round((low - least) * scale, 2),
                "width": round((high - low) * scale, 2),
                "mark": round(max(0.0, (value - least) * scale - 0.6), 2),
            }
        rows.append({"name": name, **part, **drawn})
    return {"zero": round(-least * scale, 2), "rows": rows}

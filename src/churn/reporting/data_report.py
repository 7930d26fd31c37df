"""The data report as a self-contained HTML page."""

from collections.abc import Mapping
from typing import Any

from churn.reporting.pages import page_environment
from churn.tables import humanize


def render_data_report(report: Mapping[str, Any]) -> str:
    """Render the page of a data report.

    Args:
        report: Result of `churn.survey.report.data_report`, or the same read from JSON.

    Returns:
        A complete HTML page with styles and drawings inside, without scripts, links or other files. All texts that come
        from data are escaped. Equal input results in equal bytes.
    """
    columns = [_drawn(entry) for entry in report["columns"]]
    suspected = [each for each in report["set_aside"] if each["suspected"]]
    found = [entry for entry in columns if entry["status"] != "ok"]
    status = "alarm" if any(entry["status"] == "alarm" for entry in found) else "watch" if found or suspected else "ok"
    return (
        page_environment()
        .get_template("data_report.html.j2")
        .render(report=report, columns=columns, found=found, suspected=suspected, status=status)
    )


def _drawn(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a column with the bars of its drawing of 100 by 100: wide ones for stayed, narrow ones for churned."""
    tallest = max([*entry["by_churned"], *entry["by_stayed"]], default=0.0) or 1.0
    step = 100 / max(1, len(entry["labels"]))
    rows = zip(entry["labels"], entry["by_stayed"], entry["by_churned"], entry["rates"], entry["counts"], strict=True)
    bars = []
    for at, (label, stayed, churned, rate, count) in enumerate(rows):
        bars.append(
            {
                "label": label,
                "stayed": stayed,
                "churned": churned,
                "rate": rate,
                "count": count,
                "wide": (round(at * step + step * 0.05, 2), *_standing(stayed, tallest, step * 0.9)),
                "narrow": (round(at * step + step * 0.3, 2), *_standing(churned, tallest, step * 0.4)),
            }
        )
    return {**entry, "title": humanize(entry["column"]), "bars": bars, "range": _range(entry)}


def _standing(share: float, tallest: float, width: float) -> tuple[float, float, float]:
    height = round(100 * share / tallest, 2)
    return round(100 - height, 2), round(width, 2), height


def _range(entry: Mapping[str, Any]) -> str:
    if entry["low"] is None:
        return f"{entry['different']:,} values" if entry["different"] else "no value"
    return f"{entry['low']:,.6g} to {entry['high']:,.6g}, median {entry['middle']:,.6g}"

"""The state of a project in some ten lines."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from churn.config.console import shown_size
from churn.config.health import HEALTH_WORDS
from churn.operations.status.facts import is_unknown
from churn.registry.unpromoted import Unpromoted

ENDED = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "stopped", "RUNNING": "running", "SCHEDULED": "waiting"}
# Names of times in the state.
TIMES = ("at", "trained", "since", "started", "ended", "published", "measured")
# Findings and alarms that are shown; --json has all.
MOST_SHOWN = 3


def render(state: Mapping[str, Any], environment: str, now: float) -> str:
    """Return the state as text.

    Args:
        state: Result of `churn.operations.status.facts.state_of`.
        environment: Name of the environment.
        now: Present time, in seconds since 1970.
    """
    lines = [("environment", f"{environment}, {_date(now)}"), *_lines(state, now)]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in lines)


def _lines(state: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    for name, words in (("champion", _champion), ("last run", _last_run), ("scores", _scores), ("health", _health)):
        part = state[name.replace(" ", "_")]
        refused = _refused(state) if name == "champion" else None
        if refused is not None:
            yield name, f"none: {refused.sentence}"
            yield from (("", each) for each in refused.details)
            continue
        yield name, f"unknown: {part['unknown']}" if is_unknown(part) else words(part, now)
    findings = [] if is_unknown(state["health"]) or not state["health"] else state["health"]["to_watch"]
    yield from _listed("", findings)
    yield from _listed("alarms", state["alarms"]) if state["alarms"] else [("alarms", "none open")]
    yield "disk", _disk(state["disk"])


def _listed(name: str, sentences: list[str]) -> Iterator[tuple[str, str]]:
    shown = sentences[:MOST_SHOWN]
    if more := len(sentences) - len(shown):
        shown[-1] += f"; and {more} more, see --json"
    for at, sentence in enumerate(shown):
        yield (name if at == 0 else ""), sentence


def _refused(state: Mapping[str, Any]) -> Unpromoted | None:
    known = state["not_promoted"]
    return Unpromoted(**known) if known and not is_unknown(known) else None


def _champion(champion: Mapping[str, Any] | None, now: float) -> str:
    if champion is None:
        return "none yet; kedro run --pipelines feature_engineering,training trains one"
    text = f"version {champion['version']}"
    if champion["since"] is not None:
        text += f", since {_date(champion['since'])} ({age(now - champion['since'])})"
    elif champion["trained"] is not None:
        text += f", trained {_date(champion['trained'])} ({age(now - champion['trained'])} ago)"
    if champion["roc_auc"] is not None:
        text += f", ROC AUC {_auc(champion['roc_auc'])}"
        if champion["low"] is not None and champion["high"] is not None:
            text += f" ({_auc(champion['low'])} to {_auc(champion['high'])})"
        text += " on its test rows"
    return text


def _last_run(run: Mapping[str, Any] | None, now: float) -> str:
    if run is None:
        return "none yet"
    at = run["ended"] or run["started"]
    when = "" if at is None else f" {age(now - at)} ago"
    return f"{run['name']}; {ENDED.get(run['status'], run['status'].lower())}{when}"


def _scores(scores: Mapping[str, Any] | None, now: float) -> str:
    if scores is None:
        return "none yet; kedro run --pipelines inference makes them"
    counts = [
        f"{scores[name]:,} {words}"
        for name, words in (("rows", "accounts"), ("at_risk", "at risk"), ("to_act_on", "to act on"))
        if scores[name] is not None
    ]
    when = "" if scores["published"] is None else f", published {age(now - scores['published'])} ago"
    version = "" if scores["model_version"] is None else f" with version {scores['model_version']}"
    return f"{', '.join(counts) or 'published'}{when}{version}"


def _health(health: Mapping[str, Any] | None, now: float) -> str:
    if health is None:
        return "not measured; kedro run --pipelines monitoring does"
    text = HEALTH_WORDS[health["status"]]
    if health["measured"] is not None:
        text += f", measured {age(now - health['measured'])} ago"
    if health["outcomes"] and health["roc_auc"] is not None:
        text += f", realised ROC AUC {_auc(health['roc_auc'])} of {health['outcomes']:,} outcomes"
    return text


def _disk(disk: Mapping[str, Any]) -> str:
    if is_unknown(disk):
        return f"unknown: {disk['unknown']}"
    used = [
        f"{name} unknown ({size['unknown']})" if is_unknown(size) else f"{name} {shown_size(size)}"
        for name, size in disk["used"].items()
    ]
    return f"{', '.join(used)}; {shown_size(disk['free'])} free"


def _auc(value: float) -> str:
    return f"{value:.3f}".lstrip("0")


def dated(state: Any) -> Any:
    """Return the state with its times in ISO 8601, UTC."""
    if not isinstance(state, Mapping):
        return state
    return {
        name: datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
        if name in TIMES and isinstance(value, float)
        else dated(value)
        for name, value in state.items()
    }


def _date(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


def age(seconds: float) -> str:
    """Return a duration in its largest unit: ``40 seconds``, ``2 hours``, ``8 days``; one ahead counts as none."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}s"
    whole = max(0, int(seconds))
    return f"{whole} second{'' if whole == 1 else 's'}"

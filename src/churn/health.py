"""Health of a scored account table: what the scores are like, what has moved, and how good they turned out to be."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn import metrics
from churn.drift import (
    CHANCE_QUANTILE,
    CategoricalProfile,
    ColumnDrift,
    NumericProfile,
    Profile,
    compare_profiles,
    outline,
)
from churn.errors import ChurnError
from churn.parameters import Monitoring

SCHEMA_VERSION = 1
HISTOGRAM_BINS = 20

Status = Literal["ok", "watch", "alarm"]
_SEVERITY: dict[Status, int] = {"ok": 0, "watch": 1, "alarm": 2}
_WORDS = {"p1m": "past month", "prev": "previous", "avg": "average", "num": "number of", "pct": "percentage"}


@dataclass(frozen=True)
class ScoredAccounts:
    """What the report needs of n accounts and their outcomes, 12 bytes an account.

    Attributes:
        probability: Of churn, shape (n,); nan where missing.
        flagged: Whether each is predicted to churn, shape (n,).
        band: Position of each one's risk band in the names of the bands, shape (n,); -1 where it is none of them.
        unknown_bands: Names of risk bands that are none of them.
        unique: Different ids.
        versions: Of the model that made the scores, sorted.
        truth: What became of each, shape (n,): 1 for churned, 0 for stayed, -1 for not known. None before any outcomes are.
        outcomes: How many outcomes there are; they may be of other accounts.
    """

    probability: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    band: NDArray[np.int16]
    unknown_bands: Sequence[str]
    unique: int
    versions: Sequence[str]
    truth: NDArray[np.int8] | None = None
    outcomes: int = 0

    def __len__(self) -> int:
        """How many accounts there are."""
        return len(self.probability)


class _Finding(NamedTuple):
    status: Status
    sentence: str


def health_metrics(
    accounts: ScoredAccounts,
    *,
    bands: Sequence[str],
    reference: Profile,
    analysis: Profile,
    reference_performance: Mapping[str, float],
    importance: Mapping[str, float],
    threshold: float,
    limits: Monitoring,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything the health report says, as plain JSON types without nan or infinity.

    Probabilities, rates and shares run from 0 to 1. A figure that cannot be computed is None, and ``notes`` says why.

    Args:
        accounts: The scores, and the outcomes that are known.
        bands: Names of the risk bands, from the lowest to the highest.
        reference: Profile of the rows that the model was trained on, with the scores of held-out rows.
        analysis: Profile of the scored rows and their scores, counted in the bins of the reference.
        reference_performance: Measures on held-out rows at training, by the names of
            ``churn.metrics.classification_metrics``; ``roc_auc`` is what a realised one is compared with.
        importance: Mean absolute contribution of each column to the scores, in log-odds.
        threshold: Probability from which an account is predicted to churn.
        limits: From when on a figure is to be watched or an alarm.
        provenance: Where the scores come from (run id, model version, as-of date, input); passed on as it is.

    Returns:
        ``schema_version``; ``status`` (ok, watch or alarm), ``alarms``, ``to_watch`` and ``notes`` (sentences);
        ``provenance``; ``total_samples``, ``unique_accounts``, ``threshold``, ``positive_rate``, ``prediction_counts``;
        ``probability`` (its distribution); ``bands``; ``histogram``; ``importance``; ``drift`` (one entry a column);
        ``score_drift``; ``estimated_performance``; ``reference_performance``; ``realised_performance`` (None without
        outcomes); ``limits``.

    Raises:
        ChurnError: The predictions have a missing or impossible probability or an unknown risk band.
    """
    _check(accounts, bands)
    probability, flagged, codes, truth = accounts.probability, accounts.flagged, accounts.band, accounts.truth

    findings: list[_Finding] = []
    notes: list[str] = []
    if len(accounts) == 0:
        findings.append(_Finding("alarm", "No accounts were scored"))
    elif accounts.unique < len(accounts):
        repeats = len(accounts) - accounts.unique
        findings.append(_Finding("watch", f"{repeats:,} of {len(accounts):,} scores are repeats of an account"))

    drifts = compare_profiles(reference, analysis)
    columns = []
    for drift in drifts:
        found = _drift_findings(drift, limits)
        findings += found
        columns.append(_drift_entry(drift, _worst(found), reference, analysis))
    by_chance = sum(
        drift.psi is not None and drift.psi_chance is not None and limits.psi_watch <= drift.psi <= drift.psi_chance
        for drift in drifts
    )
    if by_chance:
        notes.append(
            f"With {len(accounts):,} accounts, {by_chance} of the distributions passed a limit by no more than chance "
            "alone explains; that raises no alarm"
        )

    realised = None
    if truth is not None and accounts.outcomes and (truth < 0).all():
        findings.append(
            _Finding(
                "watch",
                f"None of the {accounts.outcomes:,} outcomes is known and of a scored account: are they of others?",
            )
        )
    if truth is not None:
        realised, found, told = _realised(truth, probability, flagged, reference_performance, limits)
        findings += found
        notes += told
    versions = accounts.versions
    if len(versions) > 1:
        findings.append(
            _Finding("watch", f"The scores come from {len(versions)} versions of the model: {', '.join(versions)}")
        )

    plain: dict[str, Any] = _plain(
        {
            "schema_version": SCHEMA_VERSION,
            "status": _worst(findings),
            "alarms": [finding.sentence for finding in findings if finding.status == "alarm"],
            "to_watch": [finding.sentence for finding in findings if finding.status == "watch"],
            "notes": notes,
            "provenance": dict(provenance),
            "total_samples": len(accounts),
            "unique_accounts": accounts.unique,
            "threshold": threshold,
            "positive_rate": _mean(flagged),
            "prediction_counts": {"0": int(np.sum(~flagged)), "1": int(np.sum(flagged))},
            "probability": _distribution(probability),
            "bands": [_band(name, probability, codes == at, truth) for at, name in enumerate(bands)],
            "histogram": _histogram(probability, codes, bands),
            "importance": _importance(importance),
            "drift": [entry for entry in columns if entry["kind"] != "score"],
            "score_drift": next((entry for entry in columns if entry["kind"] == "score"), None),
            "estimated_performance": _estimated(probability, flagged),
            "reference_performance": dict(reference_performance),
            "realised_performance": realised,
            "limits": limits.model_dump(),
        }
    )
    return plain


def flat_metrics(health: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a health report for a tracking server: one number a name, without those that are None.

    Names hold letters, digits and ``_ - . /`` and spaces only; other characters of columns and bands become ``_``, and
    where two names fall together the later ones get a number.

    Args:
        health: What ``health_metrics`` returned.

    Returns:
        Figures by name, for example ``psi/total_users_count`` or ``realised/roc_auc``. ``status`` is 0 for ok, 1 for
        watch and 2 for alarm.
    """
    found: list[tuple[str, Any]] = [
        ("status", _SEVERITY[health["status"]]),
        ("alarms", len(health["alarms"])),
        ("to_watch", len(health["to_watch"])),
        ("total_samples", health["total_samples"]),
        ("unique_accounts", health["unique_accounts"]),
        ("positive_rate", health["positive_rate"]),
        *((f"probability/{name}", value) for name, value in health["probability"].items()),
        *((f"estimated/{name}", value) for name, value in health["estimated_performance"].items()),
        *((f"realised/{name}", value) for name, value in (health["realised_performance"] or {}).items()),
    ]
    for band in health["bands"]:
        found += [(f"band_count/{band['name']}", band["count"]), (f"band_share/{band['name']}", band["share"])]
    for entry in [*health["drift"], *([health["score_drift"]] if health["score_drift"] else [])]:
        # A column may itself be called "score", so the drift of the scores has a name that no column can have.
        name = entry["column"] if entry["kind"] != "score" else None
        for figure in ("psi", "jensen_shannon", "ks", "missing_analysis", "unseen_share"):
            if entry["kind"] != "score" or figure in ("psi", "jensen_shannon", "ks"):
                found.append((f"score_{figure}" if name is None else f"{figure}/{name}", entry[figure]))
    flat: dict[str, float] = {}
    for raw, value in found:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            flat[_free_name(raw, flat)] = float(value)
    return flat


def humanize(column: str) -> str:
    """A column's name for people: ``active_users_count`` is ``Active users``."""
    words = [_WORDS.get(word, word) for word in column.split("_") if word]
    if len(words) > 1 and words[-1] == "count":
        words.pop()
    text = " ".join(words)
    return text[:1].upper() + text[1:]


# --- the predictions --------------------------------------------------------------------------------------------


def _check(accounts: ScoredAccounts, bands: Sequence[str]) -> None:
    wrong = len(accounts) - int(np.sum((accounts.probability >= 0) & (accounts.probability <= 1)))
    if wrong:
        raise ChurnError(
            f"predictions: {wrong:,} of {len(accounts):,} probabilities are missing or not between 0 and 1; "
            "score the accounts again"
        )
    if accounts.unknown_bands:
        unknown = ", ".join(map(repr, sorted(accounts.unknown_bands)[:5]))
        raise ChurnError(
            f"predictions: risk_band has {unknown}, but the model's bands are {', '.join(bands)}; "
            "monitor the scores with the model that made them"
        )


def _distribution(probability: NDArray[np.float64]) -> dict[str, float | None]:
    if len(probability) == 0:
        return dict.fromkeys(("mean", "std", "minimum", "q25", "median", "q75", "maximum"))
    quartiles = np.quantile(probability, [0.0, 0.25, 0.5, 0.75, 1.0])
    names = ("minimum", "q25", "median", "q75", "maximum")
    return {
        "mean": float(np.mean(probability)),
        "std": float(np.std(probability)),
        **dict(zip(names, quartiles.tolist(), strict=True)),
    }


def _band(
    name: str, probability: NDArray[np.float64], members: NDArray[np.bool_], truth: NDArray[np.int8] | None
) -> dict[str, Any]:
    inside = probability[members]
    known = np.empty(0) if truth is None else truth[members & (truth >= 0)]
    return {
        "name": name,
        "count": len(inside),
        "share": _mean(members),
        "lowest_probability": float(inside.min()) if len(inside) else None,
        "highest_probability": float(inside.max()) if len(inside) else None,
        "expected_churners": float(inside.sum()),
        "expected_churn_rate": _mean(inside),
        "outcomes": len(known),
        "churn_rate": _mean(known),
    }


def _histogram(probability: NDArray[np.float64], codes: NDArray[np.int16], bands: Sequence[str]) -> dict[str, Any]:
    """Accounts in bins of equal width, in all and by band; a bin holds its lower edge, the last one also 1."""
    counts = np.zeros((len(bands), HISTOGRAM_BINS), dtype=np.int64)
    # In pieces, as positions of all accounts would take twice the memory of their probabilities.
    for start in range(0, len(probability), metrics.PIECE_ROWS):
        piece = slice(start, start + metrics.PIECE_ROWS)
        bin_of = np.minimum(np.floor(probability[piece] * HISTOGRAM_BINS), HISTOGRAM_BINS - 1).astype(np.int64)
        place = codes[piece] * np.int64(HISTOGRAM_BINS) + bin_of
        counts += np.bincount(place, minlength=counts.size).reshape(counts.shape)
    return {
        "edges": [at / HISTOGRAM_BINS for at in range(HISTOGRAM_BINS + 1)],
        "counts": counts.sum(axis=0).tolist(),
        "by_band": counts.tolist(),
    }


def _importance(importance: Mapping[str, float]) -> list[dict[str, Any]]:
    total = sum(importance.values())
    ranked = sorted(importance.items(), key=lambda item: (-item[1], item[0]))
    return [
        {"column": column, "contribution": float(value), "share": float(value / total) if total > 0 else None}
        for column, value in ranked
    ]


# --- what has moved ---------------------------------------------------------------------------------------------


def _drift_findings(drift: ColumnDrift, limits: Monitoring) -> list[_Finding]:
    name = "Scores" if drift.kind == "score" else humanize(drift.column)
    found = []
    if drift.psi is not None and drift.psi > (drift.psi_chance or 0.0):
        if drift.psi >= limits.psi_alarm:
            found.append(
                _Finding("alarm", f"{name}: the distribution moved (PSI {drift.psi:.2f}, limit {limits.psi_alarm:g})")
            )
        elif drift.psi >= limits.psi_watch:
            found.append(
                _Finding(
                    "watch",
                    f"{name}: the distribution is moving (PSI {drift.psi:.2f}, watched from {limits.psi_watch:g})",
                )
            )
    if drift.kind == "score":
        return found
    if drift.missing_analysis is not None and drift.missing_reference is not None:
        rise = drift.missing_analysis - drift.missing_reference
        if rise > 0 and _reaches(rise, limits.missing_rise):
            found.append(
                _Finding(
                    "alarm",
                    f"{name}: {_percent(drift.missing_analysis)} of the accounts have no value, "
                    f"{_percent(drift.missing_reference)} at training "
                    f"(limit: a rise of {100 * limits.missing_rise:g} percentage points)",
                )
            )
    unseen = drift.unseen_share or 0.0
    if drift.kind == "categorical" and unseen > 0 and _reaches(unseen, limits.unseen_share):
        found.append(
            _Finding(
                "alarm",
                f"{name}: {_percent(unseen)} of the accounts have a category never seen at training "
                f"(limit {100 * limits.unseen_share:g}%)",
            )
        )
    return found


def _drift_entry(drift: ColumnDrift, status: Status, reference: Profile, analysis: Profile) -> dict[str, Any]:
    part = (drift.kind, drift.column)
    bars = outline(_parts(reference)[part], _parts(analysis)[part])
    return {**drift._asdict(), "status": status, "distribution": bars._asdict()}


def _parts(profile: Profile) -> dict[tuple[str, str], NumericProfile | CategoricalProfile]:
    """The profiles in a profile, by kind and column."""
    parts: dict[tuple[str, str], NumericProfile | CategoricalProfile] = {}
    parts |= {("numeric", name): part for name, part in profile.numeric.items()}
    parts |= {("categorical", name): part for name, part in profile.categorical.items()}
    return parts if profile.score is None else parts | {("score", "score"): profile.score}


# --- how good the scores are ------------------------------------------------------------------------------------


def _estimated(probability: NDArray[np.float64], flagged: NDArray[np.bool_]) -> dict[str, float | None]:
    """What is to be expected if the probabilities are right: each account churns with its own probability."""
    churners = float(probability.sum())
    caught = float(probability[flagged].sum())
    return {
        "roc_auc": metrics.estimated_roc_auc(probability) if len(probability) else None,
        "churn_rate": _mean(probability),
        "churners": churners,
        "precision": _mean(probability[flagged]),
        "recall": caught / churners if churners > 0 else None,
    }


def _realised(
    truth: NDArray[np.int8],
    probability: NDArray[np.float64],
    flagged: NDArray[np.bool_],
    reference_performance: Mapping[str, float],
    limits: Monitoring,
) -> tuple[dict[str, Any], list[_Finding], list[str]]:
    known = truth >= 0
    # Where all are known, they need no copy.
    labels, scores, called = (
        (truth, probability, flagged) if known.all() else (truth[known], probability[known], flagged[known])
    )
    churned, caught = int(labels.sum()), int(labels[called].sum())
    performance: dict[str, Any] = {
        "outcomes": len(labels),
        "coverage": _mean(known),
        "churned": churned,
        "churn_rate": _mean(labels),
        "expected_churn_rate": _mean(scores),
        "flagged": int(called.sum()),
        "flagged_churned": caught,
        "precision": caught / int(called.sum()) if called.any() else None,
        "recall": caught / churned if churned else None,
        "accuracy": _mean(called == labels),
        **dict.fromkeys(("roc_auc", "roc_auc_standard_error", "average_precision", "log_loss", "lift_at_10")),
        **dict.fromkeys(("brier", "calibration_error", "calibration_error_chance")),
        "roc_auc_status": "ok",
        "calibration_status": "ok",
        "calibration_curve": [],
    }
    findings: list[_Finding] = []
    notes: list[str] = []
    if len(labels) == 0:
        return performance, findings, ["No outcome of a scored account is known yet"]
    if len(labels) < len(truth):
        notes.append(
            f"Outcomes are known for {_percent(len(labels) / len(truth))} of the accounts; where those that left are "
            "known sooner than those that stayed, the realised churn rate and precision look higher than they are"
        )

    curve = metrics.calibration_curve(labels, scores)
    performance["brier"] = metrics.brier(labels, scores)
    performance["calibration_error"] = error = metrics.error_of_curve(curve)
    performance["calibration_error_chance"] = chance = _calibration_chance(curve)
    performance["calibration_curve"] = [
        {"predicted": float(predicted), "observed": float(observed), "count": int(count)}
        for predicted, observed, count in zip(*curve, strict=True)
    ]
    if error > 0 and _reaches(error, limits.calibration_error):
        text = f"Scores are off by {100 * error:.1f} percentage points on average (limit {100 * limits.calibration_error:g})"
        findings.append(_judged(text, error > chance, len(labels)))
        performance["calibration_status"] = findings[-1].status

    if not 0 < churned < len(labels):
        only = "churned" if churned else "stayed"
        notes.append(f"All accounts with a known outcome {only}: ROC AUC and average precision need both outcomes")
        return performance, findings, notes
    ranking = metrics.Ranking.of(labels, scores)
    performance["roc_auc"] = now = ranking.roc_auc()
    performance["average_precision"] = ranking.average_precision()
    performance["log_loss"] = metrics.log_loss(labels, scores)
    performance["lift_at_10"] = metrics.lift(labels, scores, 0.1)
    then = reference_performance.get("roc_auc")
    performance["roc_auc_standard_error"] = doubt = _roc_auc_standard_error(now, churned, len(labels) - churned)
    if then is not None and then > now and _reaches(then - now, limits.roc_auc_drop):
        text = f"ROC AUC is {now:.3f}, {then:.3f} at training (limit: a fall of {limits.roc_auc_drop:g})"
        findings.append(_judged(text, then - now > CHANCE_QUANTILE * doubt, len(labels)))
        performance["roc_auc_status"] = findings[-1].status
    return performance, findings, notes


def _judged(sentence: str, certain: bool, outcomes: int) -> _Finding:
    """An alarm, or a matter to watch where so few outcomes may show it by chance."""
    return (
        _Finding("alarm", sentence)
        if certain
        else _Finding("watch", f"{sentence}; with {outcomes:,} outcomes it may be chance")
    )


def _calibration_chance(curve: metrics.CalibrationCurve) -> float:
    """Calibration error that perfectly calibrated scores exceed once in a thousand times, as a probability.

    In a bin the distance of observed and predicted rate is then about half-normal with s = sqrt(p (1 - p) / n), mean
    s sqrt(2 / pi) and variance s^2 (1 - 2 / pi); the bins are independent.
    """
    weight = curve.rows / curve.rows.sum()
    spread = np.sqrt(curve.predicted * (1 - curve.predicted) / curve.rows)
    mean = np.sum(weight * spread) * math.sqrt(2 / math.pi)
    deviation = math.sqrt(float(np.sum((weight * spread) ** 2)) * (1 - 2 / math.pi))
    return float(mean + CHANCE_QUANTILE * deviation)


def _roc_auc_standard_error(area: float, churned: int, stayed: int) -> float:
    """Standard error of a ROC AUC (Hanley and McNeil, 1982, doi:10.1148/radiology.143.1.7063747)."""
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (churned - 1) * (first - area**2) + (stayed - 1) * (second - area**2)
    return math.sqrt(max(0.0, variance) / (churned * stayed))


# --- small things -----------------------------------------------------------------------------------------------


def _worst(findings: Sequence[_Finding]) -> Status:
    return max((finding.status for finding in findings), key=_SEVERITY.__getitem__, default="ok")


def _reaches(value: float, limit: float) -> bool:
    """Whether a value has come to a limit, give or take what a difference of shares loses in rounding."""
    return value >= limit - 1e-12


def _mean(values: NDArray[Any]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _free_name(raw: str, taken: Mapping[str, float]) -> str:
    # A part that is empty or only dots would not be a valid path on the tracking server.
    parts = [re.sub(r"[^A-Za-z0-9_\-. ]", "_", part) for part in raw.split("/", 1)]
    name = "/".join(part if part.strip(". ") else "_" * max(1, len(part)) for part in parts)[:240]
    free, number = name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _plain(value: Any) -> Any:
    """The same value in plain JSON types; nan and infinity become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return value.isoformat() if isinstance(value, date) else str(value)

"""Health of a scored account table: distribution of the scores, drift, and realised quality."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from churn.config import Monitoring
from churn.config.health import SEVERITY, Status
from churn.errors import ChurnError
from churn.metrics import ranking
from churn.model import Profile
from churn.model.profile import CategoricalProfile, NumericProfile
from churn.monitoring.drift import ColumnDrift, compare_profiles, outline
from churn.monitoring.findings import Finding, mean_of, percent, reaches, worst
from churn.monitoring.outcomes import ScoredAccounts
from churn.monitoring.performance import estimated_performance, realised_performance
from churn.tables import humanize, plain, ranked_shares

SCHEMA_VERSION = 1
HISTOGRAM_BINS = 20


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
    notes: Sequence[str] = (),
    to_watch: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the content of the health report as plain JSON types, without nan or infinity.

    Probabilities, rates and shares are from 0 to 1. A metric that cannot be computed is None, and ``notes`` has the reason.

    Args:
        accounts: The scores and the known outcomes.
        bands: Names of the risk bands, from the lowest to the highest.
        reference: Profile of the rows that the model was trained on, with the scores of held-out rows.
        analysis: Profile of the scored rows and their scores, counted in the bins of the reference.
        reference_performance: Metrics on held-out rows at training, by the names of
            ``churn.metrics.classification.classification_metrics``; the realised ROC AUC is compared with ``roc_auc``.
        importance: Mean absolute contribution of each column to the scores, in log-odds.
        threshold: Probability from which an account is predicted to churn.
        limits: Limits for warnings and alarms.
        provenance: Origin of the scores (run id, model version, as-of date, input); returned unchanged.
        notes: Further sentences that need no action, on where the scores come from.
        to_watch: Further sentences on what should not be so; each is a warning.

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

    findings = [Finding("watch", sentence) for sentence in to_watch]
    notes = list(notes)
    if len(accounts) == 0:
        findings.append(Finding("alarm", "No accounts were scored"))
    elif accounts.unique < len(accounts):
        repeats = len(accounts) - accounts.unique
        findings.append(Finding("watch", f"{repeats:,} of {len(accounts):,} scores are repeats of an account"))

    drifts = compare_profiles(reference, analysis, limits.false_alarm_rate)
    columns = []
    by_chance = 0
    for drift in drifts:
        reached = list(_limits_reached(drift, limits))
        found = [each.finding for each in reached if not each.by_chance]
        findings += found
        columns.append(_drift_entry(drift, worst(found), reference, analysis))
        by_chance += any(each.by_chance for each in reached)
    if by_chance:
        notes.append(
            f"With {len(accounts):,} accounts, {by_chance} of the distributions passed a limit by no more than chance "
            "alone explains; that raises no alarm"
        )

    realised = None
    if truth is not None and accounts.outcomes and (truth < 0).all():
        findings.append(
            Finding(
                "watch",
                f"None of the {accounts.outcomes:,} outcomes is known and of a scored account: are they of others?",
            )
        )
    if truth is not None:
        realised, found, told = realised_performance(
            truth, probability, flagged, reference_performance, reference.rows, limits
        )
        findings += found
        notes += told
    versions = accounts.versions
    if len(versions) > 1:
        findings.append(
            Finding("watch", f"The scores come from {len(versions)} versions of the model: {', '.join(versions)}")
        )

    document: dict[str, Any] = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "status": worst(findings),
            "alarms": [finding.sentence for finding in findings if finding.status == "alarm"],
            "to_watch": [finding.sentence for finding in findings if finding.status == "watch"],
            "notes": notes,
            "provenance": dict(provenance),
            "total_samples": len(accounts),
            "unique_accounts": accounts.unique,
            "threshold": threshold,
            "positive_rate": mean_of(flagged),
            "prediction_counts": {"0": int(np.sum(~flagged)), "1": int(np.sum(flagged))},
            "probability": _distribution(probability),
            "bands": [_band(name, probability, codes == at, truth) for at, name in enumerate(bands)],
            "histogram": _histogram(probability, codes, bands),
            "importance": ranked_shares(importance),
            "drift": [entry for entry in columns if entry["kind"] != "score"],
            "score_drift": next((entry for entry in columns if entry["kind"] == "score"), None),
            "estimated_performance": estimated_performance(probability, flagged),
            "reference_performance": dict(reference_performance),
            "realised_performance": realised,
            "limits": limits.model_dump(),
        }
    )
    return document


def flat_metrics(health: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a health report for a tracking server, without those that are None.

    Names have letters, digits, ``_ - . /`` and spaces only; other characters of columns and bands become ``_``, and of
    equal names the later ones get a number.

    Args:
        health: Result of ``health_metrics``.

    Returns:
        Metrics by name, for example ``psi/total_users_count`` or ``realised/roc_auc``. ``status`` is 0 for ok, 1 for
        watch and 2 for alarm.
    """
    found: list[tuple[str, Any]] = [
        ("status", SEVERITY[health["status"]]),
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
        "share": mean_of(members),
        "lowest_probability": float(inside.min()) if len(inside) else None,
        "highest_probability": float(inside.max()) if len(inside) else None,
        "expected_churners": float(inside.sum()),
        "expected_churn_rate": mean_of(inside),
        "outcomes": len(known),
        "churn_rate": mean_of(known),
    }


def _histogram(probability: NDArray[np.float64], codes: NDArray[np.int16], bands: Sequence[str]) -> dict[str, Any]:
    """Count accounts in bins of equal width, in total and by band. A bin includes its lower edge, the last one also 1."""
    counts = np.zeros((len(bands), HISTOGRAM_BINS), dtype=np.int64)
    # In pieces, because the bins of all accounts would take twice the memory of their probabilities.
    for start in range(0, len(probability), ranking.PIECE_ROWS):
        piece = slice(start, start + ranking.PIECE_ROWS)
        bin_of = np.minimum(np.floor(probability[piece] * HISTOGRAM_BINS), HISTOGRAM_BINS - 1).astype(np.int64)
        place = codes[piece] * np.int64(HISTOGRAM_BINS) + bin_of
        counts += np.bincount(place, minlength=counts.size).reshape(counts.shape)
    return {
        "edges": [at / HISTOGRAM_BINS for at in range(HISTOGRAM_BINS + 1)],
        "counts": counts.sum(axis=0).tolist(),
        "by_band": counts.tolist(),
    }


class _Reached(NamedTuple):
    """A limit that a column has reached, and whether chance explains it."""

    finding: Finding
    by_chance: bool


def _limits_reached(drift: ColumnDrift, limits: Monitoring) -> Iterator[_Reached]:
    name = "Scores" if drift.kind == "score" else humanize(drift.column)
    psi = drift.psi or 0.0
    if psi >= limits.psi_alarm:
        text = f"{name}: the distribution moved (PSI {psi:.2f}, limit {limits.psi_alarm:g})"
        yield _Reached(Finding("alarm", text), drift.moved_by_chance)
    elif psi >= limits.psi_watch:
        text = f"{name}: the distribution is moving (PSI {psi:.2f}, watched from {limits.psi_watch:g})"
        yield _Reached(Finding("watch", text), drift.moved_by_chance)
    if drift.kind == "score":
        return
    before, now = drift.missing_reference or 0.0, drift.missing_analysis or 0.0
    if now > before and reaches(now - before, limits.missing_rise):
        text = (
            f"{name}: {percent(now)} of the accounts have no value, {percent(before)} at training "
            f"(limit: a rise of {100 * limits.missing_rise:g} percentage points)"
        )
        yield _Reached(Finding("alarm", text), drift.missing_by_chance)
    unseen = drift.unseen_share or 0.0
    if drift.kind == "categorical" and unseen > 0 and reaches(unseen, limits.unseen_share):
        text = (
            f"{name}: {percent(unseen)} of the accounts have a category never seen at training "
            f"(limit {100 * limits.unseen_share:g}%)"
        )
        yield _Reached(Finding("alarm", text), drift.unseen_by_chance)


def _drift_entry(drift: ColumnDrift, status: Status, reference: Profile, analysis: Profile) -> dict[str, Any]:
    part = (drift.kind, drift.column)
    bars = outline(_parts(reference)[part], _parts(analysis)[part])
    return {**drift._asdict(), "status": status, "distribution": bars._asdict()}


def _parts(profile: Profile) -> dict[tuple[str, str], NumericProfile | CategoricalProfile]:
    """Return the profiles of the columns and of the scores, by kind and column."""
    parts: dict[tuple[str, str], NumericProfile | CategoricalProfile] = {}
    parts |= {("numeric", name): part for name, part in profile.numeric.items()}
    parts |= {("categorical", name): part for name, part in profile.categorical.items()}
    return parts if profile.score is None else parts | {("score", "score"): profile.score}


def _free_name(raw: str, taken: Mapping[str, float]) -> str:
    # A part that is empty or has only dots is not a valid path on the tracking server.
    parts = [re.sub(r"[^A-Za-z0-9_\-. ]", "_", part) for part in raw.split("/", 1)]
    name = "/".join(part if part.strip(". ") else "_" * max(1, len(part)) for part in parts)[:240]
    free, number = name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free

"""How often the verdicts of the project are wrong: the gate of a promotion and the health report.

Run with ``python -m tests.benchmarks.verdicts``; ``--share 0.1`` makes a tenth of the cases. Everything is made anew for each
case: the table, the split, the model. The seeds are fixed, so the same command gives the same rates.

- Retrainings: champion and challenger of the simulated population. As good: the challenger is trained on the same accounts
  and 2 % new ones. Damaged: of its training labels, 30 % are shuffled. Better: it is trained on five times the accounts.
- Health: a random part of a table that has not moved is scored with a model of the rest. Anything but ``ok`` is a false alarm.
- Moved: the same with a drift of the simulated population, or with scores that lost 0.05 of ROC AUC.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from churn.config import AccountSchema, FeatureEngineering, Training
from churn.model import ChurnModel
from churn.model.profile import count_profile
from churn.monitoring import ScoredAccounts, health_metrics
from churn.pipelines.data_generation.simulation import simulate_accounts
from churn.tables import check_accounts
from churn.tables.parallel import cores
from churn.tables.split import Split
from churn.training import decide, train_model
from churn.training.challenge import challenge
from tests.conftest import base_parameters

ROOT = Path(__file__).parents[2]
SIZES = (2_000, 7_000, 30_000)
RETRAININGS = 200
HOLD_OUTS = 500
MOVED = 100
FRESH_ROWS = 100_000
KINDS = ("as good", "damaged", "better")


class Table(NamedTuple):
    """A labelled table in canonical form and how a model of it is trained."""

    accounts: pd.DataFrame
    schema: AccountSchema
    features: FeatureEngineering
    training: Training

    def labels(self, rows: pd.DataFrame) -> np.ndarray:
        return rows[self.schema.label.column].to_numpy(np.int8)

    def parts(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, Split]:
        split = Split(self.features.random_state, self.features.test_share)
        mask = split.test_rows(rows[self.schema.id])
        return rows[~mask].reset_index(drop=True), rows[mask].reset_index(drop=True), split


@lru_cache
def parameters() -> Any:
    from churn.config import check_parameters

    return check_parameters(base_parameters())


def table_of(raw: pd.DataFrame, schema: AccountSchema, features: FeatureEngineering, **training: Any) -> Table:
    accounts = check_accounts(raw, schema, subject="table", labelled=True).accounts
    return Table(accounts, schema, features, parameters().training.model_copy(update={"threads": 1, **training}))


def simulated(rows: int, seed: int, drift: float = 0.0, **training: Any) -> Table:
    schema = parameters().accounts
    drawn = simulate_accounts(rows, seed, parameters().simulation, drift=drift)
    raw = drawn.accounts.assign(**{schema.label.column: drawn.churned})
    return table_of(raw, schema, parameters().feature_engineering, **training)


def gym(rows: int, seed: int, more: int = 0, **training: Any) -> Table:
    """The table of docs/bring-your-own-table.md, with so many columns of noise besides."""
    random = np.random.default_rng(seed)
    visits = np.minimum(30, random.exponential(6, rows).astype(int))
    plan = random.integers(0, 3, rows)
    noise = {f"numeric_{at}": random.normal(size=rows).round(2) for at in range(more // 2)}
    noise |= {f"category_{at}": random.integers(0, 3 + at, rows).astype(str) for at in range(more - more // 2)}
    raw = pd.DataFrame(
        {
            "member_no": [f"{at:05}" for at in range(rows)],
            "age": np.where(random.random(rows) < 0.03, np.nan, random.integers(16, 80, rows)),
            "plan": np.array(["basic", "plus", "family"])[plan],
            "home_club": random.choice(["north", "harbour", "old town"], rows),
            "visits_last_month": visits,
            "classes_last_month": random.integers(0, visits + 1),
            "monthly_fee": np.array([19.9, 34.9, 49.9])[plan],
            **noise,
            "cancelled": random.random(rows) < np.where(visits < 3, 0.6, 0.08),
        }
    )
    numeric = ["age", "visits_last_month", "classes_last_month", "monthly_fee"]
    schema = AccountSchema.model_validate(
        {
            "id": "member_no",
            "label": {"column": "cancelled", "positive": "true"},
            "numeric": [*numeric, *(name for name in noise if name.startswith("numeric"))],
            "categorical": ["plan", "home_club", *(name for name in noise if name.startswith("category"))],
        }
    )
    return table_of(raw, schema, FeatureEngineering(), **training)


def telco(rows: int, seed: int, **training: Any) -> Table:
    """A random part of the public table that conf/telco names."""
    import yaml

    conf = ROOT / "conf" / "telco"
    blocks = {}
    for file in sorted(conf.glob("parameters*.yml")):
        blocks |= yaml.safe_load(file.read_text()) or {}
    source = ROOT / yaml.safe_load((conf / "globals.yml").read_text())["source_accounts"]
    raw = pd.read_csv(source, dtype=str, keep_default_na=False).sample(rows, random_state=seed)
    features = FeatureEngineering.model_validate(blocks.get("feature_engineering", {}))
    return table_of(raw.reset_index(drop=True), AccountSchema.model_validate(blocks["accounts"]), features, **training)


def fitted(table: Table, train: pd.DataFrame, test: pd.DataFrame, split: Split) -> ChurnModel:
    return train_model(train, table.schema, table.features, table.training, test_accounts=test, split=split)


# --- retrainings ----------------------------------------------------------------------------------------------------


class Retraining(NamedTuple):
    """What became of a challenger: whether the gate let it pass, and its true gain on fresh rows (nan if not measured)."""

    passed: bool
    gain: float


def retrained(rows: int, seed: int, kind: str, **training: Any) -> Retraining:
    """Train a champion on some rows and a challenger of a kind, and let the gate judge."""
    whole = simulated(5 * rows if kind == "better" else round(1.02 * rows), 1_000_000 + seed, **training)
    train, test, split = whole.parts(whole.accounts.iloc[:rows])
    champion = fitted(whole, train, test, split)
    train, test, split = whole.parts(whole.accounts)
    if kind == "damaged":
        random = np.random.default_rng(seed)
        at = random.choice(len(train), round(0.3 * len(train)), replace=False)
        labels = whole.labels(train).copy()
        labels[at] = labels[random.permutation(at)]
        train = train.assign(**{whole.schema.label.column: labels})
    challenger = fitted(whole, train, test, split)
    judged = challenge(
        challenger, champion, "1", test, split,
        value=np.zeros(len(test)), leaks=[], latency_ms=1.0, promotion=parameters().promotion,
    )  # fmt: skip
    gate = decide(judged, parameters().promotion).gates[0]
    gain = np.nan
    if kind == "better":
        fresh, truth = _fresh()
        gain = _area(challenger.probability(fresh), truth) - _area(champion.probability(fresh), truth)
    return Retraining(gate.passed, float(gain))


@lru_cache
def _fresh() -> tuple[pd.DataFrame, np.ndarray]:
    drawn = simulate_accounts(FRESH_ROWS, 77, parameters().simulation)
    schema = parameters().accounts
    raw = drawn.accounts.assign(**{schema.label.column: drawn.churned})
    return check_accounts(raw, schema, subject="fresh", labelled=True).accounts, drawn.churned.astype(np.int8)


def _area(scores: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores))


# --- health ---------------------------------------------------------------------------------------------------------


def hold_out(seed: int, **training: Any) -> tuple[Table, pd.DataFrame]:
    """A table of a random kind and size that has not moved, and the rows of it to score."""
    random = np.random.default_rng(seed)
    kind, rows = random.integers(0, 3), int(np.exp(random.uniform(np.log(200), np.log(5000))))
    options = {"calibration": ("sigmoid", "isotonic")[random.integers(0, 2)], **training}
    if kind == 0:
        table = simulated(rows, 2_000_000 + seed, **options)
    elif kind == 1:
        table = telco(rows, seed, **options)
    else:
        table = gym(rows, seed, more=int(random.integers(0, 45)), **options)
    return _held_out(table, random)


def _held_out(table: Table, random: np.random.Generator) -> tuple[Table, pd.DataFrame]:
    scored = np.zeros(len(table.accounts), bool)
    share = random.uniform(0.2, 0.5)
    scored[random.permutation(len(scored))[: max(30, round(share * len(scored)))]] = True
    rest = table.accounts[~scored].reset_index(drop=True)
    return table._replace(accounts=rest), table.accounts[scored].reset_index(drop=True)


def model_of(table: Table) -> ChurnModel:
    return fitted(table, *table.parts(table.accounts))


def health_of(model: ChurnModel, accounts: pd.DataFrame, probability: np.ndarray | None = None) -> dict[str, Any]:
    """The health report of scored accounts with known outcomes."""
    scores = model.probability(accounts) if probability is None else probability.astype(np.float32)
    bands = [band.name for band in model.risk_bands]
    scored = ScoredAccounts(
        probability=scores.astype(np.float64),
        flagged=scores >= model.threshold,
        band=np.asarray(model.bands_of(scores).codes, np.int16),
        unknown_bands=(),
        unique=len(accounts),
        versions=("1",),
        truth=accounts[model.schema.label.column].to_numpy(np.int8),
        outcomes=len(accounts),
    )
    return health_metrics(
        scored,
        bands=bands,
        reference=model.reference,
        analysis=count_profile(model.reference, accounts, scores),
        reference_performance=model.performance,
        importance=model.importance,
        threshold=model.threshold,
        limits=parameters().monitoring,
        provenance={},
    )


def unmoved(seed: int, **training: Any) -> list[str]:
    """Reasons for which a table that has not moved is not healthy; none for most."""
    table, scored = hold_out(seed, **training)
    if min(np.bincount(table.labels(table.accounts), minlength=2)) < 20:
        return []
    health = health_of(model_of(table), scored)
    return [*health["alarms"], *health["to_watch"]]


def drifted(seed: int, rows: int = 5_000, drift: float = 0.3, **training: Any) -> bool:
    """Whether a drift of the simulated population is found."""
    model = model_of(simulated(rows, 3_000_000 + seed, **training))
    moved = simulated(rows, 4_000_000 + seed, drift=drift)
    return bool(health_of(model, moved.accounts)["status"] != "ok")


def worsened(seed: int, rows: int = 7_000, outcomes: int = 2_000, loss: float = 0.05, **training: Any) -> bool:
    """Whether a loss of ROC AUC is found: some of the scores are shuffled, which leaves their distribution as it is."""
    model = model_of(simulated(rows, 5_000_000 + seed, **training))
    scored = simulated(outcomes, 6_000_000 + seed).accounts
    scores = model.probability(scored)
    # With scores shuffled among a share s of all rows, the expected area is (1 - s) area + s / 2.
    share = loss / (model.performance["roc_auc"] - 0.5)
    random = np.random.default_rng(seed)
    at = random.choice(outcomes, round(share * outcomes), replace=False)
    scores[at] = scores[random.permutation(at)]
    health = health_of(model, scored, scores)
    return bool(health["realised_performance"]["roc_auc_status"] != "ok")


# --- the command ----------------------------------------------------------------------------------------------------


def measured(work: Callable[..., Any], cases: int, pool: ProcessPoolExecutor, *arguments: Any) -> Iterator[Any]:
    for number, result in enumerate(pool.map(work, *([value] * cases for value in arguments), range(cases)), start=1):
        print(f"\r{number} of {cases}", end="", file=sys.stderr)
        yield result
    print("\r" + 20 * " " + "\r", end="", file=sys.stderr)


def _retrained(kind: str, rows: int, seed: int) -> Retraining:
    return retrained(rows, seed, kind)


def retrainings(cases: int, sizes: tuple[int, ...], pool: ProcessPoolExecutor) -> None:
    print(
        "| rows | as good: refused | damaged: refused | truly better: promoted | truly better | trainings of each kind |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for rows in sizes:
        results = {kind: list(measured(_retrained, cases, pool, kind, rows)) for kind in KINDS}
        refused = {kind: np.mean([not each.passed for each in results[kind]]) for kind in KINDS}
        better = [each.passed for each in results["better"] if each.gain > 0]
        print(
            f"| {rows:,} | {refused['as good']:.1%} | {refused['damaged']:.1%} | {np.mean(better):.1%} | "
            f"{len(better)} | {cases} |",
            flush=True,
        )


def health(cases: int, power_cases: int, pool: ProcessPoolExecutor) -> None:
    found = list(measured(unmoved, cases, pool))
    print(f"Not healthy although nothing moved: {np.mean([bool(each) for each in found]):.1%} of {cases} hold-outs")
    for reason, count in Counter(reason.partition(" (")[0] for each in found for reason in each).most_common(10):
        print(f"  {count} x {reason}")
    print(
        f"A drift of 0.3 is found in {np.mean(list(measured(drifted, power_cases, pool))):.1%} of {power_cases} tables"
    )
    lost = np.mean(list(measured(worsened, power_cases, pool)))
    print(f"A loss of 0.05 of ROC AUC is found in {lost:.1%} of {power_cases} tables with 2,000 outcomes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.verdicts", description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="share of the cases, for example 0.1; all by default")
    parser.add_argument("--only", choices=("retrainings", "health"), help="one of the two parts")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="rows of the champion's table")
    arguments = parser.parse_args()
    holdouts, moved, trained = (round(arguments.share * cases) for cases in (HOLD_OUTS, MOVED, RETRAININGS))
    with ProcessPoolExecutor(cores()) as pool:
        if arguments.only != "retrainings":
            health(holdouts, moved, pool)
        if arguments.only != "health":
            retrainings(trained, tuple(arguments.sizes), pool)


if __name__ == "__main__":
    main()

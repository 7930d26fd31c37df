"""How good the model is, beside others on the same folds, and how long it takes to train.

Run with ``python -m tests.benchmarks.quality``; ``--quick`` measures one repeat instead of three. Everything is fitted
again for each fold: the encoder, early stopping and the calibration. Another table is measured with ``--table file.csv
--roles conf/<environment>/parameters.yml``. The explainable boosting machine comes with the dependency group ``bench``,
which ``make quality`` installs; without it, its rows are left out and the output says so.
"""

import argparse
import importlib.util
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from sklearn.model_selection import RepeatedStratifiedKFold, train_test_split

from churn.config import AccountSchema, FeatureEngineering, Profit, Simulation, Training
from churn.metrics import calibration_error, classification_metrics
from churn.retention.profit import profit_policies
from churn.tables import check_accounts
from churn.training import train_model
from churn.training.encoding import fit_encoder

ROOT = Path(__file__).parents[2]
MEASURES = ("roc_auc", "lift_at_10", "log_loss", "calibration_error")
# The example costs of the base environment.
PROFIT = Profit()
# A table as large as this is measured on fresh rows, so that the sampling error of the test rows is small.
FRESH_ROWS = 30_000


class Table(NamedTuple):
    """A labelled account table in canonical form and how it is encoded and trained on."""

    name: str
    accounts: pd.DataFrame
    schema: AccountSchema
    features: FeatureEngineering
    training: Training

    @property
    def labels(self) -> np.ndarray:
        return self.accounts[self.schema.label.column].to_numpy(np.int8)


# Fits on training rows and gives the probabilities of test rows.
Fitter = Callable[[Table, pd.DataFrame], Callable[[pd.DataFrame], np.ndarray]]


def fit_churn(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    """This project's model with the configured parameters."""
    return train_model(rows, table.schema, table.features, table.training).probability


def encoded(estimator: Any) -> Fitter:
    """An estimator of scikit-learn's interface on the same encoded features."""

    def fit(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
        encoder = fit_encoder(rows, table.schema, table.features)
        fitted = estimator().fit(encoder.transform(rows), rows[table.schema.label.column].to_numpy(np.int8))
        return lambda others: fitted.predict_proba(encoder.transform(others))[:, 1]

    return fit


def logistic_regression() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


def default_xgboost() -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(random_state=0)


def fit_ebm(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    """InterpretML's explainable boosting machine with its default parameters, on the account columns themselves."""
    from interpret.glassbox import ExplainableBoostingClassifier

    numeric, categorical = list(table.schema.numeric_names), list(table.schema.categorical)

    def columns(accounts: pd.DataFrame) -> pd.DataFrame:
        texts = {name: accounts[name].astype(object).where(accounts[name].notna(), None) for name in categorical}
        return accounts[numeric].astype(np.float64).assign(**texts)

    kinds = ["continuous"] * len(numeric) + ["nominal"] * len(categorical)
    model = ExplainableBoostingClassifier(feature_types=kinds, n_jobs=-1)
    model.fit(columns(rows), rows[table.schema.label.column].to_numpy(np.int8))
    return lambda others: model.predict_proba(columns(others))[:, 1]


def fitters(with_ebm: bool) -> dict[str, Fitter]:
    """The models that are compared, by name."""
    found: dict[str, Fitter] = {
        "churn": fit_churn,
        "logistic regression": encoded(logistic_regression),
        "XGBoost, default parameters": encoded(default_xgboost),
    }
    return found | ({"EBM, default parameters": fit_ebm} if with_ebm else {})


def measured(table: Table, fitter: Fitter, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """Measures on the test rows and seconds to fit."""
    start = time.perf_counter()
    predict = fitter(table, train)
    seconds = time.perf_counter() - start
    probability = np.asarray(predict(test), dtype=np.float64)
    labels = test[table.schema.label.column].to_numpy(np.int8)
    values = classification_metrics(labels, probability, 0.5)
    made = profit_policies(labels, probability, np.full(len(test), PROFIT.account_value), PROFIT, 0.5)
    return {
        **{name: values[name] for name in MEASURES},
        "floor": floor(probability),
        "profit": made["expected_profit"],
        "profit_at_half": made["profit_threshold"],
        "seconds": seconds,
    }


def floor(probability: np.ndarray, samples: int = 20) -> float:
    """Calibration error of probabilities that are exactly right, by chance alone: outcomes are drawn from them."""
    random = np.random.default_rng(0)
    drawn = [calibration_error(random.random(len(probability)) < probability, probability) for _ in range(samples)]
    return float(np.mean(drawn))


def cross_validated(table: Table, models: dict[str, Fitter], repeats: int) -> list[dict[str, Any]]:
    """Means over the folds, the same for all models.

    ``folds_won`` counts the folds in which acting where that is expected to pay earns more than acting from a
    probability of one half on.
    """
    splitter = RepeatedStratifiedKFold(n_splits=5, n_repeats=repeats, random_state=0)
    values: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    for train, test in splitter.split(table.labels, table.labels):
        rows = table.accounts.iloc[train].reset_index(drop=True), table.accounts.iloc[test].reset_index(drop=True)
        for name, fitter in models.items():
            values[name].append(measured(table, fitter, *rows))
    found = []
    for name, each in values.items():
        folds = pd.DataFrame(each)
        won = int((folds["profit"] > folds["profit_at_half"]).sum())
        found.append({"model": name, **folds.mean().to_dict(), "folds_won": f"{won} of {len(folds)}"})
    return found


def single_splits(table: Table, models: dict[str, Fitter]) -> list[dict[str, Any]]:
    """One 70/30 split with seed 42, stratified and not (arXiv 2507.08860 reports such a split)."""
    found = []
    for kind, stratify in (("stratified", table.labels), ("not stratified", None)):
        train, test = train_test_split(table.accounts, test_size=0.3, random_state=42, stratify=stratify)
        for name, fitter in models.items():
            rows = train.reset_index(drop=True), test.reset_index(drop=True)
            found.append({"split": kind, "model": name, **measured(table, fitter, *rows)})
    return found


def training_time(table: Table, rounds: int = 10) -> list[dict[str, Any]]:
    """Least seconds to train on the table, beside plain fits of XGBoost with the same parameters.

    The model has a tree of each fold in every round: one plain fit has as many rounds, the other as many trees.
    Least times: other work on the machine only ever adds.
    """
    from xgboost import XGBClassifier

    model = train_model(table.accounts, table.schema, table.features, table.training)
    matrix = model.encoder.transform(table.accounts)
    grown = model.trees.rounds
    trees = grown * table.training.folds

    def plain(count: int) -> None:
        parameters = table.training.booster.model_dump() | {"n_estimators": count}
        XGBClassifier(**parameters).fit(matrix, table.labels)

    work: dict[str, Callable[[], object]] = {
        f"churn: {trees} trees, calibration, profile": lambda: train_model(
            table.accounts, table.schema, table.features, table.training
        ),
        f"XGBoost: {grown} trees": lambda: plain(grown),
        f"XGBoost: {trees} trees": lambda: plain(trees),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    whole, *_ = (min(each) for each in seconds.values())
    return [{"fit": name, "seconds": min(each), "churn takes": whole / min(each)} for name, each in seconds.items()]


def simulated(sizes: tuple[int, ...], models: dict[str, Fitter]) -> Iterator[dict[str, Any]]:
    """Share of the oracle's ROC AUC that is reached on fresh rows, by number of accounts to train on."""
    from churn.pipelines.data_generation.simulation import simulate_accounts

    parameters = _parameters(sorted((ROOT / "conf/base").glob("parameters*.yml")))
    schema = AccountSchema.model_validate(parameters["accounts"])

    def table(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
        drawn = simulate_accounts(rows, seed, Simulation())
        labelled = drawn.accounts.assign(**{schema.label.column: drawn.churned})
        return check_accounts(labelled, schema, subject="simulated", labelled=True).accounts, drawn.probability

    test, truth = table(FRESH_ROWS, 99)
    for size in sizes:
        given = Table(
            "simulated",
            table(size, 31_459)[0],
            schema,
            FeatureEngineering.model_validate(parameters["feature_engineering"]),
            Training.model_validate(parameters["training"]),
        )
        best = classification_metrics(test[schema.label.column], truth, 0.5)["roc_auc"]
        for name, fitter in models.items():
            values = measured(given, fitter, given.accounts, test)
            yield {"rows": size, "model": name, "of_oracle": values["roc_auc"] / best, **values}


def read_table(file: Path, parameters_files: list[Path]) -> Table:
    """An account table from a CSV file, with the roles of an environment."""
    parameters = _parameters(parameters_files)
    schema = AccountSchema.model_validate(parameters["accounts"])
    raw = pd.read_csv(file, dtype=dict.fromkeys(schema.text_columns, str))
    accounts = check_accounts(raw, schema, subject=str(file), labelled=True).accounts
    features = FeatureEngineering.model_validate(parameters.get("feature_engineering", {}))
    return Table(file.stem, accounts, schema, features, Training.model_validate(parameters.get("training", {})))


def _parameters(files: list[Path]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for file in files:
        merged |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return merged


def markdown(title: str, rows: list[dict[str, Any]]) -> str:
    """A table of Markdown."""
    names = list(rows[0])
    lines = [f"\n### {title}\n", f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    for row in rows:
        cells = [f"{value:.4f}" if isinstance(value, float) else f"{value}" for value in row.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=ROOT / "data/examples/telco_churn.csv", help="CSV file")
    parser.add_argument(
        "--roles", type=Path, default=ROOT / "conf/telco/parameters.yml", help="YAML file with `accounts`"
    )
    parser.add_argument("--quick", action="store_true", help="one repeat, and no simulation of 30,000 rows")
    parser.add_argument("--no-ebm", action="store_true", help="leave out the slowest peer")
    parser.add_argument("--json", type=Path, help="file to write the figures to as well")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    missing = importlib.util.find_spec("interpret") is None
    if missing and not arguments.no_ebm:
        print("interpret-core is not installed: the explainable boosting machine is left out", file=sys.stderr)
    models = fitters(with_ebm=not (missing or arguments.no_ebm))
    table = read_table(arguments.table, [arguments.schema])
    figures: dict[str, Any] = {}

    def show(title: str, rows: list[dict[str, Any]]) -> None:
        figures[title] = rows
        print(markdown(title, rows), flush=True)

    repeats = 1 if arguments.quick else 3
    show(f"{table.name}: training time in seconds, least of 10", training_time(table))
    show(f"{table.name}: 70/30 split with seed 42", single_splits(table, models))
    show(f"{table.name}: 5 folds, {repeats} x", cross_validated(table, models, repeats))
    sizes = (3_000, 10_000) if arguments.quick else (3_000, 10_000, 30_000)
    peers = {name: fitter for name, fitter in models.items() if fitter is not fit_ebm}
    show(f"simulated accounts, {FRESH_ROWS:,} fresh test rows", list(simulated(sizes, peers)))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""How good the model is beside others at their defaults, on public tables and the same folds, and how long training takes.

Run with ``python -m tests.benchmarks.quality``: the board of `tests.benchmarks.public_tables`. ``--tables telco,mlc_churn``
measures some of them, ``--repeats`` sets how often the five folds are drawn, and ``--details`` measures the telecoms customers
and the simulation more closely instead. Everything is fitted again for each fold: the encoder, early stopping, weights and
calibration. A table of your own is measured with ``--table file.csv --roles conf/<environment>/parameters.yml``. The peers
come with the dependency group ``bench``, which ``make quality`` installs; one that is missing is left out and named.
"""

import argparse
import importlib.util
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

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
from tests.benchmarks.public_tables import SOURCES, Table, public_table

ROOT = Path(__file__).parents[2]
MEASURES = ("roc_auc", "average_precision", "log_loss", "brier", "lift_at_10", "calibration_error")
# The example costs of the base environment.
PROFIT = Profit()
# A table as large as this is measured on fresh rows, so that the sampling error of the test rows is small.
FRESH_ROWS = 30_000


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


def columns(table: Table, accounts: pd.DataFrame, categories: dict[str, pd.CategoricalDtype]) -> pd.DataFrame:
    """The account columns themselves: numbers, and categories as pandas has them."""
    numeric = list(table.schema.numeric_names)
    return (
        accounts[numeric]
        .astype(np.float64)
        .assign(**{name: accounts[name].astype(object).astype(kind) for name, kind in categories.items()})
    )


def native(estimator: Callable[[], Any]) -> Fitter:
    """An estimator that splits categories by itself, on the account columns."""

    def fit(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
        kinds = {name: pd.CategoricalDtype(sorted(rows[name].dropna().unique())) for name in table.schema.categorical}
        names = {
            name: f"c{at}" for at, name in enumerate([*table.schema.numeric_names, *kinds])
        }  # no special characters

        def given(accounts: pd.DataFrame) -> pd.DataFrame:
            return columns(table, accounts, kinds).rename(columns=names)

        fitted = estimator().fit(given(rows), rows[table.schema.label.column].to_numpy(np.int8))
        return lambda others: fitted.predict_proba(given(others))[:, 1]

    return fit


def default_xgboost() -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(enable_categorical=True, random_state=0)


def default_lightgbm() -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(random_state=0, verbose=-1)


def fit_catboost(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    """CatBoost with its default parameters, on the account columns themselves."""
    from catboost import CatBoostClassifier

    numeric, categorical = list(table.schema.numeric_names), list(table.schema.categorical)

    def given(accounts: pd.DataFrame) -> pd.DataFrame:
        texts = {name: accounts[name].astype(object).where(accounts[name].notna(), "(missing)") for name in categorical}
        return accounts[numeric].astype(np.float64).assign(**texts)

    model = CatBoostClassifier(random_seed=0, verbose=0, allow_writing_files=False, cat_features=categorical)
    model.fit(given(rows), rows[table.schema.label.column].to_numpy(np.int8))
    return lambda others: model.predict_proba(given(others))[:, 1]


def fit_ebm(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    """InterpretML's explainable boosting machine with its default parameters, on the account columns themselves."""
    from interpret.glassbox import ExplainableBoostingClassifier

    numeric, categorical = list(table.schema.numeric_names), list(table.schema.categorical)

    def given(accounts: pd.DataFrame) -> pd.DataFrame:
        texts = {name: accounts[name].astype(object).where(accounts[name].notna(), None) for name in categorical}
        return accounts[numeric].astype(np.float64).assign(**texts)

    kinds = ["continuous"] * len(numeric) + ["nominal"] * len(categorical)
    model = ExplainableBoostingClassifier(feature_types=kinds, n_jobs=-1)
    model.fit(given(rows), rows[table.schema.label.column].to_numpy(np.int8))
    return lambda others: model.predict_proba(given(others))[:, 1]


# The models that are compared: the package each needs, and how it is fitted.
MODELS: dict[str, tuple[str, Fitter]] = {
    "churn": ("churn", fit_churn),
    "CatBoost": ("catboost", fit_catboost),
    "LightGBM": ("lightgbm", native(default_lightgbm)),
    "XGBoost": ("xgboost", native(default_xgboost)),
    "EBM": ("interpret", fit_ebm),
    "logistic regression": ("sklearn", encoded(logistic_regression)),
}


def fitters(without: Sequence[str] = ()) -> dict[str, Fitter]:
    """The models whose packages are installed, by name; the others are named."""
    found = {}
    for name, (package, fitter) in MODELS.items():
        if name in without:
            continue
        if importlib.util.find_spec(package) is None:
            print(f"{package} is not installed: {name} is left out", file=sys.stderr)
            continue
        found[name] = fitter
    return found


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


def folds_of(table: Table, models: dict[str, Fitter], repeats: int) -> pd.DataFrame:
    """Measures of each model on each fold: one row a fold and model."""
    splitter = RepeatedStratifiedKFold(n_splits=5, n_repeats=repeats, random_state=0)
    found = []
    for fold, (train, test) in enumerate(splitter.split(table.labels, table.labels)):
        rows = table.accounts.iloc[train].reset_index(drop=True), table.accounts.iloc[test].reset_index(drop=True)
        found += [
            {"table": table.name, "fold": fold, "model": name, **measured(table, fitter, *rows)}
            for name, fitter in models.items()
        ]
    return pd.DataFrame(found)


def board(folds: pd.DataFrame, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Tables of Markdown: ROC AUC and log loss of each model on each table, ranks over all, and what this model takes.

    The interval of a difference is that of the mean over folds, which share training rows: the variance is corrected for it
    (Nadeau and Bengio 2003, doi:10.1023/A:1024068626366).
    """
    from scipy.stats import t

    means = folds.groupby(["table", "model"], sort=False).mean(numeric_only=True)
    models = list(folds["model"].unique())
    others = [name for name in models if name != "churn"]
    found: dict[str, list[dict[str, Any]]] = {}
    for measure in ("roc_auc", "log_loss"):
        sign = 1 if measure == "roc_auc" else -1
        rows = []
        for table, values in means[measure].groupby(level="table", sort=False):
            one = values.droplevel("table")
            best = (sign * one[others]).idxmax()
            each = folds[folds["table"] == table].pivot(index="fold", columns="model", values=measure)
            gains = each["churn"] - each[best]
            # Five folds: a test part is a quarter of the training part.
            error = gains.std() * np.sqrt(1 / len(gains) + 1 / 4) if len(gains) > 1 else np.nan
            reach = t.ppf(0.975, len(gains) - 1) * error
            rows.append(
                {"table": table, **{name: float(one[name]) for name in models}, "best other": best}
                | {"difference": f"{gains.mean():+.4f} ± {reach:.4f}"}
            )
        found[f"{measure}, 5 folds, {repeats} x"] = rows
    ranks = {}
    for measure in ("roc_auc", "average_precision", "log_loss", "brier", "lift_at_10"):
        wide = means[measure].unstack("model")[models]
        ranks[measure] = wide.rank(axis=1, ascending=measure in ("log_loss", "brier"))
    seconds = means["seconds"].unstack("model")[models]
    above = (means["calibration_error"] - means["floor"]).unstack("model")[models]
    found["over all tables"] = [
        {
            "model": name,
            **{f"rank {measure}": float(each[name].mean()) for measure, each in ranks.items()},
            "wins roc_auc": int((ranks["roc_auc"][name] == 1).sum()),
            "wins log_loss": int((ranks["log_loss"][name] == 1).sum()),
            "calibration above floor": float(above[name].mean()),
            "seconds, median": float(seconds[name].median()),
        }
        for name in models
    ]
    best = means["roc_auc"].unstack("model")[others].max(axis=1)
    summary = {"mean ROC AUC minus the best other": float((means["roc_auc"].unstack("model")["churn"] - best).mean())}
    if "CatBoost" in models:
        summary["time beside CatBoost, median"] = float((seconds["churn"] / seconds["CatBoost"]).median())
    summary["largest calibration error above its floor"] = float(above["churn"].max())
    found["summary"] = [summary]
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
    parser.add_argument("--tables", default=",".join(SOURCES), help="public tables, separated by commas")
    parser.add_argument("--repeats", type=int, default=1, help="how often the five folds are drawn (default: 1)")
    parser.add_argument("--without", default="", help="models to leave out, separated by commas, for example EBM")
    parser.add_argument(
        "--details", action="store_true", help="the telecoms customers and the simulation, more closely"
    )
    parser.add_argument("--table", type=Path, help="CSV file of a table of your own")
    parser.add_argument("--roles", type=Path, help="YAML file with its `accounts`")
    parser.add_argument("--json", type=Path, help="file to write the figures to as well")
    arguments = parser.parse_args()
    if (arguments.table is None) != (arguments.roles is None):
        parser.error("--table and --roles belong together")
    names = arguments.tables.split(",")
    if unknown := [name for name in names if name not in SOURCES]:
        parser.error(f"--tables: there is no {', '.join(unknown)}; there are {', '.join(SOURCES)}")
    warnings.simplefilter("ignore")
    models = fitters(arguments.without.split(","))
    figures: dict[str, Any] = {}

    def show(title: str, rows: list[dict[str, Any]]) -> None:
        figures[title] = rows
        print(markdown(title, rows), flush=True)

    if arguments.details:
        table = public_table("telco")
        show(f"{table.name}: training time in seconds, least of 10", training_time(table))
        show(f"{table.name}: 70/30 split with seed 42", single_splits(table, models))
        show(f"{table.name}: 5 folds, {arguments.repeats} x", cross_validated(table, models, arguments.repeats))
        some = {name: models[name] for name in ("churn", "logistic regression")}
        show(f"simulated accounts, {FRESH_ROWS:,} fresh test rows", list(simulated((3_000, 10_000, 30_000), some)))
    else:
        given = [read_table(arguments.table, [arguments.roles])] if arguments.table else map(public_table, names)
        folds = []
        for table in given:
            folds.append(folds_of(table, models, arguments.repeats))
            means = folds[-1].groupby("model", sort=False)[["roc_auc", "log_loss", "seconds"]].mean()
            print(
                f"{table.name}: {len(table.accounts):,} rows",
                means.round(4).to_string(),
                sep="\n",
                file=sys.stderr,
                flush=True,
            )
        for title, rows in board(pd.concat(folds), arguments.repeats).items():
            show(title, rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

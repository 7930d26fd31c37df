"""How good the model is beside others at their defaults, on public tables and the same folds, and how long training takes.

Run with ``python -m tests.benchmarks.quality``: the board of `tests.benchmarks.public_tables`. ``--tables telco,mlc_churn``
measures some of them, ``--repeats`` sets how often the five folds are drawn, and ``--details`` measures the telecoms customers
and the simulation more closely instead. Everything is fitted again for each fold: the encoder, early stopping, weights and
calibration. A table of your own is measured with ``--table file.csv --roles conf/<environment>/parameters.yml``. The peers
come with the dependency group ``bench``, which ``make quality`` installs, and ``neural`` (PyTorch), which ``make quality
NEURAL=1`` installs as well; one that is missing is left out and named.

Each fold of each model is kept in a file (``--kept``) as soon as it is measured: a run that was stopped goes on where it was,
and after a change of this project only its own fits are repeated, with CatBoost's beside them, whose times are compared.

Some models can be measured on another machine: run there, for example, ``--only EBM,TabM --jobs 16 --kept other.jsonl``, and
append its lines to the file here (``cat other.jsonl >> .cache/quality.jsonl``). They count if rows, code and the version of the
package are the same, also where the package is not installed. Each line names the machine, and the board leaves out the
seconds of models that were not fitted on the machine of this project's own fits.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from sklearn.model_selection import train_test_split

from churn.config import AccountSchema, FeatureEngineering, Simulation, Training
from churn.metrics import classification_metrics
from churn.tables import check_accounts
from churn.training import train_model
from tests.benchmarks.board import Kept, are_kept, board, folds_of, markdown, side_by_side, splitter
from tests.benchmarks.peers import MODELS, Fitter, fitters, measured
from tests.benchmarks.public_tables import SOURCES, Table, public_table

ROOT = Path(__file__).parents[2]
# A table as large as this is measured on fresh rows, so that the sampling error of the test rows is small.
FRESH_ROWS = 30_000


def cross_validated(table: Table, models: dict[str, Fitter], repeats: int) -> list[dict[str, Any]]:
    """Means over the folds, the same for all models.

    ``folds_won`` counts the folds in which acting where that is expected to pay earns more than acting from a
    probability of one half on.
    """
    values: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    for train, test in splitter(repeats).split(table.labels, table.labels):
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


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default=",".join(SOURCES), help="public tables, separated by commas")
    parser.add_argument("--repeats", type=int, default=1, help="how often the five folds are drawn (default: 1)")
    parser.add_argument(
        "--only", default="", help="models to measure, separated by commas; without churn there is no board"
    )
    parser.add_argument("--without", default="", help="models to leave out, separated by commas, for example EBM")
    parser.add_argument(
        "--jobs", type=int, default=1, help="fits at once, in processes of one thread, except the two timed"
    )
    parser.add_argument(
        "--details", action="store_true", help="the telecoms customers and the simulation, more closely"
    )
    parser.add_argument("--table", type=Path, help="CSV file of a table of your own")
    parser.add_argument("--roles", type=Path, help="YAML file with its `accounts`")
    parser.add_argument(
        "--kept", type=Path, default=ROOT / ".cache/quality.jsonl", help="file of the folds (default: %(default)s)"
    )
    parser.add_argument("--fresh", action="store_true", help="measure again what can be measured here")
    parser.add_argument("--json", type=Path, help="file to write the figures to as well")
    arguments = parser.parse_args()
    if (arguments.table is None) != (arguments.roles is None):
        parser.error("--table and --roles belong together")
    names = arguments.tables.split(",")
    if unknown := [name for name in names if name not in SOURCES]:
        parser.error(f"--tables: there is no {', '.join(unknown)}; there are {', '.join(SOURCES)}")
    only, without = (list(filter(None, given.split(","))) for given in (arguments.only, arguments.without))
    if unknown := [name for name in (*only, *without) if name not in MODELS]:
        parser.error(f"there is no model {', '.join(unknown)}; there are {', '.join(MODELS)}")
    wanted = [name for name in MODELS if name in (only or MODELS) and name not in without]
    warnings.simplefilter("ignore")
    models = fitters(wanted)
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
        given = [read_table(arguments.table, [arguments.roles])] if arguments.table else [*map(public_table, names)]
        kept, folds = Kept(arguments.kept, models if arguments.fresh else ()), []
        for name in wanted:
            if name not in models:
                if are_kept(given, name, arguments.repeats, kept):
                    models[name] = MODELS[name][1]
                else:
                    print(f"{MODELS[name][0]} is not installed: {name} is left out", file=sys.stderr)
        if not models:
            parser.error("none of the models is installed")
        models = {name: models[name] for name in wanted if name in models}
        if arguments.jobs > 1:
            side_by_side(given, models, arguments.repeats, kept, arguments.jobs)
        for table in given:
            folds.append(folds_of(table, models, arguments.repeats, kept))
            means = folds[-1].groupby(["model", "machine"], sort=False)[["roc_auc", "log_loss", "seconds"]].mean()
            print(
                f"{table.name}: {len(table.accounts):,} rows",
                means.round(4).to_string(),
                sep="\n",
                file=sys.stderr,
                flush=True,
            )
        if "churn" in models and len(models) > 1:
            for title, rows in board(pd.concat(folds), arguments.repeats).items():
                show(title, rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

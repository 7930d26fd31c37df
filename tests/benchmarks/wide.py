"""Tables that are hard for other reasons than their rows: hundreds of columns, thousands of categories, missing values.

Run with ``python -m tests.benchmarks.wide``. Each table is simulated, with known probabilities, and trained on in a process of
its own, beside LightGBM with its default parameters on the same columns. ``of_oracle`` is the share of the ROC AUC of the true
probabilities that is reached on fresh rows; the peak memory is that of the process, with about 250 MiB of libraries.
"""

import argparse
import multiprocessing
import resource
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from churn.config import AccountSchema, FeatureEngineering, Training
from churn.tables import check_accounts
from tests.benchmarks.board import markdown
from tests.benchmarks.peers import default_lightgbm, fit_churn, native
from tests.benchmarks.public_tables import Table

ID, LABEL = "row_id", "left"
Drawn = tuple[pd.DataFrame, np.ndarray]


def numbers(rows: int, random: np.random.Generator) -> Drawn:
    """600 numbers, of which 20 have an effect, and an interaction."""
    values = random.normal(size=(rows, 600))
    return named("number", values), values[:, :20].sum(axis=1) * 0.4 + values[:, 0] * values[:, 1]


def one_hot(rows: int, random: np.random.Generator) -> Drawn:
    """500 columns of 0 and 1, of which 60 have an effect."""
    values = (random.random((rows, 500)) < 0.05).astype(float)
    return named("flag", values), values[:, :60].sum(axis=1) - 3.0


def categories(rows: int, random: np.random.Generator) -> Drawn:
    """A column of 3,000 categories, each with an effect of its own, and a number."""
    effects = np.random.default_rng(1).normal(size=3000) * 1.2
    code, number = random.integers(0, 3000, rows), random.normal(size=rows)
    return pd.DataFrame({"category": [f"c{at}" for at in code], "number": number}), effects[code] + number


def missing(rows: int, random: np.random.Generator) -> Drawn:
    """60 numbers, each missing in nine of ten rows, of which 10 have an effect where they are not."""
    values = random.normal(size=(rows, 60))
    values[random.random(values.shape) < 0.9] = np.nan
    return named("number", values), 1.5 * np.nan_to_num(values[:, :10]).sum(axis=1) - 1.0


def named(kind: str, values: np.ndarray) -> pd.DataFrame:
    """The columns, with names."""
    return pd.DataFrame(values, columns=[f"{kind}{at}" for at in range(values.shape[1])])


# How each table is drawn, and its training rows.
CASES: dict[str, tuple[Callable[[int, np.random.Generator], Drawn], int]] = {
    "600 numbers": (numbers, 5_000),
    "500 columns of 0 and 1": (one_hot, 5_000),
    "3,000 categories": (categories, 20_000),
    "3,000 categories of many rows": (categories, 300_000),
    "60 numbers, 90 % missing": (missing, 20_000),
}


def drawn_table(name: str, rows: int, seed: int) -> tuple[Table, np.ndarray]:
    """A table of a case, and the true probabilities of its rows."""
    random = np.random.default_rng(seed)
    frame, margin = CASES[name][0](rows, random)
    probability = 1 / (1 + np.exp(-margin))
    text = [column for column in frame if not pd.api.types.is_numeric_dtype(frame[column])]
    roles = {
        "id": ID,
        "label": {"column": LABEL, "positive": "true"},
        "categorical": text,
        "numeric": [each for each in frame if each not in text],
    }
    schema = AccountSchema.model_validate(roles)
    frame = frame.assign(**{ID: [f"{row:06}" for row in range(rows)], LABEL: random.random(rows) < probability})
    accounts = check_accounts(frame, schema, subject=name, labelled=True).accounts
    return Table(name, accounts, schema, FeatureEngineering(), Training()), probability


def measured(name: str, rows: int, fresh: int = 20_000) -> dict[str, Any]:
    """Quality, time and memory of one case."""
    warnings.simplefilter("ignore")
    table, _ = drawn_table(name, rows, 1)
    others, truth = drawn_table(name, fresh, 2)
    best = roc_auc_score(others.labels, truth)
    row: dict[str, Any] = {"table": name, "rows": rows}
    for model, fitter in (("churn", fit_churn), ("LightGBM", native(default_lightgbm))):
        start = time.perf_counter()
        predict = fitter(table, table.accounts)
        row[f"{model}: seconds"] = time.perf_counter() - start
        row[f"{model}: of_oracle"] = float(roc_auc_score(others.labels, predict(others.accounts)) / best)
        if model == "churn":
            unit = 1024 * 1024 if sys.platform == "darwin" else 1024
            row["churn: peak MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
    return row


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the training rows, for a quick look (default: 1)"
    )
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        tasks = [pool.submit(measured, name, int(rows * arguments.share)) for name, (_, rows) in CASES.items()]
        print(markdown("wide tables", [task.result() for task in tasks]))


if __name__ == "__main__":
    main()

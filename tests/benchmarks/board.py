"""The board: measures of each fold, kept in a file so that a stopped run goes on, and the tables that are made of them."""

import importlib.util
import json
import multiprocessing
import os
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from sklearn.model_selection import RepeatedStratifiedKFold

from churn.tables.parallel import cores
from tests.benchmarks.peers import MODELS, Fitter, measured
from tests.benchmarks.public_tables import Table
from tests.benchmarks.results import processor
from tests.benchmarks.stamps import stamps

# Their times are compared, so they are always fitted right after each other, and the first one takes turns.
TIMED = ("churn", "CatBoost")
# Rows of each class of the fit that comes before the first measured one, in which libraries are loaded and threads started.
WARM_ROWS = 100


class Kept:
    """Measures in a file of JSON lines, one for each table, fold and model. A line that was cut off is measured again.

    A line counts only where its stamp does (`tests.benchmarks.stamps`), wherever it was measured: the lines of two such
    files are the file of both. Of two lines for the same the last one counts.
    """

    def __init__(self, file: Path, without: Collection[str] = ()) -> None:
        """Read the file if there is one, without what it has of some models."""
        self._file = file
        self._known: dict[tuple[str, int, str, str], dict[str, Any]] = {}
        for line in file.read_bytes().splitlines() if file.exists() else ():
            try:
                row = json.loads(line)
                if row["model"] not in without:
                    self._known[row["table"], row["fold"], row["model"], row["stamp"]] = row
            except (ValueError, KeyError, TypeError):
                print(f"{file}: a damaged line is measured again", file=sys.stderr)

    def get(self, table: str, fold: int, model: str, stamp: str) -> dict[str, Any] | None:
        """Return the measures, or None."""
        return self._known.get((table, fold, model, stamp))

    def add(self, table: str, fold: int, model: str, stamp: str, values: Mapping[str, Any]) -> None:
        """Append measures."""
        row = {"table": table, "fold": fold, "model": model, "stamp": stamp, **values}
        self._known[table, fold, model, stamp] = row
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a+b") as file:
            # A run that was killed while it wrote leaves a part of a line.
            if file.tell() and not self._ends_a_line():
                file.write(b"\n")
            file.write(json.dumps(row).encode() + b"\n")

    def _ends_a_line(self) -> bool:
        with self._file.open("rb") as file:
            file.seek(-1, 2)
            return file.read() == b"\n"


def splitter(repeats: int) -> RepeatedStratifiedKFold:
    """The folds of every table; the first five are the same for any number of repeats."""
    return RepeatedStratifiedKFold(n_splits=5, n_repeats=repeats, random_state=0)


def folds_of(table: Table, models: Mapping[str, Fitter], repeats: int, kept: Kept) -> pd.DataFrame:
    """Measures of each model on each fold: one row a fold and model. What is kept is not measured again."""
    label = table.schema.label.column
    stamp, warm = stamps(table, models, splitter), set()
    found = []
    for fold, (train, test) in enumerate(_rows(table, repeats)):
        missing = {name for name in models if kept.get(table.name, fold, name, stamp[name]) is None}
        if missing & set(TIMED):
            missing |= set(TIMED) & set(models)
        pair = [name for name in (TIMED if fold % 2 == 0 else TIMED[::-1]) if name in missing]
        for name in [*pair, *(name for name in models if name in missing and name not in TIMED)]:
            if name not in warm:
                models[name](table, train.groupby(label).head(WARM_ROWS).reset_index(drop=True))
                warm.add(name)
            values = measured(table, models[name], train, test)
            kept.add(table.name, fold, name, stamp[name], values | {"machine": machine(name)})
        found += [kept.get(table.name, fold, name, stamp[name]) for name in models]
    return pd.DataFrame(found)


def side_by_side(tables: Iterable[Table], models: Iterable[str], repeats: int, kept: Kept, jobs: int) -> None:
    """Measure what is not kept in several processes, table after table; those whose times are compared are left out."""
    # Each has one thread, which libraries read when the process starts.
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1")
    names = [name for name in models if name not in TIMED]
    with (
        mock.patch.dict(os.environ, alone),
        ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool,
    ):
        waiting = {}
        for table in tables:
            stamp = stamps(table, names, splitter)
            for fold, rows in enumerate(_rows(table, repeats)):
                for name in names:
                    if kept.get(table.name, fold, name, stamp[name]) is None:
                        made = pool.submit(_measured_aside, table, name, *rows)
                        waiting[made] = (table.name, fold, name, stamp[name])
        for made in as_completed(waiting):
            values = made.result()
            kept.add(*waiting[made], values | {"machine": f"{values['machine']}, {jobs} fits at once"})


def _measured_aside(table: Table, name: str, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    return measured(table, MODELS[name][1], train, test) | {"machine": machine(name)}


def _rows(table: Table, repeats: int) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Training and test rows of each fold."""
    for train, test in splitter(repeats).split(table.labels, table.labels):
        yield table.accounts.iloc[train].reset_index(drop=True), table.accounts.iloc[test].reset_index(drop=True)


def are_kept(tables: Iterable[Table], model: str, repeats: int, kept: Kept) -> bool:
    """Whether all folds of a model are kept."""
    for table in tables:
        stamp = stamps(table, [model], splitter)[model]
        if any(kept.get(table.name, fold, model, stamp) is None for fold in range(splitter(repeats).get_n_splits())):
            return False
    return True


def machine(model: str) -> str:
    """What a model's seconds depend on here: the processor and the cores, and the GPU of a model that uses one."""
    said = f"{processor()}, {cores()} cores"
    if MODELS[model][0] == "pytabkit" and importlib.util.find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available():
            said += f", {torch.cuda.get_device_name()}"
    return said


def board(folds: pd.DataFrame, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Tables of Markdown: ROC AUC and log loss of each model on each table, ranks over all, and what this model takes.

    The interval of a difference is that of the mean over folds, which share training rows: the variance is corrected for it
    (Nadeau and Bengio 2003, doi:10.1023/A:1024068626366).
    """
    from scipy.stats import t

    means = folds.groupby(["table", "model"], sort=False).mean(numeric_only=True)
    models = list(folds["model"].unique())
    on = folds.pivot(index=["table", "fold"], columns="model", values="machine")
    # Seconds of different machines are not compared.
    timed = [name for name in models if on[name].equals(on["churn"])]
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
            "seconds, median": float(seconds[name].median()) if name in timed else "other machine",
        }
        for name in models
    ]
    if "CatBoost" in timed:
        times = folds.pivot(index=["table", "fold"], columns="model", values="seconds")
        ratio = (times["churn"] / times["CatBoost"]).groupby(level="table", sort=False).median()
        found["seconds to fit, mean of the folds"] = [
            {"table": table, **{name: float(seconds.loc[table, name]) for name in timed}}
            | {"churn / CatBoost, median of the folds": float(ratio[table])}
            for table in ratio.index
        ]
    best = means["roc_auc"].unstack("model")[others].max(axis=1)
    summary = {"mean ROC AUC minus the best other": float((means["roc_auc"].unstack("model")["churn"] - best).mean())}
    if "CatBoost" in timed:
        summary["time beside CatBoost, median"] = float(ratio.median())
        summary["largest time beside CatBoost"] = float(ratio.max())
    summary["largest calibration error above its floor"] = float(above["churn"].max())
    found["summary"] = [summary]
    found["where it was measured"] = [
        {"model": name, "machines": "; ".join(sorted(on[name].unique()))} for name in models
    ]
    return found


def markdown(title: str, rows: list[dict[str, Any]]) -> str:
    """A table of Markdown."""
    names = list(rows[0])
    lines = [f"\n### {title}\n", f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    for row in rows:
        cells = [f"{value:.4f}" if isinstance(value, float) else f"{value}" for value in row.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)

"""Fit the booster: an average of boosters, each grown on all folds of the training rows but one.

The fold that is held out serves for early stopping. So early stopping costs no rows, every training row gets an out-of-fold
margin, and the average varies less than a single booster. The boosters are merged into one, whose round ``i`` holds the
i-th tree of each with leaves divided by their number: its margin is the mean of theirs, and it is stored, applied and
explained like any other booster.
"""

import tempfile
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import singledispatch
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Training
from churn.errors import AccountsError
from churn.model import Encoder
from churn.model.device import check_device
from churn.tables import Table, spacing
from churn.tables.parallel import cores, in_order

if TYPE_CHECKING:
    import xgboost as xgb
    from xgboost import Booster as Booster
else:
    # Kedro evaluates the annotations of nodes at start; importing xgboost there would slow every command.
    Booster = Any

from churn.model.trees import Booster, average
from churn.training.rows import CategoryCounts, TrainingRows

# With fewer rows than these, a second thread for the same booster makes it slower.
ROWS_A_THREAD = 100_000
# Held-out rows by which growing stops, at most: after each tree all of them are scored. Of 150,000 rows that takes more time than
# growing the tree on as many, of 50,000 a third of that.
WATCHED_ROWS = 50_000
# Trees after which it is asked whether to give up, see `grow`.
ASKED_EACH = 50
# Threads that prepare batches for the temporary files of the folds.
PREPARING = 2
# Rows read from the temporary files at a time.
READ_ROWS = 100_000
# From so many rows on there are at most so many folds, see `number_of_folds`. Measured on simulated accounts and new rows,
# the log loss rises by .0001 with two folds of 100,000 rows in place of five and by .0002 with 300,000 (CatBoost: +.004, +.002).
MOST_FOLDS = {50_000: 3, 150_000: 2}


# Of margins of held-out rows and their log loss after each tree: whether to stop.
GiveUp = Callable[[NDArray[np.float32], Sequence[float]], bool]


class FittedTrees(NamedTuple):
    """A booster and its out-of-fold margins.

    Attributes:
        booster: The average of the boosters of all folds.
        margin: Out-of-fold log-odds of each training row: by the booster that was not grown on it, shape (n,).
    """

    booster: Booster
    margin: NDArray[np.float32]


class Grown(NamedTuple):
    """The booster of one fold, including the last trees, which did not improve it.

    Attributes:
        booster: The booster before it is cut.
        losses: Log loss of the held-out rows after each tree.
    """

    booster: Booster
    losses: list[float]


def booster_parameters(training: Training) -> dict[str, Any]:
    """Return the parameters for XGBoost: every configured one, the seed, the device and the number of threads."""
    configured = training.booster.model_dump(exclude={"n_estimators"})
    directions = ",".join(map(str, training.booster.monotone_constraints))
    return {
        **configured,
        "monotone_constraints": f"({directions})",
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "seed": training.random_state,
        "device": training.device,
        "nthread": training.threads,
    }


def with_directions(training: Training, encoder: Encoder) -> Training:
    """Return the parameters with the direction of each feature of an encoder, from ``training.monotone``."""
    if not training.monotone:
        return training
    directions = encoder.directions(training.monotone)
    booster = training.booster.model_copy(update={"monotone_constraints": directions})
    return training.model_copy(update={"booster": booster})


def number_of_folds(rows: int, training: Training) -> int:
    """Return the number of folds of so many training rows: ``training.folds``, or fewer if there are many rows.

    The more rows there are, the less the boosters differ, so that an average of many gains little, and the more trees each of
    them needs.
    """
    return min([training.folds, *(most for least, most in MOST_FOLDS.items() if rows >= least)])


def assign_folds(labels: NDArray[np.int8], training: Training) -> NDArray[np.int8]:
    """Return the fold of each training row, shape (n,), from 0, stratified by label and seeded.

    There are fewer folds of a long table, see `number_of_folds`. If a class has fewer rows than there are folds, the number of
    folds is reduced, so that each has rows of both classes.

    Raises:
        AccountsError: If a class has fewer than two rows.
    """
    from sklearn.model_selection import StratifiedKFold

    fewest = int(np.bincount(labels, minlength=2).min())
    if fewest < 2:
        raise AccountsError("training accounts", [f"the label: a class has {fewest} rows, at least 2 are needed"])
    count = min(number_of_folds(len(labels), training), fewest)
    splitter = StratifiedKFold(count, shuffle=True, random_state=training.random_state)
    folds = np.zeros(len(labels), dtype=np.int8)
    for fold, (_, watched) in enumerate(splitter.split(labels, labels)):
        folds[watched] = fold
    return folds


def fit_booster(rows: TrainingRows, training: Training) -> FittedTrees:
    """Grow a booster for each fold of training rows with the parameters, and average them."""
    return merge(list(grow_folds(rows, training)), rows)


def grow_folds(rows: TrainingRows, training: Training) -> Generator[Grown, None, None]:
    """Grow a booster for each fold, see `grow_each`."""
    return grow_each(rows, [(training, fold) for fold in range(rows.fold_count)])


def grow_each(
    rows: TrainingRows, tasks: Sequence[tuple[Training, int]], give_up: GiveUp | None = None
) -> Generator[Grown, None, None]:
    """Grow boosters, several at once, and yield them in the order of the tasks.

    Closing the generator stops the boosters that are still growing.

    Args:
        rows: Encoded training rows.
        tasks: Parameters of each booster, and the fold that is held out. Device and number of threads are those of the first.
        give_up: Whether to stop early, see `grow`.
    """
    if not tasks:
        return
    first = tasks[0][0]
    check_device(first.device, "training.device")
    available = first.threads or cores()
    workers = min(len(tasks), available) if first.device == "cpu" else 1
    threads = max(1, available // workers) if len(rows) >= ROWS_A_THREAD else 1
    stop = threading.Event()

    def grow_task(task: tuple[Training, int]) -> Grown:
        training, fold = task
        # A seed for each fold: with the same one, all boosters would sample the same columns.
        seed = training.random_state + fold
        return grow(rows, fold, training, seed=seed, threads=threads, stop=stop, give_up=give_up)

    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(grow_task, tasks)
        finally:
            # Leaving the pool waits for its threads; after Ctrl-C they must stop early.
            stop.set()


@singledispatch
def fit_booster_of(
    features: Table,
    names: Sequence[str],
    label: str,
    parts: NDArray[np.int8],
    watched: TrainingRows,
    training: Training,
) -> FittedTrees:
    """Fit the booster of `fit_booster` to a table that need not fit into memory.

    The binned rows of the folds to grow on are in memory, two bytes per value, and all rows in temporary files, four bytes
    per value. The bins are computed from the watched rows, including those of the held-out fold; they do not use labels.

    Args:
        features: Encoded training rows with their label; `churn.spark` registers the implementation for Spark frames.
        names: Names of the features to use.
        label: Name of the label.
        parts: Part of each row, shape (n,), see `churn.training.rows.parts_of`.
        watched: Sample of m rows for bins, early stopping and margins, with the counts of the categories of all rows.
        training: Parameters of XGBoost and of early stopping.

    Returns:
        The booster, and the out-of-fold margins of the watched rows, shape (m,).
    """
    import xgboost as xgb

    check_device(training.device, "training.device")
    bins, threads = training.booster.max_bin, training.threads or cores()
    binned = xgb.QuantileDMatrix(watched.known(), watched.labels, max_bin=bins, nthread=threads)
    rate = float(watched.labels.mean())
    grown = []
    with _rows_of_parts(features, [*names, label], parts) as files:
        for fold in range(watched.fold_count):
            others = _read_again(files, watched.parts_of_fold(fold), len(names) + 1, watched.counts)
            fit = xgb.QuantileDMatrix(others, ref=binned, max_bin=bins, nthread=threads)
            watch = xgb.QuantileDMatrix(*_watched(watched, fold), ref=fit, max_bin=bins, nthread=threads)
            grown.append(_train(fit, watch, rate, training, training.random_state + fold, threads))
            del fit  # frees the memory before the next matrix is built
    return merge(grown, watched)


@contextmanager
def _rows_of_parts(features: Table, columns: Sequence[str], parts: NDArray[np.int8]) -> Iterator[Sequence[IO[bytes]]]:
    """Write the rows of each part of a fold to a temporary file, row by row as float32.

    XGBoost reads rows three times to fill a matrix, and each row is in the matrices of all folds but one. Reading these
    files takes a small part of the time of decoding the columns of the table and joining them into rows.
    """

    def rows_of(batch: pd.DataFrame) -> NDArray[np.float32]:
        return np.ascontiguousarray(batch.to_numpy(np.float32))

    with ExitStack() as closing:
        files = [closing.enter_context(tempfile.TemporaryFile()) for _ in range(int(parts.max()) + 1)]
        before = 0
        for rows in in_order(rows_of, features.batches(columns), PREPARING):
            part_of = parts[before : before + len(rows)]
            before += len(rows)
            for part, file in enumerate(files):
                file.write(memoryview(rows[part_of == part]))
        yield files


def _read_again(
    files: Sequence[IO[bytes]], without: Collection[int], columns: int, counts: CategoryCounts
) -> "xgb.DataIter":
    """Return an iterator for XGBoost over the rows of all parts but some, whose last column is the label."""
    import xgboost as xgb

    def stored() -> Iterator[NDArray[np.float32]]:
        for part, file in enumerate(files):
            if part in without:
                continue
            file.seek(0)
            while len(values := np.fromfile(file, np.float32, READ_ROWS * columns)):
                rows = values.reshape(-1, columns)
                counts.fill(rows, {*without, part})
                yield rows

    class Stored(xgb.DataIter):
        def next(self, input_data: Callable[..., None]) -> bool:
            for rows in self._left:
                input_data(data=rows[:, :-1], label=rows[:, -1])
                return True
            return False

        def reset(self) -> None:
            self._left = stored()

    return Stored(release_data=True)


def merge(grown: Sequence[Grown], rows: TrainingRows) -> FittedTrees:
    """Cut the boosters of all folds after the same tree and average them, see `cut`."""
    boosters, margin = cut(grown, rows)
    return FittedTrees(average(boosters), margin)


def cut(grown: Sequence[Grown], rows: TrainingRows) -> tuple[list[Booster], NDArray[np.float32]]:
    """Cut the boosters of all folds after the same tree, and return them with the out-of-fold margins, shape (n,).

    They are cut where the log loss, averaged over the held-out rows of all folds, is least: one fold alone is too noisy.
    """
    rounds = _best_round([each.losses for each in grown], np.bincount(rows.folds, minlength=len(grown)))
    boosters = [each.booster[:rounds] for each in grown]
    margin = np.empty(len(rows), dtype=np.float32)
    for fold, booster in enumerate(boosters):
        margin[rows.folds == fold] = booster.inplace_predict(rows.held_out(fold), predict_type="margin")
    return boosters, margin


def grow(
    rows: TrainingRows,
    fold: int,
    training: Training,
    *,
    seed: int,
    threads: int = 1,
    stop: threading.Event | None = None,
    give_up: GiveUp | None = None,
) -> Grown:
    """Grow trees until the log loss of held-out rows has not fallen for ``training.early_stopping_rounds`` rounds.

    Args:
        rows: Encoded training rows.
        fold: The fold that is held out: not used for the trees; `watched_rows` of it serve for early stopping.
        training: Parameters of XGBoost and of early stopping.
        seed: Seed of XGBoost.
        threads: Number of threads of XGBoost.
        stop: Event that stops the growth early when it is set.
        give_up: Given the margins of `watched_rows` and their log loss after each tree so far, whether more trees are not
            worth while; asked after every `ASKED_EACH` trees.
    """
    import xgboost as xgb

    class Stopping(xgb.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            if stop is not None and stop.is_set():
                return True
            if give_up is None or (epoch + 1) % ASKED_EACH:
                return False
            return give_up(model.predict(watch, output_margin=True), evals_log["watched"]["logloss"])

    seen, unseen = (rows.others(fold), rows.labels[rows.folds != fold]), _watched(rows, fold)
    fit: xgb.DMatrix
    watch: xgb.DMatrix
    if training.booster.tree_method == "hist":
        bins = training.booster.max_bin
        fit = xgb.QuantileDMatrix(*seen, max_bin=bins, nthread=threads)
        watch = xgb.QuantileDMatrix(*unseen, ref=fit, max_bin=bins, nthread=threads)
    else:
        fit, watch = xgb.DMatrix(*seen, nthread=threads), xgb.DMatrix(*unseen, nthread=threads)
    return _train(fit, watch, float(rows.labels.mean()), training, seed, threads, [Stopping()])


def _watched(rows: TrainingRows, fold: int) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return features and outcomes of the held-out rows by which the growth of a fold stops."""
    labels = rows.labels[rows.folds == fold]
    some = watched_rows(len(labels))
    return rows.held_out(fold)[some], labels[some]


def watched_rows(count: int) -> slice:
    """Return which of so many held-out rows serve for early stopping: evenly spaced ones, `WATCHED_ROWS` at most."""
    return slice(None, None, spacing(count, WATCHED_ROWS))


def _train(
    fit: "xgb.DMatrix",
    watch: "xgb.DMatrix",
    churn_rate: float,
    training: Training,
    seed: int,
    threads: int,
    callbacks: Sequence[Any] = (),
) -> Grown:
    """Grow trees on the matrix `fit` with early stopping on the matrix `watch`."""
    import xgboost as xgb

    losses: dict[str, Any] = {}
    booster = xgb.train(
        # Boosters can be averaged only if they have the same base score.
        {**booster_parameters(training), "seed": seed, "nthread": threads, "base_score": churn_rate},
        fit,
        num_boost_round=training.booster.n_estimators,
        evals=[(watch, "watched")],
        early_stopping_rounds=training.early_stopping_rounds,
        evals_result=losses,
        verbose_eval=False,
        callbacks=list(callbacks),
    )
    return Grown(booster, losses["watched"]["logloss"])


def _best_round(losses: Sequence[Sequence[float]], rows: NDArray[np.int64]) -> int:
    """Return the number of trees with the least log loss over the held-out rows of all folds."""
    common = min(map(len, losses))
    mean = np.average([fold[:common] for fold in losses], axis=0, weights=rows)
    return int(np.argmin(mean)) + 1

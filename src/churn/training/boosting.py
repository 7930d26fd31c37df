"""Fitting the booster: an average of boosters, each grown on all folds of the training rows but one.

Each fold is watched by the booster that was not grown on it. So early stopping costs no rows, every training row gets a
margin from a booster that never saw it, and the average varies less than any one of them. The boosters become a single
one, whose round ``i`` holds the i-th tree of each with leaves divided by their number: its margin is the mean margin,
and it is stored, applied and explained like any other.
"""

import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import singledispatch
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn.config import Training
from churn.errors import AccountsError
from churn.model.device import check_device
from churn.tables import Table
from churn.tables.parallel import cores, in_order

if TYPE_CHECKING:
    import xgboost as xgb
    from xgboost import Booster as Booster
else:
    # Kedro reads the annotations of nodes when it starts, long before xgboost is needed.
    Booster = Any

from churn.model.trees import Booster, average

# With fewer rows than this a second thread for the same booster costs more than it brings.
ROWS_A_THREAD = 100_000
# Threads that prepare batches for those files.
PREPARING = 2
# Rows that are read from those files at a time.
READ_ROWS = 100_000


class FittedTrees(NamedTuple):
    """A booster and what it was measured on.

    Attributes:
        booster: The average of the boosters of all folds.
        margin: Log-odds of each training row by the booster that was not grown on it, shape (n,).
    """

    booster: Booster
    margin: NDArray[np.float32]


class Grown(NamedTuple):
    """The booster of one fold, with the trees that early stopping waited for.

    Attributes:
        booster: The booster, not cut.
        losses: Log loss of the watched rows after each tree.
    """

    booster: Booster
    losses: list[float]


def booster_parameters(training: Training) -> dict[str, Any]:
    """The dictionary that XGBoost gets: every configured parameter, the seed, the device and the threads."""
    configured = training.booster.model_dump(exclude={"n_estimators"})
    return {
        **configured,
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "seed": training.random_state,
        "device": training.device,
        "nthread": training.threads,
    }


def assign_folds(labels: NDArray[np.int8], training: Training) -> NDArray[np.int8]:
    """Fold of each training row, shape (n,), from 0, stratified by label and seeded.

    A class with fewer rows than folds makes fewer folds, so that each has rows of both.

    Raises:
        AccountsError: If a class has fewer than two rows.
    """
    from sklearn.model_selection import StratifiedKFold

    fewest = int(np.bincount(labels, minlength=2).min())
    if fewest < 2:
        raise AccountsError("training accounts", [f"the label: a class has {fewest} rows, 2 are needed at least"])
    splitter = StratifiedKFold(min(training.folds, fewest), shuffle=True, random_state=training.random_state)
    folds = np.zeros(len(labels), dtype=np.int8)
    for fold, (_, watched) in enumerate(splitter.split(labels, labels)):
        folds[watched] = fold
    return folds


def fit_booster(
    features: NDArray[np.float32], labels: NDArray[np.int8], folds: NDArray[np.int8], training: Training
) -> FittedTrees:
    """Grow a booster for each fold and average them.

    Args:
        features: Encoded training rows, shape (n, k).
        labels: Their outcomes, shape (n,), 0 or 1.
        folds: Their folds, shape (n,), from 0.
        training: Parameters of XGBoost and of early stopping.
    """
    return merge(list(grow_folds(features, labels, folds, training)), features, folds)


def grow_folds(
    features: NDArray[np.float32], labels: NDArray[np.int8], folds: NDArray[np.int8], training: Training
) -> Generator[Grown, None, None]:
    """Grow a booster for each fold, several at once, and give them in the order of the folds.

    Closing the generator stops what is still growing. The arguments are those of `fit_booster`.
    """
    check_device(training.device, "training.device")
    count = int(folds.max()) + 1
    available = training.threads or cores()
    workers = min(count, available) if training.device == "cpu" else 1
    threads = max(1, available // workers) if len(labels) >= ROWS_A_THREAD else 1
    stop = threading.Event()

    def grow_fold(fold: int) -> Grown:
        # Another seed for each: with the same one all would draw the same columns.
        seed = training.random_state + fold
        return grow(features, labels, folds == fold, training, seed=seed, threads=threads, stop=stop)

    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(grow_fold, range(count))
        finally:
            # Leaving waits for the threads; after Ctrl-C they must not grow on to the end.
            stop.set()


@singledispatch
def fit_booster_of(
    features: Table,
    names: Sequence[str],
    label: str,
    folds: NDArray[np.int8],
    watched: pd.DataFrame,
    training: Training,
) -> FittedTrees:
    """As `fit_booster`, of a table that need not fit into memory: of one fold at a time it holds two bytes a value.

    All rows lie in temporary files meanwhile, four bytes a value. The bins are those of the watched rows, the fold that is
    held out among them; they ask for no label.

    Args:
        features: Encoded training rows with their label; tables of another engine have their own way, see
            `churn.spark.training`.
        names: Which features.
        label: Name of the label.
        folds: Fold of each row, shape (n,), from 0.
        watched: Some of the rows, with their ``fold``: m rows that are watched for early stopping, and get a margin.
        training: Parameters of XGBoost and of early stopping.

    Returns:
        The booster, and the margins of the watched rows, shape (m,).
    """
    import xgboost as xgb

    check_device(training.device, "training.device")
    bins, threads = training.booster.max_bin, training.threads or cores()
    matrix, labels = watched[list(names)].to_numpy(np.float32), watched[label].to_numpy(np.int8)
    fold_of = watched["fold"].to_numpy()
    binned = xgb.QuantileDMatrix(matrix, labels, max_bin=bins, nthread=threads)
    grown = []
    with _rows_of_folds(features, [*names, label], folds) as files:
        for fold in range(len(files)):
            others = _read_again([file for other, file in enumerate(files) if other != fold], len(names) + 1)
            fit = xgb.QuantileDMatrix(others, ref=binned, max_bin=bins, nthread=threads)
            here = fold_of == fold
            watch = xgb.QuantileDMatrix(matrix[here], labels[here], ref=fit, max_bin=bins, nthread=threads)
            grown.append(_train(fit, watch, float(labels.mean()), training, training.random_state + fold, threads))
            del fit  # before there is another
    return merge(grown, matrix, fold_of)


@contextmanager
def _rows_of_folds(features: Table, columns: Sequence[str], folds: NDArray[np.int8]) -> Iterator[Sequence[IO[bytes]]]:
    """Temporary files with the rows of each fold, one after the other, as float32.

    XGBoost reads rows three times to fill a matrix, and each row is in the matrices of all folds but one. From such files
    that takes a small part of the time in which a table's columns are unpacked and put side by side.
    """

    def rows_of(batch: pd.DataFrame) -> NDArray[np.float32]:
        return np.ascontiguousarray(batch.to_numpy(np.float32))

    with ExitStack() as closing:
        files = [closing.enter_context(tempfile.TemporaryFile()) for _ in range(int(folds.max()) + 1)]
        before = 0
        for rows in in_order(rows_of, features.batches(columns), PREPARING):
            fold_of = folds[before : before + len(rows)]
            before += len(rows)
            for fold, file in enumerate(files):
                file.write(memoryview(rows[fold_of == fold]))
        yield files


def _read_again(files: Sequence[IO[bytes]], columns: int) -> "xgb.DataIter":
    """The rows of some files for XGBoost, of which the last column is the label."""
    import xgboost as xgb

    def stored() -> Iterator[NDArray[np.float32]]:
        for file in files:
            file.seek(0)
            while len(values := np.fromfile(file, np.float32, READ_ROWS * columns)):
                yield values.reshape(-1, columns)

    class Stored(xgb.DataIter):
        def next(self, input_data: Callable[..., None]) -> bool:
            for rows in self._left:
                input_data(data=rows[:, :-1], label=rows[:, -1])
                return True
            return False

        def reset(self) -> None:
            self._left = stored()

    return Stored(release_data=True)


def merge(grown: Sequence[Grown], features: NDArray[np.float32], folds: NDArray[np.int8]) -> FittedTrees:
    """Cut the boosters of all folds after the same tree and average them.

    They are cut where the log loss, averaged over the watched rows, is least. A fold by itself is too small to tell.
    """
    rounds = _best_round([each.losses for each in grown], np.bincount(folds, minlength=len(grown)))
    cut = [each.booster[:rounds] for each in grown]
    margin = np.empty(len(folds), dtype=np.float32)
    for fold, booster in enumerate(cut):
        margin[folds == fold] = booster.inplace_predict(features[folds == fold], predict_type="margin")
    return FittedTrees(average(cut), margin)


def grow(
    features: NDArray[np.float32],
    labels: NDArray[np.int8],
    watched: NDArray[np.bool_],
    training: Training,
    *,
    seed: int,
    threads: int = 1,
    stop: threading.Event | None = None,
) -> Grown:
    """Grow trees until the log loss of the watched rows has not fallen for a while.

    Args:
        features: Encoded rows, shape (n, k).
        labels: Their outcomes, shape (n,), 0 or 1.
        watched: Rows that early stopping watches and the trees do not see, shape (n,).
        training: Parameters of XGBoost and of early stopping.
        seed: Seed of XGBoost.
        threads: Threads of XGBoost.
        stop: Ends the growth early when set.
    """
    import xgboost as xgb

    class Stopping(xgb.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            return stop is not None and stop.is_set()

    rows, unseen = (features[~watched], labels[~watched]), (features[watched], labels[watched])
    fit: xgb.DMatrix
    watch: xgb.DMatrix
    if training.booster.tree_method == "hist":
        bins = training.booster.max_bin
        fit = xgb.QuantileDMatrix(*rows, max_bin=bins, nthread=threads)
        watch = xgb.QuantileDMatrix(*unseen, ref=fit, max_bin=bins, nthread=threads)
    else:
        fit, watch = xgb.DMatrix(*rows, nthread=threads), xgb.DMatrix(*unseen, nthread=threads)
    return _train(fit, watch, float(labels.mean()), training, seed, threads, [Stopping()])


def _train(
    fit: "xgb.DMatrix",
    watch: "xgb.DMatrix",
    churn_rate: float,
    training: Training,
    seed: int,
    threads: int,
    callbacks: Sequence[Any] = (),
) -> Grown:
    """Grow trees on a matrix until the log loss of another has not fallen for a while."""
    import xgboost as xgb

    losses: dict[str, Any] = {}
    booster = xgb.train(
        # The boosters can be averaged because they all start from the same log-odds.
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
    """Number of trees with the least log loss over the watched rows of all folds."""
    common = min(map(len, losses))
    mean = np.average([fold[:common] for fold in losses], axis=0, weights=rows)
    return int(np.argmin(mean)) + 1

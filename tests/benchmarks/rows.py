"""Time of scoring a few rows in the process, as a service does, beside the batch path.

Run with ``python -m tests.benchmarks.rows``. A model is trained on the simulated table as the base environment says, with one
setting of the trees. Rows are mappings, as JSON gives them; each call checks, encodes, calibrates and bands them, on one
thread. *Large* is the same model with 3,000 trees of up to 7 levels, the most that `training.portfolio: full` merges.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xgboost as xgb

from churn.config import Parameters, Reasons, check_parameters
from churn.model import ChurnModel
from churn.model.xgboost_trees import XGBoostTrees
from churn.pipelines.data_generation.simulation import simulate_accounts
from churn.retention.row_reasons import RowReasons
from churn.retention.terms import Terms
from churn.tables import check_accounts
from tests.benchmarks.results import Result, in_turns, parser, ratio, report, seconds
from tests.benchmarks.simulated import trained
from tests.conftest import base_parameters

CALLS, TREES, LEVELS = 2_000, 3_000, 7
Rows = Sequence[Mapping[str, Any]]
# Milliseconds at the median.
ONE, WITH_REASONS, HUNDRED = 0.3, 1.0, 2.0


def records(parameters: Parameters, count: int) -> list[dict[str, Any]]:
    """Accounts that the model was not trained on, as JSON gives them."""
    simulated = simulate_accounts(count, parameters.simulation.scoring_seed, parameters.simulation).accounts
    return [
        {
            str(name): None if pd.isna(value) else getattr(value, "item", lambda value=value: value)()
            for name, value in row.items()
        }
        for _, row in simulated.astype(object).iterrows()
    ]


def enlarged(model: ChurnModel, parameters: Parameters, trees: int) -> ChurnModel:
    """The model with many large trees."""
    simulated = simulate_accounts(8_000, parameters.simulation.training_seed, parameters.simulation)
    data = xgb.QuantileDMatrix(model.encoder.transform(simulated.accounts), simulated.churned)
    settings = {"objective": "binary:logistic", "max_depth": LEVELS, "learning_rate": 0.05, "min_child_weight": 0.5}
    return replace(model, trees=XGBoostTrees(xgb.train(settings, data, trees)))


def batch(model: ChurnModel, rows: Rows) -> pd.DataFrame:
    """The same through a frame."""
    frame = pd.DataFrame(list(rows))
    return model.score(check_accounts(frame, model.schema, subject="accounts", labelled=False).accounts)


def milliseconds(call: Callable[[int], object], calls: int) -> tuple[float, float]:
    """The median and the 99th percentile of calls, each with the number of the call, after some that warm up."""
    for number in range(min(calls, 20)):
        call(number)
    times = [seconds(lambda number=number: call(number)) * 1_000 for number in range(calls)]
    return float(np.median(times)), float(np.quantile(times, 0.99))


def measured(model: ChurnModel, rows: Rows, calls: int, name: str, bounded: Sequence[float]) -> list[Result]:
    """What calls of 1 and 100 rows take, against the bounds that are named."""
    model.use(threads=1)
    results = [Result(f"{name}: getting ready", seconds(lambda: model.rows.prepare(reasons=False)), "s")]
    results.append(Result(f"{name}: getting ready for reasons", seconds(lambda: model.rows.prepare(reasons=True)), "s"))
    of_row = RowReasons(Terms.of(model.encoder, model.reference), Reasons())

    def one(number: int) -> object:
        return model.score_rows([rows[number % len(rows)]])

    def reasoned(number: int) -> object:
        return [of_row(score) for score in model.score_rows([rows[number % len(rows)]], reasons=True)]

    def hundred(number: int) -> object:
        start = number * 100 % (len(rows) - 99)
        return model.score_rows(rows[start : start + 100])

    ways = (("1 row", one, calls, ONE), (f"1 row with {of_row.count} reasons", reasoned, calls, WITH_REASONS))
    for work, call, count, bound in (*ways, ("100 rows", hundred, max(calls // 20, 1), HUNDRED)):
        middle, late = milliseconds(call, count)
        results.append(Result(f"{name}: {work}, median", middle, "ms", bound if bound in bounded else None))
        results.append(Result(f"{name}: {work}, 99th percentile", late, "ms"))
    return results


def against_batch(model: ChurnModel, rows: Rows, rounds: int) -> list[Result]:
    """How many times as long the batch path takes."""
    results = []
    for count in (1, 100, 1_000):
        some = rows[:count]
        times = in_turns(
            {"rows": lambda some=some: model.score_rows(some), "batch": lambda some=some: batch(model, some)}, rounds
        )
        results.append(
            Result(f"batch path, {count:,} row{'s' if count > 1 else ''}", ratio(times["batch"], times["rows"]), "x")
        )
    return results


def main() -> int:
    """Measure and print a table; 1 if something is not met."""
    options = parser(__doc__, rounds=20)
    options.add_argument("--calls", type=int, default=CALLS, help=f"calls of one row ({CALLS})")
    options.add_argument("--trees", type=int, default=TREES, help=f"trees of the large model; 0 for none ({TREES})")
    arguments = options.parse_args()
    parameters = check_parameters(base_parameters())
    model, rows = trained(parameters), records(parameters, 1_000)
    is_whole = arguments.calls >= CALLS
    bounded = (ONE, WITH_REASONS, HUNDRED) if is_whole else ()
    results = measured(model, rows, arguments.calls, "a few rows", bounded)
    results += against_batch(model, rows, arguments.rounds)
    if arguments.trees:
        large = enlarged(model, parameters, arguments.trees)
        # Exact reasons of large trees take longer than a table look-up.
        name, bounded = f"a few rows, {arguments.trees:,} large trees", (ONE, HUNDRED) if is_whole else ()
        results += measured(large, rows, max(arguments.calls // 10, 1), name, bounded)
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())

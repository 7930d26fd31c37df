"""Time and memory of the simulation, beside a generator that works row by row.

Run with ``python -m tests.benchmarks.generation``. The peer draws each cell of each row by itself with mimesis,
as a proof of concept would. It draws fewer rows, for its time is the same for each, and the two take turns in memory. The
whole pipeline, which also writes its files, then runs in a process of its own, of which the largest resident memory is taken.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

import pandas as pd
from mimesis import Generic

from churn.parameters import Simulation
from churn.simulation import CATEGORIES, RANGES, RATIOS, simulate_accounts

from ..conftest import make_project
from .results import Result, in_turns, parser, ratio, report
from .runs import kedro_run

ROWS, PEER_ROWS = 10_000_000, 20_000
SPEED_LEAST, MIB_LIMIT = 50, 4096


def row_by_row(rows: int) -> pd.DataFrame:
    """The peer: a dictionary for each account, cell by cell, and a frame of them."""
    draw = Generic(seed=1)
    number, choice = draw.numeric.integer_number, draw.choice
    table = []
    for _ in range(rows):
        total = number(1, 150)
        row: dict[str, object] = {"account_id": draw.cryptographic.uuid()}
        row |= {name: choice(list(values)) for name, values in CATEGORIES.items()}
        row |= {
            "total_users_count": total,
            "active_users_count": number(1, total),
            "login_count_p1m": number(1, 1500),
            "p1m_tenure_since_conversion": number(0, 72),
            "payment_methods_active_count": number(0, 5),
            "is_churned": draw.development.boolean(),
        }
        row |= {name: draw.numeric.float_number(*RANGES[name], precision=4) for name in RATIOS}
        table.append(row)
    return pd.DataFrame(table)


def main() -> int:
    """Measure and print a table; 1 if something is not met."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=ROWS, help=f"accounts to make ({ROWS})")
    arguments = options.parse_args()
    rows = arguments.rows
    times = in_turns(
        {
            "row by row": lambda: row_by_row(PEER_ROWS),
            "ours": lambda: simulate_accounts(rows, 1, Simulation()),
        },
        arguments.rounds,
    )
    faster = ratio(times["row by row"], times["ours"]) * rows / PEER_ROWS
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch), training_rows=rows, scoring_rows=1_000)
        whole = kedro_run(project, "--pipelines", "data_generation")
    work, pipeline = (
        f"making {rows:,} accounts in memory",
        f"`kedro run --pipelines data_generation`, {rows:,} accounts",
    )
    results = [
        Result(f"{work}: speed", faster, "x the row-by-row generator's", SPEED_LEAST, is_least=True),
        Result(f"{work}: speed", rows / median(times["ours"]), "accounts/s"),
        Result(f"{pipeline}: peak memory", whole.mebibytes, "MiB", MIB_LIMIT),
        Result(f"{pipeline}: speed", rows / whole.seconds, "accounts/s"),
    ]
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())

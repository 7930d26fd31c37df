"""Time and memory of the simulation, beside a generator that works row by row.

Run with ``python -m tests.benchmarks.generation``. The peer is a schema of mimesis, which draws each cell of each row by
itself, as a proof of concept would. It makes fewer rows, for its time is the same for each, and the two take turns in
memory. The whole pipeline, which also writes its files, then runs in a process of its own, of which the largest resident
memory is taken.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

import pandas as pd
from mimesis.schema import Field, Schema

from churn.config import Simulation
from churn.pipelines.data_generation.population import CATEGORIES, RANGES, RATIOS
from churn.pipelines.data_generation.simulation import simulate_accounts
from tests.benchmarks.results import Result, in_turns, parser, ratio, report
from tests.benchmarks.runs import kedro_run
from tests.conftest import make_project

ROWS, PEER_ROWS = 10_000_000, 20_000
SPEED_LEAST, MIB_LIMIT = 50, 4096


def row_by_row(rows: int) -> pd.DataFrame:
    """The peer: mimesis' own way, a schema whose fields are drawn for each row, and a frame of the rows."""
    field = Field(seed=1)

    def row() -> dict[str, object]:
        total = field("numeric.integer_number", start=1, end=150)
        return {
            "account_id": field("cryptographic.uuid"),
            **{name: field("choice.choice", items=list(values)) for name, values in CATEGORIES.items()},
            "total_users_count": total,
            "active_users_count": field("numeric.integer_number", start=1, end=total),
            "login_count_p1m": field("numeric.integer_number", start=1, end=1500),
            "p1m_tenure_since_conversion": field("numeric.integer_number", start=0, end=72),
            "payment_methods_active_count": field("numeric.integer_number", start=0, end=5),
            **{
                name: field("numeric.float_number", start=RANGES[name][0], end=RANGES[name][1], precision=4)
                for name in RATIOS
            },
            "is_churned": field("development.boolean"),
        }

    return pd.DataFrame(Schema(schema=row, iterations=rows).create())


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

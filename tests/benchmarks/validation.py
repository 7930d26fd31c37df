"""Time of checking a table while it is read, beside reading it alone.

Run with ``python -m tests.benchmarks.validation``. A CSV file is read in batches as inference reads it, and
again with the checks that inference does on each batch, in as many threads; the two take turns. What the checks take
longer is what they cost a run.
"""

import sys
import tempfile
from collections import deque
from pathlib import Path
from statistics import median

from churn.config import check_parameters
from churn.datasets import AccountBatchesDataset
from churn.stores import open_store
from churn.tables import CheckedBatches
from churn.tables.parallel import cores
from tests.benchmarks.results import Result, added, in_turns, parser, report
from tests.benchmarks.simulated import trained, write_accounts
from tests.conftest import base_parameters

ROWS = 1_000_000
LIMIT = 0.5


def main() -> int:
    """Measure and print a table; 1 if something is not met."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=ROWS, help=f"accounts to check ({ROWS})")
    arguments = options.parse_args()
    parameters = check_parameters(base_parameters())
    model, schema = trained(parameters), parameters.accounts
    with tempfile.TemporaryDirectory() as scratch:
        write_accounts(open_store(scratch), arguments.rows)
        table = str(Path(scratch) / "inference_data.csv")
        batches = AccountBatchesDataset(filepath=table, schema=schema.model_dump(mode="json")).load()
        checked = CheckedBatches(batches, schema, model, "accounts")
        ways = {
            "read": lambda: deque(batches, maxlen=0),
            "checked": lambda: deque(checked.mapped(lambda accounts: None, workers=cores()), maxlen=0),
        }
        times = in_turns(ways, arguments.rounds)
    work = f"{arguments.rows:,} accounts of a CSV file"
    results = [
        Result(f"checking {work}", added(times["checked"], times["read"]), "s more than reading", LIMIT),
        Result(f"reading {work}: time", median(times["read"]), "s"),
    ]
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())

"""Time of scoring on a standalone Spark cluster: how it grows with the table, and what a second worker brings.

Run with ``python -m tests.benchmarks.spark``. A master, the workers, each with one core, and the driver run on this machine.
What is timed is what the nodes of inference do once Spark runs: read the table, check, score, publish. Lengths of the table
take turns; 10 million accounts, the length that a cluster is for, take several minutes a round: ``--rows 1000000 10000000``.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import yaml

from churn.datasets import SparkAccountsDataset
from churn.model import ChurnModel
from churn.parameters import Parameters, check_parameters
from churn.spark import session
from churn.spark.session import SparkSettings
from churn.stores import open_store

from ..conftest import ROOT, base_parameters
from ..spark.cluster import running_cluster
from .results import Result, in_turns, parser, ratio, report
from .runs import publish
from .simulated import trained, write_accounts

ROWS = (1_000_000, 3_000_000)
ROUNDS = 3
EXECUTOR_MIB = 1024
GROWTH_LIMIT, WORKERS_LEAST = 1.15, 1.0


@contextmanager
def spark_on(workers: int, folder: Path) -> Iterator[None]:
    """A session as conf/spark says, on a cluster of so many workers, while the block runs."""
    with running_cluster(folder / f"cluster-of-{workers}", workers, EXECUTOR_MIB) as cluster:
        config = yaml.safe_load((ROOT / "conf/spark/spark.yml").read_text())["config"]
        config |= {
            "spark.executor.memory": f"{EXECUTOR_MIB}m",
            "spark.jars.ivy": str(folder / "ivy"),
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
        }
        spark = session.start(SparkSettings(master=cluster.url, log=folder / "spark.log", config=config))
        try:
            yield
        finally:
            session.stop(spark)


def scored(model: ChurnModel, parameters: Parameters, table: Path) -> Callable[[], None]:
    """What a run of inference does; its results are removed."""
    results = table.parent / "results"
    dataset = SparkAccountsDataset(filepath=str(table), roles=parameters.accounts.model_dump(mode="json"))

    def run() -> None:
        publish(dataset, model, parameters, results)
        shutil.rmtree(results)

    return run


def main() -> int:
    """Measure and print a table; 1 if something is not met."""
    options = parser(__doc__, ROUNDS)
    options.add_argument("--rows", type=int, nargs="+", default=ROWS, help="lengths of the tables, two or more, rising")
    arguments = options.parse_args()
    parameters = check_parameters(base_parameters())
    model = trained(parameters)
    with tempfile.TemporaryDirectory() as scratch:
        tables = {}
        for rows in arguments.rows:
            folder = Path(scratch) / str(rows)
            folder.mkdir()
            write_accounts(open_store(str(folder)), rows)
            tables[f"{rows:,}"] = folder / "inference_data.csv"
        with spark_on(2, Path(scratch)):
            ways = {name: scored(model, parameters, table) for name, table in tables.items()}
            two = in_turns(ways, arguments.rounds)
        # Of a short table, most is what neither worker does.
        shortest, *_, longest = tables
        with spark_on(1, Path(scratch)):
            one = in_turns({longest: scored(model, parameters, tables[longest])}, arguments.rounds)[longest]
    results = [
        Result(f"scoring {name} accounts on Spark, two workers", median(each), "s") for name, each in two.items()
    ]
    results.append(Result(f"scoring {longest} accounts on Spark, one worker", median(one), "s"))
    growth = ratio(two[longest], two[shortest]) * arguments.rows[0] / arguments.rows[-1]
    work = f"scoring on Spark: time of an account among {longest}"
    results.append(Result(work, growth, f"x that among {shortest}", GROWTH_LIMIT))
    results.append(
        Result(
            f"scoring {longest} accounts on Spark, two workers",
            ratio(one, two[longest]),
            "x as fast as one",
            WORKERS_LEAST,
            is_least=True,
        )
    )
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())

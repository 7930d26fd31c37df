"""Time of scoring and of feature engineering on a standalone Spark cluster: how it grows with the table, and what a second
worker brings.

Run with ``python -m tests.benchmarks.spark``. A master, the workers, each with one core, and the driver run on this machine.
What is timed is what the nodes of inference and of feature_engineering do once Spark runs: read the table, check, score,
publish; or read, check, split, fit the encoder, encode, store. Lengths of the table take turns.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import yaml

from churn.config import Parameters, check_parameters
from churn.datasets import SparkAccountsDataset
from churn.model import ChurnModel
from churn.pipelines.feature_engineering.nodes import (
    encode_accounts,
    fit_encoder,
    split_accounts,
    validate_accounts,
)
from churn.spark import session
from churn.spark.session import SparkSettings
from churn.stores import open_store
from tests.benchmarks.results import Result, in_turns, parser, ratio, report
from tests.benchmarks.runs import publish
from tests.benchmarks.simulated import trained, write_accounts
from tests.conftest import ROOT, base_parameters
from tests.spark.cluster import running_cluster

ROWS = (1_000_000, 10_000_000)
# The long table takes some minutes, and differs little from round to round.
ROUNDS = 1
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
    dataset = SparkAccountsDataset(filepath=str(table), schema=parameters.accounts.model_dump(mode="json"))

    def run() -> None:
        publish(dataset, model, parameters, results)
        shutil.rmtree(results)

    return run


def engineered(parameters: Parameters, table: Path) -> Callable[[], None]:
    """What a run of feature_engineering does; what it stores is removed."""
    from churn.datasets.spark_rows import SparkRowsDataset

    accounts, settings = parameters.accounts, parameters.feature_engineering
    source = SparkAccountsDataset(filepath=str(table), schema=accounts.model_dump(mode="json"), labelled=True)
    folder = table.parent / "features"

    def run() -> None:
        splits = split_accounts(validate_accounts(source.load(), accounts), accounts, settings)._asdict()
        del splits["split"]
        stored = {name: SparkRowsDataset(filepath=str(folder / name)) for name in splits}
        for name, rows in splits.items():
            stored[name].save(rows)
        encoder = fit_encoder(stored["train"].load(), accounts, settings)
        for name, dataset in stored.items():
            encoded = encode_accounts(dataset.load(), encoder, accounts)
            SparkRowsDataset(filepath=str(folder / f"{name}-features")).save(encoded)
        shutil.rmtree(folder)

    return run


def grown(times: Mapping[str, Sequence[float]], rows: Mapping[str, int], work: str) -> list[Result]:
    """How long tables took by their names, which rise in length, and what a row costs in the longest beside the shortest."""
    (shortest, *_, longest) = times
    growth = ratio(times[longest], times[shortest]) * rows[shortest] / rows[longest]
    return [
        *(Result(f"{work} on Spark, {name} accounts, two workers", median(each), "s") for name, each in times.items()),
        Result(
            f"{work} on Spark: time of an account among {longest}", growth, f"x that among {shortest}", GROWTH_LIMIT
        ),
    ]


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
            write_accounts(open_store(str(folder)), rows, labelled=True)
            tables[f"{rows:,}"] = folder / "inference_data.csv"
        shortest, *_, longest = tables

        def timed(make: Callable[[Path], Callable[[], None]], names: Iterable[str]) -> dict[str, list[float]]:
            # The shortest warms up for all: a round of the longest would take minutes.
            make(tables[shortest])()
            return in_turns({name: make(tables[name]) for name in names}, arguments.rounds, warm_up=False)

        with spark_on(2, Path(scratch)):
            two = timed(partial(scored, model, parameters), tables)
            features = timed(partial(engineered, parameters), tables)
        # Of a short table, most is what neither worker does.
        with spark_on(1, Path(scratch)):
            one = timed(partial(scored, model, parameters), [longest])[longest]
    rows = dict(zip(tables, arguments.rows, strict=True))
    results = [*grown(two, rows, "scoring"), *grown(features, rows, "feature engineering")]
    results.append(Result(f"scoring on Spark, {longest} accounts, one worker", median(one), "s"))
    results.append(
        Result(
            f"scoring on Spark, {longest} accounts, two workers",
            ratio(one, two[longest]),
            "x as fast as one",
            WORKERS_LEAST,
            is_least=True,
        )
    )
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())

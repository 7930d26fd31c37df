"""What the benchmarks work on: simulated account tables of any length, and a model of the default training table."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from churn.config import Parameters, Simulation
from churn.config.console import progress
from churn.model import ChurnModel
from churn.pipelines.data_generation.simulation import simulate_accounts
from churn.stores import Store
from churn.tables import check_accounts
from churn.tables.csv import write_csv
from tests.conftest import train

BLOCK = 250_000
FILE_ROWS = 1_000_000


def trained(parameters: Parameters) -> ChurnModel:
    """A model of the simulated training table, with all defaults."""
    simulated = simulate_accounts(
        parameters.simulation.training_rows, parameters.simulation.training_seed, parameters.simulation
    )
    labelled = simulated.accounts.assign(**{parameters.accounts.label.column: simulated.churned})
    accounts = check_accounts(labelled, parameters.accounts, subject="accounts", labelled=True).accounts
    return train(accounts, parameters.accounts, parameters.feature_engineering, parameters.training)


def blocks(rows: int, *, labelled: bool = False) -> Iterator[pa.Table]:
    """Accounts a block at a time; a longer table begins with the blocks of a shorter one."""
    with progress(f"Simulating {rows:,} accounts", rows) as show:
        for start in range(0, rows, BLOCK):
            count = min(BLOCK, rows - start)
            simulated = simulate_accounts(count, 1_000 + start // BLOCK, Simulation())
            ids = [f"account-{row:09}" for row in range(start, start + count)]
            accounts = simulated.accounts.assign(account_id=ids)
            if labelled:
                accounts["is_churned"] = simulated.churned
            yield pa.Table.from_pandas(accounts, preserve_index=False)
            show(start + count)


def write_accounts(store: Store, rows: int, *, labelled: bool = False) -> None:
    """Write a table as one CSV file, ``inference_data.csv``."""
    with store.writing("inference_data.csv") as file:
        for number, table in enumerate(blocks(rows, labelled=labelled)):
            write_csv(table, file, header=number == 0)


def write_partitions(folder: Path, rows: int, *, labelled: bool = False) -> None:
    """Write a table as Parquet files of a million rows, each with a row group a block."""
    folder.mkdir(parents=True)
    writer = None
    for number, table in enumerate(blocks(rows, labelled=labelled)):
        if number % (FILE_ROWS // BLOCK) == 0:
            if writer is not None:
                writer.close()
            writer = parquet.ParquetWriter(folder / f"part-{number * BLOCK // FILE_ROWS:05}.parquet", table.schema)
        assert writer is not None
        writer.write_table(table)
    if writer is not None:
        writer.close()

"""The delivery to PostgreSQL beside COPY into an empty table, and deliveries that are killed.

A published run of a million accounts goes to a table of a real server: for the first time, again without a change, and with one
percent of the accounts changed. COPY of the same rows into an empty table with the same key is what the first is compared with.
Then deliveries to a table and to a receiver of a webhook are killed at random moments, and completed by the next one.

    python -m tests.benchmarks.delivery --rows 1000000 --kills 50
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
from pyarrow import csv

from churn.config import SqlTarget
from churn.delivery import Outcome
from churn.delivery.columns import fields_of, mapped
from churn.delivery.target import Occasion
from churn.services.postgres import database_uri
from tests.benchmarks.results import Result, parser, report
from tests.delivery.killing import kills_of_table, kills_of_webhook
from tests.delivery.receiving import SECRET, Receiver
from tests.delivery.worlds import World, accounts_of, list_of, scores_of, with_scores
from tests.stack import start_stack

# The types of the columns of the table, as the delivery makes it.
PLAIN = """CREATE TABLE plain (account_id text PRIMARY KEY, probability float8, prediction bigint, risk_band text,
    model_version text, account_value float8, expected_profit float8, recommended_action text, reason_1_code text,
    reason_1 text, run_id text, as_of date, delivered_at timestamptz, removed boolean)"""


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a database of PostgreSQL, which is started and removed again."""
    starting = start_stack()
    stack = next(starting)
    try:
        if stack.database is None:
            sys.exit("PostgreSQL is not installed here")
        yield database_uri(stack.folder, stack.settings)
    finally:
        starting.close()


def copied(world: World, uri: str) -> float:
    """Seconds that COPY of the rows of a delivery takes into an empty table with a key, rows ready in memory."""
    accounts = accounts_of(world.results)
    settings = SqlTarget(name="plain", kind="sql", table="plain")
    fields = fields_of(settings, accounts.schema, accounts.id, flagged=True)
    values = Occasion(accounts.run, datetime.now(UTC), "t").values
    parts: list[pa.Table] = [mapped(part, fields, values) for part in accounts.batches(accounts.schema.names)]
    with psycopg.connect(uri.replace("+psycopg", "")) as connection, connection.cursor() as cursor:
        cursor.execute(PLAIN)
        began = time.perf_counter()
        with cursor.copy("COPY plain FROM STDIN (FORMAT csv)") as copy:
            for part in parts:
                sink = pa.BufferOutputStream()
                csv.write_csv(part, sink, csv.WriteOptions(include_header=False))
                copy.write(memoryview(sink.getvalue()))
        connection.commit()
        return time.perf_counter() - began


def timed(work: Callable[[], Outcome]) -> tuple[float, Outcome]:
    """Seconds of a delivery, and what became of it."""
    began = time.perf_counter()
    outcome = work()
    if outcome.status != "delivered":
        sys.exit(f"the delivery failed: {outcome.reason}")
    return time.perf_counter() - began, outcome


def of_size(rows: int, uri: str, folder: Path) -> list[Result]:
    """Measure deliveries of so many accounts."""
    world = World(folder, {"url": uri}, kind="sql", table="scores")
    scores = scores_of(rows)
    listed = list_of(scores, min(rows // 10, 100_000))
    world.publish(scores, listed)
    plain = copied(world, uri)
    first, _ = timed(world.deliver)
    again, unchanged = timed(world.deliver)
    changed_rows = rows // 100
    world.publish(with_scores(scores, slice(0, changed_rows), 0.12345), listed)
    part, changed = timed(world.deliver)
    work = f"{rows:,} accounts to PostgreSQL"
    return [
        Result(f"{work}, first: time beyond COPY into an empty table", first - plain, "s", 30),
        Result(f"{work}, first: time", first, "s"),
        Result(f"{work}, COPY into an empty table alone: time", plain, "s"),
        Result(f"{work}, nothing changed: rows sent", float(unchanged.counts.sent), "rows", 0),
        Result(f"{work}, nothing changed: time", again, "s", 10),
        Result(
            f"{work}, 1 % changed: rows sent beyond those changed", float(changed.counts.sent - changed_rows), "rows", 0
        ),
        Result(f"{work}, 1 % changed: time", part, "s"),
    ]


def of_kills(count: int, seed: int, uri: str, folder: Path) -> list[Result]:
    """Kill deliveries to a table and to a webhook."""
    table = World(folder / "table", {"url": uri}, kind="sql", table="killed", name="killed", batch=1000)
    receiver = Receiver()
    hook = {"webhook": f"{receiver.url}/hook", "secret": SECRET}
    webhook = World(folder / "webhook", hook, kind="webhook", batch=500, wait=0.01)
    results = []
    runs: list[tuple[str, Callable[[], tuple[int, list[str]]]]] = [
        ("a table of PostgreSQL", lambda: kills_of_table(table, 20_000, count, seed)),
        ("a webhook", lambda: kills_of_webhook(webhook, receiver, 20_000, count, seed)),
    ]
    for place, run in runs:
        hits, faults = run()
        print("\n".join(faults[:5]), file=sys.stderr, flush=True)
        work = f"{count} kills of a delivery to {place}"
        results += [
            Result(f"{work}: accounts that are wrong, or that were taken twice", float(len(faults)), "accounts", 0),
            Result(f"{work}: deliveries that had not ended before", float(hits), "deliveries"),
        ]
    receiver.close()
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 if something is not met."""
    options = parser(__doc__, rounds=None)
    options.add_argument("--rows", type=int, default=1_000_000, help="accounts of the timed deliveries (1,000,000)")
    options.add_argument("--kills", type=int, default=50, help="kills of each kind (50)")
    options.add_argument("--seed", type=int, default=1, help="from which the moments of the kills are drawn (1)")
    given: Any = options.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch, postgres() as uri:
        results = of_size(given.rows, uri, Path(scratch) / "size")
        results += of_kills(given.kills, given.seed, uri, Path(scratch) / "kills")
    return report(results, given.json)


if __name__ == "__main__":
    sys.exit(main())

"""Deliveries that are killed at random moments, for the tests and for `python -m tests.benchmarks.delivery`."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.conftest import ROOT, clean_environment
from tests.delivery.receiving import Receiver
from tests.delivery.worlds import World, accounts_of, list_of, rows_of, scores_of, with_scores


def killed(world: World, seconds: float) -> bool:
    """Deliver in another process, which is killed so many seconds after it has begun; return whether that ended it."""
    command = [sys.executable, "-m", "tests.delivery.process", str(world.folder)]
    arguments = [json.dumps(world.target), json.dumps(world.credentials)]
    with subprocess.Popen(
        [*command, *arguments], cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        return process.wait() == -9


def at_random_moments(
    world: World, count: int, seed: int, change: Callable[[int], None], check: Callable[[], list[str]]
) -> tuple[int, list[str]]:
    """Kill deliveries; after each, deliver to the end and check.

    Args:
        world: The target.
        count: Number of kills.
        seed: From which the moments are drawn.
        change: Publishes other results for the kill of a number, or the same.
        check: Returns what is wrong after the delivery.

    Returns:
        How many deliveries were killed before they had ended, and what was wrong.
    """
    chance = random.Random(seed)
    began = time.monotonic()
    change(0)
    world.deliver()
    whole = time.monotonic() - began
    hits, faults = 0, check()
    for number in range(1, count + 1):
        change(number)
        hits += killed(world, chance.uniform(0, whole))
        if chance.random() < 0.5:  # other results meanwhile, or the same
            change(number + count)
        outcome = world.deliver()
        if outcome.status != "delivered":
            faults.append(str(outcome))
        faults += check()
        if (again := world.deliver()).counts.sent:
            faults.append(f"the next delivery sends {again.counts.sent} accounts again")
    return hits, faults


def rows(world: World) -> dict[str, dict[str, Any]]:
    """The rows of a table by their id."""
    return rows_of(world.credentials["url"], world.target["table"])


def differences(world: World) -> list[str]:
    """What differs between a table and the published results."""
    accounts = accounts_of(world.results)
    published = pa.concat_tables(accounts.batches(accounts.schema.names)).to_pylist()
    found = {account: row for account, row in rows(world).items() if not row["removed"]}
    faults = [f"{len(found)} rows for {len(published)} accounts"] if len(found) != len(published) else []
    for account in published:
        row = found.get(account["account_id"], {})
        expected = {**account, "probability": float(str(np.float32(account["probability"])))}
        if any(row.get(name) != value for name, value in expected.items()):
            faults.append(f"{account['account_id']}: {row} for {expected}")
    return faults


def twice(receiver: Receiver) -> list[str]:
    """States of accounts that a receiver has taken more than once."""
    return [f"{account}: {state}" for (account, state), count in receiver.taken.items() if count > 1]


def kills_of_table(world: World, rows: int, count: int, seed: int) -> tuple[int, list[str]]:
    """Kill deliveries to a table; see `at_random_moments`."""
    base = scores_of(rows)

    def change(number: int) -> None:
        part = base.slice(50 * (number % 3))
        world.publish(with_scores(part, slice(number % 100, None, 2), 0.001 * (number % 997)), list_of(part, rows // 6))

    return at_random_moments(world, count, seed, change, lambda: differences(world))


def kills_of_webhook(world: World, receiver: Receiver, rows: int, count: int, seed: int) -> tuple[int, list[str]]:
    """Kill deliveries to a receiver; see `at_random_moments`. It may take no state of an account twice."""
    base = scores_of(rows)
    published: dict[str, float] = {}

    def change(number: int) -> None:
        part = base.slice(50 * (number % 3))
        part = with_scores(part, slice(number % 100, None, 2), 0.001 * (number % 997))
        world.publish(part, list_of(part, rows // 6))
        published.clear()
        published.update(zip(part["account_id"].to_pylist(), part["probability"].to_pylist(), strict=True))
        receiver.taken.clear()  # a state may come back with other results

    def check() -> list[str]:
        held = {account: row["probability"] for account, row in receiver.accounts.items()}
        wrong = [each for each in {*held, *published} if held.get(each) != pytest.approx(published.get(each))]
        return [*twice(receiver), *wrong]

    return at_random_moments(world, count, seed, change, check)

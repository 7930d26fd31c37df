"""Deliveries that are killed at random moments, for the tests and for `python -m tests.benchmarks.delivery`."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable

from tests.conftest import ROOT, clean_environment
from tests.delivery.worlds import World


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

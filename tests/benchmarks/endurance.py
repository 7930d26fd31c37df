"""Whether the scoring service keeps what it takes: memory and open files over many requests, and after hostile ones.

Its parts are run by ``python -m tests.benchmarks.serve --parts soak,hostile``.
"""

import asyncio
import collections
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import psutil

from tests.benchmarks.results import Result
from tests.serving.hostile import INFER, SCORE, requests_of, statuses

# Share of a run that warms up: allocators, caches, and the buffers of the log of requests grow then.
WARM = 0.25
# What may grow over all of the requests, by the regression line: noise of the allocator, and a few connections.
MIB, FILES = 16.0, 4.0


class Sample(NamedTuple):
    """What a process has at a moment."""

    requests: int
    memory: float  # MiB
    files: int


def growth(samples: Sequence[Sample], name: str) -> float:
    """By how much a number grows from the end of the warm-up to the end, by the regression line on the number of requests."""
    late = [each for each in samples if each.requests >= WARM * samples[-1].requests]
    if len(late) < 3:  # no line to speak of
        return float(getattr(late[-1], name) - getattr(late[0], name))
    at = np.array([each.requests for each in late], dtype=float)
    slope = np.polyfit(at - at.mean(), [getattr(each, name) for each in late], 1)[0]
    return float(slope * (at[-1] - at[0]))


def grown(work: str, samples: Sequence[Sample]) -> list[Result]:
    """Results for the growth of memory and of open files."""
    ending = "after the first quarter, by regression"
    return [
        Result(f"{work}: growth of memory {ending}", growth(samples, "memory"), "MiB", MIB),
        Result(f"{work}: growth of open files {ending}", growth(samples, "files"), "", FILES),
    ]


async def soaked(
    ask: Callable[[], Any], mixture: Sequence[tuple[bytes, int]], count: int, seconds: float, worker: psutil.Process
) -> tuple[list[Sample], int, int]:
    """Send so many requests, or as many as seconds allow, by eight clients.

    Args:
        ask: Returns a new connection, see `tests.benchmarks.serve.Client`.
        mixture: Requests, in turns, and the status that each must get.
        count: Number of requests.
        seconds: Seconds after which it ends.
        worker: The process.

    Returns:
        Samples, the number of requests that were answered, and of those that were answered otherwise or not at all.
    """
    samples, done, failed = list[Sample](), 0, 0
    numbers, deadline = iter(range(count)), time.monotonic() + seconds

    async def client() -> None:
        nonlocal done, failed
        connection = ask()
        for number in numbers:
            if time.monotonic() > deadline:
                break
            sent, expected = mixture[number % len(mixture)]
            try:
                status, _ = await connection.ask(sent)
            except (OSError, asyncio.IncompleteReadError):
                connection.close()
                status = 0
            failed += status != expected
            done += 1
            if number % 500 == 0:  # connections come and go in a service, too
                connection.close()
        connection.close()

    async def look() -> None:
        while True:
            samples.append(Sample(done, worker.memory_info().rss / 2**20, worker.num_fds()))
            await asyncio.sleep(1.0)

    looking = asyncio.ensure_future(look())
    await asyncio.gather(*(client() for _ in range(8)))
    looking.cancel()
    return samples, done, failed


def soak(
    ask: Callable[[], Any],
    post: Callable[[str, Any], bytes],
    rows: list[dict[str, Any]],
    served: int,
    count: int,
    seconds: float,
) -> list[Result]:
    """Requests of all kinds: one row, many, with reasons and decisions, with faults, of the other protocol, and of no account."""
    single = [(post(SCORE, {"rows": [row]}), 200) for row in rows[:60]]
    tensors = [
        {"name": name, "shape": [1], "datatype": _kind(value), "data": [value]} for name, value in rows[0].items()
    ]
    special = [
        (post(SCORE, {"rows": rows[:100]}), 200),
        (post(SCORE, {"rows": rows[:3], "reasons": 3, "decision": True}), 200),
        (post(SCORE, {"rows": [{**rows[0], "operating_country": [1]}]}), 422),
        (post(SCORE, {"rows": [{**rows[0], "operating_country": {}}, rows[1]], "partial": True}), 200),
        (post(SCORE, {"rows": []}), 422),
        (post(INFER, {"inputs": tensors}), 200),
        (post("/nothing", {}), 404),
    ]
    mixture = [each for at, other in enumerate(special) for each in (*single[at * 8 : at * 8 + 8], other)]
    begun = time.monotonic()
    samples, done, failed = asyncio.run(soaked(ask, mixture, count, seconds, psutil.Process(served)))
    took = time.monotonic() - begun
    first, last = samples[0], samples[-1]
    print(
        f"{done:,} requests in {took:.0f} s; memory {first.memory:.0f} to {last.memory:.0f} MiB, files {first.files} to "
        f"{last.files}, {len(samples)} samples",
        file=sys.stderr,
    )
    work = f"soak, {done:,} requests of all kinds"
    return [
        Result(f"{work}: failed", float(failed), "", 0.0),
        Result(f"{work}: requests a second", done / took, "requests/s"),
        Result(f"{work}: memory at the end", last.memory, "MiB"),
        *grown(work, samples),
    ]


def _kind(value: Any) -> str:
    return "BYTES" if isinstance(value, str) else "FP64"


def hostile(
    port: int, ask: Callable[[], Any], good: bytes, examples: dict[str, Any], token: str, served: int, count: int
) -> list[Result]:
    """Requests that no friend sends; between them, good ones get the same answer as before."""

    async def scores() -> Any:
        client = ask()
        status, body = await client.ask(good)
        client.close()
        return status, json.loads(body)["scores"]

    worker = psutil.Process(served)
    expected = asyncio.run(scores())
    found: collections.Counter[int] = collections.Counter()
    samples, wrong = list[Sample](), 0
    for number, each in enumerate(requests_of(examples, count, token=token), 1):
        found.update(statuses(port, each, 30.0))
        if number % 20 == 0:
            wrong += asyncio.run(scores()) != expected
            samples.append(Sample(number, worker.memory_info().rss / 2**20, worker.num_fds()))
    print(f"hostile requests: {dict(sorted(found.items()))}", file=sys.stderr)
    work = f"{count:,} hostile requests"
    # 503 says that nothing was published: an answer, and no fault.
    faults = sum(number for status, number in found.items() if status >= 500 and status != 503)
    return [
        Result(f"{work}: answered with 500", float(faults), "", 0.0),
        Result(f"{work}: good requests between them that failed", float(wrong), "", 0.0),
        *grown(work, samples),
    ]

"""What a benchmark found, against what it must reach."""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROUNDS = 5


class Result(NamedTuple):
    """One row of the table.

    Attributes:
        work: What was measured.
        value: What came out; None where the benchmark failed.
        unit: Of the value and its bound, for example ``x the script``.
        bound: What the value must reach; None where it only informs.
        is_least: Whether the value must be at least the bound, not at most.
    """

    work: str
    value: float | None
    unit: str
    bound: float | None = None
    is_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether there is a value, and it reaches its bound."""
        if self.value is None or self.bound is None:
            return self.value is not None
        return self.value >= self.bound if self.is_least else self.value <= self.bound


def as_markdown(results: Sequence[Result]) -> str:
    """The table, a line a result."""
    lines = ["| work | measured | must reach | |", "| --- | ---: | ---: | --- |"]
    for result in results:
        measured, bound, state = "failed", "", "**not met**"
        if result.value is not None:
            measured, state = f"{_number(result.value)} {result.unit}", ""
        if result.bound is not None:
            bound = f"{'at least' if result.is_least else 'at most'} {_number(result.bound)}"
            state = "met" if result.is_met else "**not met**"
        lines.append(f"| {result.work} | {measured} | {bound} | {state} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def seconds(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: bool = True) -> dict[str, list[float]]:
    """Seconds of each way in each round; they take turns, and a first round that warms up does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + warm_up):
        for name, way in ways.items():
            times[name].append(seconds(way))
    return {name: each[warm_up:] for name, each in times.items()}


def ratio(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over the rounds of how many times longer mine took: the two of a round saw the same machine."""
    return median(one / other for one, other in zip(mine, theirs, strict=True))


def added(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over the rounds of how many seconds longer mine took."""
    return median(one - other for one, other in zip(mine, theirs, strict=True))


def processor() -> str:
    """What the processor of this machine is called."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        model = next((value.strip() for name, _, value in lines if name.strip() == "model name"), model)
    return model


def parser(description: str | None, rounds: int | None = ROUNDS) -> argparse.ArgumentParser:
    """Options that all benchmarks have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if rounds is not None:
        made.add_argument("--rounds", type=int, default=rounds, help=f"rounds of which the median counts ({rounds})")
    made.add_argument("--json", type=Path, help="file to write the results to as well")
    return made


def report(results: Sequence[Result], file: Path | None) -> int:
    """Print the table and write it where that is asked for; 1 if something is not met."""
    print(as_markdown(results), flush=True)
    if file is not None:
        file.write_text(json.dumps([result._asdict() for result in results], indent=2) + "\n")
    for result in results:
        if not result.is_met:
            print(f"not met: {result.work}", file=sys.stderr)
    return int(not all(result.is_met for result in results))


def read(file: Path) -> list[Result]:
    """What `report` wrote."""
    return [Result(**row) for row in json.loads(file.read_text())]

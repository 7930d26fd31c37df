"""Measure everything, and say what was measured beside what it must reach.

``make bench`` runs each benchmark in a process of its own, one after the other, and prints one table of all. If none was
left out, the table also goes into docs/benchmarks.md, with the machine it was made on, and into docs/benchmarks.json. The
exit code is 1 if something is not met or fails. Times depend on what else the machine does: leave it alone meanwhile.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from churn.tables.parallel import cores
from tests.benchmarks.results import Result, as_markdown, processor, read
from tests.conftest import ROOT

PAGE = ROOT / "docs/benchmarks.md"
BEGIN, END = "<!-- the last table -->", "<!-- end of the last table -->"
PACKAGES = ("kedro-churn", "kedro", "kedro-mlflow", "mlflow", "numpy", "pandas", "pyarrow", "scikit-learn", "xgboost")


class Benchmark(NamedTuple):
    """A module that measures.

    Attributes:
        module: Its whole name; the last part of it is what ``--only`` takes.
        about: What it measures, for the help.
        minutes: How long it takes on two cores, roughly.
        quick: Its options for few rows and one round.
    """

    module: str
    about: str
    minutes: int
    quick: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.module.rpartition(".")[2]


BENCHMARKS = (
    Benchmark("tests.benchmarks.start", "short runs, cold and in a session", 4, ("--rounds", "1")),
    Benchmark("tests.benchmarks.scoring", "scoring beside other scripts", 8, ("--rows", "20000", "--rounds", "1")),
    Benchmark(
        "tests.benchmarks.memory",
        "memory and speed of inference up to 30 million accounts; 4 GB of temporary files",
        6,
        ("--rows", "3000", "6000", "12000", "--rounds", "1"),
    ),
    Benchmark(
        "tests.benchmarks.monitoring",
        "memory of monitoring up to 30 million accounts; 6 GB of temporary files",
        5,
        ("--rows", "3000", "6000"),
    ),
    Benchmark("tests.benchmarks.validation", "checking beside reading", 1, ("--rows", "20000", "--rounds", "1")),
    Benchmark("tests.benchmarks.generation", "making accounts", 2, ("--rows", "30000", "--rounds", "1")),
    Benchmark("tests.benchmarks.reasons", "scores with reasons", 1, ("--rows", "5000", "--rounds", "1")),
    Benchmark(
        "tests.benchmarks.rows",
        "a few rows at a time, as a service scores them",
        3,
        ("--calls", "50", "--trees", "100", "--rounds", "1"),
    ),
    Benchmark(
        "tests.benchmarks.training",
        "training on 20 million accounts beside a plain fit; 25 GB of temporary files",
        10,
        ("--rows", "20000", "--trees", "5"),
    ),
    Benchmark(
        "tests.benchmarks.spark",
        "scoring and features on a Spark cluster of two workers; needs Java",
        8,
        ("--rows", "20000", "40000", "--rounds", "1"),
    ),
    Benchmark(
        "tests.benchmarks.serve",
        "the scoring service under load, beside mlflow models serve",
        9,
        ("--count", "100", "--seconds", "3", "--rate", "50", "--requests", "500", "--hostile", "60", "--rounds", "1"),
    ),
    Benchmark(
        "tests.benchmarks.delivery",
        "deliveries to PostgreSQL beside COPY, and deliveries that are killed",
        8,
        ("--rows", "20000", "--kills", "2"),
    ),
    Benchmark("tests.benchmarks.minio", "the five pipelines on servers", 3, ("--rows", "3000", "--rounds", "1")),
)


def machine() -> dict[str, str]:
    """What a reader must know of the machine to compare; nothing that names it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "cores": str(cores()),
        "memory": f"{memory:.0f} GiB",
        "system": platform.system(),
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def measured(benchmark: Benchmark, options: Sequence[str]) -> list[Result]:
    """What a benchmark found, in a process of its own; a single result without a value if it fails."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "results.json"
        done = subprocess.run(
            [sys.executable, "-m", benchmark.module, *options, "--json", str(file)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if file.exists():
            return read(file)
    print(done.stdout, file=sys.stderr)
    return [Result(f"`python -m {benchmark.module}`", None, "")]


def section(on: dict[str, str], results: Sequence[Result]) -> str:
    """What stands between the marks of the page."""
    place = f"{on['processor']}, {on['cores']} cores, {on['memory']} of memory, {on['system']}"
    packages = ", ".join(f"{name} {on[name]}" for name in ("Python", *PACKAGES))
    return f"Measured on {on['date']}: {place}; {packages}.\n\n{as_markdown(results)}"


def replaced(text: str, content: str) -> str:
    """A page with other content between its marks.

    Raises:
        ValueError: If the marks are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} followed by {END}")
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


def options(benchmarks: Sequence[Benchmark]) -> argparse.ArgumentParser:
    """The command line."""
    lines = [f"  {each.name:<12} {each.minutes:>3} min  {each.about}" for each in benchmarks]
    listed = "\n".join(["what there is, and how long each takes on two cores:", *lines])
    total = f"Together some {sum(each.minutes for each in benchmarks)} minutes."
    made = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        epilog=f"{listed}\n\n{total} Each has options of its own: python -m {benchmarks[0].module} --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--only", metavar="NAME,...", help="run these, and print only")
    made.add_argument(
        "--quick", action="store_true", help="few rows and one round, without bounds: whether all works; print only"
    )
    return made


def main(given: Sequence[str] | None = None, benchmarks: Sequence[Benchmark] = BENCHMARKS, page: Path = PAGE) -> int:
    """Measure; 1 if something is not met or failed."""
    parser = options(benchmarks)
    arguments = parser.parse_args(given)
    known = {each.name: each for each in benchmarks}
    names = arguments.only.split(",") if arguments.only else list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"--only: there is no {', '.join(unknown)}; there are {', '.join(known)}")
    found: dict[str, list[Result]] = {}
    on = machine()
    for name in names:
        lasts = "" if arguments.quick else f", about {known[name].minutes} min"
        print(f"{name}: {known[name].about}{lasts}", file=sys.stderr, flush=True)
        found[name] = measured(known[name], known[name].quick if arguments.quick else ())
        if arguments.quick:
            found[name] = [result._replace(bound=None) for result in found[name]]
    results = [result for each in found.values() for result in each]
    print(section(on, results), flush=True)
    if not (arguments.only or arguments.quick):
        page.write_text(replaced(page.read_text(), section(on, results)))
        rows = [
            {"benchmark": name, **result._asdict(), "is_met": result.is_met}
            for name, each in found.items()
            for result in each
        ]
        page.with_suffix(".json").write_text(json.dumps({"machine": on, "results": rows}, indent=2) + "\n")
    for result in results:
        if not result.is_met:
            print(f"{'failed' if result.value is None else 'not met'}: {result.work}", file=sys.stderr)
    return int(not all(result.is_met for result in results))


if __name__ == "__main__":
    sys.exit(main())

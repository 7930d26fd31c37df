"""`kill -9` at random moments, over everything that writes: what the next run can use, and what is lost.

Run with ``python -m tests.benchmarks.kills --count 200 --seed 1``. Each kind of command is run once to the end, to know how
long it takes, and then killed with its process group again and again, in a small project of its own. The moments are drawn
from the seed: of two kills one comes between the start and the usual end, and one between the first file that the command
writes and the usual end, as most of the time goes into the start of Python. After each kill the same command runs to its end,
and the invariants are checked:

- it ends with exit code 0 and no traceback, MLflow's database is whole, and the champion loads: else the *store is unusable*;
- the results that ``latest.json`` and the commands have named are there, with the hashes of their manifests, and neither
  pointer nor champion is older than before: else *results are lost*. This is also checked directly after the kill;
- nothing half written is left, and MLflow lists no run as running: else there is *litter*.

The exit code is 1 if one of them does not hold.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests import kills
from tests.benchmarks.killed import KINDS, Kind, small_project
from tests.kills import GENEROUS


@dataclass
class Row:
    """What was found of a kind: a line of the table."""

    kind: str
    kills: int = 0
    too_late: int = 0
    moments: list[float] = field(default_factory=list)
    unusable: int = 0
    lost: int = 0
    litter: int = 0
    seconds: float = 0.0

    @property
    def is_met(self) -> bool:
        """Whether nothing was found."""
        return not self.unusable and not self.lost and not self.litter


def as_markdown(rows: Sequence[Row]) -> str:
    """The table, a line a kind."""
    lines = ["| command | kills | after | stores unusable | results lost | litter | seconds |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        after = f"{min(row.moments):.1f} to {max(row.moments):.1f} s" if row.moments else ""
        lines.append(
            f"| {row.kind} | {row.kills} | {after} | {row.unusable} | {row.lost} | {row.litter} | {row.seconds:.0f} |"
        )
    done, unusable = sum(row.kills for row in rows), sum(row.unusable for row in rows)
    lost, left = sum(row.lost for row in rows), sum(row.litter for row in rows)
    lines.append(f"| together | {done} | | {unusable} | {lost} | {left} | {sum(row.seconds for row in rows):.0f} |")
    return "\n".join(lines)


class Trial:
    """Kills a kind of command again and again."""

    def __init__(self, kind: Kind, seed: int, say: Callable[[str], None]) -> None:
        self._kind, self._seed, self._say = kind, seed, say
        self._output = kind.project.folder.with_suffix(".log")
        self._row = Row(kind.name)
        self._length = self._begins = 0.0

    def run(self, count: int) -> Row:
        """Return what was found in so many kills."""
        start = time.monotonic()
        self._measure()
        number = 0
        # A command that has ended before it is killed does not count; one that always does ends the trial.
        while self._row.kills < count and number < 3 * count + 10:
            number += 1
            self._kill(number)
        self._row.seconds = time.monotonic() - start
        return self._row

    def _measure(self) -> None:
        self._kind.before(0)
        changed = kills.changed(self._kind.project.folder)
        start = time.monotonic()
        with kills.running(self._kind.command(0), self._output) as process:
            # The output is a file of the folder as well.
            kills.wait_until(changed, process, pause=0.02)
            self._begins = time.monotonic() - start
            process.wait(GENEROUS)
        self._length = time.monotonic() - start
        self._judge("at the start", process.returncode)
        self._say(f"{self._kind.name}: {self._length:.1f} s, of which {self._begins:.1f} s before it writes")

    def _kill(self, number: int) -> None:
        kind, chance = self._kind, random.Random(f"{self._seed} {self._kind.name} {number}")
        kind.before(number)
        start = time.monotonic()
        changed = kills.changed(kind.project.folder)
        with kills.running(kind.command(number), self._output) as process:
            wait = chance.uniform(0, self._length)
            if number % 2:
                kills.wait_until(changed, process, pause=0.02)
                wait = chance.uniform(0, self._length - self._begins)
            with suppress(subprocess.TimeoutExpired):
                process.wait(wait)
            moment = time.monotonic() - start
            if not kind.kill(process, chance):
                self._row.too_late += 1
                kind.announced.note(self._output.read_text(errors="replace"))
                return
        self._row.kills += 1
        self._row.moments.append(moment)
        name = f"kill {number}, after {moment:.2f} s"
        kind.announced.note(self._output.read_text(errors="replace"))
        self._found(name, "lost", kind.announced.lost())
        kills.age_leftovers(kind.project)
        with kills.running(kind.command(number), self._output) as process:
            process.wait(GENEROUS)
        self._judge(name, process.returncode)

    def _judge(self, name: str, code: int) -> None:
        """Check everything after a command that ran to its end."""
        kind, output = self._kind, self._output.read_text(errors="replace")
        unusable = [f"exit code {code}"] if code else []
        unusable += ["a traceback"] if "Traceback" in output else []
        unusable += kills.faults_of_store(kind.project)
        self._found(name, "unusable", unusable)
        kind.announced.note(output)
        lost = kind.announced.lost()
        if not unusable:
            lost += kind.lost()
        self._found(name, "lost", lost)
        left = kills.litter(kind.project)
        self._found(name, "litter", left)
        if unusable or lost or left:
            self._say(output[-4000:])

    def _found(self, name: str, what: str, faults: list[str]) -> None:
        if faults:
            setattr(self._row, what, getattr(self._row, what) + 1)
            self._say(f"{self._kind.name}, {name}: {what}: {'; '.join(faults[:5])}")


def shares(count: int, names: Sequence[str]) -> dict[str, int]:
    """Return how many of the kills each kind gets."""
    return {name: count // len(names) + (place < count % len(names)) for place, name in enumerate(names)}


def run(
    count: int, seed: int, names: Sequence[str], folder: Path, at_once: int = 1, say: Callable[[str], None] = print
) -> list[Row]:
    """Return what was found of each kind, in an empty folder."""
    with redirect_stdout(sys.stderr):  # what runs print; the table stands alone
        finished = small_project(folder / "finished")
        finished.run()
        made = {name: KINDS[name](folder / name, finished) for name in names}

    def rows() -> Iterator[Row]:
        with ThreadPoolExecutor(at_once) as threads:
            trials = {name: Trial(kind, seed, say) for name, kind in made.items()}
            yield from threads.map(lambda name: trials[name].run(shares(count, names)[name]), names)

    return list(rows())


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, and print the table; 1 if something is unusable, lost or left."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m tests.benchmarks.kills",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=200, help="number of kills, all kinds together (200)")
    parser.add_argument("--seed", type=int, default=1, help="from which the moments are drawn (1)")
    parser.add_argument("--only", default=",".join(KINDS), help=f"kinds, separated by commas: {', '.join(KINDS)}")
    parser.add_argument("--at-once", type=int, default=1, help="kinds that are tried at the same time (1)")
    given = parser.parse_args(arguments)
    names = given.only.split(",")
    if unknown := [name for name in names if name not in KINDS]:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(KINDS)}")
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        rows = run(
            given.count,
            given.seed,
            names,
            Path(scratch),
            given.at_once,
            lambda text: print(text, file=sys.stderr, flush=True),
        )
    print(as_markdown(rows))
    return int(not all(row.is_met for row in rows))


if __name__ == "__main__":
    sys.exit(main())

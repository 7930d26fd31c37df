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
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from tests import kills
from tests.conftest import Project, make_project
from tests.kills import GENEROUS, Announced, churn, kedro_run

# Folders of a project that its commands write.
WRITTEN = ("data-staging", "mlflow-artifacts", "ml-result", "cache")
LIMITS = ("--keep", "1", "--older-than", "30", "--yes")


def small_project(folder: Path) -> Project:
    """A project whose runs take seconds, most of them for the start of Python."""
    project = make_project(folder, baselines=False, training_rows=1500, scoring_rows=500)
    parameters = yaml.safe_load((project.conf / "local/parameters.yml").read_text())
    parameters["training"] |= {"booster": {"n_estimators": 20}, "folds": 2}
    # Each training replaces the champion; the trigger waits for nothing.
    parameters |= {"promotion": {"margin": -1.0}, "watch": {"quiet": 0.0, "backoff": 0.0}}
    project.configure("local", "parameters", parameters)
    return project


def copy_written(source: Path, target: Path) -> None:
    """Replace what commands have written in a project by that of another one."""
    for name in WRITTEN:
        shutil.rmtree(target / name, ignore_errors=True)
        if (source / name).exists():
            shutil.copytree(source / name, target / name)


class Kind:
    """A kind of command, and the project in which it is killed."""

    name = ""
    pipelines: str | None = None

    def __init__(self, folder: Path, finished: Project) -> None:
        """Make the project, from one after a run of all pipelines."""
        self.finished = finished
        self.project = small_project(folder)
        self.set_up()
        self.announced = Announced(self.project)

    def set_up(self) -> None:
        """Bring the project into the state in which the command is used."""
        copy_written(self.finished.folder, self.project.folder)

    def before(self, number: int) -> None:
        """Give the command something to do, before each kill."""

    def command(self, number: int) -> list[str]:
        """Return the command."""
        return kedro_run(self.project, self.pipelines)

    def kill(self, process: "subprocess.Popen[bytes]", chance: random.Random) -> bool:
        """Kill the command; return whether it had not ended before."""
        return kills.kill(process)

    def lost(self) -> list[str]:
        """Return what the command that ran to its end should have made, and has not."""
        return []


class FirstStart(Kind):
    """All pipelines in an empty project."""

    name = "first"

    def set_up(self) -> None:
        """Leave it empty."""

    def before(self, number: int) -> None:
        """Empty it."""
        for name in WRITTEN:
            shutil.rmtree(self.project.folder / name, ignore_errors=True)
        self.announced.forget()


class Training(Kind):
    """A training with another seed each time, so that each registers a version and promotes it."""

    name = "training"

    def command(self, number: int) -> list[str]:
        """Return the command."""
        return kedro_run(self.project, "feature_engineering,training", f"training.random_state={number + 2}")


class Scoring(Kind):
    """A scoring run, which publishes results."""

    name, pipelines = "scoring", "inference"


class Monitoring(Kind):
    """A monitoring run, which writes its report beside the results."""

    name, pipelines = "monitoring", "monitoring"

    def before(self, number: int) -> None:
        """Remove the last report."""
        for file in self.project.run_folder().glob("health_*"):
            file.unlink()

    def lost(self) -> list[str]:
        """Return whether the report is missing or of other results."""
        folder = self.project.run_folder()
        report = json.loads((folder / "health_metrics.json").read_text())
        return [] if report["provenance"]["run_id"] == folder.name else ["the health report is of another run"]


class Trigger(Kind):
    """The trigger after the tables have changed. In half of the kills the run that it has started survives it."""

    name = "watch"

    def set_up(self) -> None:
        """Let it find everything as it is."""
        super().set_up()
        subprocess.run(self.command(0), check=True, capture_output=True, cwd=kills.ROOT)

    def before(self, number: int) -> None:
        """Replace the scoring table, and sometimes also the training table."""
        for name in ("inference_data.csv", *(["training_data.csv"] if number % 4 == 3 else [])):
            table = self.project.staging / name
            head, first, *rest = table.read_text().splitlines(keepends=True)
            aside = table.with_name(f"{name}.new")
            aside.write_text("".join([head, *rest, first]))
            aside.replace(table)

    def command(self, number: int) -> list[str]:
        """Return the command."""
        return churn(self.project, "watch", "--once")

    def kill(self, process: "subprocess.Popen[bytes]", chance: random.Random) -> bool:
        """Kill it, and the run that it has started or not."""
        runs: list[psutil.Process] = []
        if chance.random() < 0.5:
            with suppress(psutil.NoSuchProcess):
                runs = psutil.Process(process.pid).children(recursive=True)
        killed = kills.kill(process)
        for run in runs:
            with suppress(psutil.NoSuchProcess):
                run.kill()
        return killed

    def lost(self) -> list[str]:
        """Return whether the present table is not scored."""
        manifest = json.loads((self.project.run_folder() / "manifest.json").read_text())
        scored = manifest["input"]["sha256"]
        return [] if scored == self._present() else [f"the results are of the table {scored}"]

    def _present(self) -> str:
        from churn.stores import open_store

        return open_store(str(self.project.staging / "inference_data.csv")).sha256("")


class Pruning(Kind):
    """`churn prune` in a project with old results, versions and runs."""

    name = "prune"

    def set_up(self) -> None:
        """Train and score several times, and make it look old."""
        super().set_up()
        for state in (2, 3, 4):
            self.project.run(
                "feature_engineering", "training", "inference", training__random_state=state, promotion__force=True
            )
        kills.age_everything(self.project)
        self._template = self.project.folder.with_name("template")
        copy_written(self.project.folder, self._template)

    def before(self, number: int) -> None:
        """Put everything back."""
        copy_written(self._template, self.project.folder)
        self.announced.forget()
        self.announced.note()

    def command(self, number: int) -> list[str]:
        """Return the command."""
        return churn(self.project, "prune", *LIMITS)

    def lost(self) -> list[str]:
        """Return what the command should have removed."""
        folders = {path.name for path in self.project.results.iterdir() if path.is_dir()}
        kept = {self.project.run_folder().name, "training"}
        return [f"{name} should be removed" for name in sorted(folders - kept)]


class Restoring(Kind):
    """`churn restore` into an empty place."""

    name = "restore"

    def set_up(self) -> None:
        """Make the backup."""
        to = self.project.folder.with_name("backups")
        subprocess.run(churn(self.finished, "backup", "--to", str(to)), check=True, capture_output=True, cwd=kills.ROOT)
        (self._backup,) = to.iterdir()

    def before(self, number: int) -> None:
        """Empty the place."""
        for name in (*WRITTEN, *(f".{name}.restoring" for name in WRITTEN)):
            shutil.rmtree(self.project.folder / name, ignore_errors=True)
        self.announced.forget()

    def command(self, number: int) -> list[str]:
        """Return the command."""
        return churn(self.project, "restore", str(self._backup))

    def lost(self) -> list[str]:
        """Return which results differ from those of the backup."""
        there = {
            path.relative_to(self.finished.results): path.read_bytes()
            for path in self.finished.results.rglob("*")
            if path.is_file() and path.suffix != ".lock"
        }
        return [
            f"{name} is not restored"
            for name, content in there.items()
            if not (self.project.results / name).is_file() or (self.project.results / name).read_bytes() != content
        ]


KINDS: dict[str, type[Kind]] = {
    kind.name: kind for kind in (FirstStart, Training, Scoring, Monitoring, Trigger, Pruning, Restoring)
}


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

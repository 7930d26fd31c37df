"""The kinds of commands that `tests.benchmarks.kills` kills, each in a small project of its own."""

import json
import random
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import yaml

from tests import kills
from tests.conftest import Project, make_project
from tests.kills import Announced, churn, kedro_run

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

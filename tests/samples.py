"""Samples of output in the documentation: ``python -m tests.samples`` runs what makes them and rewrites them (some minutes).

A sample is a fenced block or a table after ``<!-- sample: NAME -->``, or a number before it. Tests compare each sample with a
run that they make anyway: text has to be equal, and numbers nearly so, as processors round differently. The names:

- ``default summary``, ``default scores``, ``default metrics``: ``make run``, with all its rows;
- ``telco roc auc``: ``make telco``;
- ``gym table``, ``gym summary``: the worked example of ``docs/bring-your-own-table.md``;
- ``script``: the script in the block before it;
- ``command``: the command in the first line of the block, which is refused.
"""

import json
import math
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT, Project, make_checkout, make_project

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"<!-- sample: (?P<name>[^>]+?) -->\n```\w*\n(?P<shown>.*?)^```$", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"<!-- sample: (?P<name>[^>]+?) -->\n(?P<shown>(?:\|.*\n)+)")
NUMBER_BEFORE = re.compile(r"(?P<shown>[\d.,]*\d)<!-- sample: (?P<name>[^>]+?) -->")
SCRIPT = re.compile(r"```bash\n(?P<script>(?:(?!```).)*)```\s*$", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.-])-?(?:\d[\d,]*)?\.?\d+(?![\w-]|\.\d)")
RUN_ID = re.compile(r"(?<=ml-result/)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=/)")
# Of a number from 1,000 on, and of digits after the point. A changed model differs by more.
TOLERANCE = 0.001
GYM = ROOT / "docs/bring-your-own-table.md"


class Sample(NamedTuple):
    """A sample on a page; ``start`` and ``end`` are its place in the text."""

    page: Path
    name: str
    shown: str
    start: int
    end: int


def samples_of(page: Path) -> list[Sample]:
    text = page.read_text(encoding="utf-8")
    found = [match for pattern in (BLOCK, TABLE, NUMBER_BEFORE) for match in pattern.finditer(text)]
    return [Sample(page, match["name"], match["shown"], *match.span("shown")) for match in found]


def samples(name: str) -> list[Sample]:
    """The samples of a name on all pages, at least one."""
    found = [sample for page in PAGES for sample in samples_of(page) if sample.name == name]
    assert found, f"no page has a sample '{name}'"
    return found


def outdated(made: Mapping[str, str]) -> list[str]:
    """What is wrong with the samples of these names, given what a run made."""
    return [
        f"{sample.page.relative_to(ROOT)}, {name}: shows {shown!r}, a run makes {found!r}; make samples rewrites it"
        for name, text in made.items()
        for sample in samples(name)
        for shown, found in differences(sample.shown, text)
    ]


def differences(shown: str, found: str) -> list[tuple[str, str]]:
    """Lines that differ, in their text or by more than a rounding in a number."""
    left, right = (RUN_ID.sub("<run id>", text).strip("\n").splitlines() for text in (shown, found))
    longest = max(len(left), len(right))
    pairs = zip(left + [""] * (longest - len(left)), right + [""] * (longest - len(right)), strict=True)
    return [(one, other) for one, other in pairs if not _alike(one, other)]


def _alike(one: str, other: str) -> bool:
    if NUMBER.sub("0", one) != NUMBER.sub("0", other):
        return False
    return all(
        math.isclose(_value(a), _value(b), rel_tol=TOLERANCE)
        for a, b in zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    )


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def rewrite(page: Path, made: Mapping[str, str]) -> bool:
    """Write what a run made into the samples of a page that differ; returns whether there were any."""
    text = page.read_text(encoding="utf-8")
    changed = text
    for sample in sorted(samples_of(page), key=lambda sample: sample.start, reverse=True):
        new = made.get(sample.name)
        if new is None or not differences(sample.shown, new):
            continue
        known = RUN_ID.search(sample.shown)  # the id of a run means nothing: one that changes is noise
        new = RUN_ID.sub(known[0], new) if known else new
        ending = "" if "\n" not in sample.shown else "\n"
        changed = f"{changed[: sample.start]}{new.strip(chr(10))}{ending}{changed[sample.end :]}"
    if changed != text:
        page.write_text(changed, encoding="utf-8")
    return changed != text


# --- what runs make --------------------------------------------------------------------------------------------


def summary_of(output: str, folder: Path) -> str:
    """The summary at the end of a run, with paths as they are in a checkout."""
    found = re.search(r"^  (?:list|model) .*?(?=\n\n)", output, re.MULTILINE | re.DOTALL)
    assert found, output
    return found[0].replace(f"{folder}/", "data/") + "\n"


def default_samples(project: Project, output: str) -> dict[str, str]:
    """The samples of a run of all pipelines with the default parameters."""
    scores = (project.run_folder() / "inference_result.csv").read_text(encoding="utf-8").splitlines()
    metrics = json.loads((project.results / "training/metrics.json").read_text(encoding="utf-8"))
    return {
        "default summary": summary_of(output, project.folder),
        "default scores": "\n".join(scores[:4]) + "\n",
        "default metrics": metrics_table(metrics),
    }


def metrics_table(metrics: Mapping[str, float]) -> str:
    short = {name: f"{value:.4f}".lstrip("0") for name, value in metrics.items()}
    interval = f"{short['test_roc_auc']} ({short['test_roc_auc_low']} to {short['test_roc_auc_high']})"
    baselines = f"{short['logistic_regression_roc_auc']}, {short['hist_gradient_boosting_roc_auc']}"
    rows = {
        "metric at the default settings": "value",
        "---": "---",
        "trees": f"{metrics['trees']:.0f} rounds of 5",
        "train ROC AUC": short["train_roc_auc"],
        "test ROC AUC (95 % interval)": interval,
        "ROC AUC of the true probabilities on the test rows": short["oracle_roc_auc"],
        "logistic regression, histogram gradient boosting": baselines,
        "test Brier score": short["test_brier"],
        "test calibration error": short["test_calibration_error"],
        "test lift of the 10 % with the highest scores": f"{metrics['test_lift_at_10']:.2f}",
        "profit per account of acting on the accounts that should pay, at example costs": (
            f"{metrics['test_expected_profit']:.2f}"
        ),
    }
    return "".join(f"| {name} | {value} |\n" for name, value in rows.items())


def telco_samples(metrics: Mapping[str, float]) -> dict[str, str]:
    """The samples of a run on the table of a telecoms company."""
    return {"telco roc auc": f"{metrics['test_roc_auc']:.4f}".lstrip("0")}


def blocks(marker: str, page: Path = GYM) -> dict[str, str]:
    """Fenced blocks of a page that follow a comment with the marker, by the rest of the comment."""
    text = page.read_text(encoding="utf-8")
    return dict(re.findall(rf"<!-- {marker}:? ?(.*?) ?-->\n```\w*\n(.*?)```", text, re.DOTALL))


def make_gym(checkout: Path) -> None:
    """Follow the worked example in a checkout, up to the run: its table and its two files."""
    (script,) = blocks("invented table").values()
    subprocess.run(["bash", "-ec", script.replace("python3 ", f"{sys.executable} ")], cwd=checkout, check=True)
    for name, content in blocks("file").items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(content, encoding="utf-8")


def follow(checkout: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the worked example in a checkout."""
    program, *arguments = shlex.split(command)
    assert program == "kedro"
    return subprocess.run(
        [sys.executable, "-m", "kedro", *arguments],
        cwd=checkout,
        env={**os.environ, "COLUMNS": "200", "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def gym_samples(checkout: Path, output: str) -> dict[str, str]:
    """The samples of the worked example."""
    table = (checkout / "data/gym/members.csv").read_text(encoding="utf-8").splitlines()
    return {"gym table": "\n".join(table[:4]) + "\n", "gym summary": summary_of(output, checkout / "data")}


def script_output(sample: Sample) -> str:
    """What the script before a sample prints."""
    before = sample.page.read_text(encoding="utf-8")[: sample.start]
    found = SCRIPT.search(before[: before.rindex("<!-- sample: ")])
    assert found, f"{sample.page}: there is no script before the sample"
    script = found["script"].replace("python ", f"{sys.executable} ")
    done = subprocess.run(["bash", "-ec", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout


def command_output(sample: Sample, project: Project) -> str:
    """A command that is refused, and what it says."""
    from click.testing import CliRunner
    from kedro.framework.startup import bootstrap_project

    from churn.cli.commands import run

    bootstrap_project(ROOT)
    command = sample.shown.splitlines()[0]
    arguments = shlex.split(command.removeprefix("$ kedro run"))
    done = CliRunner().invoke(run, [*arguments, "--conf-source", str(project.conf)])
    assert done.exit_code == 1, done.output
    return f"{command}\n{done.stderr}".replace(f"{project.folder}/", "data/")


def main() -> None:
    """Run everything and rewrite the pages."""
    made: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch) / "default")
        project.configure("local", "parameters", {})
        done = project.kedro("run")
        assert done.returncode == 0, done.stdout + done.stderr
        made |= default_samples(project, done.stdout)
        done = project.kedro("run", "--env", "telco")
        assert done.returncode == 0, done.stdout + done.stderr
        telco = project.folder / "telco/ml-result/training/metrics.json"
        made |= telco_samples(json.loads(telco.read_text(encoding="utf-8")))
        checkout = make_checkout(Path(scratch) / "gym")
        make_gym(checkout)
        (command,) = blocks("command").values()
        done = follow(checkout, command)
        assert done.returncode == 0, done.stdout + done.stderr
        made |= gym_samples(checkout, done.stdout)
        empty = make_project(Path(scratch) / "empty")
        changed = [page for page in PAGES if rewrite(page, made)]
        for page in PAGES:
            for sample in samples_of(page):  # one after the other: names of these are not unique
                if sample.name in ("script", "command"):
                    found = script_output(sample) if sample.name == "script" else command_output(sample, empty)
                    if differences(sample.shown, found):
                        text = page.read_text(encoding="utf-8")
                        page.write_text(text.replace(sample.shown, found, 1), encoding="utf-8")
                        changed.append(page)
    for page in dict.fromkeys(changed):
        print(f"rewritten: {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

"""The commands of the container images: ``python -m churn.operations.container``, see ``--help``.

A job is ``kedro run`` with a default environment and default pipelines. In a container it is process 1, for which the kernel
ignores signals without a handler. So a job handles SIGTERM like Ctrl-C, ends its run in MLflow, and exits.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from churn.operations.tracked_run import TRACKED_RUN

# Seconds for a job to end after SIGTERM, and then to end its run in MLflow. Container engines send SIGKILL after 10.
GRACE, LAST_WORDS = 6.0, 2.5
# Exit code of a process that SIGTERM ended, as shells report it.
STOPPED = 128 + signal.SIGTERM

# Name of the file with the time of the last success of prune.
PRUNED = "pruned"

ENVIRONMENT = "minio"
ENVIRONMENT_OPTIONS = ("--env", "-e")
PIPELINE_OPTIONS = ("--pipelines", "--pipeline", "-p")
MODEL_VARIABLES = ("MODEL_URI", "ARTIFACTS_DIR")

# The arguments are passed on to kedro unchanged.
PASS_ON: dict[str, Any] = {
    "context_settings": {"ignore_unknown_options": True, "allow_interspersed_args": False},
    "options_metavar": "",
    "epilog": (
        "Exit codes: 0 success; 1 error, shown as one message; 2 wrong option; 3 finished and published, but not tracked "
        "in MLflow; 143 stopped by SIGTERM."
    ),
}


@click.group()
def main() -> None:
    """Commands of the container images."""


@main.command(short_help="Train a model.", **PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train(arguments: tuple[str, ...]) -> None:
    """Train: kedro run --env minio --pipelines feature_engineering,training ARGUMENTS.

    ARGUMENTS are options of kedro run, for example --params training.booster.max_depth=6. A --pipelines or --env
    among them replaces the one above.

    Environment variables set the addresses of the S3 store and of MLflow, and the keys of the training identity.
    .env.example of the project describes them.
    """
    _run(kedro_arguments("feature_engineering,training", arguments))


@main.command(short_help="Score accounts with a model.", **PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def inference(arguments: tuple[str, ...]) -> None:
    """Score: kedro run --env minio --pipelines inference,monitoring ARGUMENTS.

    ARGUMENTS are options of kedro run, for example --params inference.as_of=2026-01-31. A --pipelines or --env
    among them replaces the one above.

    The model is the champion, unless a variable names another: MODEL_URI takes models:/churn@champion, models:/churn/3,
    runs:/<run id>/model or a folder in the container; ARTIFACTS_DIR takes <experiment id>/<run id>/artifacts.

    Environment variables set the addresses of the S3 store and of MLflow, and the keys of the scoring identity.
    .env.example of the project describes them.
    """
    _run(kedro_arguments("inference,monitoring", arguments, model_of(os.environ)))


@main.command(short_help="Train and score when data, code or parameters change.", **PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def watch(arguments: tuple[str, ...]) -> None:
    """Watch: churn watch --env minio --params watch.host=0.0.0.0 ARGUMENTS.

    ARGUMENTS are options of churn watch; parameters among them also apply to the runs. An --env among them replaces the
    one above. The trigger serves GET /health, and POST /events with the token of CHURN_WATCH_TOKEN, on port 8787.

    Environment variables set the addresses of the S3 store and of MLflow, and the keys of the training and of the scoring
    identity. .env.example of the project describes them. The trigger keeps its state under CHURN_SCRATCH.
    """
    # Until the trigger installs its own handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))
    _kedro(watch_arguments(arguments))


@main.command(short_help="Answer requests for scores over HTTP.", **PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: tuple[str, ...]) -> None:
    """Serve: churn serve --env minio --params serve.host=0.0.0.0 ARGUMENTS.

    ARGUMENTS are options of churn serve, for example --workers 2. An --env among them replaces the one above. The service
    answers on port 8788 those who give the token of CHURN_SERVE_TOKEN, which is required.

    Environment variables set the addresses of the S3 store and of MLflow, and the keys of the scoring identity.
    .env.example of the project describes them. MODEL_URI or ARTIFACTS_DIR names a model; the champion by default.
    """
    _use_scratch()
    # The command of the project is ready sooner than Kedro's.
    os.execv(  # noqa: S606
        sys.executable, [sys.executable, "-m", "churn", *serve_arguments(arguments, model_of(os.environ))]
    )


@main.command(short_help="Remove old results, runs and versions that nothing needs.", **PASS_ON)
@click.option("--every", type=click.FloatRange(min=0, min_open=True), help="Hours between two times; once by default.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def prune(every: float | None, arguments: tuple[str, ...]) -> None:
    """Prune: churn prune --env minio --yes ARGUMENTS.

    ARGUMENTS are options of churn prune, for example --keep 20 --older-than 30; an --env among them replaces the one above.

    With --every, it runs at once and then again and again, also after a failure, and the file /tmp/pruned has the time of
    the last success. Environment variables as for watch, without the token.
    """
    # It may be stopped at any moment.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))
    if every is None:
        _kedro(prune_arguments(arguments))
        return
    while True:
        done = subprocess.run([sys.executable, "-m", "kedro", *prune_arguments(arguments)], check=False)  # noqa: S603
        if done.returncode == 0:
            (Path(tempfile.gettempdir()) / PRUNED).touch()
        time.sleep(every * 3600)


@main.command(short_help="Verify the model in a folder.")
@click.argument("folder", type=click.Path(path_type=Path))
def verify(folder: Path) -> None:
    """Load the model in FOLDER and print its content hash. Fails if the model is damaged or missing."""
    from churn.errors import ChurnError
    from churn.registry.flavor import load_model

    if not any(folder.rglob("checksums.json")):
        raise click.ClickException(f"{folder} holds no model; docs/compose.md describes how to build one into an image")
    try:
        model = load_model(str(folder))
    except ChurnError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{folder} holds the model {model.sha256}")


def kedro_arguments(pipelines: str, arguments: Sequence[str], model_uri: str | None = None) -> list[str]:
    """Return the arguments of `kedro` for a job.

    Args:
        pipelines: Pipelines of the job, unless the arguments name others.
        arguments: Options of ``kedro run``. Parameters among them are joined with the model, which they may replace.
        model_uri: Model to score with; ``None`` for the champion.
    """
    rest, parameters = _without_parameters(arguments)
    command = ["run", *_environment(rest)]
    if not _names(rest, PIPELINE_OPTIONS):
        command += ["--pipelines", pipelines]
    if model_uri is not None:
        parameters.insert(0, f"model_uri={model_uri}")
    if parameters:
        command += ["--params", ",".join(parameters)]
    return [*command, *rest]


def watch_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `kedro` for the trigger, which listens on all interfaces of its container."""
    rest, parameters = _without_parameters(arguments)
    return ["watch", *_environment(rest), "--params", ",".join(["watch.host=0.0.0.0", *parameters]), *rest]


def serve_arguments(arguments: Sequence[str], model_uri: str | None = None) -> list[str]:
    """Return the arguments of `kedro` for the service, which listens on all interfaces of its container."""
    rest, parameters = _without_parameters(arguments)
    model = [] if model_uri is None else [f"model_uri={model_uri}"]
    return ["serve", *_environment(rest), "--params", ",".join(["serve.host=0.0.0.0", *model, *parameters]), *rest]


def prune_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `kedro` that remove what nothing needs, without asking."""
    return ["prune", *_environment(arguments), "--yes", *arguments]


def model_of(variables: Mapping[str, str]) -> str | None:
    """Return the model URI that the variables set; ``None`` for the champion.

    Raises:
        click.UsageError: If both variables are set, or the URI has a comma, which ``--params`` would split.
    """
    named = [(name, variables[name]) for name in MODEL_VARIABLES if variables.get(name)]
    if len(named) > 1:
        raise click.UsageError(f"{' and '.join(MODEL_VARIABLES)} both name a model; set one of them")
    for name, uri in named:
        if "," in uri:
            raise click.UsageError(f"{name} = {uri!r}: a model URI cannot have a comma")
        return uri
    return None


def _without_parameters(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate the values of ``--params`` from the other arguments: kedro uses only its last occurrence."""
    rest: list[str] = []
    parameters: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        name, given, value = argument.partition("=")
        if name != "--params":
            rest.append(argument)
        elif given:
            parameters.append(value)
        else:
            parameters += [next(waiting, "")]
    return rest, parameters


def _environment(arguments: Sequence[str]) -> list[str]:
    return [] if _names(arguments, ENVIRONMENT_OPTIONS) else ["--env", ENVIRONMENT]


def _names(arguments: Sequence[str], options: Sequence[str]) -> bool:
    return any(argument.partition("=")[0] in options for argument in arguments)


def _run(arguments: list[str]) -> NoReturn:
    """Run a job in this process, then exit."""
    with _Terminable():
        _kedro(arguments)
    sys.exit(0)


def _kedro(arguments: list[str]) -> None:
    from kedro.framework.cli.cli import main as kedro

    _use_scratch()
    # Kedro reads its arguments from here, and so do plug-ins that record the command.
    sys.argv = ["kedro", *arguments]
    # Otherwise messages name this module instead of kedro.
    sys.modules["__main__"].__package__ = None
    kedro()


def _use_scratch() -> None:
    # An empty variable, as in .env.example, must not make a run write into the folder of the image.
    os.environ["CHURN_SCRATCH"] = os.environ.get("CHURN_SCRATCH") or f"{tempfile.gettempdir()}/churn"


class _Terminable:
    """Raises KeyboardInterrupt in the block on SIGTERM, and ends the process if the block takes too long to exit."""

    def __init__(self) -> None:
        self._came = False

    def __enter__(self) -> None:
        # The interpreter calls a handler only when the main thread returns from native code, which may take a minute;
        # it writes to this pipe at once.
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop)
        threading.Thread(target=self._watch, args=(reading,), daemon=True).start()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if not self._came:
            self._came = True
            raise KeyboardInterrupt

    def _watch(self, pipe: int) -> None:
        while signal.SIGTERM not in os.read(pipe, 1):
            pass
        time.sleep(GRACE)
        TRACKED_RUN.end_within(LAST_WORDS, "KILLED")
        self._end()

    def __exit__(self, *_: object) -> None:
        if self._came:
            # Not a normal exit, which would wait for the threads of libraries.
            self._end()

    def _end(self) -> NoReturn:
        click.echo("Stopped by SIGTERM; the results published before are still current.", err=True)
        sys.stdout.flush()
        os._exit(STOPPED)


if __name__ == "__main__":
    main(prog_name="churn")

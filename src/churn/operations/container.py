"""The commands of the container images: ``python -m churn.operations.container``, see ``--help``.

A job is ``kedro run`` with environment and pipelines chosen. In a container it is process 1, which the kernel does not end
by a signal that it has no handler for: so it takes SIGTERM as it takes Ctrl-C, tells MLflow, and ends.
"""

import os
import signal
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

# Seconds that a job may take to end after SIGTERM, and then to tell MLflow; container engines kill it after 10.
GRACE, LAST_WORDS = 6.0, 2.5
# What a shell reports of a process that SIGTERM ended.
STOPPED = 128 + signal.SIGTERM

ENVIRONMENT = "minio"
ENVIRONMENT_OPTIONS = ("--env", "-e")
PIPELINE_OPTIONS = ("--pipelines", "--pipeline", "-p")
MODEL_VARIABLES = ("MODEL_URI", "ARTIFACTS_DIR")

# Arguments are kedro's, and are passed on as they are.
PASS_ON: dict[str, Any] = {
    "context_settings": {"ignore_unknown_options": True, "allow_interspersed_args": False},
    "options_metavar": "",
    "epilog": (
        "Exit codes: 0 done; 1 an error, told in one message; 2 a wrong option; 3 done and published, but MLflow does not "
        "know of it; 143 stopped by SIGTERM."
    ),
}


@click.group()
def main() -> None:
    """What the images of the project run."""


@main.command(short_help="Train a model.", **PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train(arguments: tuple[str, ...]) -> None:
    """Train: kedro run --env minio --pipelines feature_engineering,training ARGUMENTS.

    ARGUMENTS are options of kedro run, for example --params training.booster.max_depth=6. A --pipelines or --env
    among them takes the place of the one above.

    The addresses of the S3 store and of MLflow, and the keys of the training identity, come from variables: .env.example
    of the project describes them.
    """
    _run(kedro_arguments("feature_engineering,training", arguments))


@main.command(short_help="Score accounts with a model.", **PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def inference(arguments: tuple[str, ...]) -> None:
    """Score: kedro run --env minio --pipelines inference,monitoring ARGUMENTS.

    ARGUMENTS are options of kedro run, for example --params inference.as_of=2026-01-31. A --pipelines or --env
    among them takes the place of the one above.

    The model is the champion, or the one that a variable names: MODEL_URI takes models:/churn@champion, models:/churn/3,
    runs:/<run id>/model or a folder in the container; ARTIFACTS_DIR takes <experiment id>/<run id>/artifacts.

    The addresses of the S3 store and of MLflow, and the keys of the scoring identity, come from variables: .env.example
    of the project describes them.
    """
    _run(kedro_arguments("inference,monitoring", arguments, model_of(os.environ)))


@main.command(short_help="Train and score whenever there is something new.", **PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def watch(arguments: tuple[str, ...]) -> None:
    """Watch: churn watch --env minio --params watch.host=0.0.0.0 ARGUMENTS.

    ARGUMENTS are options of churn watch; parameters among them are those of the runs too. An --env among them takes the
    place of the one above. It answers GET /health, and POST /events with the token of CHURN_WATCH_TOKEN, on port 8787.

    The addresses of the S3 store and of MLflow, and the keys of the training and of the scoring identity, come from
    variables: .env.example of the project describes them. How far it is stands under CHURN_SCRATCH.
    """
    # Until the watch listens to it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))
    _kedro(watch_arguments(arguments))


@main.command(short_help="Say which model a folder holds.")
@click.argument("folder", type=click.Path(path_type=Path))
def verify(folder: Path) -> None:
    """Load the model of FOLDER and say which one it is; refuse a damaged one, or none."""
    from churn.errors import ChurnError
    from churn.registry.flavor import load_model

    if not any(folder.rglob("checksums.json")):
        raise click.ClickException(f"{folder} holds no model; docs/compose.md says how one is built into an image")
    try:
        model = load_model(str(folder))
    except ChurnError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{folder} holds the model {model.sha256}")


def kedro_arguments(pipelines: str, arguments: Sequence[str], model_uri: str | None = None) -> list[str]:
    """Arguments of `kedro` for a job.

    Args:
        pipelines: Those of the job, unless the arguments name others.
        arguments: Options of ``kedro run``. Parameters among them are joined with the model, which they may replace.
        model_uri: Which model scores, if not the champion.
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
    """Arguments of `kedro` for the watch, which listens to the network that its container is in."""
    rest, parameters = _without_parameters(arguments)
    return ["watch", *_environment(rest), "--params", ",".join(["watch.host=0.0.0.0", *parameters]), *rest]


def model_of(variables: Mapping[str, str]) -> str | None:
    """The model that the variables name; ``None`` for the champion.

    Raises:
        click.UsageError: If both variables are set, or the name could not be passed on.
    """
    named = [(name, variables[name]) for name in MODEL_VARIABLES if variables.get(name)]
    if len(named) > 1:
        raise click.UsageError(f"{' and '.join(MODEL_VARIABLES)} both name a model; set one of them")
    for name, uri in named:
        if "," in uri:
            raise click.UsageError(f"{name} = {uri!r}: the name of a model has no comma")
        return uri
    return None


def _without_parameters(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments without ``--params``, and the values of that: kedro takes the last one alone."""
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
    """A job in this process, which it ends."""
    with _Terminable():
        _kedro(arguments)
    sys.exit(0)


def _kedro(arguments: list[str]) -> None:
    from kedro.framework.cli.cli import main as kedro

    # An empty variable, as in .env.example, must not send what a run keeps to the folder of the image.
    os.environ["CHURN_SCRATCH"] = os.environ.get("CHURN_SCRATCH") or f"{tempfile.gettempdir()}/churn"
    # Kedro reads its arguments there, as the plug-ins do that note which command ran.
    sys.argv = ["kedro", *arguments]
    # Else messages name this module in place of kedro.
    sys.modules["__main__"].__package__ = None
    kedro()


class _Terminable:
    """Ends what runs inside as Ctrl-C does when SIGTERM comes, and the process itself if that takes too long."""

    def __init__(self) -> None:
        self._came = False

    def __enter__(self) -> None:
        # The interpreter calls a handler when the main thread is back from what it does, which may be a minute of
        # arithmetic; it writes into this pipe at once.
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
            # Not through the interpreter's end, which waits for the threads of libraries.
            self._end()

    def _end(self) -> NoReturn:
        click.echo("Stopped by SIGTERM; what was published before is still current.", err=True)
        sys.stdout.flush()
        os._exit(STOPPED)


if __name__ == "__main__":
    main(prog_name="churn")

"""The project's command line: Kedro's, with user errors shown as one message instead of a traceback."""

import copy
import os
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, cast

import click
from kedro.framework.cli.project import run as kedro_run

from churn.cli.options import check_options
from churn.config.command_options import environment_options
from churn.config.console import VERBOSE, hide_bars
from churn.config.loader import configuration
from churn.config.secrets import REDACTION
from churn.errors import ChurnError, NothingToDo
from churn.operations.tracked_run import TRACKED_RUN


@click.group(name="churn")
def cli() -> None:
    """Commands of the project; `kedro` has all other commands."""


class ShownError(click.ClickException):
    """An error that the command line shows without a traceback."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


def user_error(error: BaseException) -> str | None:
    """Return the message of the user error behind an exception; ``None`` if it is a bug of the program.

    Kedro wraps the exceptions of data sets, and raises a plain ValueError for an unknown name.
    """
    from kedro.config import MissingConfigException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ChurnError | MissingConfigException | OmegaConfBaseException | YAMLError):
            return str(seen)
        if isinstance(seen, FileNotFoundError | PermissionError):
            return f"{seen.strerror}: {seen.filename}"
        if isinstance(seen, ValueError) and str(seen).startswith(UNKNOWN_NAMES):
            return str(seen)
        if type(seen).__module__.startswith("mlflow."):
            return mlflow_error(seen)
        seen = seen.__cause__ or seen.__context__
    return None


def mlflow_error(error: BaseException) -> str:
    """Return the message of an MLflow error, with a remedy where there is one."""
    import mlflow

    said = str(error).splitlines()[0]
    if "error code 401" in said or "error code 403" in said:
        said += "; check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    return f"MLflow at {mlflow.get_tracking_uri()}: {said}"


def exit_code(error: BaseException) -> int:
    """Return the exit code of the command line for an exception."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ChurnError):
            return seen.exit_code
        seen = seen.__cause__ or seen.__context__
    return 1


UNKNOWN_NAMES = ("Failed to find the pipeline named", "Pipeline does not contain", "Pipeline contains no nodes")


def explained(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command so that a user error ends it with one message and an exit code."""

    @wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except NothingToDo as reason:
            click.echo(str(reason))
            return None
        except KeyboardInterrupt:
            with suppress(Exception):  # MLflow may not answer; without this call it would mark the run as finished
                TRACKED_RUN.end("KILLED")
            raise
        except Exception as error:
            message = user_error(error)
            if message is None:
                raise
            raise ShownError(REDACTION.text(message), exit_code(error)) from None

    return wrapper


@cli.command()
@click.option("--to", "version", help="Version to restore; by default the previous champion.")
@environment_options
@explained
def rollback(version: str | None, env: str | None, conf_source: str | None) -> None:
    """Make an earlier model the champion again. The next inference uses it; nothing is deleted."""
    from kedro.framework.session import KedroSession

    from churn.registry import versions

    with KedroSession.create(env=env, conf_source=conf_source) as session:
        name = cast("KedroSession", session).load_context().config_loader["globals"]["model"]["name"]
        before, now = versions.roll_back(name, "champion", version)
    click.echo(f"The champion of '{name}' is version {now} again; it was version {before}.")


@cli.command()
@click.option("--once", is_flag=True, help="Check once, start the runs that are due, and exit; no server is started.")
@environment_options
@click.option("--params", default="", help="Parameters of the trigger and of its runs, in the form of kedro run.")
@explained
def watch(once: bool, env: str | None, conf_source: str | None, params: str) -> None:
    """Train and score when data, code or parameters change, until Ctrl-C.

    Checks the training and the scoring table, the code, the parameters and the champion every minute, and at once after
    POST /events. docs/triggers.md describes when it starts a run.
    """
    from kedro.framework.cli.utils import _split_params
    from kedro.framework.session import KedroSession

    from churn.operations.kedro_job import KedroJob
    from churn.operations.watch_project import watch_project

    options = [word for option in (("--env", env), ("--conf-source", conf_source)) if option[1] for word in option]
    given = _split_params(click.get_current_context(), None, params)
    with KedroSession.create(env=env, conf_source=conf_source, runtime_params=given) as session:
        job = KedroJob(cast("list[str]", options), params)
        watch_project(cast("KedroSession", session).load_context(), job, once=once)


@cli.command()
@environment_options
@explained
def upgrade(env: str | None, conf_source: str | None) -> None:
    """Upgrade MLflow's database in a file to the installed MLflow. A copy of the old one is kept beside it."""
    from importlib.metadata import version

    from churn.services.database import upgrade as upgraded
    from churn.services.database_file import anchored, file_of

    loader, project = configuration(env, conf_source)
    uri = anchored(loader["mlflow"]["server"]["mlflow_tracking_uri"], project)
    path = file_of(uri)
    if path is None:
        raise ChurnError(
            f"MLflow at {uri} is not a file of this project; docs/compose.md describes how to upgrade the database of a server"
        )
    copy = upgraded(path)
    said = f"is up to date with MLflow {version('mlflow')}"
    click.echo(f"{path} {said} already." if copy is None else f"{path} {said}; {copy.name} beside it is the old one.")


def checked_run(**options: Any) -> Any:
    """Run pipelines as Kedro does, once the names in the options are known to exist."""
    from kedro.framework.project import pipelines

    if options.pop("verbose", False):
        os.environ[VERBOSE] = "1"
    # As the session will do; otherwise it would create the pipelines again.
    pipelines.set_requested(options["pipelines"] or ([options["pipeline"]] if options["pipeline"] else None))
    check_options(options, pipelines)
    try:
        return cast("Callable[..., Any]", kedro_run.callback)(**options)
    finally:
        hide_bars()  # also after Ctrl-C


run = copy.copy(kedro_run)
run.params = [
    *kedro_run.params,
    click.Option(
        ["--verbose", "-v"],
        is_flag=True,
        help="Show every node and data set, with the traceback of an error. Otherwise these details are in the log file only, "
        "in .cache/logs.",
    ),
]
run.callback = explained(checked_run)
cli.add_command(run)

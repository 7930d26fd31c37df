"""The command `churn`: the project's own commands, and `kedro run` as the project shows its errors."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import click


def main() -> None:
    """Run it in the project that the current folder belongs to."""
    import click
    from kedro.utils import find_kedro_project

    project = find_kedro_project(Path.cwd())
    if project is not None:
        if other_checkout(Path(project)):
            _run_the_code_of(Path(project))
        from churn.web.log_format import LOGGING, LOGGING_FILE

        # Kedro itself looks for it in the current folder only, when it is imported.
        os.environ.setdefault(LOGGING, str(Path(project) / LOGGING_FILE))
        if sys.argv[1:2] == ["serve"]:
            _serve()
        if sys.argv[1:2] == ["status"]:
            _status()
        from kedro.framework.startup import bootstrap_project

        bootstrap_project(Path(project))
    elif "--help" not in sys.argv[1:]:
        click.echo("Error: this folder is in no Kedro project; go to the one with conf and pyproject.toml", err=True)
        sys.exit(1)
    from churn.cli.commands import cli

    cli(prog_name="churn")


def _serve() -> NoReturn:
    # Until the service installs its own handler: the kernel ignores signals to process 1 of a container without one.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    _use_this_machine()
    from churn.operations.refusals import refusal_messages
    from churn.serving.command import serve_command
    from churn.web.log_format import use_log_file

    use_log_file()
    try:
        _run_alone(serve_command(refusal_messages))
    except SystemExit as ended:
        from churn.serving.worker import leave

        leave(ended.code if isinstance(ended.code, int) else 0)


def _status() -> NoReturn:
    _use_this_machine()
    from churn.operations.status.command import status

    _run_alone(status)


def _use_this_machine() -> None:
    from churn.config.machine import check_interpreter, use_writable_folders

    check_interpreter(sys.flags.optimize)
    use_writable_folders(Path.cwd())


def _run_alone(command: "click.Command") -> NoReturn:
    """Run a command without what the other commands import, which takes longer than all that it does."""
    try:
        command.main(sys.argv[2:], prog_name=f"churn {command.name}")
    except Exception as error:
        import click

        from churn.cli.commands import exit_code, user_error
        from churn.config.secrets import REDACTION

        message = user_error(error)
        if message is None:
            raise
        click.echo(f"Error: {REDACTION.text(message)}", err=True)
        sys.exit(exit_code(error))
    sys.exit(0)


def other_checkout(project: Path) -> Path | None:
    """Return the checkout that this code is from, if it is not the project; ``None`` if it is, or if it was installed."""
    own = Path(__file__).resolve().parents[2]
    inside = (project / "src/churn").is_dir() and (own / "pyproject.toml").is_file()
    return own if inside and own != project.resolve() else None


def _run_the_code_of(project: Path) -> NoReturn:
    """Run the command again with the code of the project: this environment belongs to the checkout that it was copied from."""
    path = os.pathsep.join(filter(None, (str(project / "src"), os.environ.get("PYTHONPATH"))))
    # -P, so that no folder called churn below the current one comes first.
    command = [sys.executable, "-P", "-m", "churn", *sys.argv[1:]]
    os.execve(command[0], command, {**os.environ, "PYTHONPATH": path})  # noqa: S606


if __name__ == "__main__":
    main()

"""The environment of a command, without Kedro's command line: importing that takes longer than all that `churn status` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def _existing(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if not value or ("://" in value and not value.startswith("file://")):
        return value or None
    if not Path(value).exists():
        raise click.BadParameter(f"Path '{value}' does not exist.")
    return str(Path(value).resolve())


conf_source_option = click.option("--conf-source", callback=_existing, help="Path of the configuration folder.")
_env_option = click.option("--env", "-e", help="Kedro configuration environment name. Defaults to `local`.")


def environment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options ``--env`` and ``--conf-source`` to a command, as Kedro's commands have them."""
    return _env_option(conf_source_option(command))

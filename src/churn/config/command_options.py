"""The environment of a command that is kept from importing Kedro's command line, which takes longer than all that it does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def _existing(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value and ("://" not in value or value.startswith("file://")) and not Path(value).exists():
        raise click.BadParameter(f"conf source '{value}' does not exist.")
    return value or None


def environment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options ``--env`` and ``--conf-source`` to a command, as Kedro's commands have them."""
    place = click.option("--conf-source", callback=_existing, help="Path of the configuration folder.")
    return click.option("--env", "-e", help="Kedro configuration environment name. Defaults to `local`.")(
        place(command)
    )

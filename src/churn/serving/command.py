"""The command `churn serve`: it imports only what the service needs, so that it is ready within a second or two.

Kedro's session would import the hooks of the project and with them MLflow, which takes longer than everything else together.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from churn.config.command_options import environment_options

if TYPE_CHECKING:
    from churn.config.loader import ConfigLoader
    from churn.serving.refusals import Tell


def serve_command(tell_of: "Callable[[ConfigLoader, Path], Tell] | None" = None) -> click.Command:
    """Return the command.

    Args:
        tell_of: Returns what tells people of a refused champion, from the configuration and the folder of the project; ``None``
            for nobody.
    """

    @click.command("serve")
    @click.option(
        "--workers", type=click.IntRange(min=1), help="Number of processes that answer; by default serve.workers."
    )
    @environment_options
    @click.option("--params", default="", help="Parameters, in the form of kedro run, for example serve.port=9000.")
    def serve(workers: int | None, env: str | None, conf_source: str | None, params: str) -> None:
        """Answer requests for scores over HTTP, with the champion, until Ctrl-C.

        A new champion is used within seconds, without a restart. docs/serving.md describes requests, tokens and limits.
        """
        given = parameters_of(params)
        from churn.config.loader import configuration
        from churn.serving.project import setup_of
        from churn.serving.server import run

        loader, project = configuration(env, conf_source, given)
        setup = setup_of(loader, project, workers)
        run(setup if tell_of is None else replace(setup, tell=tell_of(loader, project)))

    return serve


def parameters_of(text: str) -> dict[str, Any]:
    """Return the parameters of an option in the form of `kedro run`: names with dots, values of YAML, between commas.

    Raises:
        click.UsageError: If a part has no name or no value.
    """
    from omegaconf import OmegaConf

    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        name, equals, _ = part.partition("=")
        if not name.strip() or not equals:
            raise click.UsageError(f"--params: '{part}' must be a name and a value with = between them")
    named = [f"{name.strip()}={value}" for name, _, value in (part.partition("=") for part in parts)]
    found: Any = OmegaConf.to_container(OmegaConf.from_dotlist(named))
    return dict(found)

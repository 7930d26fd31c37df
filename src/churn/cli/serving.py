"""The command `churn serve`."""

from typing import cast

import click
from kedro.framework.cli.utils import env_option, validate_conf_source

from churn.cli.commands import cli, explained


@cli.command()
@click.option(
    "--workers", type=click.IntRange(min=1), help="Number of processes that answer; by default serve.workers."
)
@env_option
@click.option("--conf-source", callback=validate_conf_source, help="Path of the configuration folder.")
@click.option("--params", default="", help="Parameters, in the form of kedro run, for example serve.port=9000.")
@explained
def serve(workers: int | None, env: str | None, conf_source: str | None, params: str) -> None:
    """Answer requests for scores over HTTP, with the champion, until Ctrl-C.

    A new champion is used within seconds, without a restart. docs/serving.md describes requests, tokens and limits.
    """
    from kedro.framework.cli.utils import _split_params
    from kedro.framework.session import KedroSession

    from churn.serving.project import setup_of
    from churn.serving.server import run

    given = _split_params(click.get_current_context(), None, params)
    with KedroSession.create(env=env, conf_source=conf_source, runtime_params=given) as session:
        setup = setup_of(cast("KedroSession", session).load_context(), workers)
    run(setup)

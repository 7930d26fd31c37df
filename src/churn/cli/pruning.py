"""The command `churn prune`."""

import sys
from typing import Any, cast

import click

from churn.cli.commands import cli, explained
from churn.config import check_parameters
from churn.config.command_options import environment_options
from churn.errors import ChurnError


@cli.command()
@click.option("--keep", type=click.IntRange(min=1), help="Number of the newest to keep; by default prune.keep.")
@click.option("--older-than", type=click.FloatRange(min=0), help="Age in days; by default prune.older_than.")
@click.option(
    "--requests-older-than",
    type=click.FloatRange(min=0),
    help="Age in days of the log of requests; by default prune.requests_older_than.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed and why, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before removing; needed where no one can answer.")
@environment_options
@explained
def prune(
    keep: int | None,
    older_than: float | None,
    requests_older_than: float | None,
    dry_run: bool,
    yes: bool,
    env: str | None,
    conf_source: str | None,
) -> None:
    """Remove old results, requests, runs and versions that nothing needs.

    Removes published results, registered versions, MLflow runs and their artifacts, copies of models and files set aside
    that are beyond the newest --keep of their kind AND older than --older-than days, and what interrupted runs have left.

    Of the log of requests, each day goes that is older than --requests-older-than days, and the segments of a day that is
    over are merged into few files.

    Never removes the current results and the runs that their ledger names, a version with an alias, the one before it, the
    one trained last, what these need, a run that is going on, or anything from the last hour. May run while others publish,
    and may be stopped at any moment: the next one completes it.
    """
    from kedro.framework.session import KedroSession

    from churn.operations.housekeeping import Housekeeping
    from churn.operations.pruning import Limits
    from churn.operations.pruning_table import render

    with KedroSession.create(env=env, conf_source=conf_source) as session:
        context: Any = cast("KedroSession", session).load_context()
        settings = check_parameters(context.config_loader["parameters"]).prune
        limits = Limits(
            settings.keep if keep is None else keep,
            settings.older_than if older_than is None else older_than,
            settings.requests_older_than if requests_older_than is None else requests_older_than,
        )
        house = Housekeeping(context)
        with house.alone():
            made = house.plan(limits)
            click.echo(render(made, details=dry_run))
            if dry_run:
                if days := house.days_to_merge():
                    click.echo(f"Segments of {len(days)} days of the log of requests would be merged.")
                return
            if not made.is_empty:
                if not yes:
                    if sys.stdin is None or not sys.stdin.isatty():
                        raise ChurnError(
                            "nothing was removed: no one can be asked here; add --yes, or --dry-run to look only"
                        )
                    click.confirm("Remove what goes?", abort=True)
                house.carry_out(made, click.echo)
                click.echo("Removed.")
            house.merge_requests(click.echo)

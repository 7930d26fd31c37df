"""The command `churn status`. It imports neither MLflow nor the hooks of the project, so that it answers within a second."""

import json
import os
import sys
import time

import click

from churn.config.command_options import environment_options

# Exit code if something needs a look.
LOOK = 4


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, with all findings and alarms.")
@environment_options
def status(as_json: bool, env: str | None, conf_source: str | None) -> None:
    """Show champion, last run, scores, health, open alarms and disks.

    Nothing is started or changed. What cannot be read is unknown, with the reason. The exit code is 0 if the scores can be
    used, 4 if something needs a look: there is no champion or there are no scores, an alarm is open, or something is unknown.
    """
    from churn.config.loader import LOADER_ARGS, configuration
    from churn.operations.status.facts import state_of
    from churn.operations.status.text import dated, render

    loader, project = configuration(env, conf_source)
    now = time.time()
    state = state_of(loader, project, now)
    shown = env or os.environ.get("KEDRO_ENV") or LOADER_ARGS["default_run_env"]
    if as_json:
        click.echo(json.dumps(dated({"environment": shown, "at": now, **state}), indent=2, ensure_ascii=False))
    else:
        click.echo(render(state, shown, now))
    if not state["in_order"]:
        sys.exit(LOOK)

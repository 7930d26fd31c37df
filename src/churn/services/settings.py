"""Settings of the servers: addresses, buckets and identities, from the environment and ``.env``."""

import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from churn.errors import ChurnError, FaultsError

ENV_FILE, EXAMPLE_FILE = ".env", ".env.example"
# Variables for which a new .env gets generated values.
GENERATED = re.compile(
    r"^(CHURN_\w+_(?:ACCESS|SECRET)_KEY|POSTGRES_PASSWORD|MLFLOW_FLASK_SERVER_SECRET_KEY)=$", re.MULTILINE
)
# Variables that the store requires, that MLflow's server requires, and that all servers together require.
NEEDED_BY_STORE = tuple(
    f"CHURN_{who}_{what}_KEY" for who in ("TRAINING", "SCORING", "ARTIFACTS", "ADMIN") for what in ("ACCESS", "SECRET")
)
NEEDED_BY_MLFLOW = ("CHURN_ARTIFACTS_ACCESS_KEY", "CHURN_ARTIFACTS_SECRET_KEY", "POSTGRES_PASSWORD")
NEEDED = (*NEEDED_BY_STORE, "POSTGRES_PASSWORD")


class Identity(NamedTuple):
    """An identity of the S3 store, with its keys."""

    name: str
    access_key: str
    secret_key: str


@dataclass(frozen=True)
class ServiceSettings:
    """Settings of the servers.

    Attributes:
        endpoint: Address of the S3 store.
        tracking_uri: Address of MLflow.
        staging: Bucket of account tables and features.
        artifacts: Bucket of MLflow.
        results: Bucket of published scores.
        training: Reads and writes the staging bucket.
        scoring: Reads the staging bucket, reads and writes results.
        tracking: MLflow's server, reads and writes its bucket.
        admin: May do everything.
        database_password: Password of MLflow's database.
        username: User name of MLflow; empty if MLflow has no password.
        password: Password of MLflow.
        form_secret: Secret that signs the forms of MLflow, if it has a password.
        watch_token: Token of the store's events for the trigger; empty if it sends none.
        watch_events: Address that the store sends events to.
    """

    endpoint: str
    tracking_uri: str
    staging: str
    artifacts: str
    results: str
    training: Identity
    scoring: Identity
    tracking: Identity
    admin: Identity
    database_password: str
    username: str = ""
    password: str = ""
    form_secret: str = ""
    watch_token: str = ""
    watch_events: str = ""

    @classmethod
    def read(cls, variables: Mapping[str, str | None], needed: Iterable[str] = NEEDED) -> Self:
        """Read the settings from variables.

        Args:
            variables: Values by name.
            needed: Names of the required variables. A server in a container gets only those that it needs.

        Raises:
            FaultsError: Lists the missing variables, and a user name without a password or the reverse.
        """
        faults = [
            f"{name} is not set; create a {ENV_FILE} that has it with make env"
            for name in needed
            if not variables.get(name)
        ]

        def get(name: str, default: str = "") -> str:
            return variables.get(name) or default

        def identity(name: str) -> Identity:
            stem = f"CHURN_{name.upper()}"
            return Identity(name, get(f"{stem}_ACCESS_KEY"), get(f"{stem}_SECRET_KEY"))

        settings = cls(
            endpoint=get("CHURN_S3_ENDPOINT", "http://127.0.0.1:9000"),
            tracking_uri=get("MLFLOW_TRACKING_URI", "http://127.0.0.1:15000"),
            staging=get("CHURN_STAGING_BUCKET", "data-staging"),
            artifacts=get("CHURN_ARTIFACTS_BUCKET", "mlflow-artifacts"),
            results=get("CHURN_RESULTS_BUCKET", "ml-result"),
            training=identity("training"),
            scoring=identity("scoring"),
            tracking=identity("artifacts"),
            admin=identity("admin"),
            database_password=get("POSTGRES_PASSWORD"),
            username=get("MLFLOW_TRACKING_USERNAME"),
            password=get("MLFLOW_TRACKING_PASSWORD"),
            form_secret=get("MLFLOW_FLASK_SERVER_SECRET_KEY"),
            watch_token=get("CHURN_WATCH_TOKEN"),
            watch_events=get("CHURN_WATCH_EVENTS", "http://127.0.0.1:8787/events"),
        )
        if bool(settings.username) != bool(settings.password):
            faults.append("only one of MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD is set; set both or none")
        if faults:
            raise FaultsError("settings of the servers", faults)
        return settings

    @property
    def buckets(self) -> tuple[str, str, str]:
        """All buckets."""
        return self.staging, self.artifacts, self.results

    def rights(self) -> dict[Identity, dict[str, str]]:
        """Return the rights of each identity by bucket, ``r`` or ``rw``: the minimum that it needs."""
        return {
            self.training: {self.staging: "rw"},
            self.scoring: {self.staging: "r", self.results: "rw"},
            self.tracking: {self.artifacts: "rw"},
        }


def port_of(address: str, variable: str) -> int:
    """Return the port of a loopback address, from 1 to 65535.

    Raises:
        ChurnError: If the address is not ``http://127.0.0.1:<port>``; the servers listen on loopback only.
    """
    parts = urlsplit(address)
    if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost") or parts.port is None:
        raise ChurnError(
            f"{variable} = {address!r}: servers are started on this machine only; set http://127.0.0.1:<port>, or start "
            "your own server"
        )
    return parts.port


def variables_of(folder: Path) -> dict[str, str | None]:
    """Return the variables of the folder's ``.env`` and of the environment, which takes precedence."""
    from dotenv import dotenv_values

    return {**dotenv_values(folder / ENV_FILE, interpolate=False), **os.environ}


def write_env(folder: Path, with_password: bool = False, **values: str) -> Path:
    """Write a ``.env`` from the example, with newly generated keys and passwords.

    Args:
        folder: Folder of the example and of the new file.
        with_password: Whether MLflow asks for a user name and a password.
        values: Values that replace those of the example.

    Returns:
        Path of the new file.

    Raises:
        ChurnError: If the file exists; it is not changed.
    """
    file = folder / ENV_FILE
    if file.exists():
        raise ChurnError(f"{file} exists already and was not changed; remove it to get a new one")
    text = (folder / EXAMPLE_FILE).read_text(encoding="utf-8")
    text = GENERATED.sub(lambda match: f"{match[1]}={_invented(match[1])}", text)
    if with_password:
        values = {"MLFLOW_TRACKING_USERNAME": "churn", "MLFLOW_TRACKING_PASSWORD": secrets.token_urlsafe(24), **values}
    for name, value in values.items():
        text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(text)
    return file


def _invented(name: str) -> str:
    # Access keys have at most 20 characters, as in AWS; letters, digits and a hyphen are accepted by every server.
    if name.endswith("_ACCESS_KEY"):
        who = name.removeprefix("CHURN_").removesuffix("_ACCESS_KEY").lower()
        return f"{who}-{secrets.token_hex(4)}"
    return secrets.token_hex(24)

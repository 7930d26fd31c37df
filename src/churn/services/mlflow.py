"""MLflow's server with a database and a bucket."""

import os
import sys
from pathlib import Path

from churn.services.server import LOOPBACK, Server, answers, write_private
from churn.services.settings import ServiceSettings, port_of


def mlflow_server(folder: Path, settings: ServiceSettings, backend_store_uri: str) -> Server:
    """Return MLflow's server, which serves the artifacts of its bucket."""
    port = port_of(settings.tracking_uri, "MLFLOW_TRACKING_URI")
    folder.mkdir(parents=True, exist_ok=True)
    return Server(
        name="mlflow",
        folder=folder,
        command=mlflow_command(settings, LOOPBACK, port, [f"localhost:{port}", f"{LOOPBACK}:{port}"]),
        ready=lambda: answers(f"{settings.tracking_uri}/health"),
        ports=(port,),
        environment=mlflow_environment(folder, settings, backend_store_uri),
    )


def mlflow_command(settings: ServiceSettings, host: str, port: int, allowed_hosts: list[str]) -> list[str]:
    """Return the command that starts MLflow's server."""
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--artifacts-destination", f"s3://{settings.artifacts}", "--allowed-hosts", ",".join(allowed_hosts)),
        *(("--app-name", "basic-auth") if settings.password else ()),
    ]


def mlflow_environment(
    folder: Path, settings: ServiceSettings, backend_store_uri: str, users_uri: str | None = None
) -> dict[str, str]:
    """Return the environment of MLflow's server. It has the secrets, because all users can read command lines.

    Args:
        folder: Folder for the server's own files.
        settings: Settings of the servers.
        backend_store_uri: Address of the database.
        users_uri: Address of the database of users; a file in the folder by default.
    """
    variables = {
        "MLFLOW_BACKEND_STORE_URI": backend_store_uri,
        "MLFLOW_S3_ENDPOINT_URL": settings.endpoint,
        "AWS_ACCESS_KEY_ID": settings.tracking.access_key,
        "AWS_SECRET_ACCESS_KEY": settings.tracking.secret_key,
        "AWS_DEFAULT_REGION": os.environ.get("CHURN_S3_REGION") or "us-east-1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        # The server is not a client of itself.
        **dict.fromkeys(("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), ""),
    }
    if settings.password:
        config = folder / "mlflow-auth.ini"
        users = users_uri or f"sqlite:///{folder / 'mlflow-users.db'}"
        write_private(config, _auth_config(settings, users))
        variables |= {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": settings.form_secret}
    return variables


def _auth_config(settings: ServiceSettings, database: str) -> str:
    def literal(value: str) -> str:
        """Escape percent signs, which configparser would read as references."""
        return value.replace("%", "%%")

    return (
        "[mlflow]\n"
        # Users without granted permissions see nothing.
        "default_permission = NO_PERMISSIONS\n"
        f"database_uri = {literal(database)}\n"
        f"admin_username = {literal(settings.username)}\n"
        f"admin_password = {literal(settings.password)}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )

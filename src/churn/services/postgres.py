"""PostgreSQL: MLflow's database."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

from churn.errors import ChurnError
from churn.services.server import DATABASE, DATABASE_USER, Server, write_private
from churn.services.settings import ServiceSettings

# Database of MLflow's users, if MLflow asks for passwords and does not keep them in a file.
USERS_DATABASE = "mlflow_users"


def postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, if it is installed. On Debian they are not on the PATH."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    return next((file.parent for file in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)


def postgres_user() -> str | None:
    """Return the account for PostgreSQL, which does not run as root; ``None`` for the current one.

    Raises:
        ChurnError: If this is root and the machine has no account ``postgres``.
    """
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise ChurnError("PostgreSQL does not run as root, and this machine has no account 'postgres'") from None


def postgres(folder: Path, settings: ServiceSettings) -> Server:
    """Return the PostgreSQL server. It has no port, only a socket that no other account can access.

    Raises:
        ChurnError: If PostgreSQL is not installed or cannot be set up.
    """
    programs = postgres_programs()
    if programs is None:
        raise ChurnError("PostgreSQL is not installed here")
    user = postgres_user()
    data, sockets = folder / "postgres", socket_folder(folder)
    for needed in (folder, data, sockets):
        needed.mkdir(parents=True, exist_ok=True)
    if user is not None:
        for owned in (data, sockets):
            shutil.chown(owned, user)
    for private in (data, sockets):
        private.chmod(0o700)
    if not (data / "PG_VERSION").exists():
        _init_database(programs, data, sockets, settings.database_password, user)
    return Server(
        name="postgres",
        folder=folder,
        command=[str(programs / "postgres"), "-D", str(data), "-k", str(sockets), "-c", "listen_addresses="],
        ready=lambda: _has_database(folder, settings),
        user=user,
        stop_signal=signal.SIGINT,  # fast shutdown; with SIGTERM it would wait until MLflow disconnects
    )


def socket_folder(folder: Path) -> Path:
    """Return the folder of PostgreSQL's socket, which is not in the project: the path of a socket has a short limit."""
    import hashlib
    import tempfile

    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"churn-postgres-{digest}"


def _init_database(programs: Path, data: Path, sockets: Path, password: str, user: str | None) -> None:
    secret = sockets / "password"
    write_private(secret, f"{password}\n")
    if user is not None:
        shutil.chown(secret, user)
    command = [
        *(str(programs / "initdb"), "-D", str(data), "-U", DATABASE_USER, "--encoding=UTF8", "--no-locale"),
        *("--auth=scram-sha-256", f"--pwfile={secret}"),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, user=user, cwd="/")  # noqa: S603
    finally:
        secret.unlink()
    if done.returncode:
        raise ChurnError(
            f"PostgreSQL cannot be set up in {data}: {(done.stderr or done.stdout).strip().splitlines()[-1]}"
        )


def _has_database(folder: Path, settings: ServiceSettings) -> bool:
    """Return whether MLflow's database exists; it is created once the server accepts connections."""
    return has_database(
        str(socket_folder(folder)), settings, DATABASE, f"remove {folder} to start with an empty database"
    )


def has_database(host: str, settings: ServiceSettings, name: str, remedy: str) -> bool:
    """Return whether a database exists; it is created once the server accepts connections.

    Args:
        host: Host of the server, or the folder of its socket.
        settings: Settings of the servers, with the password.
        name: Name of the database.
        remedy: Remedy to show if the password is wrong and the old one is lost.

    Raises:
        ChurnError: If the password is wrong.
    """
    import psycopg

    try:
        with psycopg.connect(
            host=host,
            user=DATABASE_USER,
            password=settings.database_password,
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        ) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {name}")
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise ChurnError(
                "PostgreSQL was set up with another POSTGRES_PASSWORD than .env has now; restore the old one, or "
                + remedy
            ) from error
        return False
    return True


def database_uri(folder: Path, settings: ServiceSettings) -> str:
    """Return the SQLAlchemy address of MLflow's database."""
    return database_uri_at(str(socket_folder(folder)), settings, DATABASE)


def database_uri_at(host: str, settings: ServiceSettings, name: str) -> str:
    """Return the SQLAlchemy address of a database, by the host of its server or the folder of its socket."""
    password = quote(settings.database_password, safe="")
    return f"postgresql+psycopg://{DATABASE_USER}:{password}@/{name}?host={host}"

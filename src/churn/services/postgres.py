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

# Who may use an MLflow that asks for passwords, where that is not a file.
USERS_DATABASE = "mlflow_users"


def postgres_programs() -> Path | None:
    """Folder with PostgreSQL's programs, if the machine has it; Debian keeps them out of the PATH."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    return next((file.parent for file in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)


def postgres_user() -> str | None:
    """Account that PostgreSQL has to run as, which refuses to run as root.

    Raises:
        ChurnError: If this is root and the machine has no account ``postgres``.
    """
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise ChurnError("PostgreSQL does not run as root, and there is no account 'postgres' here") from None


def postgres(folder: Path, settings: ServiceSettings) -> Server:
    """PostgreSQL on a socket file that only this account reaches, with no port.

    Raises:
        ChurnError: If the machine has no PostgreSQL, or not one that can be used here.
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
        stop_signal=signal.SIGINT,  # a fast end; SIGTERM would wait for MLflow to hang up
    )


def socket_folder(folder: Path) -> Path:
    """Where PostgreSQL's socket lies: paths of sockets are short, those of projects need not be."""
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
    """Whether MLflow's database is there; it is made as soon as the server lets one in."""
    return has_database(str(socket_folder(folder)), settings, DATABASE, f"remove {folder} to begin anew")


def has_database(host: str, settings: ServiceSettings, name: str, remedy: str) -> bool:
    """Whether there is a database; it is made as soon as the server lets one in.

    Args:
        host: Name of the server's machine, or the folder of its socket.
        settings: With the password.
        name: Of the database.
        remedy: What to do where the password is another one and the old one is gone.

    Raises:
        ChurnError: If the server has another password.
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
                "PostgreSQL was set up with another POSTGRES_PASSWORD than .env has now; put that one back, or "
                + remedy
            ) from error
        return False
    return True


def database_uri(folder: Path, settings: ServiceSettings) -> str:
    """Address of MLflow's database for SQLAlchemy."""
    return database_uri_at(str(socket_folder(folder)), settings, DATABASE)


def database_uri_at(host: str, settings: ServiceSettings, name: str) -> str:
    """Address of a database for SQLAlchemy, by the machine of its server or the folder of its socket."""
    password = quote(settings.database_password, safe="")
    return f"postgresql+psycopg://{DATABASE_USER}:{password}@/{name}?host={host}"

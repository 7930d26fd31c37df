"""Copies of a PostgreSQL database, by PostgreSQL's own programs: one consistent state, while others read and write."""

import os
import subprocess
from pathlib import Path

from churn.errors import ChurnError
from churn.services.postgres import postgres_programs
from churn.services.server import DATABASE_USER
from churn.services.settings import ServiceSettings

# Milliseconds that a restore waits for a table that another connection uses.
LOCK_TIMEOUT = 30_000


def dump_database(host: str, settings: ServiceSettings, name: str, file: Path, snapshot: str) -> None:
    """Write a dump of a database in PostgreSQL's custom format, as it is at one moment.

    Args:
        host: Host of the server, or the folder of its socket.
        settings: Settings of the servers, with the password.
        name: Name of the database.
        file: File to write.
        snapshot: Exported snapshot of an open transaction, whose state is dumped.

    Raises:
        ChurnError: If PostgreSQL's programs are not installed, or the database cannot be read.
    """
    _call(
        "pg_dump",
        host,
        settings,
        *("--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"),
        f"--file={file}",
        f"--dbname={name}",
    )


def load_database(host: str, settings: ServiceSettings, name: str, file: Path) -> None:
    """Replace the tables of a database by those of a dump, in one transaction: all of them or none.

    Raises:
        ChurnError: If the dump cannot be read or the database cannot be written; the database is unchanged.
    """
    _call(
        "pg_restore",
        host,
        settings,
        *("--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"),
        f"--dbname={name}",
        str(file),
    )


def _call(program: str, host: str, settings: ServiceSettings, *arguments: str) -> None:
    folder = postgres_programs()
    if folder is None or not (folder / program).exists():
        raise ChurnError(
            f"the program '{program}' of PostgreSQL is not installed here; install PostgreSQL's client programs, or make "
            "the dump where the database runs, as docs/operations.md shows"
        )
    done = subprocess.run(  # noqa: S603
        [str(folder / program), f"--host={host}", f"--username={DATABASE_USER}", "--no-password", *arguments],
        # By variables, because all users can read command lines.
        env={
            **os.environ,
            "PGPASSWORD": settings.database_password,
            "PGOPTIONS": f"-c lock_timeout={LOCK_TIMEOUT}",
            "PGCONNECT_TIMEOUT": "10",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line for line in done.stderr.strip().splitlines() if line]
        raise ChurnError(f"{program} ended with code {done.returncode}: {said[-1] if said else 'no message'}")

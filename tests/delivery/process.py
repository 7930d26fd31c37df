"""A delivery in a process of its own, for tests that kill it: ``python -m tests.delivery.process FOLDER TARGET CREDENTIALS``."""

import json
import sys
from pathlib import Path

from tests.delivery.worlds import World


def main(folder: str, target: str, credentials: str) -> int:
    """Say when the delivery begins, and return 0 if it ends well."""
    world = World(Path(folder), json.loads(credentials), **json.loads(target))
    import churn.delivery.postgres  # noqa: F401, so that the moments are those of the delivery

    print("go", flush=True)  # noqa: T201
    outcome = world.deliver()
    print(outcome, flush=True)  # noqa: T201
    return int(outcome.status != "delivered")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

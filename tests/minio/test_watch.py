"""New objects in a bucket lead to a champion and to scores, with no hand on it."""

import io

import pandas as pd
import pytest

from ..watching import watching
from .conftest import MinioProject

pytestmark = pytest.mark.e2e


def test_a_new_object_is_trained_on_and_scored_and_the_same_again_is_not(fresh: MinioProject) -> None:
    minio = fresh
    minio.run("data_generation", simulation__training_rows=3000, simulation__scoring_rows=1000)
    with minio.staging.reading("training_data.csv") as file:
        content = file.read()

    def put(data: bytes) -> None:
        with minio.staging.writing("training_data.csv") as file:
            file.write(data)

    def scored_with() -> str | None:
        return str(minio.manifest()["model"]["version"]) if minio.results.exists("latest.json") else None

    name = f"churn_{minio.name}"
    with watching(minio.project, "minio") as watch:
        watch.until(lambda: scored_with() == "1")
        first = minio.latest()
        assert minio.client.get_model_version_by_alias(name, "champion").version == "1"

        put(content)
        watch.tell()
        watch.until(lambda: True)
        assert minio.latest() == first

        table = pd.read_csv(io.BytesIO(content), dtype=str)
        put(table.head(2900).to_csv(index=False).encode())
        watch.tell()
        watch.until(lambda: scored_with() == "2")
        champion = minio.client.get_model_version_by_alias(name, "champion")
        assert champion.version == "2"
        assert champion.tags["promotion"] == "promoted"
        assert len(minio.client.search_model_versions(f"name = '{name}'")) == 2

"""Publishing and `churn prune` on a bucket, where processes have no lock in common."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

import churn.stores.s3 as s3_module
from churn.datasets import ResultsDataset
from churn.operations.housekeeping import PublishedResults
from churn.operations.pruning import Limits, Listing, plan
from churn.stores import Store, open_store
from tests.datasets.test_results import given
from tests.minio.conftest import MinioProject
from tests.stack import Stack

DAY = 86_400.0


@pytest.fixture
def place(stack: Stack) -> str:
    assert stack.s3
    return f"s3://{stack.settings.results}/{uuid.uuid4().hex}"


@pytest.fixture
def credentials(stack: Stack) -> dict[str, Any]:
    return stack.credentials(stack.settings.scoring)


@pytest.fixture
def store(place: str, credentials: dict[str, Any]) -> Store:
    return open_store(place, credentials)


def folders(store: Store) -> set[str]:
    return {name.partition("/")[0] for name in store.names()} - {"latest.json"}


def test_a_pointer_dated_ahead_and_a_damaged_one(place: str, credentials: dict[str, Any], store: Store) -> None:
    results = ResultsDataset(filepath=place, credentials=credentials)
    store.write_json({"run_id": str(uuid.uuid4()), "published_at": "2036-01-01T00:00:00+00:00"}, "latest.json")
    results.save(given(0.1))
    assert results.published is not None
    assert store.read_json("latest.json")["run_id"] == results.published["run_id"]
    for content in (b"", b"[]", b'{"published_at": null}'):
        store.write(lambda file, content=content: file.write(content), "latest.json")
        results.save(given(0.2))
        assert store.read_json("latest.json")["run_id"] == results.published["run_id"]
        assert results.overtaken_by() is None


def test_a_pointer_whose_answer_is_lost_was_published_once(
    place: str, credentials: dict[str, Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store replaces the pointer, the answer is lost, and the repeated request finds it replaced: by this run."""
    results = ResultsDataset(filepath=place, credentials=credentials)
    results.save(given(0.1))
    first = store.read_json("latest.json")
    made = s3_module.client_of
    lost = []

    class Losing:
        def __init__(self, client: Any) -> None:
            self._client = client

        def __getattr__(self, name: str) -> Any:
            return getattr(self._client, name)

        def put_object(self, **arguments: Any) -> Any:
            answer = self._client.put_object(**arguments)
            if arguments["Key"].endswith("latest.json") and not lost:
                lost.append(answer)
                raise ReadTimeoutError(endpoint_url="http://store")
            return answer

    monkeypatch.setattr(s3_module, "client_of", lambda arguments: Losing(made(arguments)))
    follower = given(0.2)
    follower._follows = first["run_id"]
    results.save(follower)
    assert lost
    assert results.published is not None
    second = store.read_json("latest.json")
    assert second["run_id"] == results.published["run_id"]
    assert second["sequence"] == first["sequence"] + 1


def test_publishing_and_pruning_at_once(place: str, credentials: dict[str, Any], store: Store) -> None:
    ResultsDataset(filepath=place, credentials=credentials).save(given())

    def publish() -> None:
        results = ResultsDataset(filepath=place, credentials=credentials)
        for _ in range(5):
            try:
                results.save(given())
            except Exception as error:
                assert "was removed before it became current" in str(error)  # noqa: PT017

    def prune() -> None:
        house = PublishedResults(open_store(place, credentials))
        for _ in range(8):
            present = house.pointer()
            assert present is not None
            found = {name.partition("/")[0] for name in store.names() if name.endswith("manifest.json")}
            house.remove(found - {present.run_id})

    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(each) for each in (publish, prune, publish, prune, publish)]:
            done.result()
    assert ResultsDataset(filepath=place, credentials=credentials).load().run_id in folders(store)


def test_runs_without_a_manifest_go_after_a_day(place: str, credentials: dict[str, Any], store: Store) -> None:
    ResultsDataset(filepath=place, credentials=credentials).save(given())
    left = str(uuid.uuid4())
    store.write_json({}, f"{left}/input_profile.json")
    house = PublishedResults(store)
    for days, goes in ((0.5, []), (2, [left])):
        listing = Listing(store.now() + days * DAY, house.pointer(), files=store.entries())
        made = plan(listing, Limits(10, 30))
        assert [thing.name for thing in made.going("unfinished")] == goes
    assert house.remove(goes) == goes
    assert left not in folders(store)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hours from now, by the clock of the store."""
    monkeypatch.setattr(s3_module.S3Store, "now", lambda self: time.time() + 7_200)


@pytest.mark.slow
@pytest.mark.e2e
def test_the_command_on_servers(trained: MinioProject, later: None) -> None:
    from click.testing import CliRunner
    from kedro.framework.startup import bootstrap_project

    from churn.cli import cli
    from tests.conftest import ROOT

    trained.run("inference")
    trained.run("inference", "monitoring")
    current, before = trained.manifest(), folders(trained.results)
    assert len(before) >= 3
    bootstrap_project(ROOT)
    limits = ("--keep", "1", "--older-than", "0")
    options = ["prune", "--conf-source", str(trained.project.conf), "--env", "minio", *limits]
    runs = len(trained.run_statuses())
    settings = trained.stack.settings
    artifacts = open_store(f"s3://{settings.artifacts}", trained.stack.credentials(settings.admin))
    stored = len(artifacts.names())
    done = CliRunner().invoke(cli, [*options, "--yes"])
    assert done.exit_code == 0, done.output
    assert folders(trained.results) == {current["run_id"]}
    assert trained.manifest() == current
    assert len(trained.run_statuses()) < runs
    assert len(artifacts.names()) <= stored
    # The champion and the run that trained it are there.
    trained.run("inference", "monitoring")
    champion = trained.client.get_model_version_by_alias(f"churn_{trained.name}", "champion")
    assert trained.client.get_run(str(champion.run_id)).info.lifecycle_stage == "active"

"""The published score of an account: found by its id, from the run that the pointer names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from churn.config import Parameters
from churn.model import ChurnModel
from churn.serving.published import PublishedScores, Run
from churn.serving.results import StoredResults
from tests.conftest import Project
from tests.serving.driving import Driven


class FakeResults:
    def __init__(self) -> None:
        self.scores: dict[str, dict[str, float]] = {}
        self.valid: dict[str, list[str]] = {}
        self.pointer: str | None = None
        self.silent = False
        self.read = 0

    def publish(self, run_id: str, scores: dict[str, float], *older: str) -> None:
        self.scores[run_id], self.valid[run_id], self.pointer = scores, [*older, run_id], run_id

    def current(self) -> str | None:
        if self.silent:
            raise OSError("no answer")
        return self.pointer

    def runs(self, run_id: str) -> list[Run]:
        return [Run(each, f"as of {each}", f"at {each}") for each in self.valid[run_id]]

    def batches(self, run_id: str) -> Iterator[list[list[Any]]]:
        self.read += 1
        for account, probability in self.scores[run_id].items():
            yield [[account], [probability], [0], ["low"], ["7"]]


def test_lookups_follow_the_pointer(tmp_path: Path) -> None:
    results = FakeResults()
    published = PublishedScores(results, tmp_path)
    published.look()
    assert (published.run_id, published.find("a"), published.error) == (None, None, None)
    results.publish("one", {"a": 0.1, "b": 0.2})
    published.look()
    assert published.find("a") == {
        "id": "a",
        "probability": 0.1,
        "prediction": 0,
        "risk_band": "low",
        "model_version": "7",
        "run_id": "one",
        "as_of": "as of one",
        "published_at": "at one",
    }
    assert published.find("c") is None
    # A run of what is new: of an account in both, the newest counts.
    results.publish("two", {"b": 0.3, "c": 0.4}, "one")
    published.look()
    found = {name: published.find(name) for name in "abc"}
    assert {name: each and (each["probability"], each["run_id"]) for name, each in found.items()} == {
        "a": (0.1, "one"),
        "b": (0.3, "two"),
        "c": (0.4, "two"),
    }
    results.silent = True
    published.look()
    assert published.error == "no answer"
    assert published.find("b") is not None
    results.silent = False
    for number in range(5):
        results.publish(f"more {number}", {"a": 0.5})
        published.look()
    assert published.error is None
    assert len(list(tmp_path.glob("*.sqlite"))) <= 2
    assert published.find("b") is None
    published.close()


def test_workers_share_a_copy(tmp_path: Path) -> None:
    results = FakeResults()
    results.publish("one", {"a": 0.1})
    workers = [PublishedScores(results, tmp_path) for _ in range(3)]
    for worker in workers:
        worker.look()
        assert worker.find("a") is not None
    assert results.read == 1
    (tmp_path / "x.part").write_bytes(b"left by a copy that was killed")
    results.publish("two", {"b": 0.1})
    workers[0].look()
    assert workers[0].find("b") is not None
    assert workers[1].find("a") is not None


def test_published_results_of_a_project(
    finished: Project, tmp_path: Path, parameters: Parameters, model: ChurnModel
) -> None:
    import pandas as pd

    published = PublishedScores(StoredResults(str(finished.results), None), tmp_path)
    published.look()
    assert published.error is None
    driven = Driven(parameters, model, published=published)
    table = pd.read_parquet(finished.run_folder() / "inference_result.parquet")
    for row in table.sample(20, random_state=1).itertuples(index=False):
        answer = driven.get(f"/v1/accounts/{quote(row.account_id, safe='')}")
        assert answer.status == 200
        content = answer.json
        assert content["probability"] == row.probability
        assert content["run_id"] == finished.run_folder().name
        assert (content["prediction"], content["risk_band"]) == (row.prediction, row.risk_band)
    answer = driven.get("/v1/accounts/nobody")
    assert (answer.status, answer.json["error"]["code"]) == (404, "unknown_account")
    assert driven.get("/v1/accounts/%FF").status == 400
    published.close()


def test_ids_of_any_form_are_found(tmp_path: Path, parameters: Parameters, model: ChurnModel) -> None:
    results = FakeResults()
    names = ["a/b", "ä ö", "%41", "x' OR '1'='1", "-", "0017"]
    results.publish("one", dict.fromkeys(names, 0.5))
    published = PublishedScores(results, tmp_path)
    driven = Driven(parameters, model, published=published)
    assert driven.get("/v1/accounts/x").status == 503
    published.look()
    for name in names:
        assert driven.get(f"/v1/accounts/{quote(name, safe='')}").json["id"] == name
    assert driven.get("/v1/accounts/17").status == 404
    published.close()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.serving.published.PATIENCE", 5.0)

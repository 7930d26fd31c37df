"""Following the champion: a new version is tried and swapped, a faulty one is refused, and silence changes nothing."""

import gc
import json
import weakref
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from churn.config import Parameters
from churn.model import ChurnModel
from churn.model.calibration import Calibration
from churn.serving.canaries import canary_faults, canary_rows
from churn.serving.champion import AGAIN, ModelRegistry
from churn.tables import check_accounts
from tests.serving.driving import Driven, records_of


@pytest.fixture(scope="module")
def other(model: ChurnModel) -> ChurnModel:
    """Another model: the same trees with another threshold and other bands."""
    return replace(model, threshold=0.123)


def test_a_new_champion_is_used_and_a_rollback_too(
    driven: Driven, model: ChurnModel, other: ChurnModel, accounts: pd.DataFrame
) -> None:
    rows = records_of(accounts.head(50))
    driven.registry.add("2", other)
    assert driven.score(rows).json["model"]["version"] == "1"  # nothing has looked yet
    driven.champion.look()
    content = driven.score(rows).json
    assert content["model"]["version"] == "2"
    assert content["model"]["sha256"] == other.sha256
    assert [score["prediction"] for score in content["scores"]] == other.score(accounts.head(50))["prediction"].tolist()
    assert driven.get("/v1/model").json["threshold"] == 0.123
    assert driven.get("/openapi.json").json["info"]["description"].endswith("version 2.")
    driven.registry.alias = "1"
    driven.champion.look()
    assert driven.get("/v1/model").json["threshold"] == model.threshold
    loads = driven.registry.loads
    driven.champion.look()
    assert driven.registry.loads == loads


def test_a_swap_in_the_middle_of_a_request_does_not_change_its_answer(
    driven: Driven, other: ChurnModel, accounts: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, rows = driven.service.scorer, records_of(accounts.head(20))
    before = driven.score(rows).json
    inner = scorer.score

    def slow(*arguments: Any) -> Any:
        driven.registry.add("2", other)
        driven.champion.look()
        return inner(*arguments)

    monkeypatch.setattr(scorer, "score", slow)
    during = driven.score(rows).json
    monkeypatch.undo()
    assert (during["scores"], during["model"]) == (before["scores"], before["model"])
    assert driven.score(rows).json["model"]["version"] == "2"


class Broken:
    """A model whose scores are not those of its own tables."""

    def __init__(self, model: ChurnModel) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def use(self, **_: Any) -> None: ...

    def score(self, accounts: pd.DataFrame) -> pd.DataFrame:
        scores = self._model.score(accounts)
        scores["probability"] += 0.001
        return scores


def test_a_faulty_version_is_refused_and_the_one_in_use_stays(
    driven: Driven, model: ChurnModel, parameters: Parameters, accounts: pd.DataFrame
) -> None:
    rows = records_of(accounts.head(5))
    expected = driven.score(rows).json["scores"]
    schema = parameters.accounts.model_copy(update={"categorical": parameters.accounts.categorical[:1]})
    faulty: dict[str, tuple[Any, str]] = {
        "2": (ValueError("the model's files do not match"), "do not match"),
        "3": (replace(model, encoder=replace(model.encoder, vocabularies={})), "does not know"),
        "4": (Broken(model), "differ"),
        "5": (object(), "AttributeError"),
        "7": (replace(model, calibration=Calibration("sigmoid", 1.1, 0.0)), "instead of"),
        "6": (replace(model, schema=schema, encoder=replace(model.encoder, numeric=())), ""),
    }
    for version, (candidate, says) in faulty.items():
        driven.registry.versions[version], driven.registry.alias = candidate, version
        driven.champion.look()
        ready = driven.get("/readyz")
        assert ready.status == 200
        assert ready.json["status"] == "ready, with faults"
        assert ready.json["refused"]["version"] == version
        assert says in ready.json["refused"]["reason"]
        assert driven.score(rows).json["scores"] == expected
        assert driven.get("/v1/model").json["version"] == "1"
    loads = driven.registry.loads
    driven.champion.look()
    assert driven.registry.loads == loads  # not again at each look
    driven.now += AGAIN
    driven.champion.look()
    assert driven.registry.loads == loads + 1
    driven.registry.alias = "1"
    driven.champion.look()
    assert driven.get("/readyz").json["status"] == "ready"
    page = driven.get("/metrics").content.decode()
    assert 'churn_serve_models_total{result="refused"} 7.0' in page
    assert 'churn_serve_model_info{version="1"} 1.0' in page


def test_a_process_begins_with_the_last_sound_version(
    parameters: Parameters, model: ChurnModel, driven: Driven
) -> None:
    """Although a faulty one was loaded after it, and the registry is silent by now."""
    driven.registry.kept = driven.registry.versions["1"]
    driven.registry.add("2", replace(model, calibration=Calibration("sigmoid", 1.1, 0.0)))
    driven.champion.look()
    assert driven.get("/readyz").json["refused"]["version"] == "2"
    started = Driven(parameters, None)
    started.registry.kept, started.registry.silent = driven.registry.kept, True
    started.champion.begin()
    started.champion.look()
    assert started.get("/v1/model").json["version"] == "1"


def test_while_the_registry_is_silent_the_known_model_answers(
    parameters: Parameters, model: ChurnModel, accounts: pd.DataFrame
) -> None:
    driven = Driven(parameters, model)
    driven.registry.silent = True
    driven.champion.look()
    assert driven.get("/readyz").json == {
        "ready": True,
        "status": "ready, with faults",
        "version": "1",
        "registry": "MLflow does not answer",
    }
    assert driven.score(records_of(accounts.head(1))).status == 200
    driven.registry.silent = False
    driven.champion.look()
    assert driven.get("/readyz").json["status"] == "ready"

    # The same at the start of a process: there is a copy, or there is none yet.
    started = Driven(parameters, None)
    started.registry.silent = True
    started.champion.begin()
    started.champion.look()
    assert (started.get("/readyz").status, started.get("/v2/health/ready").status) == (503, 503)
    assert (started.get("/livez").status, started.get("/v2/health/live").status) == (200, 200)
    answer = started.score(records_of(accounts.head(1)))
    assert (answer.status, answer.json["error"]["code"], answer.headers["retry-after"]) == (503, "no_model", "5")
    started.registry.kept = driven.registry.versions["1"]
    started.champion.begin()
    assert started.get("/readyz").status == 200
    assert started.score(records_of(accounts.head(1))).status == 200


def test_one_that_ends_says_so_and_still_answers(driven: Driven, accounts: pd.DataFrame) -> None:
    driven.service.draining = True
    assert driven.get("/readyz").status == 503
    assert driven.get("/livez").status == 200
    answer = driven.score(records_of(accounts.head(1)))
    assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_canaries_are_accounts_of_the_model(model: ChurnModel) -> None:
    rows = canary_rows(model)
    assert len(check_accounts(pd.DataFrame(rows), model.schema, subject="canaries", labelled=False).accounts) == len(
        rows
    )
    assert len({json.dumps(row) for row in rows}) == len(rows) > 5
    assert canary_faults(model) == []


def test_a_model_without_stored_canaries_is_used(driven: Driven, model: ChurnModel, accounts: pd.DataFrame) -> None:
    """As models of earlier versions."""
    driven.registry.add("2", replace(model, canaries=None))
    driven.champion.look()
    assert driven.score(records_of(accounts.head(1))).json["model"]["version"] == "2"


def test_the_copy_is_read_without_mlflow(tmp_path: Any, model: ChurnModel) -> None:
    from churn.registry.cache import ModelCache

    registry = ModelRegistry("models:/churn@champion", str(tmp_path), "sqlite:///x.db")
    assert registry.copy() is None
    copies = ModelCache(tmp_path)
    model.save(tmp_path / "model")
    copies.keep(model.sha256, tmp_path / "model")
    copies.remember("sqlite:///x.db models:/churn@champion", "7", "1" * 32, model.sha256)
    found = registry.copy()
    assert found is not None
    assert (found.version, found.sha256) == ("7", model.sha256)
    copies.remember("sqlite:///x.db models:/churn@champion", "8", "2" * 32, "0" * 64)
    assert registry.copy() is None
    registry.keep(found)
    kept = registry.copy()
    assert kept is not None
    assert kept.source == found.source
    (tmp_path / model.sha256 / "model.json").write_text("{}")
    with pytest.raises(ValueError, match="damaged"):
        registry.copy()


def test_a_former_model_is_kept_for_the_last_requests_and_then_gone(
    driven: Driven, other: ChurnModel, accounts: pd.DataFrame
) -> None:
    of_request: Any = driven.champion.require()
    used = weakref.ref(of_request)
    driven.score(records_of(accounts.head(1)), reasons=2)
    for path in ("/docs", "/v1/model", "/openapi.json"):
        assert driven.get(path).status == 200
    driven.registry.add("2", other)
    driven.champion.look()
    driven.champion.look()
    assert used() is of_request
    of_request = None
    assert used() is not None  # the request does not end it
    driven.champion.look()
    gc.collect()
    assert used() is None

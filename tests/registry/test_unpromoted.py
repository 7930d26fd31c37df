"""No champion, because gates have refused the version that was trained last: who says so, on a real MLflow store (SQLite)."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import mlflow
import pytest

from churn.config import Parameters
from churn.errors import ChurnError
from churn.model import ChurnModel
from churn.operations.status.tracked import read_tracked
from churn.operations.watch_project import Waiting
from churn.registry import flavor, versions
from churn.registry.unpromoted import CARD, Unpromoted, card_of, ways_out
from churn.registry.uri import NoSuchModelError, last_unpromoted
from churn.serving.champion import Champion, ModelRegistry
from churn.training.promotion import Gate, PromotionDecision

LEAK = "v9: predicts the outcome by itself (ROC AUC 0.995 alone, limit 0.98)"
GATES = (
    Gate("performance", True, None, -0.005, "there is no champion yet", checked=False),
    Gate("calibration", False, 0.07, 0.05, "the probabilities are off by 0.0700 on average (limit 0.05)"),
    Gate("leakage", False, 1.0, 0.0, LEAK),
)


def decision(sha256: str, *, promote: bool) -> PromotionDecision:
    gates = GATES[:1] if promote else GATES
    return PromotionDecision(promote, False, "Not promoted, 2 of 5 gates refused it", gates, sha256=sha256)


@pytest.fixture
def refused(tmp_path: Path, tracking: None, model: ChurnModel) -> str:
    """The content hash of a model that is the only one and was refused."""
    experiment = mlflow.MlflowClient().create_experiment("refused", artifact_location=str(tmp_path / "artifacts"))
    with mlflow.start_run(experiment_id=experiment):
        flavor.log_model(model, registered_model_name="churn")
        versions.record_decision("churn", "champion", decision(model.sha256, promote=False))
        mlflow.log_text("<html>", CARD)
    return model.sha256


def assert_says_why(message: str) -> None:
    assert "version 1, trained last, was not promoted: the gates calibration and leakage refused it" in message
    assert LEAK in message
    assert "off by 0.0700" in message
    for way in ("promotion.calibration_limit", "training.leakage.allowed", "promotion.force=true", f"artifacts/{CARD}"):
        assert way in message
    assert "the versions of 'churn' are" not in message


@pytest.mark.usefixtures("refused")
def test_loading_the_champion_and_rolling_back_say_which_gates_refused_it() -> None:
    with pytest.raises(NoSuchModelError) as caught:
        flavor.load_model("models:/churn@champion")
    assert_says_why(str(caught.value))
    with pytest.raises(ChurnError) as caught_too:
        versions.roll_back("churn", "champion")
    assert_says_why(str(caught_too.value))
    # It can be used by its number, and another alias has nothing to do with the gates.
    assert flavor.load_model("models:/churn/1").version == "1"
    with pytest.raises(NoSuchModelError, match="the versions of 'churn' are 1"):
        flavor.load_model("models:/churn@nobody")


def test_the_service_names_the_gates_and_nothing_of_the_table(
    refused: str, tmp_path: Path, parameters: Parameters
) -> None:
    registry = ModelRegistry("models:/churn@champion", str(tmp_path / "cache"), mlflow.get_tracking_uri())
    champion = Champion(registry, parameters.accounts)
    champion.look()
    assert champion.error is not None
    assert champion.error.endswith("the gates calibration and leakage refused it")
    assert "v9" not in champion.error  # /readyz is open
    with pytest.raises(ChurnError, match="the gates calibration and leakage refused it"):
        champion.require()
    versions.record_decision("churn", "champion", decision(refused, promote=True))
    champion.look()
    assert champion.require().model.version == "1"


def test_the_trigger_says_once_why_scoring_waits(refused: str, caplog: pytest.LogCaptureFixture) -> None:
    waiting = Waiting("churn")
    for _ in range(3):
        waiting.tell()
    (said,) = [record.getMessage() for record in caplog.records if "Inference waits" in record.getMessage()]
    assert_says_why(said)
    caplog.clear()
    versions.record_decision("churn", "champion", decision(refused, promote=True))
    waiting.tell()
    Waiting("never_trained").tell()
    assert "Inference waits" not in caplog.text


def test_the_status_reads_the_same_from_the_database(refused: str) -> None:
    address = mlflow.get_tracking_uri()
    found = read_tracked(address, "refused", "churn", {}).unpromoted
    assert found == last_unpromoted("churn")
    assert found is not None
    assert (found.version, set(found.gates)) == ("1", {"calibration", "leakage"})
    assert_says_why(str(found))
    assert read_tracked(address, "refused", "other", {}).unpromoted is None
    assert last_unpromoted("other") is None
    versions.record_decision("churn", "champion", decision(refused, promote=True))
    assert read_tracked(address, "refused", "churn", {}).unpromoted is None
    assert last_unpromoted("churn") is None


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.usefixtures("refused")
def test_the_status_reads_the_same_from_a_server(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, store = f"http://127.0.0.1:{port}", mlflow.get_tracking_uri()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--backend-store-uri", store], stdout=log, stderr=log, cwd=tmp_path, start_new_session=True
        )
    try:
        until, found = time.monotonic() + 120, None
        while found is None:
            assert time.monotonic() < until, (tmp_path / "server.log").read_text()
            time.sleep(0.2)
            with suppress(ChurnError):  # the first answers of a server take longer than the command waits
                found = read_tracked(address, "refused", "churn", {})
        assert found.unpromoted == last_unpromoted("churn") is not None
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def test_tags_of_other_decisions_are_no_refusal() -> None:
    assert Unpromoted.of("1", {}) is None
    assert Unpromoted.of("1", {"promotion": "promoted"}) is None
    overtaken = {"promotion": "not promoted", "promotion_reason": "Not promoted: version 2 became the champion"}
    found = Unpromoted.of("1", {**overtaken, "gate.leakage": "passed: no column gives the answer away"})
    assert found is not None
    assert found.gates == {}
    assert found.details[0] == overtaken["promotion_reason"]
    assert ways_out([]).startswith("train again")


def test_where_a_model_card_is(tmp_path: Path) -> None:
    assert card_of(None, "a1") is None
    assert card_of(str(tmp_path), "a1") is None
    file = tmp_path / "with space" / CARD
    file.parent.mkdir()
    file.write_text("<html>")
    assert card_of(str(file.parent), "a1") == card_of(file.parent.as_uri(), "a1") == str(file)
    assert card_of("mlflow-artifacts:/1/a1/artifacts", "a1") == f"{CARD} of the run a1 in MLflow"

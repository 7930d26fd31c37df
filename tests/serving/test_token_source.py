"""Tokens are changed without a restart; a faulty change is told, and the tokens of before hold."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from churn.config import Parameters
from churn.config.loader import ConfigLoader
from churn.config.secrets import REDACTION
from churn.model import ChurnModel
from churn.serving.token_source import FollowedTokens, TokenSource
from churn.serving.tokens import Tokens
from churn.settings import CONFIG_LOADER_ARGS
from tests.conftest import ROOT
from tests.serving.driving import Driven

OLD, NEW, FROM_FILE = "old-" + "o" * 20, "new-" + "n" * 20, "env-" + "e" * 20


class Followed:
    """A service whose tokens are in the files of a project."""

    def __init__(self, folder: Path, parameters: Parameters, model: ChurnModel, **serve: Any) -> None:
        shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
        self.file = folder / "conf/local/credentials.yml"
        self.file.parent.mkdir()
        self.write({"crm": {"token": OLD, "scopes": ["read"]}})
        self.dotenv = folder / ".env"
        loader = ConfigLoader(str(folder / "conf"), env="local", **CONFIG_LOADER_ARGS)
        self.source = TokenSource.of(loader)
        self.driven = Driven(parameters, model, serve=serve)
        self.driven.service.tokens = Tokens(loader["credentials"]["serve"])
        self.tokens = FollowedTokens(self.source, self.driven.service)

    def write(self, tokens: Any) -> None:
        self.put(yaml.safe_dump({"serve": {"tokens": tokens}}))

    def put(self, text: str) -> None:
        """Write the file; its time is another one each time, however fast the clock of the disk is."""
        before = self.file.stat().st_mtime_ns if self.file.exists() else 0
        self.file.write_text(text)
        os.utime(self.file, ns=(before + 10**9, before + 10**9))

    def status(self, token: str) -> int:
        return self.driven.get("/v1/model", token=token).status

    def ready(self) -> Any:
        return self.driven.get("/readyz").json


@pytest.fixture
def followed(tmp_path: Path, parameters: Parameters, model: ChurnModel) -> Iterator[Followed]:
    known = set(REDACTION._secrets)
    made = Followed(tmp_path, parameters, model)
    yield made
    made.driven.service.close()
    REDACTION._secrets = known


def test_tokens_are_rotated_without_a_restart(followed: Followed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    followed.tokens.look()
    assert (followed.status(OLD), followed.status(NEW)) == (200, 401)
    assert caplog.text == ""  # nothing has changed
    followed.write({"crm": {"token": [NEW, OLD], "scopes": ["read"]}})
    assert followed.status(NEW) == 401
    followed.tokens.look()
    assert (followed.status(OLD), followed.status(NEW)) == (200, 200)
    followed.write({"crm": {"token": NEW, "scopes": ["read"]}, "desk": {"token": OLD, "scopes": ["score"]}})
    followed.tokens.look()
    assert (followed.status(OLD), followed.status(NEW)) == (403, 200)
    assert "2, for crm, desk" in caplog.text
    # Through a variable in .env, as in the base environment.
    followed.write({"crm": {"token": "${env:CRM_TOKEN}"}})
    followed.dotenv.write_text(f"CRM_TOKEN={FROM_FILE}\n")
    followed.tokens.look()
    assert (followed.status(FROM_FILE), followed.status(NEW)) == (200, 401)
    assert followed.ready()["status"] == "ready"
    assert not {OLD, NEW, FROM_FILE} & set(caplog.text.split())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("serve: {tokens: {crm: {token: short-one}}}", "crm: the token has fewer than 16 characters"),
        (f"serve: {{tokens: {{a: {{token: {NEW}}}, b: {{token: {NEW}}}}}}}", "b: the token occurs twice"),
        (f"serve: {{tokens: {{a: {{token: {NEW}, scopes: [all]}}}}}}", "there is no scope all"),
        (f"serve:\n  tokens:\n    a: {{token: {NEW}", "Error"),
        ("\x00\x01 not: yaml: at: all", "Error"),
        ("", "no token is left"),
        ("serve: {tokens: {}}", "no token is left"),
        ("serve: {tokens: [a]}", "tokens is not a mapping"),
        ("serve: {tokens: {a: {token: '${env:NO_SUCH_VARIABLE_HERE}'}}}", "NO_SUCH_VARIABLE_HERE is not set"),
    ],
)
def test_a_faulty_change_is_told_once_and_the_old_tokens_hold(
    followed: Followed, caplog: pytest.LogCaptureFixture, text: str, said: str
) -> None:
    followed.put(text)
    for _ in range(3):
        followed.tokens.look()
    assert (followed.status(OLD), followed.status(NEW)) == (200, 401)
    assert caplog.text.count("cannot be read anew") == 1
    assert said in caplog.text
    assert NEW not in caplog.text
    ready = followed.ready()
    assert (ready["ready"], ready["status"]) == (True, "ready, with faults")
    assert "crm" not in ready["tokens"]
    followed.write({"crm": {"token": NEW, "scopes": ["read"]}})
    followed.tokens.look()
    assert (followed.status(OLD), followed.status(NEW)) == (401, 200)
    assert followed.ready()["status"] == "ready"


def test_a_missing_file_and_a_signal(followed: Followed) -> None:
    followed.file.unlink()
    followed.tokens.look()
    assert followed.status(OLD) == 200
    assert "tokens" in followed.ready()
    # The same size and time, as of a mounted file: only a signal makes it read.
    followed.write({"crm": {"token": OLD, "scopes": ["read"]}})
    followed.tokens.look()
    state = followed.file.stat()
    followed.file.write_text(followed.file.read_text().replace(OLD, NEW))
    os.utime(followed.file, ns=(state.st_atime_ns, state.st_mtime_ns))
    followed.tokens.look()
    assert followed.status(OLD) == 200
    followed.tokens.force()
    followed.tokens.look()
    assert followed.status(OLD) == 401


def test_the_rate_of_a_name_goes_on(tmp_path: Path, parameters: Parameters, model: ChurnModel) -> None:
    followed = Followed(tmp_path, parameters, model, rate=0.001, burst=3)

    def ask(token: str) -> int:
        return followed.driven.get("/v1/accounts/x", token=token).status

    assert [ask(OLD) for _ in range(4)] == [503, 503, 503, 429]
    followed.write({"crm": {"token": NEW, "scopes": ["read"]}, "desk": {"token": OLD, "scopes": ["read"]}})
    followed.tokens.look()
    assert ask(NEW) == 429
    assert ask(OLD) == 503
    followed.driven.service.close()


def test_beyond_this_machine_a_token_stays_needed(tmp_path: Path, parameters: Parameters, model: ChurnModel) -> None:
    followed = Followed(tmp_path, parameters, model, host="192.0.2.1")
    followed.write({})
    followed.tokens.look()
    assert followed.status(OLD) == 200
    assert "tokens" in followed.ready()
    followed.driven.service.close()


def test_the_first_token_may_be_added_while_the_service_runs(
    tmp_path: Path, parameters: Parameters, model: ChurnModel
) -> None:
    followed = Followed(tmp_path, parameters, model)
    followed.driven.service.tokens = Tokens({})
    assert followed.status("") == 200
    followed.write({"crm": {"token": NEW, "scopes": ["read"]}})
    followed.tokens.look()
    assert (followed.status(""), followed.status(NEW)) == (401, 200)
    followed.driven.service.close()

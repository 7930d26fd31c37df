import logging

import pytest

from churn.config.secrets import Redaction, check_credentials, is_loopback
from churn.errors import FaultsError


def store(endpoint: str, key: str, secret: str) -> dict:
    return {"staging_store": {"key": key, "secret": secret, "client_kwargs": {"endpoint_url": endpoint}}}


GOOD = "d3b07384d113edec49eaa6238ad5ff00"


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"])
@pytest.mark.parametrize("secret", ["minio123", "", "x"])
def test_on_this_machine_any_credentials_do(endpoint: str, secret: str) -> None:
    check_credentials(store(endpoint, "minio", secret), "http://127.0.0.1:15000")


@pytest.mark.parametrize(
    ("key", "secret", "fault"),
    [
        ("", GOOD, "staging_store: key is empty"),
        ("churn-training", "", "staging_store: secret is empty"),
        ("minio", GOOD, "staging_store: key has a well-known value"),
        ("churn-training", "minio123", "staging_store: secret has a well-known value"),
        ("churn-training", "minioadmin", "staging_store: secret has a well-known value"),
        ("AKIAIOSFODNN7EXAMPLE", GOOD, "staging_store: key has a well-known value"),
        ("churn-training", "my-Example-secret", "staging_store: secret has a well-known value"),
        ("churn-training", "abc1234", "staging_store: secret has fewer than 8 characters"),
    ],
)
@pytest.mark.parametrize("endpoint", ["http://minio:9000", "https://store.internal", "http://10.0.0.7:9000"])
def test_elsewhere_credentials_must_be_ones_own(endpoint: str, key: str, secret: str, fault: str) -> None:
    with pytest.raises(FaultsError) as caught:
        check_credentials(store(endpoint, key, secret), "http://127.0.0.1:15000")
    assert f"{fault}; set another value" in str(caught.value)
    if secret:
        assert secret not in str(caught.value)


def test_all_faults_come_together() -> None:
    with pytest.raises(FaultsError) as caught:
        check_credentials(store("http://minio:9000", "minio", "minio123"), "")
    assert "credentials: 2 faults found" in str(caught.value)


def test_on_aws_a_role_may_stand_in_for_keys() -> None:
    check_credentials(store("", "", ""), "https://mlflow.internal")
    with pytest.raises(FaultsError, match="secret is empty"):
        check_credentials(store("", "AKIA2222222222222222", ""), "https://mlflow.internal")


@pytest.mark.parametrize(
    ("username", "password", "refused"),
    [("admin", "password1234", True), ("churn", "", True), ("", "", False), ("churn", GOOD, False)],
)
def test_the_password_of_mlflow(username: str, password: str, refused: bool) -> None:
    entry = {"mlflow": {"MLFLOW_TRACKING_USERNAME": username, "MLFLOW_TRACKING_PASSWORD": password}}
    check_credentials(entry, "http://127.0.0.1:15000")
    if refused:
        with pytest.raises(FaultsError, match="mlflow: MLFLOW_TRACKING_PASSWORD"):
            check_credentials(entry, "https://mlflow.internal")
    else:
        check_credentials(entry, "https://mlflow.internal")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:9000", True),
        ("http://127.3.2.1", True),
        ("sqlite:////tmp/mlflow.db", True),
        ("http://localhost.evil.example", False),
        ("http://192.168.0.1", False),
        ("", False),
        (None, False),
    ],
)
def test_loopback(address: str | None, expected: bool) -> None:
    assert is_loopback(address) is expected


def test_secrets_are_taken_out_of_what_is_logged() -> None:
    redaction = Redaction()
    redaction.learn(
        {"store": {"key": "public", "secret": "a/secret+of=mine", "client_kwargs": {"verify": ""}}},
        "https://user:another-secret@mlflow.internal",
    )
    logger = logging.getLogger("churn.test_secrecy")
    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    handler.addFilter(redaction)
    logger.addHandler(handler)
    logger.warning("key %s, secret %s", "public", "a/secret+of=mine")
    logger.warning("quoted a%2Fsecret%2Bof%3Dmine at https://user:another-secret@mlflow.internal")
    logger.warning("100 % harmless")
    logger.removeHandler(handler)
    assert seen == ["key public, secret ***", "quoted *** at https://user:***@mlflow.internal", "100 % harmless"]


def test_the_targets_of_the_delivery_are_checked_and_their_passwords_masked() -> None:
    bucket = {"key": "minio", "secret": GOOD, "client_kwargs": {"endpoint_url": "http://minio:9000"}}
    with pytest.raises(FaultsError, match=r"delivery.archive: key has a well-known value"):
        check_credentials({"delivery": {"archive": bucket, "crm": {"url": "x"}}}, "http://127.0.0.1:15000")
    check_credentials({"delivery": None}, "http://127.0.0.1:15000")
    redaction = Redaction()
    hook = {"webhook": "https://hooks.example/T0/a-secret-path", "secret": ["the-old-key-1", "the-new-key-2"]}
    redaction.learn({"delivery": {"crm": {"url": "postgresql://user:a%40long-word@db/crm"}, "hook": hook}})
    said = "a%40long-word a@long-word the-old-key-1 the-new-key-2 /T0/a-secret-path"
    assert redaction.text(said) == "*** *** *** *** ***"


def test_secrets_are_taken_out_of_nested_values() -> None:
    redaction = Redaction()
    redaction.learn({"store": {"secret": "a-secret-of-mine"}})
    given = {"params": {"uri": "x/a-secret-of-mine", "rows": 3}, "names": ("a-secret-of-mine", None)}
    assert redaction.within(given) == {"params": {"uri": "x/***", "rows": 3}, "names": ["***", None]}
    assert given["names"][0] == "a-secret-of-mine"

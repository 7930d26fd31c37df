"""Which files of a table are new, by what they hold."""

from churn.scoring import select
from churn.scoring.ledger import hash_of_files

FINGERPRINT = {"name": "t", "bytes": 3, "sha256": "abc", "files": {"1.csv": "a", "2.csv": "b", "3.csv": "c"}}


def test_everything_is_scored_unless_asked_otherwise() -> None:
    ledger = {"1.csv": {"sha256": "a", "run_id": "r-0"}}
    chosen = select(FINGERPRINT, ledger, "m")
    assert chosen.names == ["1.csv", "2.csv", "3.csv"]
    assert chosen.source == FINGERPRINT
    assert {entry["run_id"] for entry in chosen.ledger.values()} == {None}


def test_only_new_content_is_scored() -> None:
    ledger = {
        "1.csv": {"sha256": "a", "run_id": "r-0", "model": "m"},
        "2.csv": {"sha256": "changed since", "run_id": "r-1", "model": "m"},
        "other name.csv": {"sha256": "c", "run_id": "r-2"},
        "removed.csv": {"sha256": "d", "run_id": "r-2"},
    }
    chosen = select(FINGERPRINT, ledger, "m", incremental=True)
    assert chosen.names == ["2.csv"]
    assert chosen.source == {"name": "t", "sha256": hash_of_files({"2.csv": "b"}), "files": {"2.csv": "b"}}
    assert chosen.ledger == {
        "1.csv": {"sha256": "a", "run_id": "r-0", "model": "m"},
        "2.csv": {"sha256": "b", "run_id": None, "model": "m"},
        "3.csv": {"sha256": "c", "run_id": "r-2", "model": None},
    }


def test_what_another_model_scored_is_scored_again_if_asked_for() -> None:
    ledger = {
        "1.csv": {"sha256": "a", "run_id": "r-0", "model": "m"},
        "2.csv": {"sha256": "b", "run_id": "r-1", "model": "the one before"},
        "3.csv": {"sha256": "c", "run_id": "r-2"},  # of a version that did not note it
    }
    chosen = select(FINGERPRINT, ledger, "m", incremental=True, rescore=True)
    assert chosen.names == ["2.csv", "3.csv"]
    assert chosen.ledger["1.csv"] == {"sha256": "a", "run_id": "r-0", "model": "m"}
    assert chosen.ledger["2.csv"] == {"sha256": "b", "run_id": None, "model": "m"}
    assert select(FINGERPRINT, ledger, "m", incremental=True).names == []
    assert len(select(FINGERPRINT, ledger, "m", rescore=True).names) == 3


def test_nothing_new() -> None:
    ledger = {name: {"sha256": digest, "run_id": "r"} for name, digest in FINGERPRINT["files"].items()}  # type: ignore[attr-defined]
    assert select(FINGERPRINT, ledger, "m", incremental=True).names == []


def test_a_single_file_is_a_table_of_one() -> None:
    single = {"name": "t.csv", "bytes": 1, "sha256": "a"}
    chosen = select(single, {}, "m", incremental=True)
    assert chosen.names == [""]
    assert chosen.source == single
    assert chosen.ledger == {"t.csv": {"sha256": "a", "run_id": None, "model": "m"}}
    assert select(single, {"t.csv": {"sha256": "a", "run_id": "r"}}, "m", incremental=True).names == []

"""PostgreSQL: COPY and upserts in one transaction with the ledger, on a real server."""

import json
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from tests.delivery.killing import differences, kills_of_table, rows
from tests.delivery.test_sending import LISTED, SCORES, numbers
from tests.delivery.worlds import World, executed, list_of, rows_of, with_scores


def test_what_is_delivered_is_what_was_published(postgres: World) -> None:
    strange = ["=1+1", "a'b\"c\nd,e;f\\", "\u0645\u0631\u062d\u0628\u0627\U0001f600", " ", "NULL", "\\N", "\\.", "\t"]
    scores = SCORES.set_column(0, "account_id", pa.array([*strange, *SCORES["account_id"].to_pylist()[len(strange) :]]))
    listed = list_of(scores, 900)
    texts = ["", None, "\\.", "\\N", 'say "no"', "line\r\nbreak", *["x"] * 894]
    listed = listed.set_column(7, "reason_1", pa.array(texts))
    postgres.publish(scores, listed)
    assert numbers(postgres.deliver()) == (1000, 0, 0, 0)
    assert differences(postgres) == []
    assert numbers(postgres.deliver()) == (0, 0, 1000, 0)
    postgres.publish(with_scores(scores.slice(4), [1, 2, 3], 0.125), listed)
    assert numbers(postgres.deliver()) == (0, 3, 993, 4)
    assert differences(postgres) == []
    postgres.target["on_removed"] = "delete"
    postgres.publish(scores.slice(300), listed)
    postgres.deliver()
    assert len(rows(postgres)) == 704  # those that were marked stay


def test_a_table_may_have_types_of_its_own(postgres: World) -> None:
    ids = [f"A0000000-0000-4000-8000-{number:012X}" for number in range(1000)]
    scores = SCORES.set_column(0, "account_id", pa.array(ids))
    postgres.target |= {"table": f"uuid_{postgres.target['name']}", "columns": [{"source": "account_id", "name": "id"}]}
    postgres.target["columns"] += [
        {"source": "probability", "name": "Risk"},
        {"source": "removed"},
        {"source": "as_of"},
    ]
    executed(
        postgres.credentials["url"],
        f'CREATE TABLE {postgres.target["table"]} (id uuid PRIMARY KEY, "Risk" numeric(4, 3), removed boolean, as_of date)',
    )
    postgres.publish(scores, list_of(scores, 10))
    assert numbers(postgres.deliver()) == (1000, 0, 0, 0)
    assert numbers(postgres.deliver()) == (0, 0, 1000, 0)
    postgres.publish(scores.slice(2), list_of(scores, 10))
    assert numbers(postgres.deliver()) == (0, 0, 998, 2)
    found = rows_of(postgres.credentials["url"], postgres.target["table"], "id")
    assert sum(row["removed"] for row in found.values()) == 2


def test_rejected_rows_are_listed_and_the_others_taken(postgres: World) -> None:
    postgres.target |= {"table": f"short_{postgres.target['name']}", "batch": 300}
    postgres.target["columns"] = [{"source": name} for name in ("account_id", "probability", "risk_band", "removed")]
    executed(
        postgres.credentials["url"],
        f"CREATE TABLE {postgres.target['table']} (account_id varchar(36) PRIMARY KEY, probability float8, "
        "risk_band text CHECK (risk_band <> 'odd'), removed boolean)",
    )
    ids = SCORES["account_id"].to_pylist()
    ids[5], ids[600] = "x" * 37, "nul\x00"
    bands = SCORES["risk_band"].to_pylist()
    bands[999] = "odd"
    bad = SCORES.set_column(0, "account_id", pa.array(ids)).set_column(3, "risk_band", pa.array(bands))
    postgres.publish(bad, LISTED)
    outcome = postgres.deliver()
    assert outcome.counts.rejected == 3
    words = {row["id"]: row["words"] for row in map(json.loads, postgres.rejects.read_text().splitlines())}
    assert set(words) == {ids[5], ids[600], ids[999]}
    assert "too long" in words[ids[5]]
    assert "risk_band_check" in words[ids[999]]
    assert len(rows(postgres)) == 997


def test_a_damaged_ledger_is_made_again_from_the_table(postgres: World) -> None:
    postgres.publish(SCORES, LISTED)
    postgres.deliver()
    executed(postgres.credentials["url"], f"ALTER TABLE churn_held_{postgres.target['name']} DROP COLUMN score")
    postgres.publish(with_scores(SCORES.slice(2), 0, 0.125), LISTED)
    assert numbers(postgres.deliver()) == (0, 1, 997, 2)
    assert numbers(postgres.deliver()) == (0, 0, 998, 0)
    assert differences(postgres) == []


def test_a_delivery_waits_for_no_server_and_shows_no_password(postgres: World) -> None:
    postgres.credentials = {"url": "postgresql+psycopg://user:a-secret-word@127.0.0.1:9/crm"}
    postgres.publish(SCORES, LISTED)
    outcome = postgres.deliver()
    assert outcome.status == "failed"
    assert "onnection" in outcome.reason
    assert "a-secret-word" not in str(outcome.as_dict())


def test_a_connection_that_is_cut_costs_a_batch_and_no_more(postgres: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the server was restarted in the middle."""
    from churn.delivery.postgres import PostgresSession

    postgres.target["batch"] = 100
    postgres.publish(SCORES, LISTED)
    write, calls = PostgresSession._write, []

    def cut(session: PostgresSession, batch: Any) -> None:
        calls.append(batch)
        if len(calls) == 4:
            mine = session._raw.info.backend_pid
            with psycopg.connect(postgres.credentials["url"].replace("+psycopg", ""), autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (mine,))
        write(session, batch)

    monkeypatch.setattr(PostgresSession, "_write", cut)
    outcome = postgres.deliver()
    assert outcome.status == "failed"
    assert len(rows(postgres)) == 300
    assert numbers(postgres.deliver()) == (700, 0, 300, 0)
    assert differences(postgres) == []


def test_kills_at_random_moments_leave_what_the_next_delivery_completes(postgres: World) -> None:
    postgres.target["batch"] = 250
    hits, faults = kills_of_table(postgres, rows=3000, count=3, seed=20)
    assert faults == []
    assert hits

"""Tables: checked and never altered, rows that are rejected, ledgers that are damaged, deliveries at the same time."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect

from churn.config import SqlTarget
from churn.delivery import make_target
from churn.delivery.database_session import DatabaseSession
from churn.delivery.statements import _insert_or_update, upsert
from tests.delivery.test_sending import LISTED, SCORES, numbers, rows, same
from tests.delivery.worlds import World, executed, with_scores

COLUMNS = [{"source": name} for name in ("account_id", "probability", "risk_band", "delivered_at", "removed")]


def url(world: World) -> str:
    return str(world.credentials["url"])


def test_a_table_is_checked_and_each_difference_named(sqlite: World) -> None:
    executed(
        url(sqlite),
        "CREATE TABLE scores (account_id TEXT, probability TEXT, risk_band TEXT, owner TEXT NOT NULL, note TEXT)",
    )
    sqlite.target["columns"] = COLUMNS
    sqlite.publish(SCORES, LISTED)
    outcome = sqlite.deliver()
    assert outcome.status == "failed"
    for words in ("no column delivered_at", "no column removed", "probability", "owner", "account_id", "unique"):
        assert words in outcome.reason
    assert not any(word in outcome.reason for word in ("note", "risk_band "))
    columns = [row[1] for row in sqlite3.connect(sqlite.folder / "crm.db").execute("PRAGMA table_info(scores)")]
    assert columns == ["account_id", "probability", "risk_band", "owner", "note"]


def test_a_table_of_ones_own_keeps_its_other_columns_and_rows(sqlite: World) -> None:
    account = SCORES["account_id"][0].as_py()
    executed(
        url(sqlite),
        "CREATE TABLE scores (account_id VARCHAR(80) UNIQUE, probability NUMERIC, risk_band TEXT, delivered_at TIMESTAMP,"
        " removed BOOLEAN, owner TEXT DEFAULT 'nobody' NOT NULL)",
        f"INSERT INTO scores (account_id, owner) VALUES ('{account}', 'Ada'), ('not scored', 'Bo')",  # noqa: S608
    )
    sqlite.target["columns"] = COLUMNS
    sqlite.publish(SCORES, LISTED)
    assert numbers(sqlite.deliver()) == (1000, 0, 0, 0)
    found = rows(sqlite)
    assert (len(found), found[account]["owner"], found[account]["risk_band"]) == (
        1001,
        "Ada",
        SCORES["risk_band"][0].as_py(),
    )
    assert found["not scored"]["removed"] is None
    sqlite.publish(SCORES.slice(1), LISTED)
    assert numbers(sqlite.deliver())[3] == 1
    assert (rows(sqlite)[account]["owner"], rows(sqlite)[account]["removed"]) == ("Ada", 1)


def test_without_create_a_missing_table_is_a_fault(sqlite: World) -> None:
    sqlite.target["create"] = False
    sqlite.publish(SCORES, LISTED)
    assert "there is no table scores" in sqlite.deliver().reason


def test_rejected_rows_are_listed_with_the_words_of_the_database(sqlite: World) -> None:
    executed(
        url(sqlite),
        "CREATE TABLE scores (account_id TEXT PRIMARY KEY, probability REAL CONSTRAINT plausible CHECK (probability < 0.99),"
        " risk_band TEXT, delivered_at TIMESTAMP, removed BOOLEAN)",
    )
    sqlite.target["columns"] = COLUMNS
    bad = with_scores(SCORES, [7, 8, 700], 0.995)
    sqlite.publish(bad, LISTED)
    expected = {
        account
        for account, value in zip(bad["account_id"].to_pylist(), bad["probability"].to_pylist(), strict=True)
        if value >= 0.99
    }
    outcome = sqlite.deliver()
    assert outcome.counts.rejected == len(expected) >= 3
    listed = [json.loads(line) for line in sqlite.rejects.read_text().splitlines()]
    assert {row["id"] for row in listed} == expected
    assert all("plausible" in row["words"] for row in listed)
    assert sqlite.rejects.stat().st_mode & 0o077 == 0
    assert set(rows(sqlite)) == set(bad["account_id"].to_pylist()) - expected
    assert numbers(sqlite.deliver())[0] == len(expected)  # the target does not hold them yet
    executed(url(sqlite), "DROP TABLE scores")
    executed(url(sqlite), "DROP TABLE churn_held_crm", "DROP TABLE churn_deliveries")
    sqlite.deliver()
    assert not sqlite.rejects.exists()


def test_a_target_that_rejects_too_much_is_given_up(sqlite: World) -> None:
    executed(
        url(sqlite),
        "CREATE TABLE scores (account_id TEXT PRIMARY KEY, probability REAL CHECK (probability > 2), risk_band TEXT,"
        " delivered_at TIMESTAMP, removed BOOLEAN)",
    )
    sqlite.target |= {"columns": COLUMNS, "rejects": 5}
    sqlite.publish(SCORES, LISTED)
    outcome = sqlite.deliver()
    assert (outcome.status, outcome.counts.rejected) == ("failed", 6)


def drop_ledger(place: Path) -> None:
    with sqlite3.connect(place) as database:
        database.execute("DROP TABLE churn_held_crm")


def spoil_ledger(place: Path) -> None:
    with sqlite3.connect(place) as database:
        database.execute("ALTER TABLE churn_held_crm RENAME COLUMN content TO other")


@pytest.mark.parametrize("damage", [drop_ledger, spoil_ledger])
def test_a_damaged_ledger_is_made_again_from_the_table(sqlite: World, damage: Callable[[Path], None]) -> None:
    executed(url(sqlite), "CREATE TABLE kept (x TEXT)")
    sqlite.publish(SCORES, LISTED)
    sqlite.deliver()
    executed(url(sqlite), "INSERT INTO scores (account_id, probability) VALUES ('of others', 0.5)")
    sqlite.publish(SCORES.slice(1), LISTED)
    sqlite.deliver()
    damage(sqlite.folder / "crm.db")
    changed = with_scores(SCORES.slice(3), 0, 0.125)
    sqlite.publish(changed, LISTED)
    assert sqlite.deliver(dry_run=True).counts.changed == 1
    assert numbers(sqlite.deliver()) == (0, 1, 996, 2)
    assert rows(sqlite)["of others"]["removed"] is None
    assert numbers(sqlite.deliver()) == (0, 0, 997, 0)


def test_without_a_mark_of_its_own_rows_a_damaged_ledger_is_a_dry_run(sqlite: World) -> None:
    sqlite.target |= {
        "columns": [{"source": "account_id"}, {"source": "probability"}, {"source": "removed"}],
        "first": "send",
    }
    sqlite.publish(SCORES, LISTED)
    sqlite.deliver(first="dry_run")
    drop_ledger(sqlite.folder / "crm.db")
    outcome = sqlite.deliver(first="dry_run")
    assert outcome.status == "dry_run"
    assert "damaged" in outcome.reason
    assert numbers(sqlite.deliver(first="send"))[0] == 1000
    assert numbers(sqlite.deliver(first="dry_run")) == (0, 0, 1000, 0)


def test_a_delivery_that_was_overtaken_ends(sqlite: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite.target["batch"] = 100
    sqlite.publish(SCORES, LISTED)
    write = DatabaseSession._write
    batches: list[Any] = []

    def overtaken(session: DatabaseSession, batch: Any) -> None:
        write(session, batch)
        batches.append(batch)

    monkeypatch.setattr(DatabaseSession, "_write", overtaken)
    held = DatabaseSession.held

    def begin_another(session: DatabaseSession) -> Any:
        found = held(session)
        if not batches and monkeypatch is not None:
            monkeypatch.setattr(DatabaseSession, "held", held)
            assert numbers(sqlite.deliver())[0] == 1000
        return found

    monkeypatch.setattr(DatabaseSession, "held", begin_another)
    outcome = sqlite.deliver()
    assert outcome.status == "failed"
    assert "another delivery" in outcome.reason
    assert len(batches) == 10
    same(sqlite, SCORES)


def test_a_database_without_an_upsert_gets_updates_and_inserts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn.delivery.statements._insert_or_update", lambda *_: None)
    engine = sa.create_engine(f"sqlite:///{tmp_path}/x.db")
    table = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Text, primary_key=True), sa.Column("n", sa.Integer))
    with engine.begin() as connection:
        table.create(connection)
        upsert(connection, table, [{"id": str(number), "n": number} for number in range(1200)], "id")
        upsert(connection, table, [{"id": str(number), "n": -1} for number in range(1100, 1300)], "id")
        upsert(connection, table, [], "id")
        found = connection.execute(sa.select(table.c.n)).scalars().all()
    assert (len(found), found.count(-1)) == (1300, 200)


@pytest.mark.parametrize(
    ("dialect", "words"),
    [
        (mysql.dialect(), "ON DUPLICATE KEY UPDATE n = VALUES(n)"),
        (postgresql.dialect(), "ON CONFLICT (id) DO UPDATE SET n = excluded.n"),
        (sqlite_dialect.dialect(), "ON CONFLICT (id) DO UPDATE SET n = excluded.n"),
    ],
)
def test_each_database_has_its_own_upsert(dialect: Any, words: str) -> None:
    """No server of MySQL runs here: this is what would be sent to it."""
    table = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Text, primary_key=True), sa.Column("n", sa.Integer))
    assert words in str(_insert_or_update(dialect.name, table, "id", ["n"]).compile(dialect=dialect))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "is empty"),
        ("nonsense", "no address"),
        ("klingon://x/y", "does not know"),
        ("mysql+pymysql://u:p@h/d", "pymysql"),
    ],
)
def test_what_is_wrong_with_an_address_is_told_before_anything_runs(tmp_path: Path, address: str, words: str) -> None:
    settings = SqlTarget(name="crm", kind="sql", table="t")
    (fault,) = make_target(settings, {"crm": {"url": address}}, tmp_path).faults()
    assert words in fault
    assert "delivery.crm.url" in fault


def test_a_database_that_cannot_be_opened_is_one_failed_target(tmp_path: Path) -> None:
    world = World(tmp_path, {"url": f"sqlite:///{tmp_path}/no/such/folder/crm.db"}, kind="sql", table="t")
    world.publish(SCORES, LISTED)
    outcome = world.deliver()
    assert outcome.status == "failed"
    assert "unable to open database file" in outcome.reason


def test_flagging_needs_a_flag(tmp_path: Path) -> None:
    columns = [{"source": "account_id"}]
    settings = {"name": "crm", "kind": "sql", "table": "t", "columns": columns}
    credentials = {"crm": {"url": f"sqlite:///{tmp_path}/crm.db"}}
    (fault,) = make_target(SqlTarget.model_validate(settings), credentials, tmp_path).faults()
    assert "on_removed" in fault
    assert not make_target(
        SqlTarget.model_validate({**settings, "on_removed": "delete"}), credentials, tmp_path
    ).faults()

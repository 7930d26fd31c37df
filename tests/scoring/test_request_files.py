"""Segments of the log are merged without losing or doubling a row, wherever the merge is stopped."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from churn.config import AccountSchema
from churn.model import ChurnModel
from churn.scoring import request_files
from churn.scoring.request_files import (
    INDEX,
    MERGED,
    SILENCE,
    can_be_merged,
    days_of,
    end_of,
    merge_day,
    notes_of,
    read_segments,
    remove_day,
    segments,
)
from churn.stores import DamagedError, Entry, Store
from tests.scoring.logged import DAY, Logging, at, named


@pytest.fixture(scope="module")
def accounts(canonical: pd.DataFrame, schema: AccountSchema) -> pd.DataFrame:
    return canonical.drop(columns=schema.label.column).head(300)


@pytest.fixture
def service(store: Store, model: ChurnModel) -> Logging:
    return Logging(store, named(model, "1"))


def files_of(store: Store) -> dict[str, Entry]:
    return days_of(store.entries()).get(DAY, {})


def rows_of(store: Store) -> list[tuple[str, int]]:
    """What identifies the rows that count, in their order."""
    names = [f"{DAY}/{name}" for name in segments(store, DAY, files_of(store))]
    tables = [found.table for _, found in read_segments(store, names) if not isinstance(found, Exception)]
    table = pa.concat_tables([each.select(["request_id", "row"]) for each in tables])
    return list(zip(table["request_id"].to_pylist(), table["row"].to_pylist(), strict=True))


def fill(service: Logging, accounts: pd.DataFrame, count: int = 6) -> None:
    size = len(accounts) // count
    for number in range(count):
        service.answer(accounts.iloc[number * size : (number + 1) * size], at(1 + number))


def test_segments_become_one_file_with_the_same_rows(
    store: Store, service: Logging, accounts: pd.DataFrame, tmp_path: Path
) -> None:
    fill(service, accounts)
    before = rows_of(store)
    names = segments(store, DAY, files_of(store))
    whole = pa.concat_tables([found.table for _, found in read_segments(store, [f"{DAY}/{each}" for each in names])])  # type: ignore[union-attr]
    done = merge_day(store, DAY, files_of(store))
    assert (done.sources, done.files, done.left) == (6, 1, ())
    [file] = (tmp_path / f"requests/{DAY}").glob("*.parquet")
    assert MERGED in file.name
    assert len(before) == 300
    assert rows_of(store) == before
    merged = parquet.read_table(file)
    assert merged.to_pandas().equals(whole.to_pandas())
    assert merged.schema.remove_metadata() == whole.schema.remove_metadata()
    assert notes_of(merged.schema).models == {"1": service.model.sha256}
    assert parquet.ParquetFile(file).num_row_groups == 1
    # A late segment, and then another one.
    service.answer(accounts.head(10), at(20))
    assert merge_day(store, DAY, files_of(store)).sources == 0
    service.answer(accounts.head(10), at(21))
    assert merge_day(store, DAY, files_of(store)).sources == 2
    assert len(rows_of(store)) == 320


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", range(14))
def test_a_merge_that_is_stopped_anywhere_loses_and_doubles_nothing(
    store: Store, service: Logging, accounts: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    fill(service, accounts, 5)
    before, calls = sorted(rows_of(store)), 0

    def stopping(inner: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step + 1:
                raise Killed
            return inner(*arguments, **options)

        return call

    kind = type(store)
    with monkeypatch.context() as patched:
        for name in ("writing", "write_json", "verify", "remove"):
            patched.setattr(kind, name, stopping(getattr(kind, name)))
        try:
            merge_day(store, DAY, files_of(store))
        except Killed:
            assert calls == step + 1
    assert sorted(rows_of(store)) == before
    merge_day(store, DAY, files_of(store))
    assert sorted(rows_of(store)) == before
    left = [name for name in files_of(store) if name.endswith(".parquet")]
    assert len(left) == 1, left


def test_of_two_merges_at_once_one_counts(
    store: Store, service: Logging, accounts: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(service, accounts)
    before, kind, other = sorted(rows_of(store)), type(store), list[Any]()
    inner = kind.update_json

    def overtaken(self: Store, *arguments: Any, **options: Any) -> Any:
        if not other:
            other.append(None)
            some = {name: entry for name, entry in files_of(self).items() if MERGED not in name}
            other[0] = merge_day(self, DAY, dict(list(some.items())[:4]))
        return inner(self, *arguments, **options)

    monkeypatch.setattr(kind, "update_json", overtaken)
    mine = merge_day(store, DAY, files_of(store))
    assert (other[0].files, mine.files) == (1, 0)
    monkeypatch.undo()
    assert sorted(rows_of(store)) == before


def test_a_merged_file_that_was_removed_leaves_its_sources(
    store: Store, service: Logging, accounts: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As when a process is suspended between writing the file and naming it, and another one tidies up."""
    fill(service, accounts)
    before, kind = sorted(rows_of(store)), type(store)
    inner = kind.update_json

    def late(self: Store, *arguments: Any, **options: Any) -> Any:
        document = inner(self, *arguments, **options)
        for file in (tmp_path / f"requests/{DAY}").glob(f"*{MERGED}*"):
            file.unlink()
        return document

    with monkeypatch.context() as patched:
        patched.setattr(kind, "update_json", late)
        assert merge_day(store, DAY, files_of(store)).files == 0
    assert sorted(rows_of(store)) == before
    assert merge_day(store, DAY, files_of(store)).sources == 6
    assert sorted(rows_of(store)) == before


def test_what_does_not_fit_together_stays_apart(
    store: Store, service: Logging, accounts: pd.DataFrame, model: ChurnModel, tmp_path: Path
) -> None:
    from dataclasses import replace

    fill(service, accounts, 3)
    [damaged, *_] = sorted((tmp_path / f"requests/{DAY}").glob("*.parquet"))
    fill(Logging(store, service.model, redact=("login_count_p1m",)), accounts.head(20), 2)
    fill(Logging(store, named(replace(model, threshold=0.1), "1"), sample=1.0), accounts.tail(20), 2)
    damaged.write_bytes(b"PAR1 damaged")
    before = sorted(rows_of(store))
    done = merge_day(store, DAY, files_of(store))
    assert len(done.left) == 1
    assert damaged.name in done.left[0]
    assert damaged.exists()
    assert sorted(rows_of(store)) == before
    found = [notes_of(parquet.read_schema(file)) for file in (tmp_path / f"requests/{DAY}").glob(f"*{MERGED}*")]
    assert sum(each.redact == ("login_count_p1m",) for each in found) == 1
    assert all(len(each.models) == 1 for each in found)


def test_files_do_not_grow_without_end(
    store: Store, service: Logging, accounts: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_files, "MERGED_ROWS", 100)
    monkeypatch.setattr(request_files, "AT_ONCE", 2)
    fill(service, accounts, 10)
    before = rows_of(store)
    assert merge_day(store, DAY, files_of(store)).files == 3
    assert rows_of(store) == before


def test_a_damaged_index_is_told_and_nothing_changes(
    store: Store, service: Logging, accounts: pd.DataFrame, tmp_path: Path
) -> None:
    fill(service, accounts)
    for content in ("", "[]", '{"merged": [1]}'):
        (tmp_path / f"requests/{DAY}/{INDEX}").write_text(content)
        names = sorted(files_of(store))
        with pytest.raises(DamagedError, match=INDEX):
            merge_day(store, DAY, files_of(store))
        assert sorted(files_of(store)) == names


def test_a_day_is_merged_when_nothing_comes_any_more() -> None:
    over = end_of(DAY)
    two = {"1.parquet": Entry(1, over - 60), "2.parquet": Entry(1, over - 30)}
    assert not can_be_merged(DAY, two, over - 3600)
    assert not can_be_merged(DAY, two, over + SILENCE)
    assert can_be_merged(DAY, two, over + SILENCE + 1)
    assert not can_be_merged(DAY, {**two, "3.parquet": Entry(1, over + SILENCE)}, over + SILENCE + 1)
    assert not can_be_merged(DAY, {"1.parquet": Entry(1, 0.0), INDEX: Entry(1, 0.0)}, over + 1e6)
    assert not can_be_merged(DAY + timedelta(days=9000), two, over + 1e6)


def test_only_days_are_days(store: Store, service: Logging, accounts: pd.DataFrame, tmp_path: Path) -> None:
    service.answer(accounts.head(2), at(1))
    for name in ("20260130", "2026-1-3", "2026-02-30", "..", "notes", "2026-W05-5"):
        if name != "..":
            (tmp_path / "requests" / name).mkdir()
            (tmp_path / "requests" / name / "x.parquet").write_bytes(b"")
    (tmp_path / "requests/2026-01-31").write_text("a file")
    assert list(days_of(store.entries())) == [DAY]
    assert list(days_of({"2026-01-30/a/b.parquet": Entry(1, 0.0)})) == [DAY]
    remove_day(store, DAY)
    assert days_of(store.entries()) == {}
    assert not (tmp_path / f"requests/{DAY}").exists()
    remove_day(store, date(2020, 1, 1))

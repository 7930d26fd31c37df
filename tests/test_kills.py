"""Kills at random moments, and whether the checks after them find what they look for."""

import json
import secrets
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests import kills
from tests.benchmarks.kills import KINDS, Row, as_markdown, main, shares
from tests.conftest import Project
from tests.kills import Announced


@pytest.fixture
def announced(copied: Project) -> Announced:
    return Announced(copied)


def rewrite(project: Project, **changes: object) -> None:
    file = project.results / "latest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


class TestChecks:
    def test_nothing_is_lost_where_nothing_was_changed(self, announced: Announced, copied: Project):
        assert announced.lost() == []
        assert announced.runs == {copied.run_folder().name}
        assert kills.leftovers(copied) == []

    def test_an_older_pointer_is_a_loss(self, announced: Announced, copied: Project):
        rewrite(copied, sequence=0)
        assert announced.lost() == ["latest.json has sequence 0, and had 1"]

    @pytest.mark.parametrize("content", [None, b"", b"{"])
    def test_no_pointer_is_a_loss(self, announced: Announced, copied: Project, content: bytes | None):
        if content is None:
            (copied.results / "latest.json").unlink()
        else:
            (copied.results / "latest.json").write_bytes(content)
        (fault,) = announced.lost()
        assert "no latest.json" in fault

    def test_results_that_differ_from_their_manifest_are_a_loss(self, announced: Announced, copied: Project):
        (copied.run_folder() / "retention_list.csv").write_text("other")
        assert "retention_list.csv" in announced.lost()[0]
        (copied.run_folder() / "retention_list.csv").unlink()
        assert "retention_list.csv" in announced.lost()[0]

    def test_what_a_killed_command_has_printed_counts(self, announced: Announced):
        run_id = "2b6a3f0e-0c0d-4c7e-9d0f-0123456789ab"
        announced.note(f"INFO     Scored: 500 accounts were scored; run {run_id[:20]}")
        assert announced.lost() == []
        announced.note(f"INFO     Scored: 500 accounts were scored: 4 at\n   risk; run {run_id}. \n")
        assert run_id in announced.lost()[0]

    def test_an_earlier_champion_is_a_loss(self, announced: Announced, copied: Project):
        database = copied.folder / "mlflow-artifacts/mlflow.db"
        database.parent.mkdir()
        with closing(sqlite3.connect(database)) as opened, opened:
            opened.execute("CREATE TABLE registered_model_aliases (alias TEXT, version INTEGER)")
            opened.execute("INSERT INTO registered_model_aliases VALUES ('champion', 3), ('other', 9)")
        announced.note()
        with closing(sqlite3.connect(database)) as opened, opened:
            opened.execute("UPDATE registered_model_aliases SET version = 2")
        assert announced.lost() == ["the champion is version 2, and was 3"]
        announced.forget()
        assert announced.lost() == []

    @pytest.mark.parametrize("content", [None, b"", b"no database"])
    def test_a_database_that_cannot_be_used_is_found(self, copied: Project, content: bytes | None):
        database = copied.folder / "mlflow-artifacts/mlflow.db"
        if content is not None:
            database.parent.mkdir()
            database.write_bytes(content)
        assert kills.faults_of_store(copied)
        assert database.exists() == (content is not None)

    def test_leftovers_are_found(self, copied: Project):
        unfinished = copied.results / "2b6a3f0e-0c0d-4c7e-9d0f-0123456789ab"
        (unfinished / "x").mkdir(parents=True)
        part = copied.staging / ".training_data.csv.0.part"
        journal = copied.folder / ".mlflow.db.0.part-journal"
        for file in (part, journal):
            file.touch()
        (copied.folder / ".ml-result.restoring").mkdir()
        (copied.folder / "cache/models/.0").mkdir(parents=True)
        left = {copied.folder / ".ml-result.restoring", copied.folder / "cache/models/.0", unfinished, part, journal}
        assert set(kills.leftovers(copied)) == left
        assert len(kills.litter(copied)) == len(left)
        kills.age_leftovers(copied)
        assert all(path.stat().st_mtime < 1_700_000_000 for path in left)

    def test_a_change_in_a_folder_is_seen(self, tmp_path: Path):
        changed = kills.changed(tmp_path)
        assert not changed()
        (tmp_path / "a").touch()
        assert changed()

    @pytest.mark.e2e
    def test_only_a_process_that_still_runs_is_killed(self, tmp_path: Path):
        with kills.running([sys.executable, "-c", "input()"], tmp_path / "log") as process:
            process.wait(60)
            assert not kills.kill(process)
        with kills.running([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log") as process:
            assert kills.kill(process)


def test_kills_are_shared_out_and_told_in_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert shares(200, list(KINDS)) == dict(zip(KINDS, [29, 29, 29, 29, 28, 28, 28], strict=True))
    rows = [Row("first", kills=2, moments=[0.31, 2.0], lost=1, seconds=61.0), Row("prune")]
    assert as_markdown(rows).splitlines()[2:] == [
        "| first | 2 | 0.3 to 2.0 s | 0 | 1 | 0 | 61 |",
        "| prune | 0 |  | 0 | 0 | 0 | 0 |",
        "| together | 2 | | 0 | 1 | 0 | 61 |",
    ]
    assert [row.is_met for row in rows] == [False, True]
    with pytest.raises(SystemExit):
        main(["--only", "first,last"])
    assert "there is no last; there are first" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.e2e
def test_after_kills_at_random_moments_the_next_run_works_and_nothing_is_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed = secrets.randbelow(1_000_000)
    # First starts, prunes and restores have tests of their own; the watch scores and monitors.
    some = ["training", "watch"]
    given = ["--only", ",".join(some), "--count", str(len(some)), "--seed", str(seed), "--at-once", "2"]
    assert main(given) == 0, f"seed {seed}"
    said = capsys.readouterr().out
    assert f"seed {seed}" in said
    assert "| together |" in said

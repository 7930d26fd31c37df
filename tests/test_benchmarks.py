"""What the benchmarks make of their figures: the table, the exit code and the page. Nothing is measured here."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.benchmarks.__main__ import BEGIN, BENCHMARKS, END, PACKAGES, PAGE, Benchmark, main, replaced
from tests.benchmarks.board import Kept, board, folds_of
from tests.benchmarks.peers import MEASURES, Fitter, fit_churn
from tests.benchmarks.public_tables import Table, public_table
from tests.benchmarks.results import Result, added, as_markdown, in_turns, ratio, read, report
from tests.benchmarks.small import Case, draws
from tests.benchmarks.wide import drawn_table

# A benchmark that has measured already.
MODULE = """
import sys
from pathlib import Path
from tests.benchmarks.results import Result, parser, report
options = parser("Measures nothing.")
options.add_argument("--rows", type=int, default=1000)
arguments = options.parse_args()
print("a line of its own")
sys.exit(report([Result(f"{{arguments.rows:,}} accounts", {value}, "s", 2.0)], arguments.json))
"""
Write = Callable[..., Benchmark]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module whose result is a value, or with other text."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(name: str, value: float = 1.0, text: str = MODULE) -> Benchmark:
        (tmp_path / f"made_{name}.py").write_text(text.format(value=value))
        return Benchmark(f"made_{name}", f"the work of {name}", 3, ("--rows", "10"))

    return write


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "page.md"
    file.write_text(f"before\n\n{BEGIN}\n\nold\n\n{END}\n\nafter\n")
    return file


class TestResults:
    @pytest.mark.parametrize(
        ("result", "line"),
        [
            (Result("a", 1.249, "x", 1.25), "| a | 1.25 x | at most 1.25 | met |"),
            (Result("a", 1.251, "x", 1.25), "| a | 1.25 x | at most 1.25 | **not met** |"),
            (Result("a", 49.9, "x", 50, is_least=True), "| a | 49.9 x | at least 50 | **not met** |"),
            (Result("a", 50, "x", 50, is_least=True), "| a | 50 x | at least 50 | met |"),
            (Result("a", 2345.6, "MiB"), "| a | 2,346 MiB |  |  |"),
            (Result("a", None, ""), "| a | failed |  | **not met** |"),
        ],
    )
    def test_a_line_says_what_was_measured_and_whether_it_is_met(self, result: Result, line: str):
        assert as_markdown([result]).splitlines()[2:] == [line]
        assert result.is_met == ("not met" not in line)

    def test_ways_take_turns_and_the_first_round_does_not_count(self):
        calls: list[str] = []
        times = in_turns({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=2)
        assert calls == list("ababab")
        assert {name: len(each) for name, each in times.items()} == {"a": 2, "b": 2}

    def test_rounds_are_compared_one_by_one(self):
        # The machine was three times as slow in the second round.
        assert ratio([2.0, 6.0, 2.2], [1.0, 3.0, 1.0]) == 2.0
        assert added([2.0, 6.0, 2.5], [1.0, 3.0, 1.0]) == 1.5

    def test_what_is_reported_is_read_again(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        results = [Result("a", 1.0, "s", 2.0), Result("b", 3.0, "s", 2.0)]
        assert report(results, tmp_path / "results.json") == 1
        assert read(tmp_path / "results.json") == results
        said = capsys.readouterr()
        assert said.out == as_markdown(results) + "\n"
        assert said.err == "not met: b\n"
        assert report(results[:1], None) == 0


class TestAllOfThem:
    def test_one_table_goes_to_the_page_and_to_json(self, write: Write, page: Path, capsys: pytest.CaptureFixture[str]):
        assert main([], [write("a"), write("b", 1.5)], page) == 0
        text = page.read_text()
        assert "old" not in text
        assert text.startswith(f"before\n\n{BEGIN}\n\nMeasured on ")
        assert text.endswith(
            "| 1,000 accounts | 1 s | at most 2 | met |\n| 1,000 accounts | 1.5 s | at most 2 | met |\n\n"
            f"{END}\n\nafter\n"
        )
        assert capsys.readouterr().out.strip() in text
        written = json.loads(page.with_suffix(".json").read_text())
        assert {"date", "processor", "cores", "memory", "Python", *PACKAGES} <= set(written["machine"])
        assert written["results"][1] == {
            "benchmark": "made_b",
            "work": "1,000 accounts",
            "value": 1.5,
            "unit": "s",
            "bound": 2.0,
            "is_least": False,
            "is_met": True,
        }

    def test_what_is_not_met_is_named(self, write: Write, page: Path, capsys: pytest.CaptureFixture[str]):
        assert main([], [write("a"), write("b", 2.5)], page) == 1
        assert capsys.readouterr().err.endswith("\nnot met: 1,000 accounts\n")
        assert "**not met**" in page.read_text()

    def test_a_benchmark_that_fails_is_a_row_and_the_others_run(
        self, write: Write, page: Path, capsys: pytest.CaptureFixture[str]
    ):
        assert main([], [write("a", text="raise SystemExit('no space left')"), write("b")], page) == 1
        assert "| `python -m made_a` | failed |  | **not met** |\n| 1,000 accounts | 1 s |" in page.read_text()
        said = capsys.readouterr().err
        assert "no space left" in said
        assert said.endswith("failed: `python -m made_a`\n")

    @pytest.mark.parametrize(
        ("given", "line"),
        [
            (["--only", "made_b"], "| 1,000 accounts | 1.5 s | at most 2 | met |"),
            (["--quick", "--only", "made_b"], "| 10 accounts | 1.5 s |  |  |"),
        ],
    )
    def test_a_part_is_printed_only(
        self, given: list[str], line: str, write: Write, page: Path, capsys: pytest.CaptureFixture[str]
    ):
        before = page.read_text()
        assert main(given, [write("a", 9.0), write("b", 1.5)], page) == 0
        assert capsys.readouterr().out.splitlines()[-1] == line
        assert page.read_text() == before
        assert not page.with_suffix(".json").exists()

    def test_an_unknown_name_is_refused(self, write: Write, page: Path, capsys: pytest.CaptureFixture[str]):
        with pytest.raises(SystemExit):
            main(["--only", "made_c"], [write("a"), write("b")], page)
        assert "there is no made_c; there are made_a, made_b" in capsys.readouterr().err

    def test_help_says_how_long_each_takes(self, capsys: pytest.CaptureFixture[str]):
        with pytest.raises(SystemExit, match="0"):
            main(["--help"])
        said = capsys.readouterr().out
        assert all(f"{each.name:<12} {each.minutes:>3} min" in said for each in BENCHMARKS)


def test_marks_that_are_not_there_are_an_error():
    with pytest.raises(ValueError, match="the page has no"):
        replaced(f"{END} {BEGIN}", "table")


def test_the_page_has_a_place_for_the_table_and_tells_of_every_benchmark():
    text = PAGE.read_text()
    assert replaced(text, "table") != text
    for each in BENCHMARKS:
        assert f": `{each.name}`\n" in text, f"docs/benchmarks.md has no section for {each.name}"
        assert (Path(__file__).parent / "benchmarks" / f"{each.name}.py").exists()


class TestBoard:
    """What is kept of the board's folds, and what is made of them."""

    @pytest.fixture
    def table(self) -> Table:
        return public_table("telco")

    def test_what_is_kept_is_not_measured_again(self, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(
            "tests.benchmarks.board.metadata.version", lambda _: "1.2"
        )  # CatBoost need not be installed
        few = table._replace(accounts=table.accounts.head(400))
        fitted: list[str] = []

        def fitter(name: str) -> Fitter:
            def fit(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
                fitted.append(name)
                rate = float((rows[table.schema.label.column]).mean())
                return lambda others: np.full(len(others), rate) + np.linspace(0, 0.01, len(others))

            return fit

        models = {name: fitter(name) for name in ("churn", "CatBoost", "logistic regression")}
        file = tmp_path / "kept/folds.jsonl"
        found = folds_of(few, models, 1, Kept(file))
        # One fit to warm up, and one a fold.
        assert [fitted.count(name) for name in models] == [6, 6, 6]
        # The two whose times are compared follow each other, and take turns to be first.
        one, other, last = models
        assert fitted[:9] == [one, one, other, other, last, last, other, one, last]
        fitted.clear()
        again = folds_of(few, models, 1, Kept(file))
        assert fitted == []
        pd.testing.assert_frame_equal(found, again)

        # A line is lost with the run that wrote it: the other of the two is measured again too, and nothing else.
        lines = file.read_bytes().splitlines(keepends=True)
        lost = next(place for place, line in enumerate(lines) if b'"churn"' in line and b'"fold": 4' in line)
        file.write_bytes(b"".join(lines[:lost] + lines[lost + 1 :]) + b'{"table": "te')
        folds_of(few, models, 1, Kept(file))
        assert sorted(fitted) == ["CatBoost", "CatBoost", "churn", "churn"]
        fitted.clear()
        assert len(folds_of(few, models, 1, Kept(file))) == 15
        assert fitted == []
        # Other rows are another table.
        folds_of(few._replace(accounts=table.accounts.head(300)), models, 1, Kept(file))
        assert len(fitted) == 18

    def test_tables_are_made_of_the_folds(self):
        values = {"churn": 0.8, "CatBoost": 0.7, "logistic regression": 0.75}
        folds = pd.DataFrame(
            {"table": name, "fold": fold, "model": model, "seconds": 1.0 + (model == "CatBoost"), "floor": 0.01}
            | {measure: 1 - auc if measure in ("log_loss", "brier") else auc + 0.01 * fold for measure in MEASURES}
            for name in ("one", "two")
            for fold in range(5)
            for model, auc in values.items()
        )
        made = board(folds, 1)
        first = made["roc_auc, 5 folds, 1 x"][0]
        assert first["best other"] == "logistic regression"
        assert first["difference"] == "+0.0500 ± 0.0000"
        [summary] = made["summary"]
        assert summary["mean ROC AUC minus the best other"] == pytest.approx(0.05)
        assert summary["time beside CatBoost, median"] == pytest.approx(0.5)
        own, catboost, _ = made["over all tables"]
        assert (own["wins roc_auc"], own["rank log_loss"], catboost["rank roc_auc"]) == (2, 1.0, 3.0)

    @pytest.mark.parametrize("case", [Case(200), Case(1000, 0.01)])
    def test_small_samples_have_the_rate_that_is_asked_for(self, table: Table, case: Case):
        for train, rest in draws(table, case, 3):
            assert len(train) == case.rows
            rate = table.labels.mean() if case.rate is None else case.rate
            for rows in (train, rest):
                assert rows[table.schema.label.column].astype(float).mean() == pytest.approx(rate, abs=0.003)
            assert not set(train["row_id"]) & set(rest["row_id"])

    @pytest.mark.parametrize(
        ("case", "rows", "least"),
        [
            ("500 columns of 0 and 1", 1_500, 0.80),
            ("3,000 categories", 3_000, 0.80),
            ("60 numbers, 90 % missing", 1_500, 0.80),
        ],
    )
    def test_tables_that_are_hard_do_not_ruin_the_model(self, case: str, rows: int, least: float):
        table, _ = drawn_table(case, rows, 1)
        others, truth = drawn_table(case, 4_000, 2)
        probability = fit_churn(table, table.accounts)(others.accounts)
        found, best = (roc_auc_score(others.labels, each) for each in (probability, truth))
        assert found / best > least
        assert abs(probability.mean() - others.labels.mean()) < 0.04

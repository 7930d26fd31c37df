"""What the benchmarks make of their figures: the table, the exit code and the page. Nothing is measured here."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import BEGIN, BENCHMARKS, END, PACKAGES, PAGE, Benchmark, main, replaced
from tests.benchmarks.results import Result, added, as_markdown, in_turns, ratio, read, report

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

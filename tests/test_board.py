"""The board of model quality: what is kept of its folds, what their stamps depend on, and what is made of them."""

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.benchmarks import quality
from tests.benchmarks.board import Kept, are_kept, board, folds_of, side_by_side, splitter
from tests.benchmarks.peers import MEASURES, MODELS, Fitter, fit_churn, fitters, measured
from tests.benchmarks.public_tables import Table, public_table
from tests.benchmarks.small import Case, draws
from tests.benchmarks.stamps import _core, code_of, stamps
from tests.benchmarks.wide import drawn_table


class TestBoard:
    """What is kept of the board's folds, and what is made of them."""

    @pytest.fixture
    def table(self) -> Table:
        return public_table("telco")

    def test_what_is_kept_is_not_measured_again(self, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(
            "tests.benchmarks.stamps.metadata.version", lambda _: "1.2"
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
            | {"machine": "a large one" if model == "logistic regression" and fold == 3 else "this one"}
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
        own, catboost, logistic = made["over all tables"]
        assert (own["wins roc_auc"], own["rank log_loss"], catboost["rank roc_auc"]) == (2, 1.0, 3.0)
        # Seconds of another machine, be it those of one fold, are not shown beside those of this one.
        assert [each["seconds, median"] for each in (own, catboost, logistic)] == [1.0, 2.0, "other machine"]
        [first, _] = made["seconds to fit, mean of the folds"]
        assert first == {"table": "one", "churn": 1.0, "CatBoost": 2.0, "churn / CatBoost, median of the folds": 0.5}
        assert made["where it was measured"][2]["machines"] == "a large one; this one"

    def test_folds_of_another_machine_count_where_the_model_is_not_installed(self, table: Table, tmp_path: Path):
        few = table._replace(accounts=table.accounts.head(300))
        there, here = tmp_path / "there.jsonl", tmp_path / "here.jsonl"

        def constant(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
            return lambda others: np.linspace(0.2, 0.3, len(others))

        def absent(table: Table, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
            raise ModuleNotFoundError("pytabkit")

        folds_of(few, {"logistic regression": constant}, 1, Kept(here))
        measured = folds_of(few, {"TabM": constant}, 1, Kept(there))
        assert not are_kept([few], "TabM", 1, Kept(here))
        here.write_bytes(here.read_bytes() + there.read_bytes())
        assert are_kept([few], "TabM", 1, Kept(here))
        assert not are_kept([few], "TabM", 2, Kept(here))
        assert not are_kept([few, table], "TabM", 1, Kept(here))
        pd.testing.assert_frame_equal(folds_of(few, {"TabM": absent}, 1, Kept(here)), measured)
        assert not are_kept([few], "TabM", 1, Kept(here, without=["TabM"]))

    @pytest.mark.slow
    def test_fits_side_by_side_measure_the_same(self, table: Table, tmp_path: Path):
        few = table._replace(accounts=table.accounts.head(300))
        model = "logistic regression"
        threads = os.environ.get("OMP_NUM_THREADS")
        kept = Kept(tmp_path / "side.jsonl")
        side_by_side([few], ["churn", model], 1, kept, 2)
        assert os.environ.get("OMP_NUM_THREADS") == threads
        lines = [json.loads(line) for line in (tmp_path / "side.jsonl").read_bytes().splitlines()]
        assert {line["model"] for line in lines} == {model}
        assert all(line["machine"].endswith(", 2 fits at once") for line in lines)
        aside = folds_of(few, fitters([model]), 1, kept)
        after = folds_of(few, fitters([model]), 1, Kept(tmp_path / "after.jsonl"))
        pd.testing.assert_frame_equal(aside[["fold", *MEASURES]], after[["fold", *MEASURES]])

    @pytest.mark.parametrize(
        ("option", "given"), [("--only", "churn,Catboost"), ("--without", "EMB"), ("--tables", "tel")]
    )
    def test_unknown_names_are_refused(
        self, option: str, given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        monkeypatch.setattr("sys.argv", ["quality", option, given])
        with pytest.raises(SystemExit, match="2"):
            quality.main()
        assert f"there is no {'' if option == '--tables' else 'model '}{given.split(',')[-1]}; there are" in (
            capsys.readouterr().err.replace("--tables: ", "")
        )

    def test_a_stamp_changes_with_what_a_fit_uses_and_with_nothing_else(self, tmp_path: Path):
        text = """
LEAVES = 3

def helper():
    return LEAVES

def outer(kind):
    def fit():
        return [kind for _ in range(helper())]
    return fit

one, two = outer("a"), outer("b")

def third():
    return 7
"""

        def codes(text: str, place: str) -> list[str]:
            file = tmp_path / f"{place}.py"
            file.write_text(text)
            spec = importlib.util.spec_from_file_location(f"tests.benchmarks.{place}", file)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return [code_of(each) for each in (module.one, module.two, module.third)]

        before = codes(text, "before")
        assert len(set(before)) == 3
        assert codes(f"{text}\nfourth = outer('c')\n", "added") == before
        for place, old, new in (
            ("value", "LEAVES = 3", "LEAVES = 4"),
            ("called", "return LEAVES", "return LEAVES + 1"),
            ("fitted", "range(helper())", "range(1, helper())"),
        ):
            assert [a == b for a, b in zip(codes(text.replace(old, new), place), before, strict=True)] == [
                False,
                False,
                True,
            ], place
        assert [
            a == b for a, b in zip(codes(text.replace('outer("b")', 'outer("d")'), "kind"), before, strict=True)
        ] == [True, False, True]

    def test_stamps_depend_on_the_rows_their_roles_and_the_version(self, table: Table, monkeypatch: pytest.MonkeyPatch):
        models = ["churn", "CatBoost", "TabM", "RealMLP"]

        def made(table: Table, version: str = "1.2") -> dict[str, str]:
            monkeypatch.setattr("tests.benchmarks.stamps.version", lambda _: version)
            return stamps(table, models, splitter)

        before = made(table)
        assert len(set(before.values())) == 4
        assert made(table) == before
        assert [made(table, "1.3")[model] == before[model] for model in models] == [True, False, False, False]
        others = made(table._replace(accounts=table.accounts.iloc[::-1]))
        assert not set(others.values()) & set(before.values())
        fewer = table.schema.model_copy(update={"categorical": table.schema.categorical[:-1]})
        assert not set(made(table._replace(schema=fewer)).values()) & set(before.values())

    def test_what_is_measured_rests_on_metrics_and_profit_not_on_the_model(self, monkeypatch: pytest.MonkeyPatch):
        def with_changed(file: str) -> list[str]:
            code_of.cache_clear()
            monkeypatch.setattr("tests.benchmarks.stamps._core", lambda: core | {file: "changed"})
            return [code_of(MODELS[name][1], measured) for name in ("EBM", "logistic regression")]

        core = dict(_core())
        before = with_changed("none.py")
        found = {
            file: [now == old for now, old in zip(with_changed(file), before, strict=True)]
            for file in ("metrics/ranking.py", "retention/profit.py", "model/encoder.py", "training/trainer.py")
        }
        code_of.cache_clear()
        assert found == {
            "metrics/ranking.py": [False, False],
            "retention/profit.py": [False, False],
            "model/encoder.py": [True, False],
            "training/trainer.py": [True, True],
        }

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

"""What the documentation says can be followed: parameters, pipelines, make targets, rooms and the worked example.

That links lead somewhere is checked by make lint; `tests/test_site.py` looks whether it does.
"""

import csv
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from churn.cli import run
from churn.config import check_parameters, idle_parameters
from churn.pipeline_registry import register_pipelines

PROJECT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *PROJECT.glob("*.md"),
        PROJECT / "conf" / "README.md",
        *(PROJECT / "docs").rglob("*.md"),
        PROJECT / "data" / "README.md",
        *(PROJECT / "data" / "examples").rglob("*.md"),
    ]
)
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<content>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
# A command ends where a span of code, a sentence in a message, or a line does.
KEDRO_RUN = re.compile(r"kedro run(?P<arguments>[^`\n;#|]*)")
MAKE = re.compile(r"(?:^|`|\$ )make (?P<targets>[a-z][a-z -]*)", re.MULTILINE)
MARKED = re.compile(r"<!-- (?P<mark>[^>]+?) -->\n```\w*\n(?P<content>.*?)^```$", re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    return page.relative_to(PROJECT).as_posix()


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    return FENCE.sub("", text_of(page))


def relative_links(page: Path) -> list[str]:
    targets = [match["target"] for match in LINK.finditer(prose_of(page))]
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def base_parameters() -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for file in sorted((PROJECT / "conf" / "base").glob("parameters*.yml")):
        merged |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return merged


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """As Kedro merges an environment into base: keys are merged, lists are replaced."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def commands() -> list[tuple[Path, list[str]]]:
    """Every ``kedro run`` of the documentation, as its page and arguments."""
    found = []
    for page in PAGES:
        for match in KEDRO_RUN.finditer(text_of(page)):
            # Placeholders in angle brackets may hold blanks; a refusal or warning is quoted with the command that causes it.
            arguments = re.sub(r"<[^>]*>", "x", match["arguments"]).strip(' "').split()
            refused = text_of(page)[match.end() :].lstrip("\n").startswith(("Error:", "WARNING"))
            if not refused:
                found.append((page, arguments))
    return found


def options(arguments: list[str]) -> dict[str, Any]:
    """Arguments as the command reads them; words of the sentence around a command are left out."""
    taken = []
    for position, argument in enumerate(arguments):
        if argument.startswith("--"):
            taken += arguments[position : position + 2]
    context = run.make_context("run", [*taken], resilient_parsing=False)
    return context.params


COMMANDS = commands()


def test_every_page_can_be_reached_from_the_readme():
    reached: set[Path] = set()
    waiting = [PROJECT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [(page.parent / target.partition("#")[0]).resolve() for target in relative_links(page)]
    assert set(PAGES) <= reached


def test_the_quoted_warnings_are_those_of_the_quoted_command():
    page = text_of(PROJECT / "docs" / "getting-started.md")
    quoted = re.search(r"\$ kedro run(?P<arguments>.*)\n(?P<said>(?:WARNING .*\n)+)", page)
    assert quoted is not None
    given = options(quoted["arguments"].split())["params"]
    parameters = check_parameters(merge(base_parameters(), given))
    told = [line.removeprefix("WARNING").strip() for line in quoted["said"].splitlines()]
    assert told == list(idle_parameters(parameters, own_table=False).values())


def test_there_are_commands_to_check():
    assert len(COMMANDS) > 20
    assert sum(bool(options(arguments)["params"]) for _, arguments in COMMANDS) > 10


@pytest.mark.parametrize(
    "arguments", [pytest.param(arguments, id=f"{named(page)}: {' '.join(arguments)}") for page, arguments in COMMANDS]
)
def test_kedro_runs_name_what_exists(arguments: list[str]):
    given = options(arguments)
    if not any("..." in argument for argument in arguments):
        parameters = check_parameters(merge(base_parameters(), given["params"]))
        assert idle_parameters(parameters, own_table=False) == {}, "an example has to change something"
    for pipeline in given["pipelines"] or []:
        assert pipeline in {*register_pipelines(), "x"}
    assert (
        given["env"] is None
        or (PROJECT / "conf" / given["env"]).is_dir()
        or given["env"] in {"customers", "gym", "salon", "studio", "x"}
    )


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_make_targets_exist(page: Path):
    known = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    code = "\n".join(
        [*(match["content"] for match in FENCE.finditer(text_of(page))), *re.findall(r"`[^`\n]+`", prose_of(page))]
    )
    named_targets = {target for match in MAKE.finditer(code) for target in match["targets"].split()}
    assert named_targets <= known


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_yaml_and_toml_blocks_parse_and_name_existing_parameters(page: Path):
    for block in FENCE.finditer(text_of(page)):
        content = re.sub(rf"^{block['indent']}", "", block["content"], flags=re.MULTILINE)
        if block["language"] == "toml":
            assert tomllib.loads(content)
        if block["language"] == "yaml":
            parsed = yaml.safe_load(content)
            if set(parsed) <= set(base_parameters()) and "accounts" not in parsed:
                parameters = check_parameters(merge(base_parameters(), parsed))
                assert idle_parameters(parameters, own_table="staging" in parsed) == {}


def test_the_map_of_the_house_is_the_contract_of_imports():
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    (downhill,) = [each for each in settings["importlinter"]["contracts"] if each["id"] == "downhill"]
    layers = [{room.strip() for room in layer.split("|")} for layer in downhill["layers"]]
    drawn: dict[int, set[str]] = {}
    for layer, rooms in re.findall(r"^\| (\d+) \| (`[^|]+`) \|", text_of(PROJECT / "CONTRIBUTING.md"), re.MULTILINE):
        drawn.setdefault(int(layer), set()).update(re.findall(r"`(\w+)`", rooms))
    assert [drawn[layer] for layer in sorted(drawn, reverse=True)] == layers


def test_the_recipes_name_files_that_exist():
    recipes = text_of(PROJECT / "CONTRIBUTING.md").partition("## Recipes")[2].partition("\n## ")[0]
    files = set(re.findall(r"`((?:src|conf)/[^`<]+)`", recipes))
    assert len(files) > 8
    assert not [path for path in files if not (PROJECT / path).exists()]


class TestTheWorkedExample:
    """docs/bring-your-own-table.md, followed to the letter (a run of it is in the end-to-end tests)."""

    page = PROJECT / "docs" / "bring-your-own-table.md"

    @pytest.fixture
    def marked(self) -> dict[str, str]:
        return {match["mark"]: match["content"] for match in MARKED.finditer(text_of(self.page))}

    def test_it_has_two_files_and_one_command(self, marked: dict[str, str]):
        assert {"file: conf/gym/globals.yml", "file: conf/gym/parameters.yml", "command"} <= set(marked)
        assert marked["command"] == "kedro run --env gym\n"

    def test_its_parameters_are_accepted(self, marked: dict[str, str]):
        gym = yaml.safe_load(marked["file: conf/gym/parameters.yml"])
        assert check_parameters(merge(base_parameters(), gym)).accounts.id == "member_no"

    def test_its_globals_change_only_what_base_knows(self, marked: dict[str, str]):
        base = yaml.safe_load((PROJECT / "conf" / "base" / "globals.yml").read_text(encoding="utf-8"))
        gym = yaml.safe_load(marked["file: conf/gym/globals.yml"])
        assert set(gym) <= set(base)
        assert gym["source_accounts"] == "data/gym/members.csv"
        assert not set(gym["model"].values()) & set(base["model"].values())

    @pytest.mark.e2e
    def test_every_column_of_the_table_is_listed_and_has_a_role(self, marked: dict[str, str], tmp_path: Path):
        script = marked["invented table"].replace("python3 ", f"{sys.executable} ")
        subprocess.run(["bash", "-ec", script], cwd=tmp_path, check=True)
        with (tmp_path / "data/gym/members.csv").open() as file:
            columns = next(csv.reader(file))
        listed = re.findall(
            r"^\| `(\w+)` \| .* \| (?:id|left out|numeric|categorical|label) \|$", text_of(self.page), re.M
        )
        assert listed == columns
        schema = check_parameters(
            merge(base_parameters(), yaml.safe_load(marked["file: conf/gym/parameters.yml"]))
        ).accounts
        assert set(columns) == {*schema.text_columns, *schema.numeric_names, *schema.left_out}

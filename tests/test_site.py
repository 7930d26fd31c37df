"""The site of the documentation is built strictly, links are those of GitHub, and make lint sees a broken one."""

import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from tests.conftest import ROOT

BIN = ROOT / ".venv/bin"
REPOSITORY = "https://git.example/owner/churn"


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks_of_the_site", ROOT / "docs/hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the documentation, beside the other files of the repository."""
    for file in ROOT.iterdir():
        if file.suffix in (".md", ".yml", ".toml", ".example") or file.name == "LICENSE":
            shutil.copy(file, tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("conf", "data", "deploy", "src", "tests", ".github"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def site_of(checkout: Path) -> Path:
    site = checkout / "site"
    build(load_config(str(checkout / "mkdocs.yml"), strict=True, site_dir=str(site)))
    return site


@pytest.mark.parametrize(
    ("href", "page", "there"),
    [
        ("training.md", "inference.md", "training.md"),
        ("../training.md#what-it-reads", "decisions/README.md", "../training.md#what-it-reads"),
        ("#what-it-reads", "training.md", "#what-it-reads"),
        ("https://kedro.org", "training.md", "https://kedro.org"),
        # Pages of the site that lie elsewhere in the repository, from both sides.
        ("../conf/README.md", "README.md", "conf/README.md"),
        ("../docs/minio.md#security", "conf/README.md", "../minio.md#security"),
        ("docs/decisions/README.md", "CONTRIBUTING.md", "decisions/README.md"),
        ("examples/README.md", "data/README.md", "examples/README.md"),
        # Files that are no page.
        ("../deploy/aws/churn.yaml", "aws.md", f"{REPOSITORY}/blob/main/deploy/aws/churn.yaml"),
        ("../LICENSE", "data/README.md", f"{REPOSITORY}/blob/main/LICENSE"),
        # Left to the strict build.
        ("../deploy/aws/nothing.yaml", "aws.md", "../deploy/aws/nothing.yaml"),
    ],
)
def test_links_lead_to_the_same_as_on_github(hooks: ModuleType, href: str, page: str, there: str) -> None:
    assert hooks.link_on_site(href, page, REPOSITORY) == there


def test_a_file_of_a_repository_without_an_address_is_no_link(hooks: ModuleType) -> None:
    assert hooks.link_on_site("../deploy/aws/churn.yaml", "aws.md", "") is None


def test_the_site_has_every_page_a_search_and_nothing_from_elsewhere(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPOSITORY_URL", REPOSITORY)
    site = site_of(checkout)
    pages = {
        file.relative_to(checkout / "docs").with_suffix("").as_posix() for file in (checkout / "docs").rglob("*.md")
    }
    for page in {*pages, "CONTRIBUTING", "CHANGELOG", "conf/README", "data/examples/README"}:
        assert (site / page.removesuffix("README") / "index.html").exists(), page
    found = (site / "search/search_index.json").read_text()
    assert "challenger" in found
    assert "Keep a Changelog" in found
    home, automation = (site / "index.html").read_text(), (site / "automation/index.html").read_text()
    assert f'href="{REPOSITORY}/blob/main/.github/workflows/ci.yml"' in automation
    for loaded in ('<script src="http', '<link rel="stylesheet" href="http', '<img src="http'):
        assert loaded not in home
    # Blocks inside items of a list are such blocks, as on GitHub.
    started = (site / "getting-started/index.html").read_text()
    assert "```" not in started
    assert "hooks.py" not in {file.name for file in site.rglob("*")}


def test_the_strict_build_fails(checkout: Path, caplog: pytest.LogCaptureFixture) -> None:
    faults = {
        "docs/training.md": "[x](trainin.md), [x](inference.md#nowhere) and [x](../deploy/aws/nothing.yaml)",
        "CONTRIBUTING.md": "[x](docs/training.md#nothing)",
        "docs/new.md": "# A page that the navigation does not name",
    }
    for page, text in faults.items():
        with (checkout / page).open("a") as file:
            file.write(f"\n{text}\n")
    with caplog.at_level("WARNING", logger="mkdocs"), pytest.raises(Abort, match="5 warnings in strict mode"):
        site_of(checkout)
    for named in ("trainin.md", "#nowhere", "nothing.yaml", "#nothing", "new.md"):
        assert named in caplog.text


@pytest.mark.parametrize(
    ("page", "text", "named"),
    [
        ("README.md", "[gone](docs/training.md#nowhere)", "nowhere"),
        ("README.md", "[gone](#nowhere)", "nowhere"),
        ("docs/decisions/README.md", "[gone](../trainin.md)", "trainin.md"),
        ("docs/automation.md", "[gone](../.github/workflows/cj.yml)", "cj.yml"),
        ("SECURITY.md", "![gone](docs/images/none.png)", "none.png"),
    ],
)
def test_the_linter_of_links_fails(checkout: Path, page: str, text: str, named: str) -> None:
    command = [BIN / "rumdl", "check", "--no-cache", "."]
    sound = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False, timeout=60)
    assert sound.returncode == 0, sound.stdout
    with (checkout / page).open("a") as file:
        file.write(f"\n{text}\n")
    broken = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False, timeout=60)
    assert broken.returncode == 1
    assert page in broken.stdout
    assert named in broken.stdout


def test_commits_are_linted_by_the_locked_tools_of_make_lint() -> None:
    configured = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    makefile = (ROOT / "Makefile").read_text()
    lint = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    assert {repository["repo"] for repository in configured["repos"]} == {"local"}
    hooks = [hook for repository in configured["repos"] for hook in repository["hooks"]]
    for hook in hooks:
        tool = hook["entry"].split()[0]
        assert tool.startswith(".venv/bin/"), hook
        assert f"$(BIN)/{tool.removeprefix('.venv/bin/')}" in lint, hook
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks}
    assert {"ruff", "mypy", "lint-imports", "deptry", "rumdl", "mkdocs"} <= tools

"""What the workflows of GitHub promise, read from the files, and their scripts with other programs in place of the real ones."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.containers.test_files import make_images

FOLDER = ROOT / ".github"
FILES = sorted((FOLDER / "workflows").glob("*.yml"))
WORKFLOWS: dict[str, dict[Any, Any]] = {file.stem: yaml.safe_load(file.read_text()) for file in FILES}
CI, DEPLOY, IMAGES, RELEASE = (WORKFLOWS[name] for name in ("ci", "deploy", "images", "release"))
# YAML 1.1 reads the word `on` as true.
ON: Any = True
READ = {"contents": "read"}
ATTEST = {"id-token": "write", "attestations": "write"}
PUSH = {**READ, **ATTEST, "packages": "write"}
# Each job with what it may do, and no more.
PERMISSIONS = {
    "ci coverage": READ,
    "ci lint-and-test": READ,
    "deploy checks": READ,
    "deploy images": PUSH,
    "deploy deploy": {**READ, "packages": "read", "id-token": "write", "attestations": "read"},
    "deploy retrain": {**READ, "id-token": "write"},
    "docs build": READ,
    "docs publish": {"pages": "write", "id-token": "write"},
    "images image": PUSH,
    "release notes": READ,
    "release checks": READ,
    "release distributions": {**READ, **ATTEST},
    "release images": PUSH,
    "release release": {"contents": "write"},
}
ENVIRONMENTS = {"deploy deploy": "production", "deploy retrain": "production", "docs publish": "github-pages"}
JOBS: dict[str, dict[str, Any]] = {
    f"{workflow} {name}": job for workflow, read in WORKFLOWS.items() for name, job in read["jobs"].items()
}


def uses(job: str) -> list[str]:
    return [step["uses"].partition("@")[0] for step in JOBS[job]["steps"] if "uses" in step]


def needs(workflow: dict[Any, Any]) -> dict[str, Any]:
    return {name: job.get("needs") for name, job in workflow["jobs"].items()}


def test_jobs_may_do_what_they_need_and_end() -> None:
    assert all(workflow["permissions"] == {} for workflow in WORKFLOWS.values())
    assert {name: job["permissions"] for name, job in JOBS.items()} == PERMISSIONS
    for job in JOBS.values():
        # A job that is another workflow ends when its jobs end.
        assert "uses" in job or job["timeout-minutes"] <= 60


def test_actions_are_pinned_by_commit() -> None:
    pinned: dict[str, set[str]] = {}
    for file in FILES:
        for line in file.read_text().splitlines():
            if "uses:" in line and "./.github/" not in line:
                found = re.search(r"uses: ([\w/.-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)$", line)
                assert found, line
                pinned.setdefault(found[1], set()).add(found[2])
    # The same one everywhere.
    assert all(len(commits) == 1 for commits in pinned.values()), pinned
    assert len(pinned) > 5


def test_what_strangers_write_does_not_run() -> None:
    for workflow in WORKFLOWS.values():
        assert not {"pull_request_target", "issue_comment", "workflow_run"} & set(workflow[ON])
    for job in JOBS.values():
        for step in job.get("steps", []):
            assert "${{" not in step.get("run", "")
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
    # Whoever sends a pull request runs without secrets and without rights.
    assert "secrets." not in (FOLDER / "workflows/ci.yml").read_text()
    named = {secret for file in FILES for secret in re.findall(r"secrets\.(\w+)", file.read_text())}
    assert named == {"GITHUB_TOKEN"}


def test_the_order_from_a_push_to_a_champion() -> None:
    assert DEPLOY[ON]["push"] == {"branches": ["main"]}
    assert set(CI[ON]) == {"pull_request", "workflow_call"}
    assert needs(DEPLOY) == {"checks": None, "images": "checks", "deploy": "images", "retrain": "deploy"}
    assert DEPLOY["concurrency"] == {"group": "deploy", "cancel-in-progress": False}
    assert JOBS["deploy images"]["with"] == {"tag": "${{ github.sha }}"}


def test_an_image_is_scanned_before_it_is_pushed() -> None:
    assert set(IMAGES[ON]) == {"workflow_call"}
    order = uses("images image")
    scan, log_in = order.index("anchore/scan-action"), order.index("docker/login-action")
    builds = [place for place, action in enumerate(order) if action == "docker/build-push-action"]
    assert builds[0] < scan < log_in < builds[1] < order.index("actions/attest-build-provenance")
    built, pushed = (step["with"] for step in JOBS["images image"]["steps"] if "build-push" in step.get("uses", ""))
    assert (built["load"], pushed["push"], "push" in built) == (True, True, False)
    for same in ("context", "target", "tags", "build-args"):
        assert built[same] == pushed[same]
    assert (pushed["provenance"], pushed["sbom"]) == ("mode=max", True)


def test_who_gets_the_rights_of_production() -> None:
    found = {name: job["environment"] for name, job in JOBS.items() if "environment" in job}
    assert {name: value if isinstance(value, str) else value["name"] for name, value in found.items()} == ENVIRONMENTS


def test_the_order_from_a_tag_to_a_release() -> None:
    assert RELEASE[ON] == {"push": {"tags": ["v*"]}}
    assert needs(RELEASE) == {
        "notes": None,
        "checks": "notes",
        "distributions": "checks",
        "images": ["notes", "checks"],
        "release": ["distributions", "images"],
    }
    for workflow in (DEPLOY, RELEASE):
        assert workflow["jobs"]["checks"]["uses"] == "./.github/workflows/ci.yml"
        assert workflow["jobs"]["images"]["uses"] == "./.github/workflows/images.yml"
    assert JOBS["release images"]["with"] == {"tag": "${{ needs.notes.outputs.version }}"}
    kept = {
        step["with"]["name"]: step["with"]["path"]
        for name in ("release notes", "release distributions")
        for step in JOBS[name]["steps"]
        if "upload-artifact" in step.get("uses", "")
    }
    assert kept == {"notes": "notes.md", "distributions": "dist/"}
    fetch, release = JOBS["release release"]["steps"]
    # Artifacts lie in folders of their names.
    assert fetch["with"] == {"path": "release"}
    assert "--notes-file release/notes/notes.md release/distributions/*" in release["run"]
    assert "--verify-tag" in release["run"]


def test_the_site_is_published_from_main_as_it_was_built() -> None:
    docs = WORKFLOWS["docs"]
    assert docs[ON]["push"] == {"branches": ["main"]}
    assert needs(docs) == {"build": None, "publish": "build"}
    (build,) = [step for step in JOBS["docs build"]["steps"] if "run" in step]
    assert build["run"] == "make docs PYTHON=python"
    # What mkdocs.yml reads.
    read = set(re.findall(r"!ENV \[(\w+),", (ROOT / "mkdocs.yml").read_text()))
    assert set(build["env"]) == read == {"REPOSITORY_URL", "SITE_URL"}


def test_every_image_is_built_scanned_and_pushed() -> None:
    names, _ = make_images()
    assert JOBS["images image"]["strategy"]["matrix"] == {"image": names}


def test_the_stack_is_given_parameters_that_it_has() -> None:
    template = (ROOT / "deploy/aws/churn.yaml").read_text()
    (deploy,) = [
        step["run"] for step in JOBS["deploy deploy"]["steps"] if "cloudformation deploy" in step.get("run", "")
    ]
    given = re.findall(r'"(\w+)=\$\w+"', deploy)
    assert given == ["TrainImage", "InferenceImage"]
    for parameter in given:
        assert f"\n  {parameter}:\n    Type: String\n" in template
    assert "deploy/aws/churn.yaml" in deploy
    for capability in ("CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"):
        assert capability in deploy
    (start,) = [step["run"] for step in JOBS["deploy retrain"]["steps"] if "start-execution" in step.get("run", "")]
    assert "\n  RetrainStateMachineArn:\n" in template
    assert "RetrainStateMachineArn" in start


# --- the scripts ------------------------------------------------------------------------------------------------


class Programs:
    """A folder of programs that note how they were called and print what a test wants."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, script: str) -> None:
        file = self.folder / name
        file.write_text(f'#!/usr/bin/env bash\necho "{name} $*" >> "{self.folder}/calls"\n{script}\n')
        file.chmod(0o755)

    def run(self, script: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [FOLDER / "scripts" / script, *arguments],
            cwd=self.folder,
            env={"PATH": f"{self.folder}:{os.environ['PATH']}", **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


ANSWERS = """
case "$*" in
  *"--query cause"*) echo "exit code 1" ;;
  *) file="$(dirname "$0")/answers"; head -n 1 "$file"; [[ $(wc -l < "$file") -eq 1 ]] || sed -i 1d "$file" ;;
esac
"""


@pytest.mark.parametrize(
    ("answers", "seconds", "code", "said"),
    [
        (["RUNNING", "RUNNING", "SUCCEEDED"], "60", 0, "Training: ended well (arn:x)"),
        (["FAILED"], "60", 1, "Training: FAILED, exit code 1 (arn:x)"),
        (["RUNNING", "TIMED_OUT"], "60", 1, "Training: TIMED_OUT, exit code 1 (arn:x)"),
        (["ABORTED"], "60", 1, "Training: ABORTED, exit code 1 (arn:x)"),
        (["RUNNING"], "1", 0, "Training: goes on after 1 seconds (arn:x)"),
    ],
)
def test_an_execution_is_waited_for(programs: Programs, answers: list[str], seconds: str, code: int, said: str) -> None:
    (programs.folder / "answers").write_text("\n".join(answers) + "\n")
    programs.add("aws", ANSWERS)
    done = programs.run("wait-for-execution.sh", "arn:x", seconds, POLL_SECONDS="0.1")
    assert (done.returncode, done.stdout.strip()) == (code, said)
    assert ("::error::" in done.stderr) == bool(code)


def test_an_execution_that_cannot_be_asked_for_is_a_failure(programs: Programs) -> None:
    programs.add("aws", "echo denied >&2; exit 254")
    assert programs.run("wait-for-execution.sh", "arn:x", "60").returncode == 254
    assert programs.run("wait-for-execution.sh", "arn:x").returncode == 2


IDS = {"GITHUB_REPOSITORY": "owner/churn", "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "2"}


def test_an_image_is_copied_by_its_digest_after_it_was_verified(programs: Programs) -> None:
    programs.add("skopeo", '[[ $1 == copy ]] || echo "sha256:abc"')
    programs.add("gh", "echo verified")
    done = programs.run("copy-image.sh", "ghcr.io/owner/churn-train:c0ffee", "1.ecr/churn-train", **IDS)
    assert done.returncode == 0
    # It goes into the outputs of a step: that line and no other.
    assert done.stdout == "churn-train=1.ecr/churn-train@sha256:abc\n"
    _, verify, copy = programs.calls
    assert verify == (
        "gh attestation verify oci://ghcr.io/owner/churn-train@sha256:abc --repo owner/churn "
        "--signer-workflow owner/churn/.github/workflows/images.yml"
    )
    assert copy == (
        "skopeo copy --all --preserve-digests docker://ghcr.io/owner/churn-train@sha256:abc "
        "docker://1.ecr/churn-train:c0ffee-7-2"
    )


def test_an_image_that_nobody_vouches_for_is_not_copied(programs: Programs) -> None:
    programs.add("skopeo", 'echo "sha256:abc"')
    programs.add("gh", "exit 1")
    done = programs.run("copy-image.sh", "ghcr.io/owner/churn-train:c0ffee", "1.ecr/churn-train", **IDS)
    assert (done.returncode, done.stdout) == (1, "")
    assert not [call for call in programs.calls if call.startswith("skopeo copy")]


PYPROJECT = """[build-system]
requires = ["other"]

[project]
name = "kedro-churn"  # a remark
version = "1.2.3"
dependencies = []

[tool.other]
version = "9.9.9"
"""
CHANGELOG = """# Changelog

## [1.2.30] - 2026-12-02

### Added

- Too late.

## [1.2.3] - 2026-12-01

In a sentence.

### Added

- A page, [this one](docs/README.md#there),
  over two lines.
- [Another](https://example.com/x).

### Removed

### Fixed

- A fault.

## [1.2.2] - 2026-11-01

- Too early.
"""
NOTES = """In a sentence.

### Added

- A page, [this one](docs/README.md#there),
  over two lines.
- [Another](https://example.com/x).

### Fixed

- A fault.
"""


@pytest.fixture
def release(programs: Programs) -> Programs:
    (programs.folder / "pyproject.toml").write_text(PYPROJECT)
    (programs.folder / "CHANGELOG.md").write_text(CHANGELOG)
    return programs


def test_the_notes_of_a_release_are_its_section_of_the_changelog(release: Programs) -> None:
    done = release.run("release-notes.sh", "v1.2.3")
    assert (done.returncode, done.stdout) == (0, NOTES)


def test_links_in_the_notes_of_a_release_lead_to_the_files_of_the_tag(release: Programs) -> None:
    done = release.run(
        "release-notes.sh", "v1.2.3", GITHUB_REPOSITORY="owner/churn", GITHUB_SERVER_URL="https://git.example"
    )
    assert "(https://git.example/owner/churn/blob/v1.2.3/docs/README.md#there)" in done.stdout
    assert "(https://example.com/x)" in done.stdout


@pytest.mark.parametrize("tag", ["v1.2.4", "1.2.3", "v9.9.9", "v1x2.3"])
def test_a_tag_that_is_not_the_version_makes_no_release(release: Programs, tag: str) -> None:
    done = release.run("release-notes.sh", tag)
    assert (done.returncode, done.stdout) == (1, "")
    assert tag in done.stderr
    assert "1.2.3" in done.stderr


@pytest.mark.parametrize("heading", ["## [1.2.3]", "## [1x2.3] - 2026-12-01", "## [Unreleased]"])
def test_a_version_without_a_section_makes_no_release(release: Programs, heading: str) -> None:
    (release.folder / "CHANGELOG.md").write_text(CHANGELOG.replace("## [1.2.3] - 2026-12-01", heading))
    done = release.run("release-notes.sh", "v1.2.3")
    assert (done.returncode, done.stdout) == (1, "")
    assert "CHANGELOG.md" in done.stderr


def test_a_version_of_which_nothing_is_said_makes_no_release(release: Programs) -> None:
    (release.folder / "CHANGELOG.md").write_text(
        "## [1.2.3] - 2026-12-01\n\n### Added\n\n## [1.2.2] - 2026-11-01\n\n- x\n"
    )
    assert release.run("release-notes.sh", "v1.2.3").returncode == 1
    assert release.run("release-notes.sh").returncode == 2


def test_the_changelog_has_notes_for_the_version_of_the_project() -> None:
    script = FOLDER / "scripts/release-notes.sh"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    done = subprocess.run([script, f"v{version}"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr

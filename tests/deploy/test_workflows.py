"""What the workflows of GitHub promise, read from the files, and their scripts with other programs in place of the real ones."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.containers.test_files import make_images

FOLDER = ROOT / ".github"
FILES = sorted((FOLDER / "workflows").glob("*.yml"))
CI = yaml.safe_load((FOLDER / "workflows/ci.yml").read_text())
DEPLOY = yaml.safe_load((FOLDER / "workflows/deploy.yml").read_text())
# YAML 1.1 reads the word `on` as true.
ON: Any = True
# Each job with what it may do, and no more.
PERMISSIONS = {
    "lint-and-test": {"contents": "read"},
    "coverage": {"contents": "read"},
    "checks": {"contents": "read"},
    "images": {"contents": "read", "packages": "write", "id-token": "write", "attestations": "write"},
    "deploy": {"contents": "read", "packages": "read", "id-token": "write", "attestations": "read"},
    "retrain": {"contents": "read", "id-token": "write"},
}
JOBS: dict[str, dict[str, Any]] = {**CI["jobs"], **DEPLOY["jobs"]}


def uses(job: str) -> list[str]:
    return [step["uses"].partition("@")[0] for step in JOBS[job]["steps"] if "uses" in step]


def test_jobs_may_do_what_they_need_and_end() -> None:
    assert CI["permissions"] == DEPLOY["permissions"] == {}
    assert {name: job["permissions"] for name, job in JOBS.items()} == PERMISSIONS
    for name, job in JOBS.items():
        assert name == "checks" or job["timeout-minutes"] <= 60


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
    for workflow in (CI, DEPLOY):
        assert not {"pull_request_target", "issue_comment", "workflow_run"} & set(workflow[ON])
    for job in JOBS.values():
        for step in job.get("steps", []):
            assert "${{" not in step.get("run", "")
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False
    # Whoever sends a pull request runs without secrets and without rights.
    assert "secrets." not in (FOLDER / "workflows/ci.yml").read_text()
    named = set(re.findall(r"secrets\.(\w+)", (FOLDER / "workflows/deploy.yml").read_text()))
    assert named == {"GITHUB_TOKEN"}


def test_the_order_from_a_push_to_a_champion() -> None:
    assert DEPLOY[ON]["push"] == {"branches": ["main"]}
    assert set(CI[ON]) == {"pull_request", "workflow_call"}
    needs = {name: job.get("needs") for name, job in DEPLOY["jobs"].items()}
    assert needs == {"checks": None, "images": "checks", "deploy": "images", "retrain": "deploy"}
    assert DEPLOY["concurrency"] == {"group": "deploy", "cancel-in-progress": False}
    order = uses("images")
    scan, log_in = order.index("anchore/scan-action"), order.index("docker/login-action")
    builds = [place for place, action in enumerate(order) if action == "docker/build-push-action"]
    assert builds[0] < scan < log_in < builds[1] < order.index("actions/attest-build-provenance")
    built, pushed = (step["with"] for step in JOBS["images"]["steps"] if "build-push" in step.get("uses", ""))
    assert (built["load"], pushed["push"], "push" in built) == (True, True, False)
    for same in ("context", "target", "tags", "build-args"):
        assert built[same] == pushed[same]
    assert (pushed["provenance"], pushed["sbom"]) == ("mode=max", True)


def test_who_gets_the_rights_of_production() -> None:
    for name, job in JOBS.items():
        assert job.get("environment") == ("production" if name in ("deploy", "retrain") else None)


def test_every_image_is_built_scanned_and_pushed() -> None:
    names, _ = make_images()
    assert JOBS["images"]["strategy"]["matrix"] == {"image": names}


def test_the_stack_is_given_parameters_that_it_has() -> None:
    template = (ROOT / "deploy/aws/churn.yaml").read_text()
    (deploy,) = [step["run"] for step in JOBS["deploy"]["steps"] if "cloudformation deploy" in step.get("run", "")]
    given = re.findall(r'"(\w+)=\$\w+"', deploy)
    assert given == ["TrainImage", "InferenceImage"]
    for parameter in given:
        assert f"\n  {parameter}:\n    Type: String\n" in template
    assert "deploy/aws/churn.yaml" in deploy
    for capability in ("CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"):
        assert capability in deploy
    (start,) = [step["run"] for step in JOBS["retrain"]["steps"] if "start-execution" in step.get("run", "")]
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
        "--signer-workflow owner/churn/.github/workflows/deploy.yml"
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

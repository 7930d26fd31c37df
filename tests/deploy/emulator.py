"""AWS on this machine: an emulator in a process of its own, on loopback, stopped by the tests."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import requests

from tests.conftest import ROOT
from tests.stack import free_ports

TEMPLATES = ROOT / "deploy/aws"
REGION = "eu-central-1"
PATIENCE = 300.0


class Aws:
    """Clients of the emulator, and what the tests ask it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(service, endpoint_url=self.endpoint, region_name=REGION, **keys)

    def deploy(self, name: str, template: str, **parameters: str) -> dict[str, str]:
        """Create a stack and give its outputs."""
        cloudformation = self.client("cloudformation")
        cloudformation.create_stack(
            StackName=name,
            TemplateBody=template,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
            if not stack["StackStatus"].endswith("IN_PROGRESS"):
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [event.get("ResourceStatusReason") for event in events if "FAILED" in event["ResourceStatus"]]
        assert stack["StackStatus"] == "CREATE_COMPLETE", reasons
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def executions(self, machine: str) -> list[dict[str, Any]]:
        """Those of a state machine, the newest first."""
        found: list[dict[str, Any]] = self.client("stepfunctions").list_executions(stateMachineArn=machine)[
            "executions"
        ]
        return found

    def states(self, execution: str) -> list[str]:
        """States that an execution has been in."""
        history = self.client("stepfunctions").get_execution_history(executionArn=execution, maxResults=1000)["events"]
        return [event["stateEnteredEventDetails"]["name"] for event in history if "stateEnteredEventDetails" in event]

    def ended(self, execution: str) -> dict[str, Any]:
        """An execution when it has ended."""
        deadline = time.monotonic() + PATIENCE
        while True:
            now: dict[str, Any] = self.client("stepfunctions").describe_execution(executionArn=execution)
            if now["status"] != "RUNNING":
                return now
            assert time.monotonic() < deadline, self.states(execution)
            time.sleep(0.1)

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """What has come to a queue that is subscribed to a topic."""
        answer = self.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in answer.get("Messages", []):
            self.client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


@contextmanager
def emulated(folder: Path, mocks: dict[str, Any], **variables: str) -> Iterator[Aws]:
    """The emulator while the block runs.

    Args:
        folder: For its log.
        mocks: What states give in the test cases of executions, as AWS Step Functions Local reads it.
        variables: More variables of its process.
    """
    (folder / "mocks.json").write_text(json.dumps(mocks))
    port, mqtt = free_ports(2)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_PORT": str(mqtt),
        "MINISTACK_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SFN_MOCK_CONFIG": str(folder / "mocks.json"),
        # Without an engine, tasks are noted and run nothing.
        "DOCKER_HOST": "unix:///nowhere",
        **variables,
    }
    with (folder / "emulator.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "ministack"], env=environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    requests.get(f"http://127.0.0.1:{port}/_ministack/health", timeout=5).raise_for_status()
                    break
                except requests.RequestException:
                    assert process.poll() is None, (folder / "emulator.log").read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            yield Aws(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

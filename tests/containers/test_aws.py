"""The whole way on an emulator of AWS, from a new object to containers of the images: their exit codes decide what comes next."""

import os
import re
import time
from pathlib import Path

import pytest

from tests.containers.test_engine import need
from tests.deploy.emulator import PATIENCE, TEMPLATES, emulated

pytestmark = [pytest.mark.slow, pytest.mark.containers, pytest.mark.e2e]


@pytest.mark.parametrize(
    ("argument", "scored", "told"),
    [
        ("--help", True, []),
        ("--nonsense", False, ["churn-retrain: failed"]),
    ],
)
def test_from_an_object_to_a_container_and_on(tmp_path: Path, argument: str, scored: bool, told: list[str]) -> None:
    need("churn-train", "churn-inference")
    template = (TEMPLATES / "churn.yaml").read_text()
    for written, here in (
        # The images lie in this engine, under no digest of a registry.
        (r"    AllowedPattern: \.\+@sha256:.*\n", ""),
        # Step Functions gives the task itself; the emulator gives what ECS says of the tasks.
        (re.escape("$states.result.Containers[0].ExitCode"), "$states.result.tasks[0].containers[0].exitCode"),
        (r"Command: \[!FindInMap .*\]", f"Command: [{argument}]"),
    ):
        template, count = re.subn(written, here, template)
        assert count
    engine = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    with emulated(tmp_path, {}, SFN_WAIT_SCALE="0.0167", DOCKER_HOST=engine) as aws:
        ec2 = aws.client("ec2")
        outputs = aws.deploy(
            "churn",
            template,
            TrainImage="churn-train",
            InferenceImage="churn-inference",
            VpcId=ec2.describe_vpcs()["Vpcs"][0]["VpcId"],
            SubnetIds=ec2.describe_subnets()["Subnets"][0]["SubnetId"],
            MlflowTrackingUri="https://mlflow.example.com",
        )
        queue = aws.client("sqs").create_queue(QueueName="told")["QueueUrl"]
        arn = "arn:aws:sqs:eu-central-1:000000000000:told"
        aws.client("sns").subscribe(TopicArn=outputs["TopicArn"], Protocol="sqs", Endpoint=arn)
        aws.client("s3").put_object(Bucket=outputs["StagingBucket"], Key="training_data.csv", Body=b"x")
        deadline = time.monotonic() + PATIENCE
        while not (started := aws.executions(outputs["RetrainStateMachineArn"])):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert aws.ended(started[0]["executionArn"])["status"] == ("SUCCEEDED" if scored else "FAILED")
        scorings = aws.executions(outputs["ScoreStateMachineArn"])
        assert len(scorings) == scored
        assert all(aws.ended(each["executionArn"])["status"] == "SUCCEEDED" for each in scorings)
        messages = aws.messages(queue)
        assert [message["Subject"] for message in messages] == told
        assert all("ended with exit code 2." in message["Message"] for message in messages)

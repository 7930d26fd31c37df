"""The CloudFormation templates on an emulator of AWS: what they make, and what starts what.

What a task gives is either mocked, as AWS itself gives it, or comes from a task that runs nothing.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from churn.config import Parameters
from churn.services.settings import ServiceSettings
from tests.conftest import ROOT, clean_environment
from tests.deploy.emulator import PATIENCE, TEMPLATES, Aws, emulated

DIGEST = "a" * 64
IMAGES = {
    "TrainImage": f"000000000000.dkr.ecr.eu-central-1.amazonaws.com/churn-train@sha256:{DIGEST}",
    "InferenceImage": f"000000000000.dkr.ecr.eu-central-1.amazonaws.com/churn-inference@sha256:{DIGEST}",
}
SECRET = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:mlflow-a1b2c3"
S3_ADDRESSES = "pl-6da54004"
PROVIDER = "arn:aws:iam::000000000000:oidc-provider/token.actions.githubusercontent.com"


def task(exit_code: int) -> dict[str, Any]:
    """A task that has ended, as Step Functions gives it."""
    return {"LastStatus": "STOPPED", "StopCode": "EssentialContainerExited", "Containers": [{"ExitCode": exit_code}]}


def thrown(exit_code: int) -> dict[str, Any]:
    return {"Throw": {"Error": "States.TaskFailed", "Cause": json.dumps(task(exit_code))}}


OUTCOMES: dict[str, dict[str, Any]] = {
    "done": {"0": {"Return": task(0)}},
    "error": {"0": thrown(1)},
    "error-taken-for-success": {"0": {"Return": task(1)}},
    "killed": {"0": thrown(137)},
    "untracked": {"0": thrown(3)},
    "untracked-taken-for-success": {"0": {"Return": task(3)}},
    "timed-out": {"0": {"Throw": {"Error": "States.Timeout", "Cause": "no answer in time"}}},
    "no-capacity": {"0": {"Throw": {"Error": "ECS.AmazonECSException", "Cause": "Capacity is unavailable"}}},
}
MOCKS = {
    "StateMachines": {
        name: {"TestCases": {case: {"Run": case} for case in OUTCOMES}}
        for name in ("churn-retrain", "churn-score", "churn-monitor")
    },
    "MockedResponses": OUTCOMES,
}


class Deployed:
    """Both stacks, and a queue that hears what the topic tells."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        # The emulator has no such resource, wanted or not.
        foundation = re.sub(
            r"  OidcProvider:\n    Type: AWS::IAM::OIDCProvider\n(    .*\n)+",
            "",
            (TEMPLATES / "foundation.yaml").read_text().replace("!Ref OidcProvider,", "!Ref OidcProviderArn,"),
        )
        self.foundation = aws.deploy(
            "foundation", foundation, GitHubRepository="owner/churn", OidcProviderArn=PROVIDER, MlflowSecretArn=SECRET
        )
        ec2 = aws.client("ec2")
        vpc = ec2.describe_vpcs()["Vpcs"][0]
        subnets = ",".join(subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2])
        self.network = aws.deploy(
            "network",
            (TEMPLATES / "network.yaml").read_text(),
            VpcId=vpc["VpcId"],
            SubnetIds=subnets,
            RouteTableIds=ec2.describe_route_tables()["RouteTables"][0]["RouteTableId"],
            VpcCidr=vpc["CidrBlock"],
        )
        self.outputs = aws.deploy(
            "churn",
            (TEMPLATES / "churn.yaml").read_text(),
            **IMAGES,
            VpcId=vpc["VpcId"],
            SubnetIds=subnets,
            EndpointSecurityGroupId=self.network["EndpointSecurityGroupId"],
            S3PrefixListId=S3_ADDRESSES,
            MlflowCidr="10.1.0.0/16",
            MlflowTrackingUri="https://mlflow.example.com",
            MlflowSecretArn=SECRET,
            PermissionsBoundary=self.foundation["PermissionsBoundary"],
        )
        self.queue = aws.client("sqs").create_queue(QueueName="told")["QueueUrl"]
        aws.client("sns").subscribe(
            TopicArn=self.outputs["TopicArn"], Protocol="sqs", Endpoint="arn:aws:sqs:eu-central-1:000000000000:told"
        )

    def machine(self, name: str) -> str:
        return self.outputs[f"{name.capitalize()}StateMachineArn"]

    def run(self, name: str, case: str) -> str:
        """Start an execution whose task ends so, and give it when it has ended."""
        stepfunctions = self.aws.client("stepfunctions")
        started: str = stepfunctions.start_execution(stateMachineArn=f"{self.machine(name)}#{case}")["executionArn"]
        self.aws.ended(started)
        return started

    def role(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.aws.client("iam").get_role(RoleName=name)["Role"]
        return found

    def statements(self, role: str) -> list[dict[str, Any]]:
        iam = self.aws.client("iam")
        assert not iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        return [
            statement
            for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]
            for statement in iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]["Statement"]
        ]

    def container(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Task definition and its one container."""
        definition = self.aws.client("ecs").describe_task_definition(taskDefinition=f"churn-{name}")["taskDefinition"]
        (container,) = definition["containerDefinitions"]
        return definition, container


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    # A minute of a machine is one second here.
    with emulated(tmp_path_factory.mktemp("aws"), MOCKS, SFN_WAIT_SCALE="0.0167") as aws:
        yield Deployed(aws)


def template() -> dict[str, Any]:
    """churn.yaml as it is written."""
    from cfnlint.decode import cfn_yaml  # takes seconds, also where these tests are not run

    found: dict[str, Any] = cfn_yaml.load(str(TEMPLATES / "churn.yaml"))
    return found


def resources() -> dict[str, Any]:
    found: dict[str, Any] = template()["Resources"]
    return found


def of_jobs() -> dict[str, Any]:
    """What is made for each of the jobs."""
    found: dict[str, Any] = resources()["Fn::ForEach::Jobs"][2]
    return found


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# --- what is made -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bucket", ["StagingBucket", "ResultsBucket"])
def test_buckets_are_private_encrypted_and_kept(deployed: Deployed, bucket: str) -> None:
    s3, name = deployed.aws.client("s3"), deployed.outputs[bucket]
    assert all(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values())
    assert s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
    assert statement["Resource"] == [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    text = (TEMPLATES / "churn.yaml").read_text()
    assert f"  {bucket}:\n    Type: AWS::S3::Bucket\n    DeletionPolicy: Retain\n" in text


def test_no_rule_of_a_bucket_removes_what_the_pointer_may_need() -> None:
    # The emulator keeps no rules.
    text = (TEMPLATES / "churn.yaml").read_text()
    rules = re.findall(r"^ +LifecycleConfiguration:\n( +Rules:\n(?: {10}.*\n)+)", text, re.MULTILINE)
    assert len(rules) == 2
    for rule in rules:
        assert "NoncurrentVersionExpiration" in rule
        assert not re.search(r"\b(ExpirationInDays|ExpirationDate|Transitions?)\b", rule)


@pytest.mark.parametrize("name", ["train", "inference", "monitor"])
def test_containers_are_confined_and_told_what_they_need(deployed: Deployed, name: str) -> None:
    definition, container = deployed.container(name)
    role = "train" if name == "train" else "inference"
    assert container["image"] == IMAGES[f"{role.capitalize()}Image"]
    assert container["readonlyRootFilesystem"] is True
    assert container["user"] == "10001:10001"
    assert [mount["containerPath"] for mount in container["mountPoints"]] == ["/tmp"]  # noqa: S108
    assert definition["networkMode"] == "awsvpc"
    assert definition["taskRoleArn"].endswith(f"role/churn-{role}")
    assert container["logConfiguration"]["options"]["awslogs-group"] == f"/churn/{name}"
    example = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.M))
    variables = {each["name"]: each["value"] for each in container["environment"]}
    assert set(variables) <= example
    assert variables["CHURN_S3_ENDPOINT"] == ""
    assert variables["CHURN_STAGING_BUCKET"] == deployed.outputs["StagingBucket"]
    assert variables["CHURN_SNS_TOPIC"] == deployed.outputs["TopicArn"]
    # These the emulator does not keep.
    declared = of_jobs()["${Job}Task"]["Properties"]["ContainerDefinitions"][0]
    assert declared["LinuxParameters"]["Capabilities"]["Drop"] == ["ALL"]
    secrets = {each["Name"]: each["ValueFrom"]["Fn::Sub"] for each in declared["Secrets"]["Fn::If"][1]}
    assert secrets == {
        "MLFLOW_TRACKING_USERNAME": "${MlflowSecretArn}:username::",
        "MLFLOW_TRACKING_PASSWORD": "${MlflowSecretArn}:password::",
    }
    assert set(secrets) <= example


@pytest.mark.parametrize("name", ["train", "inference"])
def test_containers_are_given_parameters_that_there_are(deployed: Deployed, name: str) -> None:
    _, container = deployed.container(name)
    option, given = container["command"]
    assert option == "--params"
    for parameter in given.split(","):
        block, field = parameter.removesuffix("=true").split(".")
        model = Parameters.model_fields[block].annotation
        assert model is not None
        assert model.model_fields[field].annotation is bool


def test_outcomes_are_monitored_and_nothing_is_scored_again(deployed: Deployed) -> None:
    _, container = deployed.container("monitor")
    assert container["command"] == ["--pipelines", "monitoring"]


def test_the_jobs_may_do_what_the_identities_of_a_store_may(deployed: Deployed) -> None:
    names = {"CHURN_STAGING_BUCKET": "staging", "CHURN_RESULTS_BUCKET": "results"}
    settings = ServiceSettings.read(names, needed=())
    wanted = {identity.name: rights for identity, rights in settings.rights().items()}
    for role, identity in (("churn-train", "training"), ("churn-inference", "scoring")):
        rights: dict[str, str] = {}
        for statement in deployed.statements(role):
            for resource in several(statement["Resource"]):
                for bucket, short in (("StagingBucket", "staging"), ("ResultsBucket", "results")):
                    if resource == f"arn:aws:s3:::{deployed.outputs[bucket]}/*":
                        rights[short] = "rw" if "s3:PutObject" in several(statement["Action"]) else "r"
        assert rights == wanted[identity]


# What has no resource to be limited to.
EVERYWHERE = {
    "ecr:GetAuthorizationToken",
    "cloudwatch:DescribeAlarms",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ecs:DeregisterTaskDefinition",
    "ecs:DescribeTaskDefinition",
    "logs:DescribeLogGroups",
    "states:ValidateStateMachineDefinition",
    # Logs and traces of the state machines.
    *(f"logs:{action}LogDelivery" for action in ("Create", "Delete", "Get", "Update")),
    *("logs:ListLogDeliveries", "logs:DescribeResourcePolicies", "logs:PutResourcePolicy"),
    *("xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"),
}
STACK_ROLES = ("churn-execution", "churn-train", "churn-inference", "churn-machines", "churn-start")


@pytest.mark.parametrize("role", [*STACK_ROLES, "churn-deploy", "churn-cloudformation"])
def test_rights_are_limited_to_what_is_named(deployed: Deployed, role: str) -> None:
    for statement in deployed.statements(role):
        assert statement["Effect"] == "Allow"
        for resource in several(statement["Resource"]):
            if resource == "*":
                assert set(several(statement["Action"])) <= EVERYWHERE
            else:
                assert resource.startswith("arn:aws:")
        if role != "churn-cloudformation":
            assert not [action for action in several(statement["Action"]) if "*" in action]
        if "iam:PassRole" in several(statement["Action"]):
            assert "iam:PassedToService" in statement["Condition"]["StringEquals"]


def test_what_the_workflow_makes_stays_within_the_boundary(deployed: Deployed) -> None:
    boundary = deployed.foundation["PermissionsBoundary"]
    # The emulator does not keep the boundary of a role.
    schema = [each for each in resources().values() if isinstance(each, dict) and each["Type"] == "AWS::IAM::Role"]
    assert len(schema) == len(STACK_ROLES)
    assert all(each["Properties"]["PermissionsBoundary"]["Fn::If"][0] == "HasBoundary" for each in schema)
    creates = [each for each in deployed.statements("churn-cloudformation") if "iam:CreateRole" in each["Action"]]
    assert [each["Condition"] for each in creates] == [{"StringEquals": {"iam:PermissionsBoundary": boundary}}]
    assert sorted(creates[0]["Resource"]) == sorted(f"arn:aws:iam::000000000000:role/{role}" for role in STACK_ROLES)
    # Every right of a role is one that the boundary leaves.
    iam = deployed.aws.client("iam")
    version = iam.get_policy(PolicyArn=boundary)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=boundary, VersionId=version)["PolicyVersion"]["Document"]
    left = {action for statement in document["Statement"] for action in several(statement["Action"])}
    used = {action for role in STACK_ROLES for each in deployed.statements(role) for action in several(each["Action"])}
    assert used == left


def test_only_the_environment_of_the_repository_deploys(deployed: Deployed) -> None:
    (statement,) = deployed.role("churn-deploy")["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Federated": PROVIDER}
    assert statement["Condition"]["StringEquals"] == {
        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
        "token.actions.githubusercontent.com:sub": "repo:owner/churn:environment:production",
    }


def test_logs_are_kept_for_a_while(deployed: Deployed) -> None:
    groups = deployed.aws.client("logs").describe_log_groups(logGroupNamePrefix="/churn/")["logGroups"]
    assert {group["logGroupName"]: group["retentionInDays"] for group in groups} == {
        "/churn/train": 90,
        "/churn/inference": 90,
        "/churn/monitor": 90,
        "/churn/machines": 90,
    }


@pytest.mark.parametrize("name", ["train", "inference", "monitor"])
def test_what_a_machine_does_is_logged_and_traced_without_its_data(deployed: Deployed, name: str) -> None:
    arn = deployed.machine({"train": "retrain", "inference": "score"}.get(name, name))
    machine = deployed.aws.client("stepfunctions").describe_state_machine(stateMachineArn=arn)
    # What the emulator does not keep is as it is written.
    logging = of_jobs()["${Job}Machine"]["Properties"]["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ALL", False)
    assert logging["Destinations"] == [
        {"CloudWatchLogsLogGroup": {"LogGroupArn": {"Fn::GetAtt": ["MachineLogs", "Arn"]}}}
    ]
    # An execution that waits for ever ends.
    assert json.loads(machine["definition"])["TimeoutSeconds"] == 172_800
    assert of_jobs()["${Job}Machine"]["Properties"]["TracingConfiguration"] == {"Enabled": True}


def test_there_is_an_alarm_for_each_way_to_fail_and_for_silence(deployed: Deployed) -> None:
    found = deployed.aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    alarms = {alarm["AlarmName"]: alarm for alarm in found}
    endings = [
        f"churn-{machine}-{ending}"
        for machine in ("retrain", "score", "monitor")
        for ending in ("Failed", "Aborted", "TimedOut")
    ]
    assert set(alarms) == {*endings, "churn-dead-letters", "churn-stale-scores"}
    assert all(alarm["AlarmActions"] == [deployed.outputs["TopicArn"]] for alarm in found)
    for name in endings:
        alarm = alarms[name]
        machine, ending = name.split("-")[1:]
        assert alarm["MetricName"] == f"Executions{ending}"
        assert alarm["Dimensions"] == [{"Name": "StateMachineArn", "Value": deployed.machine(machine)}]
        assert (alarm["Threshold"], alarm["TreatMissingData"]) == (0, "notBreaching")
    stale = alarms["churn-stale-scores"]
    assert stale["Dimensions"] == [{"Name": "StateMachineArn", "Value": deployed.machine("score")}]
    # Each of 26 hours without one that succeeded; an hour without any data is one of them.
    assert (stale["Period"], stale["EvaluationPeriods"]) == (3600, 26)
    assert (stale["Statistic"], stale["Threshold"], stale["ComparisonOperator"]) == ("Sum", 1, "LessThanThreshold")
    assert stale["TreatMissingData"] == "breaching"
    # CloudWatch looks back a week at most.
    parameter = template()["Parameters"]["StaleHours"]
    assert parameter["MaxValue"] * stale["Period"] <= 7 * 86_400


def test_nobody_connects_to_the_tasks_and_they_connect_to_what_they_need(deployed: Deployed) -> None:
    groups = deployed.aws.client("ec2").describe_security_groups()["SecurityGroups"]
    (group,) = [each for each in groups if each["Description"].startswith("The tasks connect to HTTPS")]
    assert group["IpPermissions"] == []
    rules = group["IpPermissionsEgress"]
    assert {rule["FromPort"] for rule in rules} == {443}
    cidrs = {each["CidrIp"] for rule in rules for each in rule["IpRanges"]}
    assert cidrs == {"10.1.0.0/16"}
    # The emulator keeps no groups and prefix lists in rules; they are as they are written.
    written = resources()["SecurityGroup"]["Properties"]["SecurityGroupEgress"]
    limited = [rule["Fn::If"][1] for rule in written]
    assert [rule.get("DestinationSecurityGroupId") for rule in limited] == [
        {"Ref": "EndpointSecurityGroupId"},
        None,
        None,
    ]
    assert [rule.get("DestinationPrefixListId") for rule in limited] == [None, {"Ref": "S3PrefixListId"}, None]


def test_the_network_has_an_endpoint_for_whatever_the_tasks_use(deployed: Deployed) -> None:
    found = deployed.aws.client("ec2").describe_vpc_endpoints()["VpcEndpoints"]
    services = {each["ServiceName"].removeprefix("com.amazonaws.eu-central-1."): each for each in found}
    assert set(services) == {"s3", "ecr.api", "ecr.dkr", "logs", "sns", "secretsmanager"}
    assert services["s3"]["VpcEndpointType"] == "Gateway"
    # Each service of the roles of the tasks has one.
    used = {
        action.partition(":")[0]
        for role in ("churn-execution", "churn-train", "churn-inference")
        for statement in deployed.statements(role)
        for action in several(statement["Action"])
    }
    assert used <= {name.partition(".")[0] for name in services}


@pytest.mark.parametrize("name", ["retrain", "score", "monitor"])
def test_whatever_goes_wrong_is_told_and_a_failure(deployed: Deployed, name: str) -> None:
    machine = deployed.aws.client("stepfunctions").describe_state_machine(stateMachineArn=deployed.machine(name))
    states = json.loads(machine["definition"])["States"]
    assert states["TellOfFailure"]["Next"] == "Failed"
    # A subscription chooses by this attribute, which the emulator does not pass on.
    for state, event in (("TellOfFailure", "failed"), ("TellOfTracking", "not_tracked")):
        told = states[state]["Arguments"]["MessageAttributes"]
        assert told == {"event": {"DataType": "String", "StringValue": event}}
    assert states["Failed"]["Type"] == "Fail"
    for state, what in states.items():
        if what["Type"] == "Task" and not what["Resource"].endswith("sns:publish"):
            (catch,) = what["Catch"]
            assert catch["ErrorEquals"] == ["States.ALL"], state
            assert catch["Next"] == ("HowItEnded" if state == "Run" else "TellOfFailure"), state
    assert states["HowItEnded"]["Default"] == "TellOfFailure"


# --- what starts what -------------------------------------------------------------------------------------------


def test_new_objects_start_the_run_that_they_are_for_and_a_burst_starts_one(deployed: Deployed) -> None:
    aws, bucket = deployed.aws, deployed.outputs["StagingBucket"]
    s3, ecs = aws.client("s3"), aws.client("ecs")
    # What the pipelines write there themselves starts nothing.
    for key in ("training/metrics.json", "features/train.parquet", "oracle.parquet"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    before = len(aws.executions(deployed.machine("score")))
    for part in range(3):
        s3.put_object(Bucket=bucket, Key="training_data.csv", Body=b"x" * part)
    deadline = time.monotonic() + PATIENCE
    while not (tasks := ecs.list_tasks(cluster="churn", family="churn-train")["taskArns"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    found = aws.executions(deployed.machine("retrain"))
    assert len(found) == 3
    (running,) = [each["executionArn"] for each in found if each["status"] == "RUNNING"]
    # It may have waited once, for one that was about to find itself superseded.
    turn = ["Look", "WhoseTurn"]
    assert aws.states(running) in (["Quiet", *turn, "Run"], ["Quiet", *turn, "Busy", *turn, "Run"])
    for other in found:
        if other["executionArn"] != running:
            assert aws.ended(other["executionArn"])["status"] == "SUCCEEDED"
            assert aws.states(other["executionArn"])[-1] == "Superseded"

    # While it runs, the next one waits, and is done afterwards.
    s3.delete_object(Bucket=bucket, Key="training_data.csv")
    deadline = time.monotonic() + PATIENCE
    while "Busy" not in aws.states((newest := aws.executions(deployed.machine("retrain"))[0])["executionArn"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert newest["executionArn"] != running
    assert len(ecs.list_tasks(cluster="churn", family="churn-train")["taskArns"]) == 1
    ecs.stop_task(cluster="churn", task=tasks[0])
    deadline = time.monotonic() + PATIENCE
    while aws.states(newest["executionArn"])[-1] != "Run":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # A task that was stopped has no exit code, and is no success.
    assert aws.ended(running)["status"] == "FAILED"
    for left in ecs.list_tasks(cluster="churn", family="churn-train")["taskArns"]:
        ecs.stop_task(cluster="churn", task=left)
    aws.ended(newest["executionArn"])
    assert len(aws.executions(deployed.machine("score"))) == before

    s3.put_object(Bucket=bucket, Key="inference_data.csv", Body=b"x")
    deadline = time.monotonic() + PATIENCE
    while not ecs.list_tasks(cluster="churn", family="churn-inference")["taskArns"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for left in ecs.list_tasks(cluster="churn", family="churn-inference")["taskArns"]:
        ecs.stop_task(cluster="churn", task=left)
    for execution in aws.executions(deployed.machine("score")):
        aws.ended(execution["executionArn"])
    aws.messages(deployed.queue)


def test_outcomes_that_arrive_start_the_monitoring(deployed: Deployed) -> None:
    aws = deployed.aws
    before = {name: len(aws.executions(deployed.machine(name))) for name in ("retrain", "score", "monitor")}
    aws.client("s3").put_object(Bucket=deployed.outputs["StagingBucket"], Key="inference_outcomes.csv", Body=b"x")
    deadline = time.monotonic() + PATIENCE
    while not (tasks := aws.client("ecs").list_tasks(cluster="churn", family="churn-monitor")["taskArns"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for task in tasks:
        aws.client("ecs").stop_task(cluster="churn", task=task)
    aws.ended(aws.executions(deployed.machine("monitor"))[0]["executionArn"])
    after = {name: len(aws.executions(deployed.machine(name))) for name in before}
    assert after == {**before, "monitor": before["monitor"] + 1}
    aws.messages(deployed.queue)


@pytest.mark.parametrize("case", ["done", "untracked", "untracked-taken-for-success"])
def test_after_a_training_everything_is_scored(deployed: Deployed, case: str) -> None:
    before = len(deployed.aws.executions(deployed.machine("score")))
    execution = deployed.run("retrain", case)
    assert deployed.aws.ended(execution)["status"] == "SUCCEEDED"
    assert deployed.aws.states(execution)[-2:] == ["HaveItScored", "Done"]
    assert len(deployed.aws.executions(deployed.machine("score"))) == before + 1
    told = [message for message in deployed.aws.messages(deployed.queue) if "retrain" in message["Subject"]]
    assert [message["Subject"] for message in told] == (
        ["churn-retrain: done, not tracked"] if "untracked" in case else []
    )
    # The scoring that was started runs nothing here, and is not waited for.
    for execution in deployed.aws.executions(deployed.machine("score")):
        if execution["status"] == "RUNNING":
            deployed.aws.client("stepfunctions").stop_execution(executionArn=execution["executionArn"])


@pytest.mark.parametrize("name", ["retrain", "score", "monitor"])
@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("error", "States.TaskFailed ended with exit code 1."),
        ("error-taken-for-success", "The container ended with exit code 1."),
        ("killed", "States.TaskFailed ended with exit code 137."),
        ("timed-out", "States.Timeout ended the run."),
        ("no-capacity", "ECS.AmazonECSException ended the run."),
    ],
)
def test_a_failure_is_one_and_is_told(deployed: Deployed, name: str, case: str, said: str) -> None:
    before = len(deployed.aws.executions(deployed.machine("score")))
    execution = deployed.run(name, case)
    assert deployed.aws.ended(execution)["status"] == "FAILED"
    (told,) = deployed.aws.messages(deployed.queue)
    assert told["Subject"] == f"churn-{name}: failed"
    assert told["Message"].startswith(said)
    assert execution in told["Message"]
    log = {"retrain": "train", "score": "inference"}.get(name, name)
    assert f"/churn/{log} in CloudWatch" in told["Message"]
    # Where there was no room for a task, it was tried again; what had begun was not.
    history = deployed.aws.client("stepfunctions").get_execution_history(executionArn=execution, maxResults=1000)[
        "events"
    ]
    tried = [
        each
        for each in history
        if each.get("taskScheduledEventDetails", {}).get("resource", "").endswith("runTask.sync")
    ]
    assert len(tried) == 5 if case == "no-capacity" else len(tried) <= 1
    # A training that failed has nothing scored.
    assert len(deployed.aws.executions(deployed.machine("score"))) == before + (name == "score")


def test_a_scoring_that_is_not_tracked_is_done(deployed: Deployed) -> None:
    execution = deployed.run("score", "untracked")
    assert deployed.aws.ended(execution)["status"] == "SUCCEEDED"
    (told,) = deployed.aws.messages(deployed.queue)
    assert told["Subject"] == "churn-score: done, not tracked"
    assert "MLflow does not know of it" in told["Message"]


def test_every_morning_is_scored(deployed: Deployed) -> None:
    schedules = deployed.aws.client("scheduler").list_schedules()["Schedules"]
    assert [schedule["Name"] for schedule in schedules] == ["churn-score"]
    schedule = deployed.aws.client("scheduler").get_schedule(Name="churn-score")
    assert schedule["ScheduleExpression"] == "cron(0 6 * * ? *)"
    assert schedule["Target"]["Arn"] == deployed.machine("score")


@pytest.mark.e2e
def test_a_role_is_enough_to_write_tables_and_a_table_starts_a_training(deployed: Deployed, tmp_path: Path) -> None:
    """As in a task: no endpoint and no keys of the project's own, but those that AWS gives to whoever has the role."""
    before = len(deployed.aws.executions(deployed.machine("retrain")))
    environment = {
        **clean_environment(),
        "CHURN_S3_ENDPOINT": "",
        "CHURN_S3_REGION": "eu-central-1",
        "CHURN_STAGING_BUCKET": deployed.outputs["StagingBucket"],
        "CHURN_RESULTS_BUCKET": deployed.outputs["ResultsBucket"],
        "CHURN_SCRATCH": str(tmp_path),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "AWS_ENDPOINT_URL": deployed.aws.endpoint,
        "AWS_ACCESS_KEY_ID": "role",
        "AWS_SECRET_ACCESS_KEY": "of-the-task",
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "churn.operations.container", "train", "--pipelines", "data_generation"),
            *("--params", "simulation.training_rows=3000,simulation.scoring_rows=1000"),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = deployed.aws.client("s3").list_objects_v2(Bucket=deployed.outputs["StagingBucket"])["Contents"]
    assert {"training_data.csv", "inference_data.csv"} <= {each["Key"] for each in found}
    deadline = time.monotonic() + PATIENCE
    while len(started := deployed.aws.executions(deployed.machine("retrain"))) == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for name in ("retrain", "score"):
        for execution in deployed.aws.executions(deployed.machine(name)):
            if execution["status"] == "RUNNING":
                deployed.aws.client("stepfunctions").stop_execution(executionArn=execution["executionArn"])
    assert len(started) == before + 1

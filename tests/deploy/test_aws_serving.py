"""The template of the scoring service on an emulator of AWS: who reaches it, what it may do, and how it is changed and scaled."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from churn.config import Serve
from churn.operations.container import serve_arguments
from tests.conftest import ROOT
from tests.deploy.emulator import TEMPLATES, Aws, emulated

IMAGE = f"000000000000.dkr.ecr.eu-central-1.amazonaws.com/churn-serve@sha256:{'a' * 64}"
TOPIC = "arn:aws:sns:eu-central-1:000000000000:churn"
TOKEN = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:token-a1b2c3"
MLFLOW = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:mlflow-a1b2c3"


def emulatable() -> str:
    """The template without what the emulator does not have."""
    text = (TEMPLATES / "serve.yaml").read_text().replace("[Listener, BalancerEgress]", "[Listener]")
    # It calculates with the text of a parameter.
    text = text.replace("DesiredCount: !Ref LeastTasks", "DesiredCount: 2")
    for name in ("BalancerEgress", "Scaling", "ScalingByRequests"):
        text, count = re.subn(rf"^  {name}:\n(?:    .*\n)+", "", text, flags=re.MULTILINE)
        assert count == 1
    return text


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with emulated(tmp_path_factory.mktemp("aws"), {}) as made:
        ec2 = made.client("ec2")
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        subnets = ",".join(subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2])
        made.deploy(
            "churn-serve",
            emulatable(),
            ServeImage=IMAGE,
            VpcId=vpc,
            SubnetIds=subnets,
            BalancerSubnetIds=subnets,
            ClientCidr="10.0.0.0/16",
            CertificateArn="arn:aws:acm:eu-central-1:000000000000:certificate/a",
            MlflowTrackingUri="https://mlflow.example.com",
            MlflowSecretArn=MLFLOW,
            TokenSecretArn=TOKEN,
            ResultsBucketName="results",
            StagingBucketName="staging",
            TopicArn=TOPIC,
        )
        yield made


def resources() -> dict[str, Any]:
    from cfnlint.decode import cfn_yaml  # takes seconds, also where these tests are not run

    found: dict[str, Any] = cfn_yaml.load(str(TEMPLATES / "serve.yaml"))["Resources"]
    return found


def attributes(given: list[dict[str, str]]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in given}


def test_the_container_is_confined_and_told_what_it_needs(aws: Aws) -> None:
    definition = aws.client("ecs").describe_task_definition(taskDefinition="churn-serve")["taskDefinition"]
    (container,) = definition["containerDefinitions"]
    assert (container["image"], container["user"]) == (IMAGE, "10001:10001")
    assert container["readonlyRootFilesystem"] is True
    assert [mount["containerPath"] for mount in container["mountPoints"]] == ["/tmp"]  # noqa: S108
    variables = {each["name"]: each["value"] for each in container["environment"]}
    declared = resources()["Task"]["Properties"]["ContainerDefinitions"][0]
    assert declared["LinuxParameters"]["Capabilities"]["Drop"] == ["ALL"]
    secrets = [each.get("Fn::If", [None, each])[1]["Name"] for each in declared["Secrets"]]
    known = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.M))
    assert secrets == ["CHURN_SERVE_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"]
    assert {*variables, *secrets} <= known
    assert variables["CHURN_SCRATCH"].startswith("/tmp/")  # noqa: S108
    # One worker for each core, and parameters that there are.
    workers = container["command"][container["command"].index("--workers") + 1]
    assert int(definition["cpu"]) == 1024 * int(workers)
    given = serve_arguments(container["command"])
    parameters = dict(part.split("=") for part in given[given.index("--params") + 1].split(","))
    assert parameters["serve.host"] == "0.0.0.0"  # noqa: S104
    Serve.model_validate({name.removeprefix("serve."): value for name, value in parameters.items()})


def test_no_request_is_lost_when_a_task_goes(aws: Aws) -> None:
    written = resources()
    balancer = attributes(written["Balancer"]["Properties"]["LoadBalancerAttributes"])
    group = attributes(written["TargetGroup"]["Properties"]["TargetGroupAttributes"])
    container = written["Task"]["Properties"]["ContainerDefinitions"][0]
    given = dict(part.split("=") for part in container["Command"][-1].split(","))
    # The balancer closes idle connections before the service does: it would send a request into one that is closing.
    assert float(given["serve.keep_alive"]) > float(balancer["idle_timeout.timeout_seconds"])
    # What the balancer has handed out is answered before SIGTERM, and what still comes before SIGKILL.
    assert float(group["deregistration_delay.timeout_seconds"]) > Serve().seconds
    assert container["StopTimeout"] > float(given["serve.drain"]) + Serve().seconds
    (service,) = aws.client("ecs").describe_services(cluster="churn-serve", services=["churn-serve"])["services"]
    assert written["Service"]["Properties"]["DesiredCount"] == {"Ref": "LeastTasks"}
    assert service["loadBalancers"][0]["containerPort"] == Serve().port
    changed = written["Service"]["Properties"]["DeploymentConfiguration"]
    assert (changed["MinimumHealthyPercent"], changed["MaximumPercent"]) == (100, 200)
    assert changed["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    (target,) = aws.client("elbv2").describe_target_groups(Names=["churn-serve"])["TargetGroups"]
    assert (target["HealthCheckPath"], target["Port"], target["TargetType"]) == ("/readyz", Serve().port, "ip")


def test_it_is_scaled_by_its_requests() -> None:
    target, policy = (resources()[name]["Properties"] for name in ("Scaling", "ScalingByRequests"))
    assert target["ResourceId"] == {"Fn::Sub": "service/${Cluster}/${Service.Name}"}
    assert (target["MinCapacity"], target["MaxCapacity"]) == ({"Ref": "LeastTasks"}, {"Ref": "MostTasks"})
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    metric = tracking["PredefinedMetricSpecification"]
    assert metric["PredefinedMetricType"] == "ALBRequestCountPerTarget"
    # As AWS documents it: app/<name>/<id>/targetgroup/<name>/<id>, which the two names are.
    assert metric["ResourceLabel"] == {"Fn::Sub": "${Balancer.LoadBalancerFullName}/${TargetGroup.TargetGroupFullName}"}
    assert tracking["TargetValue"] == {"Ref": "RequestsPerTask"}
    assert tracking["ScaleInCooldown"] > tracking["ScaleOutCooldown"]


def test_clients_reach_the_balancer_by_https_only_and_nobody_else_the_tasks(aws: Aws) -> None:
    written = resources()
    listener = written["Listener"]["Properties"]
    assert (listener["Protocol"], listener["Port"]) == ("HTTPS", 443)
    assert "TLS13" in listener["SslPolicy"]
    (rule,) = written["NoMetrics"]["Properties"]["Conditions"]
    assert rule["PathPatternConfig"]["Values"] == ["/metrics"]
    groups = {each["Description"]: each for each in aws.client("ec2").describe_security_groups()["SecurityGroups"]}
    (clients,) = groups["Clients connect to the balancer by HTTPS"]["IpPermissions"]
    assert (clients["FromPort"], [each["CidrIp"] for each in clients["IpRanges"]]) == (443, ["10.0.0.0/16"])
    # The emulator keeps no groups in rules; they are as they are written.
    (tasks,) = written["TaskSecurityGroup"]["Properties"]["SecurityGroupIngress"]
    assert tasks["SourceSecurityGroupId"] == {"Ref": "BalancerSecurityGroup"}
    assert "CidrIp" not in tasks


def test_it_reads_what_is_published_and_writes_its_log_only(aws: Aws) -> None:
    iam = aws.client("iam")
    document = iam.get_role_policy(RoleName="churn-serve-task", PolicyName="serve")["PolicyDocument"]
    rights = {
        (action, each["Resource"])
        for each in document["Statement"]
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    }
    assert rights == {
        ("s3:GetBucketLocation", "arn:aws:s3:::results"),
        ("s3:ListBucket", "arn:aws:s3:::results"),
        ("s3:GetObject", "arn:aws:s3:::results/*"),
        ("s3:PutObject", "arn:aws:s3:::results/requests/*"),
        ("s3:AbortMultipartUpload", "arn:aws:s3:::results/requests/*"),
    }
    start = iam.get_role_policy(RoleName="churn-serve-execution", PolicyName="start")["PolicyDocument"]["Statement"]
    assert start[-1]["Resource"] == [TOKEN, MLFLOW]


def test_failures_slow_answers_and_missing_tasks_are_told(aws: Aws) -> None:
    alarms = {each["AlarmName"]: each for each in aws.client("cloudwatch").describe_alarms()["MetricAlarms"]}
    assert set(alarms) == {"churn-serve-fails", "churn-serve-slow", "churn-serve-too-few"}
    assert all(each["AlarmActions"] == [TOPIC] for each in alarms.values())
    assert (alarms["churn-serve-too-few"]["Threshold"], alarms["churn-serve-too-few"]["TreatMissingData"]) == (
        2,
        "breaching",
    )
    assert alarms["churn-serve-slow"]["ExtendedStatistic"] == "p99"

"""The AWS CLI, 1 and 2, as people have it: what it prints, how it pages and waits, and the nine stacks by hand."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from client_cloud import LocalCloud, Tool, environment, until
from client_programs import awscli2
from client_rows import is_version

TEMPLATES = Path(__file__).parents[3] / "examples/helloworld/templates"
# Each version has a region of its own, so that neither sees what the other made.
REGIONS = {"awscli1": "us-east-1", "awscli2": "eu-west-1"}


@dataclass
class Cli:
    row: str
    run: Tool
    cloud: LocalCloud
    region: str

    def text(self, *words: str) -> str:
        return self.run(*words, "--output", "text").strip()

    def create(self, stack: str, *more: str) -> None:
        body = f"file://{TEMPLATES}/{stack}.template"
        said = self.run.asked(
            "cloudformation", "create-stack", "--stack-name", stack, "--template-body", body, *more
        )
        assert f":stack/{stack}/" in said["StackId"]
        status = self.cloud.settled(stack, self.region)
        assert status == "CREATE_COMPLETE", self.cloud.failures(stack, self.region)


def cli(row: str, cloud: LocalCloud, directory: Path) -> Cli:
    environ = environment(cloud.url) | {"AWS_REGION": REGIONS[row], "AWS_DEFAULT_REGION": REGIONS[row]}
    if row == "awscli1":
        words = [str(Path(sys.executable).with_name("aws"))]
    else:
        words = [str(awscli2(directory)), "--endpoint-url", cloud.url]
    return Cli(row, Tool(words, environ, directory), cloud, REGIONS[row])


def assert_goes_out(run: Tool, *words: str) -> None:
    """That the command asks AWS itself. Nobody is at this proxy: what goes out is seen, and gets nowhere."""
    said = run(*words, refused=True, HTTPS_PROXY="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1")
    assert "proxy URL" in said and "127.0.0.1:9" in said


@pytest.fixture(scope="module", params=["awscli1", "awscli2"])
def aws(
    request: pytest.FixtureRequest, cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cli]:
    made = cli(request.param, cloud, tmp_path_factory.mktemp(request.param))
    said = made.run("--version")
    assert is_version(made.row, said.removeprefix("aws-cli/").split()[0]), said
    yield made


@pytest.mark.client(
    "awscli1",
    "awscli2",
    works="the six stacks of one environment: create-stack with parameters (escaped commas too), waiters, outputs, "
    "exports, update-stack, `ecs wait services-stable`, delete-stack",
)
def test_the_stacks_by_hand(aws: Cli) -> None:
    capable = ("--capabilities", "CAPABILITY_IAM")
    aws.create("helloworld-ecr", "--parameters", "ParameterKey=RepoName,ParameterValue=helloworld")
    aws.run("cloudformation", "wait", "stack-create-complete", "--stack-name", "helloworld-ecr")
    assert aws.text("cloudformation", "list-exports", "--query", "Exports[].Name") == "helloworld-repo"
    for tag in ("v1", "v2"):
        aws.cloud.push("helloworld", tag, aws.region)
    vpc = aws.text("ec2", "describe-vpcs", "--query", "Vpcs[0].VpcId")
    subnets = aws.text("ec2", "describe-subnets", "--query", "Subnets[].SubnetId").split()
    tag = ("--parameters", "ParameterKey=Tag,ParameterValue=v1")
    aws.create(
        "staging-cluster",
        *capable,
        "--parameters",
        f"ParameterKey=VpcId,ParameterValue={vpc}",
        "ParameterKey=PublicSubnet,ParameterValue=" + "\\,".join(subnets[:2]),
    )
    aws.create("staging-alb")
    aws.create("staging-helloworld-service", *capable, *tag)
    aws.create("helloworld-codebuild", *capable)
    arn = aws.text(
        "codestar-connections", "create-connection", "--provider-type", "GitHub", "--connection-name", "c",
        "--query", "ConnectionArn",
    )  # fmt: skip
    aws.create(
        "helloworld-codepipeline", *capable, "--parameters", f"ParameterKey=ConnectionArn,ParameterValue={arn}"
    )
    assert aws.text("codepipeline", "list-pipelines", "--query", "length(pipelines)") == "1"
    url = aws.text(
        "cloudformation", "describe-stacks", "--stack-name", "staging-alb",
        "--query", "Stacks[0].Outputs[?OutputKey=='URL'].OutputValue",
    )  # fmt: skip
    assert url.endswith(f".{aws.region}.elb.localhost:3000")

    # A new tag, as the pipeline would deploy it.
    service = "staging-helloworld-service"
    aws.run(
        "cloudformation", "update-stack", "--stack-name", service, "--use-previous-template",
        "--parameters", "ParameterKey=Tag,ParameterValue=v2", *capable,
    )  # fmt: skip
    assert aws.cloud.settled(service, aws.region) == "UPDATE_COMPLETE"
    aws.run("cloudformation", "wait", "stack-update-complete", "--stack-name", service)
    cluster = aws.text("cloudformation", "list-exports", "--query", "Exports[?Name=='staging-cluster-id'].Value")
    (arn,) = aws.text("ecs", "list-services", "--cluster", cluster, "--query", "serviceArns").split()
    aws.run("ecs", "wait", "services-stable", "--cluster", cluster, "--services", arn)
    described = aws.run.asked("ecs", "describe-services", "--cluster", cluster, "--services", arn)["services"][0]
    image = aws.text(
        "ecs", "describe-task-definition", "--task-definition", described["taskDefinition"],
        "--query", "taskDefinition.containerDefinitions[0].image",
    )  # fmt: skip
    assert image.endswith(f".dkr.ecr.{aws.region}.amazonaws.com/helloworld:v2")
    assert "No updates are to be performed" in aws.run(
        "cloudformation", "update-stack", "--stack-name", service, "--use-previous-template",
        "--parameters", "ParameterKey=Tag,UsePreviousValue=true", *capable, refused=True,
    )  # fmt: skip

    # What others import stays; in reverse order all goes.
    aws.run("cloudformation", "delete-stack", "--stack-name", service)
    until_deleted(aws, service)
    aws.run("cloudformation", "wait", "stack-delete-complete", "--stack-name", service)
    said = aws.run("cloudformation", "describe-stacks", "--stack-name", service, refused=True)
    assert "(ValidationError)" in said and f"Stack with id {service} does not exist" in said


def until_deleted(aws: Cli, stack: str) -> None:
    """The CLI's waiter looks every 30 seconds only: it is called when there is nothing left to wait for."""
    cloudformation = aws.cloud.client("cloudformation", aws.region)

    def look() -> bool:
        pages = cloudformation.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
        return any(each["StackName"] == stack for page in pages for each in page["StackSummaries"])

    until(look)


@pytest.mark.client("awscli1", "awscli2", works="`--output json`, `text` and `table` (2: `yaml` too), `--query`")
def test_each_form_of_output(aws: Cli) -> None:
    aws.run("ssm", "put-parameter", "--name", "/forms", "--type", "String", "--value", "a b", "--overwrite")
    words = ("ssm", "get-parameter", "--name", "/forms", "--query", "Parameter.[Name,Value]")
    assert json.loads(aws.run(*words, "--output", "json")) == ["/forms", "a b"]
    assert aws.run(*words, "--output", "text") == "/forms\ta b\n"
    table = aws.run(*words, "--output", "table")
    assert "GetParameter" in table and "|  /forms " in table
    if aws.row == "awscli2":
        assert aws.run(*words, "--output", "yaml") == "- /forms\n- a b\n"
    identity = aws.run.asked("sts", "get-caller-identity")
    assert identity["Account"] == "000000000000"


@pytest.mark.client(
    "awscli1", "awscli2", works="paging: `--page-size`, `--max-items`, `--starting-token`, `--no-paginate`"
)
def test_paging(aws: Cli) -> None:
    names = [f"paged-{number}" for number in range(5)]
    for name in names:
        aws.cloud.client("ecr", aws.region).create_repository(repositoryName=name)
    words = ("ecr", "describe-repositories", "--repository-names", *names)
    assert len(aws.run.asked(*words)["repositories"]) == 5
    words = ("ecr", "describe-repositories", "--page-size", "2")
    assert set(names) <= {each["repositoryName"] for each in aws.run.asked(*words)["repositories"]}
    first = aws.run.asked(*words, "--max-items", "3")
    assert len(first["repositories"]) == 3
    second = aws.run.asked(*words, "--max-items", "3", "--starting-token", first["NextToken"])
    seen = [each["repositoryName"] for page in (first, second) for each in page["repositories"]]
    assert len(set(seen)) == len(seen) >= 5
    one = aws.run.asked("ecr", "describe-repositories", "--max-results", "2", "--no-paginate")
    assert len(one["repositories"]) == 2 and one["nextToken"]


@pytest.mark.client("awscli1", "awscli2", works="`ecr get-login-password`; 1: `ecr get-login`")
def test_passwords_for_the_registry(aws: Cli) -> None:
    password = aws.run("ecr", "get-login-password").strip()
    assert len(password) > 20
    if aws.row == "awscli1":
        said = aws.run("ecr", "get-login", "--no-include-email")
        assert said.startswith("docker login -u AWS -p ")


@pytest.mark.client(
    "awscli1", "awscli2", works="S3: `mb`, `cp` both ways, `ls`, `sync`, `rm`, `rb`, large files in parts"
)
def test_files_in_buckets(aws: Cli) -> None:
    place, bucket = aws.run.directory, f"s3://files-{aws.region}"
    (place / "small").write_text("small")
    (place / "large").write_bytes(bytes(9 * 2**20))
    aws.run("s3", "mb", bucket)
    aws.run("s3", "cp", "small", f"{bucket}/a/small")
    aws.run("s3", "cp", "large", f"{bucket}/a/large")
    listed = [line.split()[2:] for line in aws.run("s3", "ls", f"{bucket}/a/").splitlines()]
    assert listed == [["9437184", "large"], ["5", "small"]]
    aws.run("s3", "cp", f"{bucket}/a/large", "back")
    assert (place / "back").read_bytes() == bytes(9 * 2**20)
    assert aws.run("s3", "cp", f"{bucket}/a/small", "-") == "small"
    aws.run("s3", "sync", f"{bucket}/a", "synced")
    assert sorted(each.name for each in (place / "synced").iterdir()) == ["large", "small"]
    aws.run("s3", "rm", "--recursive", f"{bucket}/a")
    aws.run("s3", "rb", bucket)
    assert "(NoSuchBucket)" in aws.run("s3api", "list-objects-v2", "--bucket", f"files-{aws.region}", refused=True)


@pytest.mark.client("awscli1", "awscli2", works="`logs filter-log-events`, `get-log-events`")
def test_logs(aws: Cli) -> None:
    aws.cloud.say("/app", aws.region)
    names = ("--log-group-name", "/app")
    words = ("logs", "filter-log-events", *names, "--filter-pattern", '"line 1"', "--query", "events[].message")
    assert aws.text(*words) == "line 1"
    words = ("logs", "get-log-events", *names, "--log-stream-name", "one", "--query", "events[].message")
    assert aws.text(*words).split("\t") == ["line 0", "line 1", "line 2"]


@pytest.mark.client("awscli2", works="`logs tail`")
@pytest.mark.client(
    "awscli1", gap="`logs tail`", why="it came with the CLI's second version; `portside logs -f` follows too"
)
def test_log_tails(aws: Cli) -> None:
    if aws.row == "awscli1":
        assert "Invalid choice" in aws.run("logs", "tail", "/app", refused=True)
        return
    aws.cloud.say("/tailed", aws.region)
    said = aws.run("logs", "tail", "/tailed", "--since", "1h", "--format", "short")
    assert [line.split(" ", 1)[1] for line in said.splitlines()] == ["line 0", "line 1", "line 2"]


INNER = {"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "x"}}}}


@pytest.mark.client(
    "awscli1", "awscli2", works="`cloudformation deploy` by change sets, and with nothing to change"
)
def test_deploy(aws: Cli) -> None:
    (aws.run.directory / "inner.json").write_text(json.dumps(INNER))
    words = ("cloudformation", "deploy", "--template-file", "inner.json", "--stack-name", "deployed")
    # Without this it would look for the end of the execution every 30 seconds.
    said = aws.run(*words, "--no-execute-changeset")
    change = re.search(r"arn:aws:cloudformation:\S+", said)
    assert change is not None, said
    aws.run("cloudformation", "execute-change-set", "--change-set-name", change[0])
    assert aws.cloud.settled("deployed", aws.region) == "CREATE_COMPLETE"
    assert "No changes to deploy" in aws.run(*words, "--no-fail-on-empty-changeset")


@pytest.mark.client("awscli1", "awscli2", works="`create-change-set --include-nested-stacks`")
def test_change_sets_of_nested_stacks(aws: Cli) -> None:
    place, bucket = aws.run.directory, f"nested-{aws.region}"
    aws.cloud.bucket(bucket, aws.region)
    (place / "inner.json").write_text(json.dumps(INNER))
    aws.run("s3", "cp", "inner.json", f"s3://{bucket}/inner.json")
    url = f"https://{bucket}.s3.amazonaws.com/inner.json"
    inside = {"In": {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": url}}}
    (place / "whole.json").write_text(json.dumps({"Resources": inside}))
    names = ("--stack-name", "whole", "--change-set-name", "all")
    words = ("--change-set-type", "CREATE", "--include-nested-stacks", "--template-body", "file://whole.json")
    aws.run("cloudformation", "create-change-set", *names, *words)
    aws.run("cloudformation", "wait", "change-set-create-complete", *names)
    query = ("--query", "Changes[].ResourceChange.ChangeSetId")
    nested = aws.text("cloudformation", "describe-change-set", *names, *query)
    query = ("--query", "[Status, StatusReason]")
    said = aws.text("cloudformation", "describe-change-set", "--change-set-name", nested, *query)
    assert said == "CREATE_COMPLETE\tOnly executable from the root change set."
    aws.run("cloudformation", "execute-change-set", *names)
    assert aws.cloud.settled("whole", aws.region) == "CREATE_COMPLETE"


@pytest.mark.client("awscli1", works="`cloudformation package`")
@pytest.mark.client(
    "awscli2", gap="`cloudformation package`", why="it uploads to AWS's own S3, whatever `--endpoint-url` says"
)
def test_package(aws: Cli) -> None:
    place, bucket = aws.run.directory, f"packages-{aws.region}"
    outer = {
        "Resources": {"In": {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": "inner.json"}}}
    }
    (place / "inner.json").write_text(json.dumps(INNER))
    (place / "outer.json").write_text(json.dumps(outer))
    aws.cloud.bucket(bucket, aws.region)
    words = ("cloudformation", "package", "--template-file", "outer.json", "--s3-bucket", bucket)
    if aws.row == "awscli2":
        assert_goes_out(aws.run, *words)
        return
    aws.run(*words, "--output-template-file", "packaged.json")
    said = aws.run("cloudformation", "validate-template", "--template-body", "file://packaged.json")
    assert "Parameters" in said


@pytest.mark.client(
    "awscli1",
    "awscli2",
    works="errors in AWS's words; what is not offered is refused by name",
)
def test_errors(aws: Cli) -> None:
    said = aws.run("ecs", "describe-services", "--cluster", "none", "--services", "a", refused=True)
    assert "(ClusterNotFoundException) when calling the DescribeServices operation: Cluster not found." in said
    said = aws.run("logs", "describe-destinations", refused=True)
    assert "(NotImplemented)" in said and "DescribeDestinations" in said


@pytest.mark.client(
    "awscli1",
    "awscli2",
    gap="`ecs execute-command`",
    why="the Session Manager plugin, which it starts, is in neither PyPI nor Debian; `portside exec` needs none",
)
def test_execute_command_asks_for_the_plugin(aws: Cli) -> None:
    words = ("ecs", "execute-command", "--cluster", "c", "--task", "t", "--interactive", "--command", "sh")
    said = aws.run(*words, refused=True, PATH="/nowhere")
    assert "SessionManagerPlugin is not found" in said


@pytest.mark.client(
    "awscli2",
    gap="`AWS_ENDPOINT_URL`",
    why="the CLI reads it from 2.13 on only, and asks AWS itself until then, with keys that AWS refuses",
)
def test_an_old_cli_does_not_read_the_variable(cloud: LocalCloud, tmp_path: Path) -> None:
    old = Tool([str(awscli2(tmp_path))], environment(cloud.url), tmp_path)
    assert_goes_out(old, "ecs", "list-clusters")


@pytest.mark.client(
    "awscli1",
    gap="`AWS_ENDPOINT_URL` for `sqs`, `emr`, `rds`, `docdb`, `neptune` and `health`",
    why="the CLI puts old addresses of AWS's in its place, where AWS refuses the keys; "
    '`--endpoint-url "$AWS_ENDPOINT_URL"` it takes',
)
def test_services_with_addresses_of_the_clis_own(cloud: LocalCloud, tmp_path: Path) -> None:
    words = ["sqs", "list-queues", "--region", "us-east-1"]
    made = cli("awscli1", cloud, tmp_path)
    assert_goes_out(made.run, *words)
    assert made.run(*words, "--endpoint-url", cloud.url) == ""

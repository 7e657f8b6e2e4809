"""Role sessions, with unmodified boto3 clients and the ancillary services' IAM behind the real gateway."""

import asyncio
import json

import boto3
import pytest
from botocore.exceptions import ClientError

from portside.cloud.gateway.dispatch import Dispatcher
from portside.cloud.gateway.pipeline import Gateway
from portside.cloud.gateway.server import Server
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.calls import Caller
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.cloud.services.iam.access import Access
from portside.cloud.services.iam.roles import RoleReader
from portside.cloud.services.iam.sessions import Sessions
from portside.cloud.services.sts.api import StsApi
from portside.testing.server import quiet_log

ACCOUNT = "123456789012"
ROOT = Caller.root(ACCOUNT, "us-east-1", "a", endpoint="http://127.0.0.1:1")


class Clock(SystemClock):
    """Real time that can be moved on."""

    ahead = 0.0

    def now(self):
        return super().now() + self.ahead


class World:
    def __init__(self, endpoint, access, dispatcher, clock):
        self.endpoint = endpoint
        self.access = access
        self.dispatcher = dispatcher
        self.clock = clock

    async def do(self, service, operation, keys=None, **params):
        def go():
            client = boto3.client(
                service,
                endpoint_url=self.endpoint,
                region_name="us-east-1",
                **(keys or {"aws_access_key_id": "a", "aws_secret_access_key": "b"}),
            )
            try:
                return getattr(client, operation)(**params)
            finally:
                client.close()

        return await asyncio.to_thread(go)

    async def refused(self, service, operation, keys, **params):
        with pytest.raises(ClientError) as failure:
            await self.do(service, operation, keys, **params)
        return failure.value.response["Error"]

    async def role(self, name, *statements, service="", principal=None):
        trust = principal or ({"Service": service} if service else {"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
        document = {"Statement": {"Effect": "Allow", "Principal": trust, "Action": "sts:AssumeRole"}}
        made = await self.do("iam", "create_role", RoleName=name, AssumeRolePolicyDocument=json.dumps(document))
        await self.allow(name, *statements)
        return made["Role"]["Arn"]

    async def allow(self, name, *statements):
        if not statements:
            return
        policy = {"Version": "2012-10-17", "Statement": list(statements)}
        await self.do(
            "iam", "put_role_policy", RoleName=name, PolicyName="inline", PolicyDocument=json.dumps(policy)
        )

    async def session(self, arn, **more):
        found = (await self.do("sts", "assume_role", RoleArn=arn, RoleSessionName="test", **more))["Credentials"]
        return {
            "aws_access_key_id": found["AccessKeyId"],
            "aws_secret_access_key": found["SecretAccessKey"],
            "aws_session_token": found["SessionToken"],
        }


@pytest.fixture
async def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = Database(tmp_path / "state.db")
    clock, ids, log = Clock(), Ids(), quiet_log()
    async with Ancillary(directory=tmp_path, account=ACCOUNT, endpoint="", log=log) as ancillary:
        sessions = Sessions(database=database, ids=ids, clock=clock)
        reader = RoleReader(ancillary, ACCOUNT)
        ancillary.subscribe("iam", reader.forget)
        access = Access(reader=reader, sessions=sessions, clock=clock, account=ACCOUNT)
        services = []
        dispatcher = Dispatcher(ancillary, [StsApi(access).service()], check=access.check)
        api = CloudFormationApi(database=database, ids=ids, clock=clock, calls=dispatcher, log=log, roles=access)
        services.append(api)
        dispatcher._services["cloudformation"] = api.service()

        async def nothing(scope, receive, send):
            raise AssertionError("no registry here")

        gateway = Gateway(
            dispatcher,
            ancillary,
            nothing,
            {},
            account=ACCOUNT,
            region="us-east-1",
            ids=ids,
            log=log,
            session=sessions.caller,
        )
        async with api, Server(gateway, "127.0.0.1", 0) as server:
            yield World(f"http://127.0.0.1:{server.port}", access, dispatcher, clock)
    database.close()


def statement(action, resource="*"):
    return {"Effect": "Allow", "Action": action, "Resource": resource}


async def test_a_session_may_do_what_its_role_may_and_no_more(world):
    arn = await world.role("reader", statement("s3:GetObject", "arn:aws:s3:::one/*"))
    keys = await world.session(arn)
    for bucket in ("one", "two"):
        await world.do("s3", "create_bucket", Bucket=bucket)
        await world.do("s3", "put_object", Bucket=bucket, Key="k", Body=b"x")

    who = await world.do("sts", "get_caller_identity", keys)
    assert who["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/test"
    assert who["UserId"].startswith("AROA")
    assert who["UserId"].endswith(":test")
    got = await world.do("s3", "get_object", keys, Bucket="one", Key="k")
    assert got["Body"].read() == b"x"
    assert await world.refused("s3", "get_object", keys, Bucket="two", Key="k") == {
        "Code": "AccessDenied",
        "Message": f"User: {who['Arn']} is not authorized to perform: s3:GetObject on resource: "
        "arn:aws:s3:::two/k because no identity-based policy allows the s3:GetObject action",
    }
    assert (await world.refused("s3", "put_object", keys, Bucket="one", Key="k", Body=b""))[
        "Code"
    ] == "AccessDenied"
    assert (await world.refused("s3", "delete_bucket", keys, Bucket="two"))["Code"] == "AccessDenied"
    error = await world.refused("ssm", "get_parameter", keys, Name="/x")
    assert error["Code"] == "AccessDeniedException"
    assert f"on resource: arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/x because" in error["Message"]
    assert (await world.refused("cloudwatch", "list_metrics", keys))["Code"] == "AccessDenied"
    assert (await world.refused("ec2", "describe_vpcs", keys))["Code"] == "UnauthorizedOperation"
    error = await world.refused("cloudformation", "describe_stacks", keys, StackName="s")
    assert error["Code"] == "AccessDenied"


async def test_a_changed_policy_counts_at_once(world):
    arn = await world.role("changing", statement("ssm:PutParameter"))
    keys = await world.session(arn)
    await world.do("ssm", "put_parameter", keys, Name="n", Value="v", Type="String")
    await world.allow("changing", statement("ssm:GetParameter"))
    assert (await world.do("ssm", "get_parameter", keys, Name="n"))["Parameter"]["Value"] == "v"
    error = await world.refused("ssm", "put_parameter", keys, Name="n", Value="w", Type="String", Overwrite=True)
    assert error["Code"] == "AccessDeniedException"


async def test_managed_policies_boundaries_and_session_policies(world):
    arn = await world.role("managed")
    await world.do(
        "iam",
        "attach_role_policy",
        RoleName="managed",
        PolicyArn="arn:aws:iam::aws:policy/AmazonSSMReadOnlyAccess",
    )
    keys = await world.session(arn)
    await world.do("ssm", "describe_parameters", keys)
    session = json.dumps({"Statement": statement("s3:*")})
    narrow = await world.session(arn, Policy=session)
    assert "no session policy allows" in (await world.refused("ssm", "describe_parameters", narrow))["Message"]
    boundary = await world.do(
        "iam",
        "create_policy",
        PolicyName="limit",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement("s3:*")]}),
    )
    await world.do(
        "iam",
        "put_role_permissions_boundary",
        RoleName="managed",
        PermissionsBoundary=boundary["Policy"]["Arn"],
    )
    assert "no permissions boundary allows" in (await world.refused("ssm", "describe_parameters", keys))["Message"]


async def test_tokens_that_do_not_fit_and_sessions_that_are_over(world):
    arn = await world.role("brief", statement("ssm:*"))
    keys = await world.session(arn, DurationSeconds=900)
    await world.do("ssm", "describe_parameters", keys)
    wrong = keys | {"aws_session_token": "other"}
    assert (await world.refused("sts", "get_caller_identity", wrong))["Code"] == "InvalidClientTokenId"
    world.clock.ahead = 901.0
    assert (await world.refused("sts", "get_caller_identity", keys))["Code"] == "ExpiredToken"


async def test_whom_a_role_trusts(world):
    arn = await world.role("for-builds", statement("*"), service="codebuild.amazonaws.com")
    with pytest.raises(ClientError, match="is not authorized to perform: sts:AssumeRole on resource"):
        await world.session(arn)
    session = await world.access.assume(arn, "name", "codebuild.amazonaws.com", ROOT)
    assert session.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/for-builds/name"
    with pytest.raises(AwsError, match="is not authorized"):
        await world.access.assume(arn, "name", "codepipeline.amazonaws.com", ROOT)
    with pytest.raises(AwsError, match="there is no such role"):
        await world.access.assume(arn + "x", "name", "codebuild.amazonaws.com", ROOT)


async def test_passing_a_role_needs_permission(world):
    passed = await world.role("passed", statement("*"), service="cloudformation.amazonaws.com")
    arn = await world.role("deployer", statement("cloudformation:*"))
    keys = await world.session(arn)
    body = json.dumps(
        {"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v"}}}}
    )
    error = await world.refused(
        "cloudformation", "create_stack", keys, StackName="s", TemplateBody=body, RoleARN=passed
    )
    assert error["Message"].endswith(
        f"is not authorized to perform: iam:PassRole on resource: {passed} "
        "because no identity-based policy allows the iam:PassRole action"
    )
    condition = {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}}
    await world.allow(
        "deployer", statement("cloudformation:*"), statement("iam:PassRole", passed) | {"Condition": condition}
    )
    await world.do("cloudformation", "create_stack", keys, StackName="s", TemplateBody=body, RoleARN=passed)


async def finished(world, name):
    async with asyncio.timeout(30):
        while True:
            (stack,) = (await world.do("cloudformation", "describe_stacks", StackName=name))["Stacks"]
            if not stack["StackStatus"].endswith("_IN_PROGRESS"):
                return stack["StackStatus"]
            await asyncio.sleep(0.05)


async def test_a_stack_s_role_must_be_able_to_make_what_the_template_says(world):
    body = json.dumps(
        {"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v"}}}}
    )
    role = await world.role("narrow", statement("s3:*"), service="cloudformation.amazonaws.com")
    await world.do("cloudformation", "create_stack", StackName="bad", TemplateBody=body, RoleARN=role)
    assert await finished(world, "bad") in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED")
    events = (await world.do("cloudformation", "describe_stack_events", StackName="bad"))["StackEvents"]
    reasons = [each.get("ResourceStatusReason", "") for each in events]
    assert any(
        "assumed-role/narrow/AWSCloudFormation is not authorized to perform: ssm:" in each
        and "HandlerErrorCode: AccessDenied" in each
        for each in reasons
    ), reasons
    wide = await world.role(
        "wide",
        statement(["ssm:PutParameter", "ssm:GetParameters", "ssm:AddTagsToResource", "ssm:DeleteParameter"]),
        service="cloudformation.amazonaws.com",
    )
    await world.do("cloudformation", "create_stack", StackName="good", TemplateBody=body, RoleARN=wide)
    assert await finished(world, "good") == "CREATE_COMPLETE"


async def test_a_stack_without_a_role_is_made_as_who_asked_for_it(world):
    body = json.dumps(
        {"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v"}}}}
    )
    arn = await world.role("weak", statement("cloudformation:*"))
    keys = await world.session(arn)
    await world.do("cloudformation", "create_stack", keys, StackName="s", TemplateBody=body)
    assert await finished(world, "s") in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED")
    events = (await world.do("cloudformation", "describe_stack_events", StackName="s"))["StackEvents"]
    assert any(
        "assumed-role/weak/test is not authorized" in each.get("ResourceStatusReason", "") for each in events
    )


async def test_a_role_that_cloudformation_may_not_assume_is_refused_at_once(world):
    body = json.dumps(
        {"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v"}}}}
    )
    role = await world.role("elsewhere", statement("*"), service="ec2.amazonaws.com")
    with pytest.raises(ClientError, match=f"Role {role} is invalid or cannot be assumed"):
        await world.do("cloudformation", "create_stack", StackName="s", TemplateBody=body, RoleARN=role)


async def test_a_policy_that_aws_retired_can_be_attached_and_allows_what_its_successor_does(world):
    arn = await world.role("oldest")
    retired = "arn:aws:iam::aws:policy/AWSCodePipelineReadOnlyAccess"
    await world.do("iam", "attach_role_policy", RoleName="oldest", PolicyArn=retired)
    keys = await world.session(arn)
    assert (await world.refused("ssm", "describe_parameters", keys))["Code"] == "AccessDeniedException"
    await world.do("s3", "list_buckets", keys)

"""Includes, rules and parameters of AWS's types, with the object store and the network behind the seam."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cfn_world import CALLER, body
from portside.cloud.kernel.clock import SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.testing.server import ACCOUNT, quiet_log

SETTLE_LIMIT = 60.0
EXPAND = ["CAPABILITY_AUTO_EXPAND"]
TOPIC = {"Type": "AWS::SNS::Topic"}


class Cloud:
    """CloudFormation over the ancillary endpoint, in real time."""

    def __init__(self, api: CloudFormationApi, calls: Ancillary) -> None:
        self.calls = calls
        self.operations = api.service().operations

    async def do(self, operation: str, **params: Any) -> Any:
        result: Any = self.operations[operation](CALLER, params)
        return await result if hasattr(result, "__await__") else result

    async def ask(self, service: str, operation: str, **params: Any) -> Any:
        return await self.calls(service, operation, params, CALLER)

    async def create(self, name: str, template: Any, **parameters: str) -> tuple[str, list[str]]:
        """The status in which the stack comes to rest, and the reasons of its events."""
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        await self.do(
            "CreateStack", StackName=name, TemplateBody=body(template), Capabilities=EXPAND, Parameters=given
        )
        clock = SystemClock()
        end = clock.now() + SETTLE_LIMIT
        while clock.now() < end:
            status: str = (await self.do("DescribeStacks", StackName=name))["Stacks"][0]["StackStatus"]
            if not status.endswith("_IN_PROGRESS"):
                events = (await self.do("DescribeStackEvents", StackName=name))["StackEvents"]
                return status, [each["ResourceStatusReason"] or "" for each in events]
            await clock.sleep_until(clock.now() + 0.02)
        raise AssertionError("the stack does not come to rest")


@pytest.fixture
async def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    # The endpoint's socket lies in the working directory, whose name may be too long for one.
    monkeypatch.chdir(tmp_path)
    database = Database(tmp_path / "state.db")
    try:
        async with Ancillary(directory=tmp_path, account=ACCOUNT, endpoint="", log=quiet_log()) as calls:
            api = CloudFormationApi(
                database=database, ids=Ids(), clock=SystemClock(), calls=calls, log=quiet_log()
            )
            async with api:
                yield Cloud(api, calls)
    finally:
        database.close()


async def test_what_the_language_needs_of_other_services(cloud: Cloud) -> None:
    await cloud.ask("s3", "CreateBucket", Bucket="pieces")
    await cloud.ask("s3", "PutObject", Bucket="pieces", Key="a.yaml", Body=b"Type: AWS::SNS::Topic")

    def including(location: str) -> Any:
        return {
            "Resources": {"A": {"Fn::Transform": {"Name": "AWS::Include", "Parameters": {"Location": location}}}}
        }

    assert (await cloud.create("one", including("s3://pieces/a.yaml")))[0] == "CREATE_COMPLETE"
    for name, location, reason in (
        ("two", "s3://pieces/none", "The specified key does not exist."),
        ("three", "s3://doesnotexist/a", "S3 bucket [doesnotexist] does not exist."),
    ):
        status, reasons = await cloud.create(name, including(location))
        assert status == "ROLLBACK_COMPLETE"
        assert f"Transform AWS::Include failed with: {reason} Rollback requested by user." in reasons

    template = {
        "Parameters": {"Vpc": {"Type": "AWS::EC2::VPC::Id"}, "Subnets": {"Type": "List<AWS::EC2::Subnet::Id>"}},
        "Rules": {
            "Together": {
                "Assertions": [
                    {"Assert": {"Fn::EachMemberEquals": [{"Fn::ValueOf": ["Subnets", "VpcId"]}, {"Ref": "Vpc"}]}},
                    {"Assert": {"Fn::Contains": [{"Fn::RefAll": "AWS::EC2::VPC::Id"}, {"Ref": "Vpc"}]}},
                ]
            }
        },
        "Resources": {"A": TOPIC | {"Properties": {"DisplayName": {"Ref": "Vpc"}}}},
    }
    (vpc,) = (await cloud.ask("ec2", "DescribeVpcs"))["Vpcs"]
    subnets = [each["SubnetId"] for each in (await cloud.ask("ec2", "DescribeSubnets"))["Subnets"]]
    status, _ = await cloud.create("four", template, Vpc=vpc["VpcId"], Subnets=",".join(subnets[:2]))
    assert status == "CREATE_COMPLETE"
    status, reasons = await cloud.create("five", template, Vpc=vpc["VpcId"], Subnets="subnet-00000000")
    assert status == "ROLLBACK_COMPLETE"
    missing = "parameter value subnet-00000000 for parameter name Subnets does not exist"
    assert f"Parameter validation failed: {missing}. Rollback requested by user." in reasons

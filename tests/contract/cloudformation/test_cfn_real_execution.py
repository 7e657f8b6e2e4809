"""What the execution of stacks asks of the real services: groups with their instances, S3, alarms, topics, HTTP."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from cfn_world import CALLER, parameter
from portside.cloud.gateway.dispatch import Dispatcher
from portside.cloud.kernel.clock import FAST_PACE, SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.autoscaling.api import AutoScalingApi
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.testing.server import ACCOUNT, quiet_log, serve
from worlds.launching import encoded

FAST = {"Delay": 0.1, "MaxAttempts": 400}


@asynccontextmanager
async def cloud(path: Path) -> AsyncIterator[tuple[Any, Dispatcher]]:
    database, clock, log = Database(path / "state.db"), SystemClock(), quiet_log()
    try:
        async with Ancillary(directory=path, account=ACCOUNT, endpoint="", log=log) as ancillary:
            dispatcher = Dispatcher(ancillary)
            groups = AutoScalingApi(
                database=database, clock=clock, pace=FAST_PACE, calls=dispatcher, log=log, ancillary=ancillary
            )
            api = CloudFormationApi(
                database=database, ids=Ids(), clock=clock, calls=dispatcher, log=log, pace=FAST_PACE
            )
            services = [groups.service(), api.service()]
            dispatcher._services |= {each.name: each for each in services}
            assert groups.groups is not None
            pages = {"/_portside/waitcondition": api.page}
            async with groups.groups.loop, api, serve(services, pages=pages) as endpoint:
                client = boto3.client(
                    "cloudformation",
                    endpoint_url=endpoint,
                    region_name="us-east-1",
                    aws_access_key_id="test",
                    aws_secret_access_key="test",
                )
                try:
                    yield client, dispatcher
                finally:
                    client.close()
    finally:
        database.close()


def template(kind: str) -> dict[str, Any]:
    script = "#!/bin/bash\n/opt/aws/bin/cfn-signal -e $? --stack web --resource Group --region us-east-1\n"
    return {
        "Resources": {
            "Launch": {
                "Type": "AWS::EC2::LaunchTemplate",
                "Properties": {
                    "LaunchTemplateData": {
                        "ImageId": "ami-12c6146b",
                        "InstanceType": kind,
                        "UserData": encoded(script),
                    }
                },
            },
            "Group": {
                "Type": "AWS::AutoScaling::AutoScalingGroup",
                "CreationPolicy": {"ResourceSignal": {"Count": 2, "Timeout": "PT5M"}},
                "UpdatePolicy": {
                    "AutoScalingRollingUpdate": {
                        "MinInstancesInService": 1,
                        "WaitOnResourceSignals": True,
                        "PauseTime": "PT5M",
                        "SuspendProcesses": ["AlarmNotification"],
                    }
                },
                "Properties": {
                    "MinSize": "2",
                    "MaxSize": "4",
                    "AvailabilityZones": ["us-east-1a"],
                    "LaunchTemplate": {
                        "LaunchTemplateId": {"Ref": "Launch"},
                        "Version": {"Fn::GetAtt": ["Launch", "LatestVersionNumber"]},
                    },
                },
            },
        }
    }


async def test_a_group_signals_and_is_replaced_instance_by_instance(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    async with cloud(tmp_path) as (client, calls):

        def create() -> None:
            client.create_stack(StackName="web", TemplateBody=json.dumps(template("t3.small")))
            client.get_waiter("stack_create_complete").wait(StackName="web", WaiterConfig=FAST)

        def update() -> list[str]:
            client.update_stack(StackName="web", TemplateBody=json.dumps(template("t3.large")))
            client.get_waiter("stack_update_complete").wait(StackName="web", WaiterConfig=FAST)
            events = client.describe_stack_events(StackName="web")["StackEvents"]
            return [each.get("ResourceStatusReason", "") for each in reversed(events)]

        async def kinds() -> list[str]:
            params = {"Filters": [{"Name": "instance-state-name", "Values": ["running"]}]}
            found = await calls("ec2", "DescribeInstances", params, CALLER)
            return [each["InstanceType"] for r in found["Reservations"] for each in r["Instances"]]

        await asyncio.to_thread(create)
        assert await kinds() == ["t3.small"] * 2
        reasons = await asyncio.to_thread(update)
        assert await kinds() == ["t3.large"] * 2
        assert len([each for each in reasons if each.startswith("Received SUCCESS signal")]) == 4
        assert len([each for each in reasons if each.startswith("Terminating instance(s)")]) == 2
        (group,) = (await calls("autoscaling", "DescribeAutoScalingGroups", {}, CALLER))["AutoScalingGroups"]
        assert (group["MinSize"], group["DesiredCapacity"], group["SuspendedProcesses"]) == (2, 2, [])


async def test_a_nested_stack_from_the_object_store_and_topics(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    inner = {
        "Parameters": {"V": {"Type": "String"}},
        "Resources": {"P": parameter({"Ref": "V"})},
        "Outputs": {"Name": {"Value": {"Ref": "P"}}},
    }
    url = "https://templates.s3.amazonaws.com/inner.json"
    outer = {
        "Resources": {
            "Inner": {
                "Type": "AWS::CloudFormation::Stack",
                "Properties": {"TemplateURL": url, "Parameters": {"V": "deep"}},
            }
        },
        "Outputs": {"Name": {"Value": {"Fn::GetAtt": ["Inner", "Outputs.Name"]}}},
    }
    async with cloud(tmp_path) as (client, calls):
        await calls("s3", "CreateBucket", {"Bucket": "templates"}, CALLER)
        await calls(
            "s3",
            "PutObject",
            {"Bucket": "templates", "Key": "inner.json", "Body": json.dumps(inner).encode()},
            CALLER,
        )
        topic = (await calls("sns", "CreateTopic", {"Name": "told"}, CALLER))["TopicArn"]
        queue = (await calls("sqs", "CreateQueue", {"QueueName": "told"}, CALLER))["QueueUrl"]
        arn = f"arn:aws:sqs:us-east-1:{CALLER.account}:told"
        await calls("sns", "Subscribe", {"TopicArn": topic, "Protocol": "sqs", "Endpoint": arn}, CALLER)

        def story() -> dict[str, Any]:
            client.create_stack(StackName="web", TemplateBody=json.dumps(outer), NotificationARNs=[topic])
            client.get_waiter("stack_create_complete").wait(StackName="web", WaiterConfig=FAST)
            (found,) = client.describe_stacks(StackName="web")["Stacks"]
            (nested,) = client.describe_stack_resources(StackName="web")["StackResources"]
            (inside,) = client.describe_stacks(StackName=nested["PhysicalResourceId"])["Stacks"]
            assert inside["ParentId"] == inside["RootId"] == found["StackId"]
            return {each["OutputKey"]: each["OutputValue"] for each in found["Outputs"]}

        outputs = await asyncio.to_thread(story)
        found = await calls("ssm", "GetParameter", {"Name": outputs["Name"]}, CALLER)
        assert found["Parameter"]["Value"] == "deep"
        received = await calls("sqs", "ReceiveMessage", {"QueueUrl": queue, "MaxNumberOfMessages": 10}, CALLER)
        assert any("StackName=" in each["Body"] for each in received["Messages"])

        def end() -> None:
            client.delete_stack(StackName="web")
            client.get_waiter("stack_delete_complete").wait(StackName="web", WaiterConfig=FAST)
            statuses = [each["StackStatus"] for each in client.list_stacks()["StackSummaries"]]
            assert statuses == ["DELETE_COMPLETE"] * 2

        await asyncio.to_thread(end)


async def test_a_wait_condition_over_http_and_a_stack_policy(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    waiting = {
        "Resources": {
            "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
            "Wait": {
                "Type": "AWS::CloudFormation::WaitCondition",
                "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "60"},
            },
        },
        "Outputs": {"Data": {"Value": {"Fn::GetAtt": ["Wait", "Data"]}}},
    }
    deny = {"Effect": "Deny", "Action": "Update:*", "Principal": "*", "Resource": "*"}
    policy = json.dumps({"Statement": [deny]})

    def put(url: str, body: bytes) -> int:
        request = urllib.request.Request(url, data=body, method="PUT", headers={"Content-Type": ""})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return int(error.code)

    async with cloud(tmp_path) as (client, _):

        def story() -> None:
            client.create_stack(StackName="web", TemplateBody=json.dumps(waiting), StackPolicyBody=policy)
            url = ""
            while not url.startswith("http"):
                found = client.describe_stack_resources(StackName="web")["StackResources"]
                url = next(
                    (e.get("PhysicalResourceId", "") for e in found if e["LogicalResourceId"] == "Handle"), ""
                )
            body = json.dumps({"Status": "SUCCESS", "UniqueId": "me", "Data": "ready", "Reason": "done"}).encode()
            assert put(url + "x", body) == 403
            assert put(url, body) == 200
            client.get_waiter("stack_create_complete").wait(StackName="web", WaiterConfig=FAST)
            (stack,) = client.describe_stacks(StackName="web")["Stacks"]
            assert json.loads(stack["Outputs"][0]["OutputValue"]) == {"me": "ready"}
            assert client.get_stack_policy(StackName="web")["StackPolicyBody"] == policy
            with pytest.raises(client.exceptions.ClientError, match="Invalid stack policy"):
                client.set_stack_policy(StackName="web", StackPolicyBody="[]")

        await asyncio.to_thread(story)


async def test_a_single_instance_signals(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    script = {"Fn::Base64": {"Fn::Sub": "cfn-signal -e 0 --stack ${AWS::StackName} --resource One"}}
    one = {
        "Type": "AWS::EC2::Instance",
        "CreationPolicy": {"ResourceSignal": {"Timeout": "PT5M"}},
        "Properties": {"ImageId": "ami-12c6146b", "InstanceType": "t3.small", "UserData": script},
    }
    async with cloud(tmp_path) as (client, _):

        def story() -> list[str]:
            client.create_stack(StackName="web", TemplateBody=json.dumps({"Resources": {"One": one}}))
            client.get_waiter("stack_create_complete").wait(StackName="web", WaiterConfig=FAST)
            events = client.describe_stack_events(StackName="web")["StackEvents"]
            return [each.get("ResourceStatusReason", "") for each in events]

        reasons = await asyncio.to_thread(story)
        assert len([each for each in reasons if each.startswith("Received SUCCESS signal")]) == 1

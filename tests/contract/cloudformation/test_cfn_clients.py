"""Unmodified clients: boto3 with its waiters and paginators, and the AWS command line."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from cfn_clients import cloud
from cfn_world import FakeServices, parameter

FAST = {"Delay": 0.05, "MaxAttempts": 200}


async def test_create_wait_describe_update_delete(tmp_path: Path) -> None:
    template = {
        "Parameters": {"Value": {"Type": "String", "Default": "one"}},
        "Resources": {"A": parameter({"Ref": "Value"}), "B": parameter({"Ref": "A"})},
        "Outputs": {"Name": {"Value": {"Ref": "A"}, "Export": {"Name": "a-name"}}},
    }

    def story(client: Any, fake: FakeServices) -> None:
        made = client.create_stack(
            StackName="web",
            TemplateBody=json.dumps(template),
            Tags=[{"Key": "team", "Value": "shop"}],
            ClientRequestToken="first",
        )
        client.get_waiter("stack_create_complete").wait(StackName="web", WaiterConfig=FAST)
        (stack,) = client.describe_stacks(StackName="web")["Stacks"]
        assert stack["StackId"] == made["StackId"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        assert stack["Parameters"] == [{"ParameterKey": "Value", "ParameterValue": "one"}]
        assert stack["Tags"] == [{"Key": "team", "Value": "shop"}]
        assert stack["Outputs"][0]["ExportName"] == "a-name"
        assert stack["DriftInformation"] == {"StackDriftStatus": "NOT_CHECKED"}
        assert stack["NotificationARNs"] == [] and stack["RollbackConfiguration"] == {}
        assert "Capabilities" not in stack and "DeletionTime" not in stack
        pages = client.get_paginator("describe_stack_events").paginate(StackName="web")
        events = [event for page in pages for event in page["StackEvents"]]
        assert len(events) == 8 and {event["ClientRequestToken"] for event in events} == {"first"}
        assert client.get_template(StackName="web")["TemplateBody"] == template
        (exported,) = client.list_exports()["Exports"]
        assert exported == {
            "ExportingStackId": made["StackId"],
            "Name": "a-name",
            "Value": stack["Outputs"][0]["OutputValue"],
        }
        client.update_stack(
            StackName="web",
            UsePreviousTemplate=True,
            Parameters=[{"ParameterKey": "Value", "ParameterValue": "two"}],
        )
        client.get_waiter("stack_update_complete").wait(StackName="web", WaiterConfig=FAST)
        assert "two" in [each["Value"] for each in fake.parameters.values()]
        with pytest.raises(ClientError, match="No updates are to be performed"):
            client.update_stack(
                StackName="web",
                UsePreviousTemplate=True,
                Parameters=[{"ParameterKey": "Value", "UsePreviousValue": True}],
            )
        client.delete_stack(StackName="web")
        client.get_waiter("stack_delete_complete").wait(StackName="web", WaiterConfig=FAST)
        assert fake.parameters == {}
        with pytest.raises(ClientError) as caught:
            client.describe_stacks(StackName="web")
        assert caught.value.response["Error"] == {
            "Type": "Sender",
            "Code": "ValidationError",
            "Message": "Stack with id web does not exist",
        }
        (gone,) = client.describe_stacks(StackName=made["StackId"])["Stacks"]
        assert gone["StackStatus"] == "DELETE_COMPLETE" and "EnableTerminationProtection" not in gone

    async with cloud(tmp_path) as (client, _, fake):
        await asyncio.to_thread(story, client, fake)


async def test_change_sets_by_their_waiter(tmp_path: Path) -> None:
    template = {"Resources": {"A": parameter("one")}}

    def story(client: Any) -> None:
        client.create_change_set(
            StackName="web", ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=json.dumps(template)
        )
        waiter = client.get_waiter("change_set_create_complete")
        waiter.wait(StackName="web", ChangeSetName="first", WaiterConfig=FAST)
        client.execute_change_set(StackName="web", ChangeSetName="first")
        client.get_waiter("stack_create_complete").wait(StackName="web", WaiterConfig=FAST)
        client.create_change_set(StackName="web", ChangeSetName="none", TemplateBody=json.dumps(template))
        with pytest.raises(WaiterError):
            waiter.wait(StackName="web", ChangeSetName="none", WaiterConfig=FAST)
        found = client.describe_change_set(StackName="web", ChangeSetName="none")
        assert (found["Status"], found["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
        with pytest.raises(client.exceptions.ChangeSetNotFoundException):
            client.describe_change_set(StackName="web", ChangeSetName="other")
        with pytest.raises(client.exceptions.InvalidChangeSetStatusException):
            client.execute_change_set(StackName="web", ChangeSetName="none")
        with pytest.raises(client.exceptions.AlreadyExistsException):
            client.create_stack(StackName="web", TemplateBody=json.dumps(template))

    async with cloud(tmp_path) as (client, _, _fake):
        await asyncio.to_thread(story, client)


async def test_the_aws_command_line_deploys(tmp_path: Path) -> None:
    source = tmp_path / "template.yaml"
    source.write_text(
        "Parameters:\n  Value: {Type: String}\n"
        "Resources:\n  A:\n    Type: AWS::SSM::Parameter\n    Properties:\n      Type: String\n"
        "      Value: !Sub '${Value}!'\n"
    )

    def aws(endpoint: str, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
        }
        command = [sys.executable, "-m", "awscli", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    async with cloud(tmp_path) as (_, endpoint, fake):
        deployed = await asyncio.to_thread(
            aws,
            endpoint,
            "cloudformation",
            "create-stack",
            "--stack-name",
            "web",
            "--template-body",
            f"file://{source}",
            "--parameters",
            "ParameterKey=Value,ParameterValue=hello",
        )
        assert deployed.returncode == 0, deployed.stderr
        assert ":stack/web/" in json.loads(deployed.stdout)["StackId"]
        listed = await asyncio.to_thread(
            aws, endpoint, "cloudformation", "list-stack-resources", "--stack-name", "web"
        )
        assert json.loads(listed.stdout)["StackResourceSummaries"][0]["LogicalResourceId"] == "A"
        assert [each["Value"] for each in fake.parameters.values()] == ["hello!"]

"""Change sets of nested stacks with boto3: its waiters, templates in S3, real parameters and topics."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from codepipeline_cloud import cloud

FAST = {"Delay": 0.1, "MaxAttempts": 200}
URL = "https://templates.s3.amazonaws.com/{}.json"


def value(text: Any) -> dict[str, Any]:
    return {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": text}}


def leaf(text: str) -> dict[str, Any]:
    return {
        "Parameters": {"V": {"Type": "String"}},
        "Resources": {"P": value({"Fn::Sub": f"{text}-${{V}}"}), "T": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {"Value": {"Value": {"Fn::GetAtt": ["P", "Value"]}}},
    }


def inside(name: str, given: Any = None) -> dict[str, Any]:
    more = {} if given is None else {"Parameters": {"V": given}}
    return {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": URL.format(name)} | more}


def outer(given: str) -> dict[str, Any]:
    return {
        "Resources": {
            "Middle": inside("middle", given),
            "After": value({"Fn::GetAtt": ["Middle", "Outputs.Value"]}),
        },
        "Outputs": {"Value": {"Value": {"Fn::GetAtt": ["After", "Value"]}}},
    }


MIDDLE = {
    "Parameters": {"V": {"Type": "String"}},
    "Resources": {"Leaf": inside("leaf", {"Ref": "V"})},
    "Outputs": {"Value": {"Value": {"Fn::GetAtt": ["Leaf", "Outputs.Value"]}}},
}


async def test_a_hierarchy_is_shown_made_changed_and_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def story(running: Any) -> None:
        client, s3 = running.client("cloudformation"), running.client("s3")

        def put(name: str, template: Any) -> None:
            s3.put_object(Bucket="templates", Key=f"{name}.json", Body=json.dumps(template).encode())

        def create(name: str, template: Any, **more: Any) -> dict[str, Any]:
            client.create_change_set(
                StackName="web",
                ChangeSetName=name,
                TemplateBody=json.dumps(template),
                IncludeNestedStacks=True,
                **more,
            )
            client.get_waiter("change_set_create_complete").wait(
                StackName="web", ChangeSetName=name, WaiterConfig=FAST
            )
            found: dict[str, Any] = client.describe_change_set(StackName="web", ChangeSetName=name)
            return found

        def below(found: dict[str, Any], name: str) -> dict[str, Any]:
            (arn,) = (
                each["ResourceChange"]["ChangeSetId"]
                for each in found["Changes"]
                if each["ResourceChange"]["LogicalResourceId"] == name
            )
            return client.describe_change_set(ChangeSetName=arn)  # type: ignore[no-any-return]

        def value_of_stack() -> str:
            (found,) = client.describe_stacks(StackName="web")["Stacks"]
            return str(found["Outputs"][0]["OutputValue"])

        s3.create_bucket(Bucket="templates")
        put("leaf", leaf("one"))
        put("middle", MIDDLE)
        root = create("first", outer("a"), ChangeSetType="CREATE")
        assert (root["IncludeNestedStacks"], "ParentChangeSetId" in root, "RootChangeSetId" in root) == (
            True,
            False,
            False,
        )
        middle = below(root, "Middle")
        deep = below(middle, "Leaf")
        assert deep["ParentChangeSetId"] == middle["ChangeSetId"]
        assert deep["RootChangeSetId"] == middle["RootChangeSetId"] == root["ChangeSetId"]
        (waiting,) = client.describe_stacks(StackName=deep["StackName"])["Stacks"]
        assert waiting["StackStatus"] == "REVIEW_IN_PROGRESS"
        with pytest.raises(ClientError, match="InvalidChangeSetStatus"):
            client.execute_change_set(ChangeSetName=deep["ChangeSetId"])
        client.execute_change_set(StackName="web", ChangeSetName="first")
        client.get_waiter("stack_create_complete").wait(StackName="web", WaiterConfig=FAST)
        assert value_of_stack() == "one-a"

        put("leaf", leaf("two"))
        root = create("second", outer("b"))
        deep = below(below(root, "Middle"), "Leaf")
        assert [each["ResourceChange"]["LogicalResourceId"] for each in deep["Changes"]] == ["P"]
        (listed,) = client.list_change_sets(StackName=deep["StackName"])["Summaries"]
        assert (listed["IncludeNestedStacks"], listed["RootChangeSetId"]) == (True, root["ChangeSetId"])
        put("leaf", leaf("three"))
        client.execute_change_set(StackName="web", ChangeSetName="second")
        client.get_waiter("stack_update_complete").wait(StackName="web", WaiterConfig=FAST)
        assert value_of_stack() == "two-b"

        s3.delete_object(Bucket="templates", Key="leaf.json")
        with pytest.raises(WaiterError, match="FAILED"):
            create("broken", outer("c"))
        root = client.describe_change_set(StackName="web", ChangeSetName="broken")
        middle = below(root, "Middle")
        reason = f"Nested change set {middle['ChangeSetId']} was not successfully created: Currently in FAILED."
        assert root["StatusReason"] == reason
        assert below(middle, "Leaf")["StatusReason"].startswith("S3 error")
        client.delete_change_set(StackName="web", ChangeSetName="broken")
        assert client.list_change_sets(StackName=deep["StackName"])["Summaries"] == []
        client.delete_stack(StackName="web")
        client.get_waiter("stack_delete_complete").wait(StackName="web", WaiterConfig=FAST)

    async with cloud(tmp_path) as running:
        await asyncio.to_thread(story, running)

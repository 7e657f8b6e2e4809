"""The template language through unmodified boto3: what comes back parsed, and which errors it raises."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cfn_clients import cloud
from cfn_world import FakeServices, parameter

LOOP = """
Transform: AWS::LanguageExtensions
Parameters:
  Names: {Type: CommaDelimitedList, Default: "a,b"}
Resources:
  Fn::ForEach::Parameters:
    - Name
    - !Ref Names
    - P${Name}:
        Type: AWS::SSM::Parameter
        DeletionPolicy: !If [Keep, Retain, Delete]
        Properties:
          Type: String
          Value: !ToJsonString {name: !Ref Name, of: !Length {Ref: Names}}
Conditions:
  Keep: !Equals [!Ref AWS::Region, nowhere]
"""


async def test_a_loop_through_boto3(tmp_path: Path) -> None:
    def story(client: Any, fake: FakeServices) -> None:
        validated = client.validate_template(TemplateBody=LOOP)
        assert validated["DeclaredTransforms"] == ["AWS::LanguageExtensions"]
        assert validated["Capabilities"] == ["CAPABILITY_AUTO_EXPAND"]
        with pytest.raises(client.exceptions.InsufficientCapabilitiesException) as caught:
            client.create_stack(StackName="web", TemplateBody=LOOP)
        assert "Requires capabilities : [CAPABILITY_AUTO_EXPAND]" in str(caught.value)
        client.create_stack(StackName="web", TemplateBody=LOOP, Capabilities=["CAPABILITY_AUTO_EXPAND"])
        client.get_waiter("stack_create_complete").wait(
            StackName="web", WaiterConfig={"Delay": 0.05, "MaxAttempts": 200}
        )
        values = {json.loads(each["Value"])["name"] for each in fake.parameters.values()}
        assert values == {"a", "b"}
        # YAML comes back as text, what was processed as an object.
        assert client.get_template(StackName="web", TemplateStage="Original")["TemplateBody"] == LOOP
        processed = client.get_template(StackName="web", TemplateStage="Processed")["TemplateBody"]
        assert set(processed["Resources"]) == {"Pa", "Pb"}
        assert processed["Resources"]["Pa"]["DeletionPolicy"] == "Delete"
        assert processed["Resources"]["Pa"]["Properties"]["Value"] == '{"name":"a","of":2}'

    await told(tmp_path, story)


async def test_errors_through_boto3(tmp_path: Path) -> None:
    def story(client: Any, fake: FakeServices) -> None:
        for text, message in (
            ('{"this is invalid"}', "Template format error: JSON not well-formed. (line 1, column 20)"),
            ("https://example.com/template", "Template format error: unsupported structure."),
            (
                json.dumps({"Resources": {"A": parameter({"Fn::Select": [3, ["a"]]})}}),
                "Template error: Fn::Select requires a list argument with two elements: an integer index and a list",
            ),
            (
                json.dumps({"Resources": {f"P{number}": parameter("x") for number in range(501)}}),
                "Template format error: Number of resources, 501, is greater than maximum allowed, 500",
            ),
        ):
            with pytest.raises(ClientError) as caught:
                client.validate_template(TemplateBody=text)
            error = caught.value.response["Error"]
            assert (error["Code"], error["Message"], error["Type"]) == ("ValidationError", message, "Sender")

    await told(tmp_path, story)


async def told(path: Path, story: Any) -> None:
    async with cloud(path) as (client, _, fake):
        await asyncio.to_thread(story, client, fake)

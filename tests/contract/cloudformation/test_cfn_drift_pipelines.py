"""Drift of a pipeline: unchanged it is in sync, and an action that boto3 has changed is found by its path."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from codepipeline_cloud import cloud

FAST = {"Delay": 0.1, "MaxAttempts": 200}


async def test_a_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def action(category: str, provider: str, name: str, **more: Any) -> dict[str, Any]:
        kind = {"Category": category, "Owner": "AWS", "Provider": provider, "Version": "1"}
        return {"Name": name, "ActionTypeId": kind, "RunOrder": 1} | more

    source = action(
        "Source",
        "S3",
        "Fetch",
        OutputArtifacts=[{"Name": "App"}],
        Configuration={"S3Bucket": "artifacts", "S3ObjectKey": "app.zip", "PollForSourceChanges": "false"},
    )
    approval = action("Approval", "Manual", "Ask", Configuration={"CustomData": "Please look."})

    async with cloud(tmp_path) as running:
        role = await running.role("pipeline", "codepipeline.amazonaws.com", "s3:*")
        await running.bucket("artifacts")
        template = {
            "Resources": {
                "Pipeline": {
                    "Type": "AWS::CodePipeline::Pipeline",
                    "Properties": {
                        "Name": "ship",
                        "RoleArn": role,
                        "ArtifactStore": {"Type": "S3", "Location": "artifacts"},
                        "Stages": [
                            {"Name": "Source", "Actions": [source]},
                            {"Name": "Approve", "Actions": [approval]},
                        ],
                    },
                }
            }
        }

        def story() -> None:
            client = running.client("cloudformation")
            client.create_stack(StackName="web", TemplateBody=json.dumps(template))
            client.get_waiter("stack_create_complete").wait(StackName="web", WaiterConfig=FAST)
            wanted = {"StackName": "web", "LogicalResourceId": "Pipeline"}
            found = client.detect_stack_resource_drift(**wanted)["StackResourceDrift"]
            assert (found["StackResourceDriftStatus"], found["PropertyDifferences"]) == ("IN_SYNC", [])
            pipelines = running.client("codepipeline")
            declared = pipelines.get_pipeline(name="ship")["pipeline"]
            declared["stages"][1]["actions"][0]["configuration"]["CustomData"] = "Look again."
            pipelines.update_pipeline(pipeline=declared)
            found = client.detect_stack_resource_drift(**wanted)["StackResourceDrift"]
            assert found["PropertyDifferences"] == [
                {
                    "PropertyPath": "/Stages/1/Actions/0/Configuration/CustomData",
                    "ExpectedValue": "Please look.",
                    "ActualValue": "Look again.",
                    "DifferenceType": "NOT_EQUAL",
                }
            ]

        await asyncio.to_thread(story)

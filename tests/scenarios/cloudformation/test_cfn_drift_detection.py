"""Drift: what was changed behind a stack's back is found, told property by property, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_templates import refuse, topic
from cfn_world import Killed, World, parameter

TEMPLATE = {
    "Resources": {
        "P": parameter("one", Properties={"Name": "p"}),
        "T": topic(TopicName="t", DisplayName="shown"),
        "G": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "g", "RetentionInDays": 7}},
        "H": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
    }
}


async def detect(world: World, **params: Any) -> dict[str, Any]:
    begun = await world.call("DetectStackDrift", StackName="web", **params)
    return await ended(world, begun["StackDriftDetectionId"])


async def ended(world: World, detection: str) -> dict[str, Any]:
    def over() -> bool:
        row = world.database.one("SELECT status FROM cfn_detection WHERE id = ?", (detection,))
        return row is not None and row["status"] != "DETECTION_IN_PROGRESS"

    await world.until(over)
    return await world.call("DescribeStackDriftDetectionStatus", StackDriftDetectionId=detection)


async def drifts(world: World, **params: Any) -> dict[str, dict[str, Any]]:
    found = await world.call("DescribeStackResourceDrifts", StackName="web", **params)
    return {each["LogicalResourceId"]: each for each in found["StackResourceDrifts"]}


async def test_nothing_has_drifted(world: World) -> None:
    await world.create("web", TEMPLATE)
    found = await detect(world)
    assert (found["DetectionStatus"], found["StackDriftStatus"], found["DriftedStackResourceCount"]) == (
        "DETECTION_COMPLETE",
        "IN_SYNC",
        0,
    )
    assert {name: each["StackResourceDriftStatus"] for name, each in (await drifts(world)).items()} == {
        "G": "IN_SYNC",
        "P": "IN_SYNC",
        "T": "IN_SYNC",
    }
    assert (await world.stack("web"))["DriftInformation"]["StackDriftStatus"] == "IN_SYNC"
    listed = await world.call("ListStackResources", StackName="web")
    assert {
        each["LogicalResourceId"]: each["DriftInformation"]["StackResourceDriftStatus"]
        for each in listed["StackResourceSummaries"]
    } == {"G": "IN_SYNC", "H": "NOT_CHECKED", "P": "IN_SYNC", "T": "IN_SYNC"}


async def test_changes_and_deletions_behind_the_stacks_back(world: World) -> None:
    await world.create("web", TEMPLATE)
    world.fake.parameters["p"]["Value"] = "two"
    world.fake.topics.clear()
    found = await detect(world)
    assert (found["StackDriftStatus"], found["DriftedStackResourceCount"]) == ("DRIFTED", 2)
    shown = await drifts(world)
    assert {name: each["StackResourceDriftStatus"] for name, each in shown.items()} == {
        "G": "IN_SYNC",
        "P": "MODIFIED",
        "T": "DELETED",
    }
    assert shown["P"]["PropertyDifferences"] == [
        {
            "PropertyPath": "/Value",
            "ExpectedValue": "one",
            "ActualValue": "two",
            "DifferenceType": "NOT_EQUAL",
        }
    ]
    assert json.loads(shown["P"]["ExpectedProperties"]) == {"Name": "p", "Type": "String", "Value": "one"}
    assert json.loads(shown["P"]["ActualProperties"]) == {"Name": "p", "Type": "String", "Value": "two"}
    assert list(await drifts(world, StackResourceDriftStatusFilters=["DELETED"])) == ["T"]
    information = (await world.stack("web"))["DriftInformation"]
    assert (information["StackDriftStatus"], information["LastCheckTimestamp"]) == (
        "DRIFTED",
        shown["T"]["Timestamp"],
    )


async def test_an_update_makes_findings_old(world: World) -> None:
    await world.create("web", TEMPLATE)
    world.fake.parameters["p"]["Value"] = "two"
    await detect(world)
    await world.update("web", TEMPLATE, Tags=[{"Key": "k", "Value": "v"}])
    assert (await world.stack("web"))["DriftInformation"] == {"StackDriftStatus": "NOT_CHECKED"}
    assert await drifts(world) == {}


async def test_single_resources(world: World) -> None:
    await world.create("web", TEMPLATE)
    world.fake.groups["g"]["retentionInDays"] = 30
    found = await world.call("DetectStackResourceDrift", StackName="web", LogicalResourceId="G")
    drift = found["StackResourceDrift"]
    assert (drift["StackResourceDriftStatus"], drift["PhysicalResourceId"], drift["ResourceType"]) == (
        "MODIFIED",
        "g",
        "AWS::Logs::LogGroup",
    )
    assert [each["PropertyPath"] for each in drift["PropertyDifferences"]] == ["/RetentionInDays"]
    assert list(await drifts(world)) == ["G"]
    world.fake.topics.clear()
    some = await detect(world, LogicalResourceIds=["P"])
    assert (some["StackDriftStatus"], list(await drifts(world))) == ("IN_SYNC", ["G", "P"])


async def test_secret_values_are_not_shown(world: World) -> None:
    template = {
        "Parameters": {"Pin": {"Type": "String", "NoEcho": True}},
        "Resources": {"P": parameter({"Ref": "Pin"}, Properties={"Name": "p"})},
    }
    await world.create("web", template, Parameters=[{"ParameterKey": "Pin", "ParameterValue": "s3cret"}])
    world.fake.parameters["p"]["Value"] = "s3cret too"
    await detect(world)
    found = (await drifts(world))["P"]
    assert "s3cret" not in json.dumps(found) and found["StackResourceDriftStatus"] == "MODIFIED"


async def test_a_service_that_does_not_answer_is_not_taken_for_in_sync(world: World) -> None:
    await world.create("web", TEMPLATE)
    world.fake.broken["ssm", "GetParameter"] = refuse("InternalFailure", "later", 500)
    found = await detect(world)
    assert (found["DetectionStatus"], found["StackDriftStatus"]) == ("DETECTION_FAILED", "UNKNOWN")
    assert found["DetectionStatusReason"].startswith("Failed to detect drift on resource [P]")
    assert {name: each["StackResourceDriftStatus"] for name, each in (await drifts(world)).items()} == {
        "G": "IN_SYNC",
        "P": "UNKNOWN",
        "T": "IN_SYNC",
    }
    assert (await world.stack("web"))["DriftInformation"]["StackDriftStatus"] == "UNKNOWN"


@pytest.mark.parametrize("commits", range(1, 6))
async def test_a_detection_survives_the_death_of_the_cloud(commits: int) -> None:
    life = World()
    async with life.running() as world:
        await world.create("web", TEMPLATE)
    try:
        async with life.running(die_at_commit=commits) as world:
            await world.call("DetectStackDrift", StackName="web")
            await world.until(lambda: world.fake.dead)
    except Killed:
        pass
    async with life.running() as world:
        [begun] = world.database.read("SELECT id FROM cfn_detection")
        found = await ended(world, begun["id"])
        assert (found["DetectionStatus"], found["StackDriftStatus"]) == ("DETECTION_COMPLETE", "IN_SYNC")


async def test_refusals(world: World) -> None:
    assert (await world.refused("DetectStackDrift", StackName="web")).message == "Stack [web] does not exist"
    await world.create("web", TEMPLATE)
    for operation, params, words in (
        ("DetectStackDrift", {"StackName": "web", "LogicalResourceIds": ["X"]}, "Resources [X] do not exist"),
        ("DetectStackResourceDrift", {"StackName": "web", "LogicalResourceId": "X"}, "Resource X does not exist"),
        ("DetectStackResourceDrift", {"StackName": "web", "LogicalResourceId": "H"}, "does not support drift"),
        ("DescribeStackDriftDetectionStatus", {"StackDriftDetectionId": "x"}, "does not exist"),
        ("CreateStackSet", {"StackSetName": "s"}, "does not offer stack sets"),
    ):
        refused = await world.refused(operation, **params)
        assert refused.code == "ValidationError" and words in refused.message
    await world.call("UpdateStack", StackName="web", TemplateBody=json.dumps({"Resources": {"T": topic()}}))
    assert "UPDATE_IN_PROGRESS" in (await world.refused("DetectStackDrift", StackName="web")).message
    await world.settle("web")

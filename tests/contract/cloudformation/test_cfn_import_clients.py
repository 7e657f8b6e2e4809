"""Change sets with boto3: listing, describing, importing what the cloud's services hold, and the waiter for it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from codepipeline_cloud import cloud, trust

FAST = {"Delay": 0.1, "MaxAttempts": 200}
KEPT = {"DeletionPolicy": "Retain"}


async def test_import_update_and_drift_of_what_boto3_has_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    policy = json.loads(trust("ecs-tasks.amazonaws.com"))
    resources: dict[str, Any] = {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {"RoleName": "old", "AssumeRolePolicyDocument": policy},
        },
        "Repository": {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "app"}},
        "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/old", "RetentionInDays": 7}},
        "Cluster": {"Type": "AWS::ECS::Cluster", "Properties": {"ClusterName": "old"}},
        "Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "old"}},
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "old"}},
    }
    for each in resources.values():
        each |= KEPT

    def story(running: Any) -> None:
        client = running.client("cloudformation")
        running.client("iam").create_role(RoleName="old", AssumeRolePolicyDocument=json.dumps(policy))
        running.client("ecr").create_repository(repositoryName="app")
        running.client("logs").create_log_group(logGroupName="/old")
        running.client("ecs").create_cluster(clusterName="old")
        topic = running.client("sns").create_topic(Name="old")["TopicArn"]
        queue = running.client("sqs").create_queue(QueueName="old")["QueueUrl"]
        identifiers = {
            "Role": {"RoleName": "old"},
            "Repository": {"RepositoryName": "app"},
            "Logs": {"LogGroupName": "/old"},
            "Cluster": {"ClusterName": "old"},
            "Topic": {"TopicArn": topic},
            "Queue": {"QueueUrl": queue},
        }
        client.create_change_set(
            StackName="web",
            ChangeSetName="adopt",
            ChangeSetType="IMPORT",
            Description="all of it",
            TemplateBody=json.dumps({"Resources": resources}),
            Capabilities=["CAPABILITY_NAMED_IAM"],
            ResourcesToImport=[
                {
                    "ResourceType": resources[name]["Type"],
                    "LogicalResourceId": name,
                    "ResourceIdentifier": identifier,
                }
                for name, identifier in identifiers.items()
            ],
        )
        client.get_waiter("change_set_create_complete").wait(
            StackName="web", ChangeSetName="adopt", WaiterConfig=FAST
        )
        (listed,) = client.list_change_sets(StackName="web")["Summaries"]
        assert (listed["ChangeSetName"], listed["Description"], listed["IncludeNestedStacks"]) == (
            "adopt",
            "all of it",
            False,
        )
        found = client.describe_change_set(StackName="web", ChangeSetName="adopt")
        assert {each["ResourceChange"]["Action"] for each in found["Changes"]} == {"Import"}
        client.execute_change_set(StackName="web", ChangeSetName="adopt")
        client.get_waiter("stack_import_complete").wait(StackName="web", WaiterConfig=FAST)
        drift = client.detect_stack_resource_drift(StackName="web", LogicalResourceId="Logs")["StackResourceDrift"]
        assert [each["PropertyPath"] for each in drift["PropertyDifferences"]] == ["/RetentionInDays"]
        resources["Logs"]["Properties"]["RetentionInDays"] = 30
        client.update_stack(
            StackName="web",
            TemplateBody=json.dumps({"Resources": resources}),
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        client.get_waiter("stack_update_complete").wait(StackName="web", WaiterConfig=FAST)
        (group,) = running.client("logs").describe_log_groups()["logGroups"]
        assert group["retentionInDays"] == 30
        drift = client.detect_stack_resource_drift(StackName="web", LogicalResourceId="Logs")["StackResourceDrift"]
        assert drift["StackResourceDriftStatus"] == "IN_SYNC"
        client.delete_stack(StackName="web")
        client.get_waiter("stack_delete_complete").wait(StackName="web", WaiterConfig=FAST)
        assert running.client("iam").get_role(RoleName="old")["Role"]["RoleName"] == "old"

    async with cloud(tmp_path) as running:
        await asyncio.to_thread(story, running)

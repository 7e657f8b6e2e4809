"""Hooks, scheduled actions and composite alarms of stacks, over this cloud's own Auto Scaling and CloudWatch."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cfn_ancillary import Cloud
from portside.cloud.gateway.dispatch import Dispatcher
from portside.cloud.kernel.clock import FAST_PACE, SystemClock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.autoscaling.api import AutoScalingApi
from portside.cloud.services.autoscaling.scheduled_actions_loop import ScheduledActions
from portside.cloud.services.calls import Service
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.cloud.services.cloudwatch.api import CloudWatchApi
from portside.testing.server import ACCOUNT, quiet_log


class NoPolicies:
    async def execute(self, trigger: Any) -> None:
        raise AssertionError("no alarm has a policy here")


@pytest.fixture
async def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    monkeypatch.chdir(tmp_path)
    database, clock, log = Database(tmp_path / "state.db"), SystemClock(), quiet_log()
    shared: Any = {"database": database, "clock": clock, "log": log}
    try:
        async with Ancillary(directory=tmp_path, account=ACCOUNT, endpoint="", log=log) as ancillary:

            async def make_groups() -> Service:
                return groups.service()

            async def make_watch() -> Service:
                return watch.service()

            calls = Dispatcher(ancillary, (), {"autoscaling": make_groups, "cloudwatch": make_watch})
            scheduled = ScheduledActions(ids=Ids(), calls=calls, **shared)
            groups = AutoScalingApi(
                pace=FAST_PACE, calls=calls, ancillary=ancillary, scheduled=scheduled, **shared
            )
            watch = CloudWatchApi(pace=FAST_PACE, calls=calls, account=ACCOUNT, policies=NoPolicies(), **shared)
            api = CloudFormationApi(ids=Ids(), calls=calls, **shared)
            assert groups.notifications is not None
            telling = groups.notifications.telling
            ancillary.subscribe("autoscaling", telling.changed)
            async with api, watch, scheduled.loop, telling.loop:
                yield Cloud(api, calls)
    finally:
        database.close()


async def test_what_belongs_to_a_group(cloud: Cloud) -> None:
    group = {"AutoScalingGroupName": {"Ref": "Group"}}
    resources: dict[str, Any] = {
        "Template": {
            "Type": "AWS::EC2::LaunchTemplate",
            "Properties": {"LaunchTemplateData": {"ImageId": "ami-12c6146b", "InstanceType": "t3.small"}},
        },
        "Group": {
            "Type": "AWS::AutoScaling::AutoScalingGroup",
            "Properties": {
                "MinSize": "0",
                "MaxSize": "3",
                "AvailabilityZones": ["us-east-1a"],
                "LaunchTemplate": {"LaunchTemplateId": {"Ref": "Template"}, "Version": "1"},
            },
        },
        "Hook": {
            "Type": "AWS::AutoScaling::LifecycleHook",
            "Properties": group
            | {"LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING", "HeartbeatTimeout": 60},
        },
        "Morning": {
            "Type": "AWS::AutoScaling::ScheduledAction",
            "Properties": group | {"Recurrence": "0 9 * * 1-5", "DesiredCapacity": 2, "TimeZone": "Europe/Berlin"},
        },
    }
    outputs = {name: {"Value": {"Ref": name}} for name in resources}
    template = {"Resources": resources, "Outputs": outputs}
    out = await cloud.create(template)
    named = {"AutoScalingGroupName": out["Group"]}
    (hook,) = (await cloud.ask("autoscaling", "DescribeLifecycleHooks", **named))["LifecycleHooks"]
    assert (hook["LifecycleHookName"], hook["HeartbeatTimeout"]) == (out["Hook"], 60)
    (action,) = (await cloud.ask("autoscaling", "DescribeScheduledActions", **named))[
        "ScheduledUpdateGroupActions"
    ]
    assert (action["ScheduledActionName"], action["DesiredCapacity"]) == (out["Morning"], 2)
    resources["Morning"]["Properties"]["DesiredCapacity"] = 1
    del resources["Hook"]["Properties"]["HeartbeatTimeout"]
    assert await cloud.update(template) == out
    (action,) = (await cloud.ask("autoscaling", "DescribeScheduledActions", **named))[
        "ScheduledUpdateGroupActions"
    ]
    assert action["DesiredCapacity"] == 1
    (hook,) = (await cloud.ask("autoscaling", "DescribeLifecycleHooks", **named))["LifecycleHooks"]
    assert hook["HeartbeatTimeout"] == 3600
    await cloud.delete()


async def test_hooks_of_a_group_and_hooks_beside_it(cloud: Cloud) -> None:
    launching, terminating = (f"autoscaling:EC2_INSTANCE_{each}" for each in ("LAUNCHING", "TERMINATING"))
    role = f"arn:aws:iam::{ACCOUNT}:role/hooks"
    await cloud.ask("sqs", "CreateQueue", QueueName="hooks")
    target = {"NotificationTargetARN": f"arn:aws:sqs:us-east-1:{ACCOUNT}:hooks", "RoleARN": role}
    first: dict[str, Any] = {
        "LifecycleHookName": "first",
        "LifecycleTransition": launching,
        "HeartbeatTimeout": 60,
        "DefaultResult": "CONTINUE",
    }
    second = {"LifecycleHookName": "second", "LifecycleTransition": terminating}
    group: dict[str, Any] = {
        "MinSize": "0",
        "MaxSize": "3",
        "AvailabilityZones": ["us-east-1a"],
        "LaunchTemplate": {"LaunchTemplateId": {"Ref": "Template"}, "Version": "1"},
        "LifecycleHookSpecificationList": [first, second],
    }
    beside: dict[str, Any] = {
        "AutoScalingGroupName": {"Ref": "Group"},
        "LifecycleHookName": "beside",
        "LifecycleTransition": launching,
        "HeartbeatTimeout": 120,
        "DefaultResult": "CONTINUE",
        "NotificationMetadata": "data",
    } | target
    template: dict[str, Any] = {
        "Resources": {
            "Template": {
                "Type": "AWS::EC2::LaunchTemplate",
                "Properties": {"LaunchTemplateData": {"ImageId": "ami-12c6146b", "InstanceType": "t3.small"}},
            },
            "Group": {"Type": "AWS::AutoScaling::AutoScalingGroup", "Properties": group},
            "Hook": {"Type": "AWS::AutoScaling::LifecycleHook", "Properties": beside},
        },
        "Outputs": {"Group": {"Value": {"Ref": "Group"}}},
    }
    out = await cloud.create(template)

    async def hooks() -> dict[str, Any]:
        found = await cloud.ask("autoscaling", "DescribeLifecycleHooks", AutoScalingGroupName=out["Group"])
        return {each["LifecycleHookName"]: each for each in found["LifecycleHooks"]}

    shown = await hooks()
    common = {"AutoScalingGroupName": out["Group"]}
    assert shown == {
        "first": first | common | {"GlobalTimeout": 6000},
        "second": second
        | common
        | {"GlobalTimeout": 172_800, "HeartbeatTimeout": 3600, "DefaultResult": "ABANDON"},
        "beside": beside | common | {"GlobalTimeout": 12_000},
    }
    group["LifecycleHookSpecificationList"] = [{k: v for k, v in first.items() if k != "DefaultResult"}]
    for gone in ("NotificationMetadata", *target):
        del beside[gone]
    beside["LifecycleTransition"] = terminating
    await cloud.update(template)
    shown = await hooks()
    assert set(shown) == {"first", "beside"} and shown["first"]["DefaultResult"] == "ABANDON"
    kept = {"GlobalTimeout": 12_000, "NotificationMetadata": "data"}
    assert shown["beside"] == beside | common | kept, "no call takes metadata away"
    for name in shown:
        # Somebody else has taken them away.
        await cloud.ask("autoscaling", "DeleteLifecycleHook", LifecycleHookName=name, **common)
    group["LifecycleHookSpecificationList"] = []
    await cloud.update(template)
    await cloud.delete()


async def test_a_composite_alarm_over_others(cloud: Cloud) -> None:
    def alarm(**more: Any) -> dict[str, Any]:
        properties = {
            "Namespace": "App",
            "MetricName": "Load",
            "Statistic": "Average",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 5,
            "ComparisonOperator": "GreaterThanThreshold",
        }
        return {"Type": "AWS::CloudWatch::Alarm", "Properties": properties | more}

    resources: dict[str, Any] = {
        "High": alarm(),
        "Low": alarm(ComparisonOperator="LessThanThreshold"),
        "Both": {
            "Type": "AWS::CloudWatch::CompositeAlarm",
            "Properties": {"AlarmRule": {"Fn::Sub": 'ALARM("${High}") AND NOT OK("${Low}")'}},
        },
        "Board": {
            "Type": "AWS::CloudWatch::Dashboard",
            "Properties": {"DashboardBody": '{"widgets": []}'},
        },
    }
    outputs: dict[str, Any] = {name: {"Value": {"Ref": name}} for name in resources}
    outputs["Arn"] = {"Value": {"Fn::GetAtt": ["Both", "Arn"]}}
    template = {"Resources": resources, "Outputs": outputs}
    out = await cloud.create(template)
    asked = {"AlarmNames": [out["Both"]], "AlarmTypes": ["CompositeAlarm"]}
    (both,) = (await cloud.ask("cloudwatch", "DescribeAlarms", **asked))["CompositeAlarms"]
    assert both["AlarmRule"] == f'ALARM("{out["High"]}") AND NOT OK("{out["Low"]}")'
    assert out["Arn"].endswith(f":alarm:{out['Both']}")
    resources["Both"]["Properties"]["AlarmRule"] = {"Fn::Sub": 'OK("${Low}")'}
    resources["Board"]["Properties"]["DashboardBody"] = '{"widgets": [1]}'
    assert await cloud.update(template) == out
    (both,) = (await cloud.ask("cloudwatch", "DescribeAlarms", **asked))["CompositeAlarms"]
    assert both["AlarmRule"] == f'OK("{out["Low"]}")'
    board = await cloud.ask("cloudwatch", "GetDashboard", DashboardName=out["Board"])
    assert board["DashboardBody"] == '{"widgets": [1]}'
    await cloud.delete()
    assert not (await cloud.ask("cloudwatch", "DescribeAlarms", **asked))["CompositeAlarms"]


async def test_topics_are_told_of_a_groups_first_instances(cloud: Cloud) -> None:
    def told_of(*topics: str) -> dict[str, Any]:
        types = ["autoscaling:EC2_INSTANCE_LAUNCH"]
        return {
            "NotificationConfigurations": [{"TopicARN": {"Ref": e}, "NotificationTypes": types} for e in topics]
        }

    def template(**more: Any) -> dict[str, Any]:
        return {
            "Resources": {
                "Topic": {"Type": "AWS::SNS::Topic"},
                "Other": {"Type": "AWS::SNS::Topic"},
                "Queue": {"Type": "AWS::SQS::Queue"},
                "Subscription": {
                    "Type": "AWS::SNS::Subscription",
                    "Properties": {
                        "TopicArn": {"Ref": "Topic"},
                        "Protocol": "sqs",
                        "Endpoint": {"Fn::GetAtt": ["Queue", "Arn"]},
                    },
                },
                "Launch": {
                    "Type": "AWS::AutoScaling::LaunchConfiguration",
                    "Properties": {"ImageId": "ami-12c6146b", "InstanceType": "t3.small"},
                },
                "Group": {
                    "Type": "AWS::AutoScaling::AutoScalingGroup",
                    "DependsOn": "Subscription",
                    "Properties": {
                        "MinSize": "1",
                        "MaxSize": "2",
                        "AvailabilityZones": ["us-east-1a"],
                        "LaunchConfigurationName": {"Ref": "Launch"},
                    }
                    | more,
                },
            },
            "Outputs": {name: {"Value": {"Ref": name}} for name in ("Group", "Queue", "Topic", "Other")},
        }

    async def configured() -> list[tuple[str, str]]:
        found = await cloud.ask("autoscaling", "DescribeNotificationConfigurations")
        return sorted((e["TopicARN"], e["NotificationType"]) for e in found["NotificationConfigurations"])

    made = await cloud.create(template(**told_of("Topic")))
    (group,) = (
        await cloud.ask("autoscaling", "DescribeAutoScalingGroups", AutoScalingGroupNames=[made["Group"]])
    )["AutoScalingGroups"]
    (instance,) = group["Instances"]
    assert (group["MinSize"], group["DesiredCapacity"]) == (1, 1)
    told: list[dict[str, Any]] = []
    clock = SystemClock()
    end = clock.now() + 30
    while len(told) < 2 and clock.now() < end:
        answer = await cloud.ask("sqs", "ReceiveMessage", QueueUrl=made["Queue"], WaitTimeSeconds=1)
        told += [json.loads(json.loads(each["Body"])["Message"]) for each in answer.get("Messages") or []]
    assert [each["Event"] for each in told] == ["autoscaling:TEST_NOTIFICATION", "autoscaling:EC2_INSTANCE_LAUNCH"]
    assert told[1]["EC2InstanceId"] == instance["InstanceId"]
    assert told[1]["Cause"].endswith("increasing the capacity from 0 to 1.")

    assert [topic for topic, _ in await configured()] == [made["Topic"]]
    old = {"TopicARN": {"Ref": "Other"}, "NotificationTypes": ["autoscaling:EC2_INSTANCE_TERMINATE"]}
    await cloud.update(template(NotificationConfiguration=old))
    assert await configured() == [(made["Other"], "autoscaling:EC2_INSTANCE_TERMINATE")]
    await cloud.delete()
    assert await configured() == []

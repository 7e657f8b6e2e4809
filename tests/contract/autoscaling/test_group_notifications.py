"""Notifications of Auto Scaling groups over the real ancillary services: what arrives in a queue behind the topic."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from portside.cloud.kernel.clock import Pace
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.loop import After, Done
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.autoscaling.api import AutoScalingApi
from portside.cloud.services.autoscaling.notifications import Notifications
from portside.cloud.services.calls import Caller, Params
from portside.testing.clock import VirtualClock
from portside.testing.server import ACCOUNT, quiet_log

REGION = "eu-west-1"
CALLER = Caller.root(ACCOUNT, REGION, "portside")
LAUNCH, TERMINATE = "autoscaling:EC2_INSTANCE_LAUNCH", "autoscaling:EC2_INSTANCE_TERMINATE"
TEST = "autoscaling:TEST_NOTIFICATION"


class Cloud:
    """The group `g`, the topic `told` and the queue behind it. `calls` may be made to fail."""

    def __init__(self, path: Path, ancillary: Ancillary) -> None:
        self.ancillary = ancillary
        self.path = path
        self.topic, self.queue = "", ""
        self.clock = VirtualClock()
        self.database = Database(path / "state.db")
        self.lost: set[str] = set()  # operations whose answers do not arrive
        self.refused: set[str] = set()
        self.start()

    def start(self) -> None:
        self.api = AutoScalingApi(
            database=self.database,
            clock=self.clock,
            pace=Pace(1.0, 0.0),
            calls=self.call,
            log=quiet_log(),
            ancillary=self.call,
            ids=Ids(1),
        )

    async def call(self, service: str, operation: str, params: Params, caller: Caller) -> Params:
        if operation in self.refused:
            raise AwsError("ValidationError", "There is no room.")
        answer = await self.ancillary(service, operation, params, caller)
        if operation in self.lost:
            raise AwsError("ServiceUnavailable", "The process was killed.", 503)
        return answer

    async def ask(self, service: str, operation: str, **params: Any) -> Params:
        return await self.ancillary(service, operation, params, CALLER)

    async def do(self, operation: str, **params: Any) -> Any:
        if not operation.startswith(("Describe", "TerminateInstance")):
            params.setdefault("AutoScalingGroupName", "g")
        result: Any = self.api.service().operations[operation](CALLER, params)
        return await result if hasattr(result, "__await__") else result

    @property
    def telling(self) -> Notifications:
        assert self.api.notifications is not None
        return self.api.notifications

    async def turn(self) -> Any:
        assert self.api.groups is not None
        await self.api.groups.turn(f"{REGION} g")
        return await self.telling.telling.turn(f"{REGION} g")

    async def put(self, *types: str, topic: str = "") -> None:
        await self.do("PutNotificationConfiguration", TopicARN=topic or self.topic, NotificationTypes=list(types))

    async def told(self) -> list[Params]:
        """What has arrived since the last look, oldest first."""
        found: list[Params] = []
        while answer := (await self.ask("sqs", "ReceiveMessage", QueueUrl=self.queue, MaxNumberOfMessages=10)).get(
            "Messages"
        ):
            for each in answer:
                envelope = json.loads(each["Body"])
                found.append(json.loads(envelope["Message"]) | {"Subject": envelope["Subject"]})
                receipt = each["ReceiptHandle"]
                await self.ask("sqs", "DeleteMessage", QueueUrl=self.queue, ReceiptHandle=receipt)
        return found

    async def instances(self) -> list[str]:
        (group,) = (await self.do("DescribeAutoScalingGroups", AutoScalingGroupNames=["g"]))["AutoScalingGroups"]
        return [each["InstanceId"] for each in group["Instances"]]


@asynccontextmanager
async def clouded(path: Path, desired: int = 0) -> AsyncIterator[Cloud]:
    async with Ancillary(directory=path, account=ACCOUNT, endpoint="", log=quiet_log()) as ancillary:
        made = Cloud(path, ancillary)
        made.topic = (await made.ask("sns", "CreateTopic", Name="told"))["TopicArn"]
        made.queue = (await made.ask("sqs", "CreateQueue", QueueName="told"))["QueueUrl"]
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:told"
        await made.ask("sns", "Subscribe", TopicArn=made.topic, Protocol="sqs", Endpoint=arn)
        image = (await made.ask("ec2", "DescribeImages"))["Images"][0]["ImageId"]
        launch = {"LaunchConfigurationName": "lc", "ImageId": image, "InstanceType": "t3.small"}
        await made.ask("autoscaling", "CreateLaunchConfiguration", **launch)
        await made.do(
            "CreateAutoScalingGroup",
            LaunchConfigurationName="lc",
            AvailabilityZones=[REGION + "a"],
            MinSize=0,
            MaxSize=5,
            DesiredCapacity=desired,
        )
        try:
            yield made
        finally:
            made.database.close()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_a_topic_is_told_of_what_it_asked_for(directory: Path) -> None:
    async with clouded(directory, desired=1) as cloud:
        await cloud.put(LAUNCH, TERMINATE)
        assert isinstance(await cloud.turn(), After)
        (tested,) = await cloud.told()
        assert tested["Subject"] == 'Auto Scaling: test notification for group "g"'
        assert (tested["Event"], tested["AccountId"], tested["Service"]) == (TEST, ACCOUNT, "AWS Auto Scaling")
        assert tested["AutoScalingGroupARN"].endswith("autoScalingGroupName/g")

        (old,) = await cloud.instances()
        await cloud.do("SetDesiredCapacity", DesiredCapacity=2)
        await cloud.turn()
        (new,) = set(await cloud.instances()) - {old}
        (launched,) = await cloud.told()
        assert launched["Subject"] == 'Auto Scaling: launch for group "g"'
        assert launched["Event"] == LAUNCH and launched["EC2InstanceId"] == new
        assert launched["Description"] == f"Launching a new EC2 instance: {new}"
        assert launched["Cause"].endswith("increasing the capacity from 1 to 2.")
        assert launched["Details"]["Availability Zone"] == REGION + "a" and launched["Details"]["Subnet ID"]
        assert (launched["StatusCode"], launched["Origin"], launched["Destination"]) == (
            "InProgress",
            "EC2",
            "AutoScalingGroup",
        )
        assert launched["ActivityId"] and launched["StartTime"] <= launched["EndTime"]

        await cloud.do("SetDesiredCapacity", DesiredCapacity=1)
        await cloud.turn()
        (ended,) = await cloud.told()
        assert ended["Subject"] == 'Auto Scaling: termination for group "g"'
        assert (ended["Event"], ended["Origin"]) == (TERMINATE, "AutoScalingGroup")
        assert ended["Cause"].endswith("shrinking the capacity from 2 to 1.")

        (left,) = await cloud.instances()
        await cloud.do(
            "TerminateInstanceInAutoScalingGroup", InstanceId=left, ShouldDecrementDesiredCapacity=False
        )
        await cloud.turn()
        ended, launched = await cloud.told()
        assert f"instance {left} was taken out of service in response to a user request" in ended["Cause"]
        (left,) = await cloud.instances()
        assert launched["EC2InstanceId"] == left
        await cloud.turn()
        assert await cloud.told() == [], "each is told once"

        await cloud.do("DeleteAutoScalingGroup", ForceDelete=True)
        assert isinstance(await cloud.turn(), Done)
        (ended,) = await cloud.told()
        assert (ended["Event"], ended["EC2InstanceId"]) == (TERMINATE, left)
        assert (await cloud.do("DescribeNotificationConfigurations"))["NotificationConfigurations"] == []


async def test_instances_that_end_elsewhere_and_those_that_are_detached(directory: Path) -> None:
    async with clouded(directory, desired=2) as cloud:
        await cloud.put(LAUNCH, TERMINATE)
        await cloud.turn()
        await cloud.told()
        ended, detached = await cloud.instances()
        await cloud.ask("ec2", "TerminateInstances", InstanceIds=[ended])
        await cloud.turn()
        told = {each["Event"]: each for each in await cloud.told()}
        assert told[TERMINATE]["EC2InstanceId"] == ended and "EC2 health check" in told[TERMINATE]["Cause"]
        await cloud.ask(
            "autoscaling",
            "DetachInstances",
            AutoScalingGroupName="g",
            InstanceIds=[detached],
            ShouldDecrementDesiredCapacity=True,
        )
        await cloud.turn()
        assert [e for e in await cloud.told() if e["EC2InstanceId"] == detached] == []


async def test_what_fails_is_told(directory: Path) -> None:
    async with clouded(directory, desired=1) as cloud:
        await cloud.put("autoscaling:EC2_INSTANCE_LAUNCH_ERROR", "autoscaling:EC2_INSTANCE_TERMINATE_ERROR")
        await cloud.turn()
        await cloud.told()
        cloud.refused = {"SetDesiredCapacity"}
        with pytest.raises(AwsError, match="no room"):
            await cloud.do("SetDesiredCapacity", DesiredCapacity=2)
        await cloud.turn()
        (failed,) = await cloud.told()
        assert (failed["Event"], failed["StatusCode"]) == ("autoscaling:EC2_INSTANCE_LAUNCH_ERROR", "Failed")
        assert failed["Subject"] == 'Auto Scaling: failed launch for group "g"'
        assert failed["StatusMessage"] == "There is no room." in failed["Description"]

        (instance,) = await cloud.instances()
        cloud.refused = {"TerminateInstanceInAutoScalingGroup"}
        await cloud.do(
            "TerminateInstanceInAutoScalingGroup", InstanceId=instance, ShouldDecrementDesiredCapacity=True
        )
        with pytest.raises(AwsError, match="no room"):
            await cloud.turn()
        cloud.refused = set()
        await cloud.turn()
        (failed,) = await cloud.told()
        assert failed["Event"] == "autoscaling:EC2_INSTANCE_TERMINATE_ERROR"
        assert failed["EC2InstanceId"] == instance and "user request" in failed["Cause"]
        assert await cloud.instances() == []


async def test_what_was_in_flight_is_told_again(directory: Path) -> None:
    async with clouded(directory) as cloud:
        await cloud.put(LAUNCH)
        await cloud.turn()
        await cloud.told()
        await cloud.do("SetDesiredCapacity", DesiredCapacity=2)
        cloud.lost = {"Publish"}
        with pytest.raises(AwsError, match="killed"):
            await cloud.turn()
        cloud.lost = set()
        cloud.start()
        await cloud.turn()
        told = [each["EC2InstanceId"] for each in await cloud.told()]
        assert set(told) == set(await cloud.instances()) and len(told) == 3, "the first one twice, none lost"


async def test_configurations_are_shown_page_by_page_and_taken_away(directory: Path) -> None:
    async with clouded(directory) as cloud:
        types = (await cloud.do("DescribeAutoScalingNotificationTypes"))["AutoScalingNotificationTypes"]
        assert len(types) == 5 and TEST in types
        await cloud.put(LAUNCH, TERMINATE, TEST)
        first = await cloud.do("DescribeNotificationConfigurations", MaxRecords=2)
        rest = await cloud.do("DescribeNotificationConfigurations", MaxRecords=2, NextToken=first["NextToken"])
        shown = first["NotificationConfigurations"] + rest["NotificationConfigurations"]
        assert [each["NotificationType"] for each in shown] == [LAUNCH, TERMINATE, TEST]
        assert {each["TopicARN"] for each in shown} == {cloud.topic} and "NextToken" not in rest
        await cloud.put(TERMINATE)
        (shown,) = (await cloud.do("DescribeNotificationConfigurations"))["NotificationConfigurations"]
        assert shown["NotificationType"] == TERMINATE
        await cloud.do("DeleteNotificationConfiguration", TopicARN=cloud.topic)
        assert (await cloud.do("DescribeNotificationConfigurations"))["NotificationConfigurations"] == []
        with pytest.raises(AwsError, match="is not a valid Notification Type"):
            await cloud.put("autoscaling:NEWS")
        with pytest.raises(AwsError, match="Unable to publish test message"):
            await cloud.put(LAUNCH, topic=cloud.topic + "x")
        with pytest.raises(AwsError, match="AutoScalingGroup 'h' not found"):
            await cloud.do(
                "PutNotificationConfiguration",
                AutoScalingGroupName="h",
                TopicARN=cloud.topic,
                NotificationTypes=[LAUNCH],
            )

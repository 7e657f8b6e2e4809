"""Lifecycle hooks over the real ancillary services: what waits, who is told, and what becomes of it."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from portside.cloud.kernel.clock import FAST_PACE
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.loop import After, Done
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.ancillary import Ancillary
from portside.cloud.services.autoscaling.api import AutoScalingApi
from portside.cloud.services.calls import Caller, Params
from portside.testing.clock import VirtualClock
from portside.testing.server import ACCOUNT, quiet_log
from worlds.ecs import FakeRoles

REGION = "eu-west-1"
CALLER = Caller.root(ACCOUNT, REGION, "portside")
LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"
LAUNCH, FAILED = "autoscaling:EC2_INSTANCE_LAUNCH", "autoscaling:EC2_INSTANCE_LAUNCH_ERROR"
TERMINATE = "autoscaling:EC2_INSTANCE_TERMINATE"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/hooks"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:told"


class Cloud:
    """The group `g`, the queue `hooks`, and the topic `told` with the queue `told` behind it."""

    def __init__(self, path: Path, ancillary: Ancillary) -> None:
        self.ancillary = ancillary
        self.path = path
        self.clock = VirtualClock()
        self.roles = FakeRoles(self.clock)
        self.name = "state.db"
        self.database = Database(path / self.name)
        self.lost: set[str] = set()  # operations whose answers do not arrive
        self.ids = Ids(1)
        self.start()

    def start(self) -> None:
        self.api = AutoScalingApi(
            database=self.database,
            clock=self.clock,
            pace=FAST_PACE,
            calls=self.call,
            log=quiet_log(),
            ancillary=self.call,
            ids=self.ids,
            roles=self.roles,
        )

    def restart(self, name: str = "") -> None:
        self.database.close()
        self.name = name or self.name
        self.database = Database(self.path / self.name)
        self.lost = set()
        self.start()

    async def call(self, service: str, operation: str, params: Params, caller: Caller) -> Params:
        answer = await self.ancillary(service, operation, params, caller)
        if operation in self.lost:
            raise AwsError("ServiceUnavailable", "The process was killed.", 503)
        return answer

    async def ask(self, service: str, operation: str, **params: Any) -> Params:
        return await self.ancillary(service, operation, params, CALLER)

    async def do(self, operation: str, **params: Any) -> Any:
        if not operation.startswith(("DescribeAuto", "TerminateInstance")):
            params.setdefault("AutoScalingGroupName", "g")
        result: Any = self.api.service().operations[operation](CALLER, params)
        return await result if inspect.isawaitable(result) else result

    async def turn(self) -> Any:
        """Groups until nothing is due at once, then notifications."""
        assert self.api.groups is not None and self.api.notifications is not None
        for _ in range(4):
            result = await self.api.groups.turn(f"{REGION} g")
        await self.api.notifications.telling.turn(f"{REGION} g")
        return result

    async def put(self, name: str = "ready", transition: str = LAUNCHING, **params: Any) -> None:
        await self.do("PutLifecycleHook", LifecycleHookName=name, LifecycleTransition=transition, **params)

    async def complete(self, instance: str, result: str = "CONTINUE", hook: str = "ready") -> None:
        named = {"LifecycleHookName": hook, "InstanceId": instance}
        await self.do("CompleteLifecycleAction", **named, LifecycleActionResult=result)

    async def group(self) -> Params:
        (found,) = (await self.do("DescribeAutoScalingGroups", AutoScalingGroupNames=["g"]))["AutoScalingGroups"]
        return found  # type: ignore[no-any-return]

    async def states(self) -> dict[str, str]:
        found = {each["InstanceId"]: each["LifecycleState"] for each in (await self.group())["Instances"]}
        listed = (await self.do("DescribeAutoScalingInstances"))["AutoScalingInstances"]
        assert {each["InstanceId"]: each["LifecycleState"] for each in listed} == found
        return found

    async def received(self, queue: str) -> list[Params]:
        """The bodies of what has arrived in a queue since the last look."""
        found: list[Params] = []
        url = (await self.ask("sqs", "GetQueueUrl", QueueName=queue))["QueueUrl"]
        while messages := (await self.ask("sqs", "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)).get(
            "Messages"
        ):
            for each in messages:
                found.append(json.loads(each["Body"]))
                await self.ask("sqs", "DeleteMessage", QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        return found

    async def told(self) -> list[Params]:
        """What the topic has been told."""
        return [json.loads(each["Message"]) | {"Subject": each["Subject"]} for each in await self.received("told")]


class Killed(Exception):
    pass


class Death:
    """Counts the writes of a database, and lets none happen from a given one on."""

    def __init__(self, database: Database, at: int) -> None:
        self.writes, self._at, self._write = 0, at, database.write
        database.write = self.write  # type: ignore[method-assign]

    @property
    def came(self) -> bool:
        return self.writes >= self._at

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        self.writes += 1
        if self.came:
            raise Killed
        with self._write() as tx:
            yield tx


@asynccontextmanager
async def clouded(path: Path, **more: Any) -> AsyncIterator[Cloud]:
    async with Ancillary(directory=path, account=ACCOUNT, endpoint="", log=quiet_log()) as ancillary:
        made = Cloud(path, ancillary)
        for queue in ("hooks", "told"):
            await made.ask("sqs", "CreateQueue", QueueName=queue)
        await made.ask("sns", "CreateTopic", Name="told")
        await made.ask("sns", "Subscribe", TopicArn=TOPIC, Protocol="sqs", Endpoint=QUEUE + "told")
        image = (await made.ask("ec2", "DescribeImages"))["Images"][0]["ImageId"]
        launch = {"LaunchConfigurationName": "lc", "ImageId": image, "InstanceType": "t3.small"}
        await made.ask("autoscaling", "CreateLaunchConfiguration", **launch)
        settings = {"MinSize": 0, "MaxSize": 5, "DesiredCapacity": 1} | more
        await made.do(
            "CreateAutoScalingGroup",
            LaunchConfigurationName="lc",
            AvailabilityZones=[REGION + "a"],
            **settings,
        )
        try:
            yield made
        finally:
            made.database.close()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_a_launched_instance_serves_when_every_hook_has_been_completed(directory: Path) -> None:
    async with clouded(directory) as cloud:
        (old,) = await cloud.states()
        await cloud.do(
            "PutNotificationConfiguration", TopicARN=TOPIC, NotificationTypes=[LAUNCH, FAILED, TERMINATE]
        )
        await cloud.put()
        await cloud.put("warm", DefaultResult="CONTINUE", HeartbeatTimeout=600)
        await cloud.turn()
        await cloud.told()
        await cloud.do("SetDesiredCapacity", DesiredCapacity=2)
        states = await cloud.states()
        assert sorted(states.values()) == ["InService", "Pending"] and states[old] == "InService"
        await cloud.turn()
        (new,) = set(await cloud.states()) - {old}
        assert (await cloud.states())[new] == "Pending:Wait"
        assert (await cloud.group())["DesiredCapacity"] == 2
        await cloud.turn()
        assert len(await cloud.states()) == 2, "it counts: no other is launched"
        assert await cloud.told() == []
        await cloud.complete(new)
        with pytest.raises(AwsError, match=f"No active Lifecycle Action found with instance ID {new}"):
            await cloud.complete(new)
        assert (await cloud.states())[new] == "Pending:Wait"
        await cloud.clock.advance(601)
        await cloud.turn()
        assert (await cloud.states())[new] == "InService", "a hook may let it in when its time is over"
        (launched,) = await cloud.told()
        assert (launched["Event"], launched["EC2InstanceId"]) == (LAUNCH, new)


@pytest.mark.parametrize("answered", [True, False])
async def test_an_abandoned_launch_is_replaced_at_growing_intervals(directory: Path, answered: bool) -> None:
    async with clouded(directory, DesiredCapacity=0) as cloud:
        await cloud.do(
            "PutNotificationConfiguration", TopicARN=TOPIC, NotificationTypes=[LAUNCH, FAILED, TERMINATE]
        )
        await cloud.put(HeartbeatTimeout=30)
        await cloud.turn()
        await cloud.told()
        await cloud.do("SetDesiredCapacity", DesiredCapacity=1)
        pauses: list[float] = []
        for _ in range(3):
            await cloud.turn()
            ((instance, state),) = (await cloud.states()).items()
            assert state == "Pending:Wait"
            if answered:
                await cloud.complete(instance, "ABANDON")
                assert await cloud.states() == {instance: "Terminating"}
            else:
                await cloud.clock.advance(31)
            result = await cloud.turn()
            assert await cloud.states() == {} and (await cloud.group())["DesiredCapacity"] == 1
            (told,) = await cloud.told()
            assert (told["Event"], told["EC2InstanceId"]) == (FAILED, instance)
            assert "Instance failed to complete user's Lifecycle Action" in told["StatusMessage"]
            assert isinstance(result, After)
            pauses.append(result.seconds)
            await cloud.clock.advance(result.seconds)
        assert pauses == sorted(pauses) and pauses[2] == 4 * pauses[0]
        await cloud.turn()
        (instance,) = await cloud.states()
        await cloud.complete(instance)
        await cloud.turn()
        assert await cloud.states() == {instance: "InService"}
        assert [each["Event"] for each in await cloud.told()] == [LAUNCH]


async def test_a_target_and_rules_are_told_of_actions_of_both_transitions(directory: Path) -> None:
    async with clouded(directory, DesiredCapacity=0) as cloud:
        pattern = json.dumps({"source": ["aws.autoscaling"]})
        await cloud.ask("events", "PutRule", Name="lifecycle", EventPattern=pattern)
        await cloud.ask("events", "PutTargets", Rule="lifecycle", Targets=[{"Id": "q", "Arn": QUEUE + "told"}])
        target = {"NotificationTargetARN": QUEUE + "hooks", "RoleARN": ROLE}
        await cloud.put(**target, NotificationMetadata="for you")
        (tested,) = await cloud.received("hooks")
        assert tested["Event"] == "autoscaling:TEST_NOTIFICATION" and tested["AutoScalingGroupName"] == "g"
        await cloud.do("SetDesiredCapacity", DesiredCapacity=1)
        await cloud.turn()
        (instance,) = await cloud.states()
        (said,) = await cloud.received("hooks")
        token = said.pop("LifecycleActionToken")
        assert len(token) == 36 and said.pop("Time") and said.pop("RequestId")
        assert said == {
            "Service": "AWS Auto Scaling",
            "AccountId": ACCOUNT,
            "AutoScalingGroupName": "g",
            "LifecycleHookName": "ready",
            "EC2InstanceId": instance,
            "LifecycleTransition": LAUNCHING,
            "NotificationMetadata": "for you",
            "Origin": "EC2",
            "Destination": "AutoScalingGroup",
        }
        assert (ROLE, "autoscaling.amazonaws.com") in cloud.roles.assumed
        (event,) = await cloud.received("told")
        assert (event["source"], event["detail-type"]) == (
            "aws.autoscaling",
            "EC2 Instance-launch Lifecycle Action",
        )
        assert event["detail"]["LifecycleActionToken"] == token
        assert event["resources"][0].endswith("autoScalingGroupName/g")
        named = {"LifecycleHookName": "ready", "LifecycleActionToken": token}
        await cloud.do("CompleteLifecycleAction", **named, LifecycleActionResult="CONTINUE")
        assert await cloud.states() == {instance: "InService"}

        await cloud.ask("events", "RemoveTargets", Rule="lifecycle", Ids=["q"])
        await cloud.put("drain", TERMINATING, NotificationTargetARN=TOPIC, RoleARN=ROLE)
        (tested,) = await cloud.told()
        assert tested["Subject"] == 'Auto Scaling: test notification for group "g"'
        await cloud.do("SetDesiredCapacity", DesiredCapacity=0)
        await cloud.turn()
        (said,) = await cloud.told()
        assert (
            said["Subject"]
            == f"Auto Scaling:  Lifecycle action 'TERMINATING' for instance {instance} in progress."
        )
        assert (said["Origin"], said["Destination"]) == ("AutoScalingGroup", "EC2")
        assert (said["EC2InstanceId"], said["LifecycleTransition"]) == (instance, TERMINATING)
        assert "NotificationMetadata" not in said
        assert await cloud.states() == {instance: "Terminating:Wait"}
        assert await cloud.received("hooks") == []


async def test_a_target_that_cannot_be_reached_is_refused(directory: Path) -> None:
    async with clouded(directory, DesiredCapacity=0) as cloud:
        words = "Unable to publish test message to notification target"
        with pytest.raises(AwsError, match=words):
            await cloud.put(NotificationTargetARN=QUEUE + "none", RoleARN=ROLE)
        cloud.roles.missing.add(ROLE)
        with pytest.raises(AwsError, match=words):
            await cloud.put(NotificationTargetARN=QUEUE + "hooks", RoleARN=ROLE)
        assert (await cloud.do("DescribeLifecycleHooks"))["LifecycleHooks"] == []


async def test_heartbeats_give_time_up_to_the_limit_and_waits_are_not_shortened(directory: Path) -> None:
    async with clouded(directory) as cloud:
        await cloud.put("drain", TERMINATING, HeartbeatTimeout=30)
        await cloud.put("backup", TERMINATING, HeartbeatTimeout=100, DefaultResult="CONTINUE")
        (instance,) = await cloud.states()
        await cloud.do("SetDesiredCapacity", DesiredCapacity=0)
        await cloud.turn()
        began = cloud.clock.now()
        named = {"LifecycleHookName": "drain", "InstanceId": instance}
        for _ in range(5):
            await cloud.clock.advance(29)
            await cloud.turn()
            assert await cloud.states() == {instance: "Terminating:Wait"}, "29 seconds are 29 at any pace"
            await cloud.do("RecordLifecycleActionHeartbeat", **named)
        with pytest.raises(AwsError, match="No active Lifecycle Action"):
            await cloud.complete(instance, hook="backup")
        for _ in range(200):
            await cloud.clock.advance(20)
            try:
                await cloud.do("RecordLifecycleActionHeartbeat", **named)
            except AwsError:
                break
        else:
            raise AssertionError("heartbeats have no end")
        assert 3000 <= cloud.clock.now() - began <= 3020, "a hundred heartbeats at most"
        await cloud.turn()
        assert await cloud.states() == {}


async def test_hooks_of_a_new_group_are_there_before_its_first_instance(directory: Path) -> None:
    hooks = [
        {"LifecycleHookName": "ready", "LifecycleTransition": LAUNCHING},
        {"LifecycleHookName": "drain", "LifecycleTransition": TERMINATING, "HeartbeatTimeout": 60},
    ]
    async with clouded(directory, DesiredCapacity=2, LifecycleHookSpecificationList=hooks) as cloud:
        await cloud.turn()
        assert set((await cloud.states()).values()) == {"Pending:Wait"}
        shown = (await cloud.do("DescribeLifecycleHooks"))["LifecycleHooks"]
        assert [each["LifecycleHookName"] for each in shown] == ["ready", "drain"]
        first, second = await cloud.states()
        await cloud.do(
            "TerminateInstanceInAutoScalingGroup", InstanceId=first, ShouldDecrementDesiredCapacity=True
        )
        await cloud.turn()
        assert await cloud.states() == {first: "Terminating:Wait", second: "Pending:Wait"}
        await cloud.complete(first, hook="drain")
        await cloud.turn()
        assert await cloud.states() == {second: "Pending:Wait"} and (await cloud.group())["DesiredCapacity"] == 1
        await cloud.do("SetDesiredCapacity", DesiredCapacity=0)
        await cloud.turn()
        assert await cloud.states() == {second: "Terminating:Wait"}
        await cloud.do("DeleteAutoScalingGroup", ForceDelete=True)
        await cloud.turn()
        await cloud.do(
            "CreateAutoScalingGroup",
            LaunchConfigurationName="lc",
            AvailabilityZones=[REGION + "a"],
            MinSize=1,
            MaxSize=1,
        )
        assert list((await cloud.states()).values()) == ["InService"], "a new group begins without"


async def test_a_group_whose_hooks_cannot_be_put_is_not_made(directory: Path) -> None:
    async with clouded(directory, DesiredCapacity=0) as cloud:
        hook = {"LifecycleHookName": "ready", "LifecycleTransition": LAUNCHING}
        settings = {
            "LaunchConfigurationName": "lc",
            "AvailabilityZones": [REGION + "a"],
            "MinSize": 1,
            "MaxSize": 1,
        }
        for wrong in ({"HeartbeatTimeout": 5}, {"NotificationTargetARN": QUEUE + "none", "RoleARN": ROLE}):
            with pytest.raises(AwsError):
                await cloud.do(
                    "CreateAutoScalingGroup",
                    AutoScalingGroupName="h",
                    LifecycleHookSpecificationList=[hook | wrong],
                    **settings,
                )
        assert len((await cloud.do("DescribeAutoScalingGroups"))["AutoScalingGroups"]) == 1


async def test_a_deleted_hook_gives_launches_up_and_lets_instances_go(directory: Path) -> None:
    async with clouded(directory) as cloud:
        (old,) = await cloud.states()
        await cloud.put()
        await cloud.put("drain", TERMINATING)
        await cloud.do("SetDesiredCapacity", DesiredCapacity=2)
        await cloud.do("TerminateInstanceInAutoScalingGroup", InstanceId=old, ShouldDecrementDesiredCapacity=True)
        await cloud.turn()
        assert sorted((await cloud.states()).values()) == ["Pending:Wait", "Terminating:Wait"]
        await cloud.do("DeleteLifecycleHook", LifecycleHookName="drain")
        await cloud.turn()
        ((new, state),) = (await cloud.states()).items()
        assert state == "Pending:Wait"
        await cloud.do("DeleteLifecycleHook", LifecycleHookName="ready")
        await cloud.turn()
        await cloud.clock.advance(5)
        await cloud.turn()
        ((last, state),) = (await cloud.states()).items()
        assert last != new and state == "InService"
        assert isinstance(await cloud.turn(), Done), "nothing is left to look after"
        with pytest.raises(AwsError, match="No Lifecycle Hook found"):
            await cloud.do("DeleteLifecycleHook", LifecycleHookName="ready")


@pytest.mark.parametrize("lost", ["SetDesiredCapacity", "TerminateInstanceInAutoScalingGroup"])
async def test_what_waited_or_was_abandoned_is_so_after_a_crash(directory: Path, lost: str) -> None:
    async with clouded(directory, DesiredCapacity=0) as cloud:
        await cloud.put()
        if lost == "SetDesiredCapacity":
            cloud.lost = {lost}
            with pytest.raises(AwsError, match="killed"):
                await cloud.do("SetDesiredCapacity", DesiredCapacity=1)
            cloud.restart()
            assert list((await cloud.states()).values()) == ["Pending"], "launched, but not noted yet"
        else:
            await cloud.do("SetDesiredCapacity", DesiredCapacity=1)
        await cloud.turn()
        cloud.restart()
        ((first, state),) = (await cloud.states()).items()
        assert state == "Pending:Wait"
        await cloud.complete(first, "ABANDON")
        cloud.lost = {lost}
        if lost == "TerminateInstanceInAutoScalingGroup":
            with pytest.raises(AwsError, match="killed"):
                await cloud.turn()
            cloud.restart()
        await cloud.turn()
        assert await cloud.states() == {} and (await cloud.group())["DesiredCapacity"] == 1
        await cloud.clock.advance(5)
        if lost == "SetDesiredCapacity":
            with pytest.raises(AwsError, match="killed"):
                await cloud.turn()
            cloud.restart()
        await cloud.turn()
        ((second, state),) = (await cloud.states()).items()
        assert second != first and state == "Pending:Wait"
        assert (await cloud.group())["DesiredCapacity"] == 1


async def test_hooks_that_the_ancillary_services_kept_are_taken_over(directory: Path) -> None:
    async with clouded(directory) as cloud:
        hook = {"LifecycleHookName": "old", "AutoScalingGroupName": "g", "LifecycleTransition": TERMINATING}
        await cloud.ask("autoscaling", "PutLifecycleHook", **hook, HeartbeatTimeout=77)
        (shown,) = (await cloud.do("DescribeLifecycleHooks"))["LifecycleHooks"]
        assert shown == hook | {"HeartbeatTimeout": 77, "GlobalTimeout": 7700, "DefaultResult": "ABANDON"}
        left = await cloud.ask("autoscaling", "DescribeLifecycleHooks", AutoScalingGroupName="g")
        assert not left.get("LifecycleHooks")


async def test_what_hooks_may_be(directory: Path) -> None:
    async with clouded(directory, DesiredCapacity=0) as cloud:
        with pytest.raises(AwsError, match="'h' not found"):
            await cloud.put(AutoScalingGroupName="h")
        for number in range(50):
            await cloud.put(f"h{number}")
        await cloud.put("h0", HeartbeatTimeout=50)
        with pytest.raises(AwsError) as refused:
            await cloud.put("h50")
        assert refused.value.code == "LimitExceeded"
        (shown,) = (await cloud.do("DescribeLifecycleHooks", LifecycleHookNames=["h0"]))["LifecycleHooks"]
        assert (shown["HeartbeatTimeout"], shown["GlobalTimeout"]) == (50, 5000)
        types = (await cloud.do("DescribeLifecycleHookTypes"))["LifecycleHookTypes"]
        assert types == [LAUNCHING, TERMINATING]
        with pytest.raises(AwsError, match="LifecycleActionToken or InstanceId"):
            await cloud.do("RecordLifecycleActionHeartbeat", LifecycleHookName="h0")
        with pytest.raises(AwsError, match="must be CONTINUE or ABANDON"):
            await cloud.complete("i-1", "PERHAPS")


async def test_a_group_that_shrinks_owes_nothing_for_what_was_abandoned(directory: Path) -> None:
    async with clouded(directory) as cloud:
        (old,) = await cloud.states()
        await cloud.put()
        await cloud.put("drain", TERMINATING)
        await cloud.do("SetDesiredCapacity", DesiredCapacity=2)
        await cloud.turn()
        (new,) = set(await cloud.states()) - {old}
        await cloud.complete(new, "ABANDON")
        await cloud.turn()
        assert await cloud.states() == {old: "InService", new: "Terminating:Wait"}, "its end is hooked as well"
        await cloud.do("SetDesiredCapacity", DesiredCapacity=1)
        await cloud.turn()
        assert await cloud.states() == {old: "InService", new: "Terminating:Wait"}, "one goes anyway"
        await cloud.complete(new, hook="drain")
        await cloud.turn()
        await cloud.clock.advance(600)
        await cloud.turn()
        assert await cloud.states() == {old: "InService"} and (await cloud.group())["DesiredCapacity"] == 1


async def test_a_call_that_sets_the_capacity_pays_what_is_owed(directory: Path) -> None:
    async with clouded(directory, DesiredCapacity=0) as cloud:
        await cloud.put()
        await cloud.do("SetDesiredCapacity", DesiredCapacity=1)
        await cloud.turn()
        (first,) = await cloud.states()
        await cloud.complete(first, "ABANDON")
        await cloud.turn()
        assert await cloud.states() == {}
        await cloud.do("UpdateAutoScalingGroup", MaxSize=3)
        assert list((await cloud.states()).values()) == ["Pending"]
        await cloud.clock.advance(600)
        await cloud.turn()
        assert list((await cloud.states()).values()) == ["Pending:Wait"]


async def test_an_instance_that_is_attached_waits_and_one_from_standby_does_not(directory: Path) -> None:
    async with clouded(directory) as cloud:
        (old,) = await cloud.states()
        await cloud.put()
        named: dict[str, Any] = {"AutoScalingGroupName": "g", "InstanceIds": [old]}
        await cloud.ask("autoscaling", "EnterStandby", **named, ShouldDecrementDesiredCapacity=True)
        await cloud.turn()
        assert await cloud.states() == {old: "Standby"}
        await cloud.ask("autoscaling", "ExitStandby", **named)
        await cloud.turn()
        assert await cloud.states() == {old: "InService"}
        image = (await cloud.ask("ec2", "DescribeImages"))["Images"][0]["ImageId"]
        made = await cloud.ask("ec2", "RunInstances", ImageId=image, MinCount=1, MaxCount=1)
        other = made["Instances"][0]["InstanceId"]
        await cloud.ask("autoscaling", "AttachInstances", **named | {"InstanceIds": [other]})
        await cloud.turn()
        assert await cloud.states() == {old: "InService", other: "Pending:Wait"}


async def test_a_launch_is_given_up_and_replaced_however_often_the_process_is_killed(directory: Path) -> None:
    async with clouded(directory, DesiredCapacity=0) as cloud:
        at, came = 0, True
        while came:
            at += 1
            await cloud.ask("autoscaling", "DeleteAutoScalingGroup", AutoScalingGroupName="g", ForceDelete=True)
            cloud.restart(f"{at}.db")
            await cloud.do(
                "CreateAutoScalingGroup",
                LaunchConfigurationName="lc",
                AvailabilityZones=[REGION + "a"],
                MinSize=0,
                MaxSize=2,
            )
            await cloud.put(NotificationTargetARN=QUEUE + "hooks", RoleARN=ROLE)
            death = Death(cloud.database, at)

            async def tried(step: Callable[[], Awaitable[Any]]) -> None:
                """Once more after a restart, as a client would."""
                try:
                    await step()
                except Killed:
                    cloud.restart()
                    with suppress(AwsError):
                        await step()

            await tried(lambda: cloud.do("SetDesiredCapacity", DesiredCapacity=1))
            await tried(cloud.turn)
            ((first, state),) = (await cloud.states()).items()
            assert state == "Pending:Wait", at
            await tried(partial(cloud.complete, first, "ABANDON"))
            await tried(cloud.turn)
            assert await cloud.states() == {} and (await cloud.group())["DesiredCapacity"] == 1, at
            await cloud.clock.advance(5)
            await tried(cloud.turn)
            ((second, state),) = (await cloud.states()).items()
            assert second != first and state == "Pending:Wait", at
            await tried(partial(cloud.complete, second))
            await tried(cloud.turn)
            assert await cloud.states() == {second: "InService"}, at
            told = {e["EC2InstanceId"] for e in await cloud.received("hooks") if "EC2InstanceId" in e}
            assert told == {first, second}, at
            came = death.came
        assert at > 12

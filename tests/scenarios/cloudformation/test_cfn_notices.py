"""Events that are published to topics."""

from __future__ import annotations

import json
import re

from cfn_world import CALLER, World, parameter

TOPIC = "arn:aws:sns:us-east-1:000000000000:told"
ONE = {"Resources": {"A": parameter("x")}}


def published(world: World) -> list[tuple[str, str]]:
    found = []
    for each in world.fake.published:
        fields = dict(re.findall(r"^(\w+)='(.*)'$", each["Message"], re.MULTILINE))
        found.append((fields["LogicalResourceId"], fields["ResourceStatus"]))
    return found


async def test_every_event_is_published_once_and_in_order(world: World) -> None:
    world.fake.sns_CreateTopic({"Name": "told"}, CALLER)
    await world.create("web", ONE, NotificationARNs=[TOPIC])
    await world.clock.advance(1)
    events = [(name, status) for name, status, _ in await world.events("web")]
    assert published(world) == events
    first = world.fake.published[0]
    assert first["Subject"] == "AWS CloudFormation Notification" and first["TopicArn"] == TOPIC
    assert f"StackId='{(await world.stack('web'))['StackId']}'" in first["Message"]
    await world.restart()
    await world.clock.advance(1)
    assert len(world.fake.published) == len(events)
    await world.delete("web")
    await world.clock.advance(1)
    assert published(world)[-1] == ("web", "DELETE_COMPLETE")


async def test_events_that_were_not_published_before_a_crash_are_published_after_it(world: World) -> None:
    world.fake.sns_CreateTopic({"Name": "told"}, CALLER)
    await world.call("CreateStack", StackName="web", TemplateBody=json.dumps(ONE), NotificationARNs=[TOPIC])
    await world.restart()
    await world.settle("web")
    await world.clock.advance(1)
    assert published(world) == [(name, status) for name, status, _ in await world.events("web")]


async def test_a_topic_that_is_not_there_holds_nothing_up(world: World) -> None:
    assert await world.create("web", ONE, NotificationARNs=[TOPIC]) == "CREATE_COMPLETE"
    await world.clock.advance(1)
    assert world.fake.published == []


async def test_without_topics_nothing_is_published(world: World) -> None:
    await world.create("web", ONE)
    await world.clock.advance(1)
    assert world.fake.asked("sns", "Publish") == []

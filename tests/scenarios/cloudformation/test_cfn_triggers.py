"""Rollback triggers: alarms that turn an operation back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_templates import definition, service
from cfn_world import World, parameter

ARN = "arn:aws:cloudwatch:us-east-1:000000000000:alarm:errors"


def configured(minutes: int = 0, kind: str = "AWS::CloudWatch::Alarm", arn: str = ARN) -> dict[str, Any]:
    return {"RollbackTriggers": [{"Arn": arn, "Type": kind}], "MonitoringTimeInMinutes": minutes}


ONE = {"Resources": {"A": parameter("x")}}


def rolling(tag: str) -> dict[str, Any]:
    return {"Resources": {"Definition": definition(f"app:{tag}"), "Service": service()}}


async def test_a_quiet_alarm_changes_nothing(world: World) -> None:
    world.fake.alarms["errors"] = "OK"
    assert await world.create("web", ONE, RollbackConfiguration=configured()) == "CREATE_COMPLETE"
    assert (await world.stack("web"))["RollbackConfiguration"] == configured()


async def test_an_alarm_that_is_not_there_fails_the_operation(world: World) -> None:
    assert await world.create("web", ONE, RollbackConfiguration=configured()) == "ROLLBACK_COMPLETE"
    assert any(ARN in reason for _, status, reason in await world.events("web") if status.startswith("ROLLBACK"))
    assert world.fake.parameters == {}


async def test_an_alarm_during_an_update_turns_it_back(world: World) -> None:
    world.fake.alarms["errors"] = "OK"
    await world.create("web", rolling("1"), RollbackConfiguration=configured())
    world.fake.rollout_seconds = 600.0
    await world.call("UpdateStack", StackName="web", TemplateBody=json.dumps(rolling("2")))
    await world.clock.advance(60)
    assert world.status("web") == "UPDATE_IN_PROGRESS"
    world.fake.alarms["errors"] = "ALARM"
    await world.clock.advance(30)
    assert world.status("web") != "UPDATE_IN_PROGRESS"
    # Alarms are not watched on the way back.
    assert await world.settle("web") == "UPDATE_ROLLBACK_COMPLETE"
    (running,) = world.fake.services.values()
    assert running["taskDefinition"] == world.fake.definitions[0]["taskDefinitionArn"]


async def test_alarms_are_watched_for_a_while_after_the_last_resource(world: World) -> None:
    world.fake.alarms["errors"] = "OK"
    await world.call(
        "CreateStack", StackName="web", TemplateBody=json.dumps(ONE), RollbackConfiguration=configured(30)
    )
    await world.clock.advance(20 * 60)
    assert world.status("web") == "CREATE_IN_PROGRESS"
    assert (await world.resources("web"))["A"][0] == "CREATE_COMPLETE"
    await world.clock.advance(11 * 60)
    assert world.status("web") == "CREATE_COMPLETE"
    await world.call("UpdateStack", StackName="web", TemplateBody=json.dumps({"Resources": {"A": parameter("y")}}))
    await world.clock.advance(20 * 60)
    world.fake.alarms["errors"] = "ALARM"
    assert await world.settle("web") == "UPDATE_ROLLBACK_COMPLETE"
    assert [each["Value"] for each in world.fake.parameters.values()] == ["x"]


async def test_the_monitoring_time_goes_on_after_a_restart(world: World) -> None:
    world.fake.alarms["errors"] = "OK"
    begun = world.clock.now()
    await world.call(
        "CreateStack", StackName="web", TemplateBody=json.dumps(ONE), RollbackConfiguration=configured(30)
    )
    await world.clock.advance(20 * 60)
    await world.restart()
    assert await world.settle("web") == "CREATE_COMPLETE"
    assert 30 * 60 <= world.clock.now() - begun < 32 * 60


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (configured(kind="AWS::SNS::Topic"), "Rollback Trigger Type not supported"),
        (
            configured(arn="arn:aws:cloudwatch:us-east-1:000000000000:dashboard:x"),
            "RelativeId of a Rollback Trigger's ARN is incorrect",
        ),
        ({"RollbackTriggers": [configured()["RollbackTriggers"][0]] * 6}, "A maximum of 5 Rollback Triggers"),
        ({"MonitoringTimeInMinutes": 181}, "between 0 and 180"),
    ],
)
async def test_what_is_refused(world: World, configuration: dict[str, Any], message: str) -> None:
    refused = await world.refused(
        "CreateStack", StackName="web", TemplateBody=json.dumps(ONE), RollbackConfiguration=configuration
    )
    assert refused.code == "ValidationError" and message in refused.message

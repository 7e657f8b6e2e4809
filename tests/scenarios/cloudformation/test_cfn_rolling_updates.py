"""UpdatePolicy of Auto Scaling groups."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_world import World, parameter
from worlds.launching import Launching, group, launch

SIGNALS = {"Fn::Sub": "cfn-signal --stack ${AWS::StackName} --resource Group"}


def template(kind: str = "t3.small", size: int = 3, script: Any = "", **rolling: Any) -> dict[str, Any]:
    policy = {"AutoScalingRollingUpdate": {"MinInstancesInService": 3} | rolling}
    return {"Resources": {"Launch": launch(script, kind), "Group": group(size, 5, UpdatePolicy=policy)}}


async def reasons(world: World, name: str = "Group") -> list[str]:
    return [reason for each, _, reason in await world.events("web") if each == name and reason]


def kinds(groups: Launching) -> list[str]:
    (found,) = groups.groups.values()
    return [groups.configurations[each["LaunchConfigurationName"]]["InstanceType"] for each in found["Instances"]]


async def test_instances_are_replaced_in_batches(world: World) -> None:
    groups = Launching(world)
    await world.create("web", template())
    begun = world.clock.now()
    assert await world.update("web", template("t3.large")) == "UPDATE_COMPLETE"
    assert world.clock.now() - begun < 120
    assert await reasons(world) == [
        "Resource creation Initiated",
        "Rolling update initiated. Terminating 3 obsolete instance(s) in batches of 1, while keeping at least 3 "
        "instance(s) in service.",
        "Temporarily setting autoscaling group MinSize and DesiredCapacity to 4.",
        "Terminating instance(s) [i-0001]; replacing with 1 new instance(s).",
        "Successfully terminated instance(s) [i-0001] (Progress 33%).",
        "Terminating instance(s) [i-0002]; replacing with 1 new instance(s).",
        "Successfully terminated instance(s) [i-0002] (Progress 67%).",
        "Terminating instance(s) [i-0003]; replacing with 0 new instance(s).",
        "Successfully terminated instance(s) [i-0003] (Progress 100%).",
    ]
    assert kinds(groups) == ["t3.large"] * 3
    (found,) = groups.groups.values()
    assert (found["MinSize"], found["DesiredCapacity"], found["SuspendedProcesses"]) == (3, 3, [])
    assert list(groups.fewest.values()) == [3]


async def test_signals_are_waited_for_batch_by_batch(world: World) -> None:
    groups = Launching(world)
    settings = {"WaitOnResourceSignals": True, "PauseTime": "PT15M", "SuspendProcesses": ["AlarmNotification"]}
    await world.create("web", template(script=SIGNALS, **settings))
    body = json.dumps(template("t3.large", script=SIGNALS, **settings))
    await world.call("UpdateStack", StackName="web", TemplateBody=body)
    suspended = False
    for _ in range(400):
        if world.status("web") != "UPDATE_IN_PROGRESS":
            break
        await world.clock.advance(0.25)
        (found,) = groups.groups.values()
        suspended = suspended or found["SuspendedProcesses"] == [{"ProcessName": "AlarmNotification"}]
    assert await world.settle("web") == "UPDATE_COMPLETE"
    told = await reasons(world)
    assert told.count("Received SUCCESS signal with UniqueId i-0004") == 1
    assert (
        told.count(
            "New instance(s) added to autoscaling group - Waiting on 1 resource signal(s) with a timeout of PT15M."
        )
        == 3
    )
    assert suspended and found["SuspendedProcesses"] == []
    # Instances that are to go say nothing any more.
    assert len([each for each in told if each.startswith("Received SUCCESS signal")]) == 3
    assert kinds(groups) == ["t3.large"] * 3


async def test_new_instances_that_never_signal_fail_the_update(world: World) -> None:
    groups = Launching(world)
    settings = {"WaitOnResourceSignals": True, "PauseTime": "PT10M"}
    await world.create("web", template(script=SIGNALS, **settings))
    begun = world.clock.now()
    assert await world.update("web", template("t3.large", **settings)) == "UPDATE_ROLLBACK_COMPLETE"
    assert world.clock.now() - begun >= 600
    told = await reasons(world)
    assert (
        "Failed to receive 1 resource signal(s) for the current batch.  Each resource signal timeout is counted as "
        "a FAILURE." in told
    )
    assert (
        "Received 0 SUCCESS signal(s) out of 3.  Unable to satisfy 100% MinSuccessfulInstancesPercent requirement"
        in told
    )
    assert kinds(groups) == ["t3.small"] * 3
    (found,) = groups.groups.values()
    assert (found["MinSize"], found["DesiredCapacity"]) == (3, 3)
    assert list(groups.configurations) == [found["LaunchConfigurationName"]]


async def test_a_few_failures_may_be_allowed(world: World) -> None:
    groups = Launching(world)
    settings = {"WaitOnResourceSignals": True, "PauseTime": "PT1M", "MinSuccessfulInstancesPercent": 0}
    await world.create("web", template(**settings))
    assert await world.update("web", template("t3.large", **settings)) == "UPDATE_COMPLETE"
    assert kinds(groups) == ["t3.large"] * 3


async def test_a_pause_without_signals_is_only_waited_out(world: World) -> None:
    groups = Launching(world)
    await world.create("web", template(PauseTime="PT1M"))
    begun = world.clock.now()
    assert await world.update("web", template("t3.large", PauseTime="PT1M")) == "UPDATE_COMPLETE"
    assert 180 <= world.clock.now() - begun < 300
    assert kinds(groups) == ["t3.large"] * 3


async def test_other_changes_replace_no_instance(world: World) -> None:
    groups = Launching(world)
    await world.create("web", template())
    assert await world.update("web", template(size=4)) == "UPDATE_COMPLETE"
    assert groups.launched == 4


async def test_without_a_policy_instances_stay(world: World) -> None:
    groups = Launching(world)
    plain = template()
    del plain["Resources"]["Group"]["UpdatePolicy"]
    await world.create("web", plain)
    changed = template("t3.large")
    del changed["Resources"]["Group"]["UpdatePolicy"]
    assert await world.update("web", changed) == "UPDATE_COMPLETE"
    assert groups.launched == 3


async def test_a_cancelled_rolling_update_goes_back_with_the_size_it_began_with(world: World) -> None:
    groups = Launching(world)
    suspended = ["AlarmNotification"]
    settings = {"WaitOnResourceSignals": True, "PauseTime": "PT1H", "SuspendProcesses": suspended}
    await world.create("web", template(script=SIGNALS, **settings))
    await world.call("UpdateStack", StackName="web", TemplateBody=json.dumps(template("t3.large", **settings)))
    await world.clock.advance(60)
    await world.call("CancelUpdateStack", StackName="web")
    assert await world.settle("web") == "UPDATE_ROLLBACK_COMPLETE"
    assert kinds(groups) == ["t3.small"] * 3
    (found,) = groups.groups.values()
    assert (found["MinSize"], found["DesiredCapacity"], found["SuspendedProcesses"]) == (3, 3, [])


@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.0, 2.0, 3.0, 4.5, 6.0, 8.0])
async def test_a_rolling_update_goes_on_after_a_restart(world: World, seconds: float) -> None:
    groups = Launching(world)
    settings = {"WaitOnResourceSignals": True, "PauseTime": "PT15M"}
    await world.create("web", template(script=SIGNALS, **settings))
    body = json.dumps(template("t3.large", script=SIGNALS, **settings))
    await world.call("UpdateStack", StackName="web", TemplateBody=body)
    await world.clock.advance(seconds)
    await world.restart()
    assert await world.settle("web") == "UPDATE_COMPLETE"
    assert kinds(groups) == ["t3.large"] * 3
    assert groups.launched == 6
    told = await reasons(world)
    assert len([each for each in told if each.startswith("Terminating instance(s)")]) == 3


async def test_too_many_in_service_is_impossible(world: World) -> None:
    Launching(world)
    await world.create("web", template(MinInstancesInService=5))
    assert await world.update("web", template("t3.large", MinInstancesInService=5)) == "UPDATE_ROLLBACK_COMPLETE"
    assert "MinInstancesInService must be less than the autoscaling group's MaxSize" in await reasons(world)


async def test_a_group_may_be_replaced_as_a_whole(world: World) -> None:
    groups = Launching(world)

    def whole(kind: str) -> dict[str, Any]:
        made = template(kind, script=SIGNALS)
        made["Resources"]["Group"] |= {
            "UpdatePolicy": {"AutoScalingReplacingUpdate": {"WillReplace": True}},
            "CreationPolicy": {"ResourceSignal": {"Count": 3, "Timeout": "PT5M"}},
        }
        return made

    await world.create("web", whole("t3.small"))
    before = (await world.resources("web"))["Group"][1]
    assert await world.update("web", whole("t3.large")) == "UPDATE_COMPLETE"
    after = (await world.resources("web"))["Group"][1]
    assert before != after and list(groups.groups) == [after]
    assert kinds(groups) == ["t3.large"] * 3
    told = await reasons(world)
    assert "Received SUCCESS signal with UniqueId i-0004" in told
    # Without the signals the old group stays.
    silent = whole("t3.medium")
    silent["Resources"]["Launch"] = launch("", "t3.medium")
    assert await world.update("web", silent) == "UPDATE_ROLLBACK_COMPLETE"
    assert list(groups.groups) == [after] and kinds(groups) == ["t3.large"] * 3


@pytest.mark.parametrize(("keeps", "expected"), [(True, 4), (False, 2)])
async def test_sizes_that_the_template_did_not_change(world: World, keeps: bool, expected: int) -> None:
    groups = Launching(world)

    def scheduled(tag: str) -> dict[str, Any]:
        policy = {"AutoScalingScheduledAction": {"IgnoreUnmodifiedGroupSizeProperties": keeps}}
        made = group(2, 5, UpdatePolicy=policy, Properties={"DesiredCapacity": "2", "Cooldown": tag})
        return {"Resources": {"Launch": launch(""), "Group": made, "P": parameter(tag)}}

    await world.create("web", scheduled("10"))
    (name,) = groups.groups
    groups.groups[name] |= {"MinSize": 3, "DesiredCapacity": 4}
    assert await world.update("web", scheduled("20")) == "UPDATE_COMPLETE"
    assert groups.groups[name]["DesiredCapacity"] == expected

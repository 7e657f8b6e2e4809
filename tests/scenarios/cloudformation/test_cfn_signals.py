"""CreationPolicy, wait conditions, and the signals that the cloud sends for instances."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from cfn_world import World
from worlds.launching import Launching, group, launch

SIGNALS = {"Fn::Sub": "cfn-signal -e $? --stack ${AWS::StackName} --resource Group --region ${AWS::Region}"}
JOINS = {"Fn::Sub": "echo ECS_CLUSTER=web\ncfn-signal --stack ${AWS::StackId} --resource Group"}


def template(script: Any, count: int = 2, **policy: Any) -> dict[str, Any]:
    signal = {"ResourceSignal": {"Count": count, "Timeout": "PT10M"} | policy.pop("Signal", {})}
    return {"Resources": {"Launch": launch(script), "Group": group(2, CreationPolicy=signal | policy)}}


async def test_instances_in_service_signal_what_their_user_data_says(world: World) -> None:
    groups = Launching(world, boot_seconds=20.0)
    begun = world.clock.now()
    assert await world.create("web", template(SIGNALS)) == "CREATE_COMPLETE"
    assert world.clock.now() - begun >= 20
    events = await world.events("web")
    mine = [(status, reason) for name, status, reason in events if name == "Group"]
    assert mine == [
        ("CREATE_IN_PROGRESS", ""),
        ("CREATE_IN_PROGRESS", "Resource creation Initiated"),
        ("CREATE_IN_PROGRESS", "Received SUCCESS signal with UniqueId i-0001"),
        ("CREATE_IN_PROGRESS", "Received SUCCESS signal with UniqueId i-0002"),
        ("CREATE_COMPLETE", ""),
    ]
    assert groups.launched == 2


async def test_without_a_signal_in_the_user_data_the_wait_ends_as_on_aws(world: World) -> None:
    Launching(world)
    begun = world.clock.now()
    assert await world.create("web", template("echo hello", 3)) == "ROLLBACK_COMPLETE"
    assert 600 <= world.clock.now() - begun < 700
    events = await world.events("web")
    late = (
        "Failed to receive 3 resource signal(s) for the current batch.  Each resource signal timeout is counted as "
        "a FAILURE."
    )
    assert ("Group", "UPDATE_IN_PROGRESS", late) in events
    short = (
        "Received 0 SUCCESS signal(s) out of 3.  Unable to satisfy 100% MinSuccessfulInstancesPercent requirement"
    )
    assert ("Group", "CREATE_FAILED", short) in events


async def test_an_instance_signals_only_once_it_is_registered_with_its_cluster(world: World) -> None:
    groups = Launching(world, registers=False)
    await world.call("CreateStack", StackName="web", TemplateBody=json.dumps(template(JOINS)))
    await world.clock.advance(120)
    assert world.status("web") == "CREATE_IN_PROGRESS"
    groups.registers = True
    assert await world.settle("web") == "CREATE_COMPLETE"


@pytest.mark.parametrize(
    "script",
    ["cfn-signal --stack other --resource Group", "cfn-signal --stack web --resource Other",
     "cfn-signal --stack web --resource Group --region eu-west-1"],
)  # fmt: skip
async def test_signals_for_others_do_not_count(world: World, script: str) -> None:
    Launching(world)
    assert await world.create("web", template(script)) == "ROLLBACK_COMPLETE"


async def test_user_data_that_reports_failure_fails_the_group(world: World) -> None:
    Launching(world)
    assert await world.create("web", template("cfn-signal -e 1 --stack web --resource Group")) == (
        "ROLLBACK_COMPLETE"
    )
    reasons = [reason for name, status, reason in await world.events("web") if status == "CREATE_FAILED"]
    assert reasons == [
        "Received 1 FAILURE signal(s) out of 2.  Unable to satisfy 100% MinSuccessfulInstancesPercent requirement"
    ] or reasons == [
        "Received 2 FAILURE signal(s) out of 2.  Unable to satisfy 100% MinSuccessfulInstancesPercent requirement"
    ]


async def test_some_instances_may_fail(world: World) -> None:
    Launching(world)
    percent = {"AutoScalingCreationPolicy": {"MinSuccessfulInstancesPercent": 50}}
    await world.call("CreateStack", StackName="web", TemplateBody=json.dumps(template("", 2, **percent)))
    await world.clock.advance(10)
    for name, status in (("one", "FAILURE"), ("two", "SUCCESS")):
        await signal(world, name, status)
    assert await world.settle("web") == "CREATE_COMPLETE"


async def signal(world: World, unique_id: str, status: str = "SUCCESS", resource: str = "Group") -> None:
    await world.call(
        "SignalResource", StackName="web", LogicalResourceId=resource, UniqueId=unique_id, Status=status
    )


async def test_signals_survive_a_restart(world: World) -> None:
    Launching(world)
    await world.call("CreateStack", StackName="web", TemplateBody=json.dumps(template("")))
    await world.clock.advance(10)
    await signal(world, "one")
    await world.restart()
    await world.clock.advance(30)
    assert world.status("web") == "CREATE_IN_PROGRESS"
    await signal(world, "two")
    assert await world.settle("web") == "CREATE_COMPLETE"


async def test_a_signal_is_looked_at_soon(world: World) -> None:
    Launching(world)
    await world.call("CreateStack", StackName="web", TemplateBody=json.dumps(template("", 1)))
    await world.clock.advance(300)
    await signal(world, "one")
    await world.clock.advance(0.5)
    assert world.status("web") == "CREATE_COMPLETE"


async def test_what_signal_resource_refuses(world: World) -> None:
    Launching(world)
    refused = await refuse(world)
    assert refused == "Stack [web] does not exist"
    await world.call("CreateStack", StackName="web", TemplateBody=json.dumps(template("")))
    await world.clock.advance(10)
    assert await refuse(world, resource="Other") == "Resource Other does not exist for stack web"
    assert "Launch is in CREATE_COMPLETE state" in await refuse(world, resource="Launch")
    await signal(world, "one")
    assert await refuse(world) == (
        "Signal with ID one for resource Group already exists. Signals may only be updated with a FAILURE status."
    )
    await signal(world, "one", "FAILURE")
    assert await world.settle("web") == "ROLLBACK_COMPLETE"
    assert "is in ROLLBACK_COMPLETE state and can not be signaled." in await refuse(world)


async def refuse(world: World, resource: str = "Group") -> str:
    params = {"StackName": "web", "LogicalResourceId": resource, "UniqueId": "one", "Status": "SUCCESS"}
    return (await world.refused("SignalResource", **params)).message


# Wait conditions


def waiting(count: int = 1, timeout: int = 600, **more: Any) -> dict[str, Any]:
    properties = {"Handle": {"Ref": "Handle"}, "Count": count, "Timeout": str(timeout)}
    return {
        "Resources": {
            "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
            "Wait": {"Type": "AWS::CloudFormation::WaitCondition", "Properties": properties},
            "After": {"Type": "AWS::SSM::Parameter", "DependsOn": "Wait",
                      "Properties": {"Type": "String", "Value": {"Fn::GetAtt": ["Wait", "Data"]}}},
        }
        | more,
        "Outputs": {"Url": {"Value": {"Ref": "Handle"}}},
    }  # fmt: skip


async def put(world: World, url: str, body: bytes, method: str = "PUT") -> int:
    answered: list[dict[str, Any]] = []
    parts = urlsplit(url)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        answered.append(message)

    from urllib.parse import unquote

    connection = {
        "type": "http",
        "method": method,
        "path": unquote(parts.path),
        "query_string": parts.query.encode(),
        "headers": [],
    }
    await world.api.page(connection, receive, send)
    return int(answered[0]["status"])


def message(unique_id: str, status: str = "SUCCESS", **more: str) -> bytes:
    return json.dumps({"Status": status, "UniqueId": unique_id, "Reason": "done", "Data": "d"} | more).encode()


async def begun(world: World, template: dict[str, Any]) -> str:
    await world.call("CreateStack", StackName="web", TemplateBody=json.dumps(template))
    await world.clock.advance(5)
    return (await world.resources("web"))["Handle"][1]


async def test_a_wait_condition_takes_messages_at_its_handles_url(world: World) -> None:
    url = await begun(world, waiting(2))
    assert url.startswith("http://127.0.0.1:4566/")
    assert await put(world, url, message("a", Data="one")) == 200
    assert await put(world, url, message("a", Data="one")) == 200
    await world.clock.advance(60)
    assert world.status("web") == "CREATE_IN_PROGRESS"
    await world.restart()
    assert await put(world, url, message("b", Data="two")) == 200
    assert await world.settle("web") == "CREATE_COMPLETE"
    (stored,) = world.fake.parameters.values()
    assert json.loads(stored["Value"]) == {"a": "one", "b": "two"}
    stack_id = (await world.stack("web"))["StackId"]
    assert (await world.resources("web"))["Wait"][1] == f"{stack_id}/Handle"


async def test_a_wait_condition_that_nobody_answers(world: World) -> None:
    began = world.clock.now()
    assert await world.create("web", waiting()) == "ROLLBACK_COMPLETE"
    assert 600 <= world.clock.now() - began < 700
    reason = "WaitCondition timed out. Received 0 conditions when expecting 1"
    assert ("Wait", "CREATE_FAILED", reason) in await world.events("web")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (message("a", "FAILURE"), "WaitCondition received failed message: 'done' for uniqueId: a"),
        (b"nothing", "Unparsable WaitCondition data"),
        (message("a", Data="x" * 5000), "WaitCondition data limit exceeded"),
    ],
)
async def test_messages_that_fail_a_wait_condition(world: World, body: bytes, reason: str) -> None:
    url = await begun(world, waiting())
    assert await put(world, url, body) == 200
    assert await world.settle("web") == "ROLLBACK_COMPLETE"
    assert ("Wait", "CREATE_FAILED", reason) in await world.events("web")


async def test_a_url_that_is_not_the_handles_is_refused(world: World) -> None:
    url = await begun(world, waiting())
    assert await put(world, url[:-1], message("a")) == 403
    assert await put(world, url.replace("/Handle", "/Other"), message("a")) == 403
    assert await put(world, url, message("a"), method="GET") == 405
    await world.call("DeleteStack", StackName="web")
    await world.settle("web")
    assert await put(world, url, message("a")) == 403


async def test_instances_answer_a_handle_that_their_user_data_names(world: World) -> None:
    Launching(world)
    script = {"Fn::Sub": "cfn-signal -e 0 '${Handle}'"}
    template = waiting(2, Launch=launch(script), Group=group(2))
    assert await world.create("web", template) == "CREATE_COMPLETE"


async def test_a_wait_condition_may_be_signalled_directly(world: World) -> None:
    resources = {
        "Wait": {
            "Type": "AWS::CloudFormation::WaitCondition",
            "CreationPolicy": {"ResourceSignal": {"Count": "1", "Timeout": "PT15M"}},
        }
    }
    await world.call("CreateStack", StackName="web", TemplateBody=json.dumps({"Resources": resources}))
    await world.clock.advance(5)
    await signal(world, "one", resource="Wait")
    assert await world.settle("web") == "CREATE_COMPLETE"
    await world.delete("web")
    await world.call("CreateStack", StackName="web", TemplateBody=json.dumps({"Resources": resources}))
    assert await world.settle("web") == "ROLLBACK_COMPLETE"
    reason = "Failed to receive 1 resource signal(s) within the specified duration"
    assert ("Wait", "CREATE_FAILED", reason) in await world.events("web")


async def test_a_creation_policy_where_none_is_possible_is_refused(world: World) -> None:
    bad = {"A": {"Type": "AWS::SNS::Topic", "CreationPolicy": {"ResourceSignal": {}}}}
    refused = await world.refused("CreateStack", StackName="web", TemplateBody=json.dumps({"Resources": bad}))
    assert "CreationPolicy" in refused.message


async def test_a_creation_policy_that_is_not_well_formed_fails_its_resource(world: World) -> None:
    Launching(world)
    assert await world.create("web", template("", Signal={"Timeout": "PT99H"})) == "ROLLBACK_COMPLETE"
    assert any("PT99H" in reason for _, _, reason in await world.events("web"))


async def test_express_mode_waits_for_messages_but_not_for_signals(world: World) -> None:
    Launching(world, boot_seconds=1.0)
    express = {"DeploymentConfig": {"Mode": "EXPRESS"}}
    begin = world.clock.now()
    assert await world.create("web", template(""), **express) == "CREATE_COMPLETE"
    assert world.clock.now() - begin < 60
    await world.delete("web")
    await world.call("CreateStack", StackName="web", TemplateBody=json.dumps(waiting()), **express)
    await world.clock.advance(60)
    assert world.status("web") == "CREATE_IN_PROGRESS"
    assert await put(world, (await world.resources("web"))["Handle"][1], message("a")) == 200
    assert await world.settle("web") == "CREATE_COMPLETE"

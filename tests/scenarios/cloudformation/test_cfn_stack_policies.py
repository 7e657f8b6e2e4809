"""Stack policies on running stacks."""

from __future__ import annotations

import json
from typing import Any

from cfn_templates import topic
from cfn_world import World, parameter

ALLOW = {"Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*"}


def policy(action: str, resource: str = "Data") -> str:
    deny = {"Effect": "Deny", "Action": action, "Principal": "*", "Resource": f"LogicalResourceId/{resource}"}
    return json.dumps({"Statement": [ALLOW, deny]})


def template(value: str = "1", **more: Any) -> dict[str, Any]:
    data = parameter(value, Properties={"Name": "data"})
    return {"Resources": {"Data": data, "Other": topic(DisplayName=value)} | more}


async def test_a_denied_change_fails_its_resource_and_rolls_back(world: World) -> None:
    await world.create("web", template(), StackPolicyBody=policy("Update:Modify"))
    assert await world.update("web", template("2")) == "UPDATE_ROLLBACK_COMPLETE"
    reason = (
        "Action denied by stack policy: Statement [#2] does not allow [Update:Modify] for resource "
        "[LogicalResourceId/Data];"
    )
    assert ("Data", "UPDATE_FAILED", reason) in await world.events("web")
    assert world.fake.parameters["data"]["Value"] == "1"
    assert [each["DisplayName"] for each in world.fake.topics.values()] == ["1"]
    assert len(world.fake.asked("ssm", "PutParameter")) == 1


async def test_a_denied_removal_keeps_the_resource(world: World) -> None:
    await world.create("web", template(), StackPolicyBody=policy("Update:Delete"))
    without = template("1", Third=parameter("x"))
    del without["Resources"]["Data"]
    assert await world.update("web", without) == "UPDATE_ROLLBACK_COMPLETE"
    assert (await world.resources("web"))["Data"] == ("UPDATE_COMPLETE", "data")
    assert list(world.fake.parameters) == ["data"]
    assert await world.update("web", template("2")) == "UPDATE_COMPLETE"


async def test_one_update_may_override_the_policy(world: World) -> None:
    await world.create("web", template(), StackPolicyBody=policy("Update:*"))
    everything = json.dumps({"Statement": [ALLOW]})
    found = await world.update("web", template("2"), StackPolicyDuringUpdateBody=everything)
    assert found == "UPDATE_COMPLETE"
    assert (await world.call("GetStackPolicy", StackName="web"))["StackPolicyBody"] == policy("Update:*")
    assert await world.update("web", template("3")) == "UPDATE_ROLLBACK_COMPLETE"


async def test_what_no_statement_allows_is_denied(world: World) -> None:
    await world.create("web", template())
    assert await world.call("GetStackPolicy", StackName="web") == {"StackPolicyBody": None}
    only = json.dumps({"Statement": [ALLOW | {"Resource": "LogicalResourceId/Other"}]})
    await world.call("SetStackPolicy", StackName="web", StackPolicyBody=only)
    assert await world.update("web", template("2")) == "UPDATE_ROLLBACK_COMPLETE"
    assert any(
        name == "Data" and reason.startswith("Action not allowed by stack policy")
        for name, _, reason in await world.events("web")
    )


async def test_a_policy_says_nothing_to_creation_and_deletion(world: World) -> None:
    await world.create("web", template(), StackPolicyBody=policy("Update:*", "*"))
    assert await world.update("web", template("1", Third=parameter("x"))) == "UPDATE_COMPLETE"
    assert await world.delete("web") == "DELETE_COMPLETE"


async def test_metadata_is_a_modification_too(world: World) -> None:
    await world.create("web", template(), StackPolicyBody=policy("Update:Modify"))
    changed = template()
    changed["Resources"]["Data"]["Metadata"] = {"a": "b"}
    assert await world.update("web", changed) == "UPDATE_ROLLBACK_COMPLETE"


async def test_what_the_calls_refuse(world: World) -> None:
    await world.create("web", template())
    refused = await world.refused("SetStackPolicy", StackName="web", StackPolicyBody='{"Statement": []}')
    assert refused.message == "Error validating stack policy: Invalid stack policy"
    refused = await world.refused("SetStackPolicy", StackName="web", StackPolicyBody="{}", StackPolicyURL="u")
    assert refused.message == "You cannot specify both StackPolicyURL and StackPolicyBody"
    refused = await world.refused("SetStackPolicy", StackName="other", StackPolicyBody=policy("*"))
    assert refused.message == "Stack [other] does not exist"
    body = json.dumps(template("2"))
    refused = await world.refused("UpdateStack", StackName="web", TemplateBody=body, StackPolicyBody="x")
    assert refused.message == "Error validating stack policy: Invalid stack policy"


async def test_an_empty_policy_takes_the_policy_away(world: World) -> None:
    await world.create("web", template())
    await world.call("SetStackPolicy", StackName="web", StackPolicyBody=policy("Update:*"))
    await world.call("SetStackPolicy", StackName="web", StackPolicyBody="{}")
    assert (await world.call("GetStackPolicy", StackName="web"))["StackPolicyBody"] == "{}"
    await world.call("UpdateStack", StackName="web", TemplateBody=json.dumps(template("2")))
    assert await world.settle("web") == "UPDATE_COMPLETE"


async def test_a_policy_set_while_an_update_runs_stays(world: World) -> None:
    from cfn_templates import definition, service

    def with_service(tag: str) -> dict[str, Any]:
        return {"Resources": {"Definition": definition(f"app:{tag}"), "Service": service()}}

    await world.create("web", with_service("1"))
    await world.call("UpdateStack", StackName="web", TemplateBody=json.dumps(with_service("2")))
    await world.clock.advance(0.5)
    await world.call("SetStackPolicy", StackName="web", StackPolicyBody=policy("Update:*"))
    assert await world.settle("web") == "UPDATE_COMPLETE"
    assert (await world.call("GetStackPolicy", StackName="web"))["StackPolicyBody"] == policy("Update:*")

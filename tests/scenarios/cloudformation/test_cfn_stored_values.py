"""Dynamic references to the parameter store: looked up when an operation begins, and anew by each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cfn_world import World, body, parameter


def keep(world: World, name: str, value: str, kind: str = "String") -> None:
    world.fake.parameters[name] = {"Name": name, "Type": kind, "Value": value}
    known = world.fake.versions.setdefault(name, {})
    known[str(len(known) + 1)] = value


def topic(text: str, **more: Any) -> dict[str, Any]:
    return {"Resources": {"A": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": text}}}} | more


def shown(world: World) -> str:
    return str(next(iter(world.fake.topics.values()))["DisplayName"])


async def reasons(world: World, name: str = "web") -> list[str]:
    return [reason for _, _, reason in await world.events(name)]


async def test_an_update_takes_what_the_store_holds_by_then(world: World) -> None:
    keep(world, "/greeting", "one")
    template = topic("a {{resolve:ssm:/greeting}}")
    assert await world.create("web", template) == "CREATE_COMPLETE"
    assert shown(world) == "a one"
    refused = await world.refused("UpdateStack", StackName="web", UsePreviousTemplate=True)
    assert refused.message == "No updates are to be performed."
    keep(world, "/greeting", "two")
    assert await world.update("web", template) == "UPDATE_COMPLETE"
    assert shown(world) == "a two"
    events = await world.events("web")
    assert ("A", "UPDATE_COMPLETE", "") in events


async def test_a_version_stays_what_it_is(world: World) -> None:
    keep(world, "/greeting", "one")
    keep(world, "/greeting", "two")
    template = topic("{{resolve:ssm:/greeting:1}}")
    assert await world.create("web", template) == "CREATE_COMPLETE"
    assert shown(world) == "one"
    refused = await world.refused("UpdateStack", StackName="web", TemplateBody=body(template))
    assert refused.message == "No updates are to be performed."
    refused = await world.refused(
        "UpdateStack", StackName="web", TemplateBody=body(topic("{{resolve:ssm:/greeting:9}}"))
    )
    assert refused.message == "Parameters: [ssm:/greeting:9] cannot be found."


async def test_a_change_set_keeps_what_it_found(world: World) -> None:
    keep(world, "/greeting", "one")
    template = topic("{{resolve:ssm:/greeting}}")
    await world.create("web", template)
    keep(world, "/greeting", "two")
    await world.call("CreateChangeSet", StackName="web", ChangeSetName="c", UsePreviousTemplate=True)
    found = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c", IncludePropertyValues=True)
    ((detail,),) = [each["ResourceChange"]["Details"] for each in found["Changes"]]
    assert (detail["Target"]["BeforeValue"], detail["Target"]["AfterValue"]) == ("one", "two")
    keep(world, "/greeting", "three")
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    assert await world.settle("web") == "UPDATE_COMPLETE"
    assert shown(world) == "two"


async def test_a_rollback_goes_back_to_what_the_store_held(world: World) -> None:
    keep(world, "/greeting", "one")
    await world.create("web", topic("{{resolve:ssm:/greeting}}"))
    keep(world, "/greeting", "two")
    broken = topic("{{resolve:ssm:/greeting}}")
    broken["Resources"]["B"] = {"Type": "AWS::SSM::Parameter", "DependsOn": "A"}
    assert await world.update("web", broken) == "UPDATE_ROLLBACK_COMPLETE"
    assert shown(world) == "one"


async def test_another_process_goes_on_with_what_was_found(world: World) -> None:
    keep(world, "/greeting", "one")
    await world.call("CreateStack", StackName="web", TemplateBody=body(topic("{{resolve:ssm:/greeting}}")))
    keep(world, "/greeting", "two")
    await world.restart()
    assert await world.settle("web") == "CREATE_COMPLETE"
    assert shown(world) == "one"


async def test_a_stack_cannot_refer_to_what_it_makes_itself(world: World) -> None:
    template = topic("{{resolve:ssm:/mine}}")
    template["Resources"]["A"]["DependsOn"] = "P"
    template["Resources"]["P"] = parameter("x", Properties={"Name": "/mine"})
    refused = await world.refused("CreateStack", StackName="web", TemplateBody=body(template))
    assert refused.message == "Parameters: [ssm:/mine] cannot be found."


async def test_a_reference_made_of_an_attribute_is_looked_up_when_its_turn_comes(world: World) -> None:
    template = topic({"Fn::Sub": "{{resolve:ssm:${P}}}"})  # type: ignore[arg-type]
    template["Resources"]["P"] = parameter("x")
    assert await world.create("web", template) == "CREATE_COMPLETE"
    assert shown(world) == "x"


@pytest.mark.parametrize("form", ["ssm:/greeting:prod", "ssm:", "ssm:a b", "ssm-secure:/secret:prod"])
async def test_what_cannot_be_a_reference_is_refused(world: World, form: str) -> None:
    template = topic(f"{{{{resolve:{form}}}}}")
    if "secure" in form:
        user = {"Type": "AWS::IAM::User", "Properties": {"LoginProfile": {"Password": f"{{{{resolve:{form}}}}}"}}}
        template["Resources"] = {"A": user}
    refused = await world.refused(
        "CreateStack", StackName="web", TemplateBody=body(template), Capabilities=["CAPABILITY_IAM"]
    )
    assert refused.message == f"Incorrect format is used in the following SSM reference: [{{{{resolve:{form}}}}}]"


async def test_secrets_of_the_store(world: World) -> None:
    keep(world, "/secret", "x", "SecureString")
    refused = await world.refused(
        "CreateStack", StackName="web", TemplateBody=body(topic("{{resolve:ssm:/secret:1}}"))
    )
    assert refused.message == "Non-secure ssm prefix was used for secure parameter /secret"
    misplaced = "SSM Secure reference is not supported in: [AWS::SNS::Topic/Properties/DisplayName]"
    refused = await world.refused(
        "CreateStack", StackName="web", TemplateBody=body(topic("{{resolve:ssm-secure:/secret:1}}"))
    )
    assert refused.message == misplaced
    assert await world.create("web", topic("{{resolve:ssm-secure:/secret}}")) == "ROLLBACK_COMPLETE"
    assert f"{misplaced}. Rollback requested by user." in await reasons(world)


async def test_defaults_name_their_versions(world: World) -> None:
    keep(world, "/greeting", "one")
    more: dict[str, Any] = {
        "Parameters": {"P": {"Type": "String", "Default": "{{resolve:ssm:/greeting}}"}},
        "Outputs": {"O": {"Value": {"Ref": "P"}}},
    }
    template = topic({"Ref": "P"}, **more)  # type: ignore[arg-type]
    refused = await world.refused("CreateStack", StackName="web", TemplateBody=body(template))
    assert refused.message == "Template error: parameter P should not contain ssm versionless resolver"
    more["Parameters"]["P"]["Default"] = "{{resolve:ssm:/greeting:1}}"
    assert await world.create("web", json.loads(body(template))) == "CREATE_COMPLETE"
    assert (await world.stack("web"))["Outputs"][0]["OutputValue"] == "one"
    assert shown(world) == "one"

"""For random pairs of hierarchies: the execution does in each stack what its change set showed, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from cfn_templates import topic
from cfn_world import World, parameter

EXAMPLES = 2_000 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 100
URL = "https://bucket.s3.amazonaws.com/{}.json"
WORDS = st.sampled_from(["one", "two"])
Draw = Callable[..., Any]
Templates = dict[str, dict[str, Any]]


@st.composite
def leaves(draw: Draw, inside: str = "") -> dict[str, Any]:
    """A template with the parameter V and the output Out. `inside` is the template of a stack in it."""
    resources: dict[str, Any] = {}
    forms: list[Any] = [{"Ref": "V"}, {"Fn::If": ["One", "1", "2"]}, "fixed", "other"]
    if inside and draw(st.booleans()):
        given = draw(st.sampled_from(forms))
        resources["Deep"] = nested(inside, given)
        forms.append({"Fn::GetAtt": ["Deep", "Outputs.Out"]})
    for name in sorted(draw(st.sets(st.sampled_from("AB"), min_size=1))):
        made = parameter(draw(st.sampled_from(forms)))
        if draw(st.booleans()):
            made["Condition"] = "One"
        resources[name] = made
        if "Condition" not in made:
            forms.append({"Fn::GetAtt": [name, "Value"]})
    resources["T"] = topic(DisplayName=draw(st.sampled_from(["one", "two"])))
    return {
        "Parameters": {"V": {"Type": "String", "Default": draw(WORDS)}},
        "Conditions": {"One": {"Fn::Equals": [{"Ref": "V"}, "one"]}},
        "Resources": resources,
        "Outputs": {"Out": {"Value": draw(st.sampled_from(forms))}},
    }


def nested(name: str, value: Any = None) -> dict[str, Any]:
    given = {} if value is None else {"Parameters": {"V": value}}
    return {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": URL.format(name)} | given}


@st.composite
def hierarchies(draw: Draw) -> Templates:
    """The templates of a root, of two that stacks inside may have, and of one for a stack inside those."""
    resources: dict[str, Any] = {}
    forms: list[Any] = [None, "one", "two"]
    for name in sorted(draw(st.sets(st.sampled_from(["X", "Y"]), min_size=1))):
        resources[name] = nested(name.lower(), draw(st.sampled_from(forms)))
        forms.append({"Fn::GetAtt": [name, "Outputs.Out"]})
        resources[f"P{name}"] = parameter({"Fn::GetAtt": [name, "Outputs.Out"]})
    return {
        "root": {"Resources": resources},
        "x": draw(leaves("z")),
        "y": draw(leaves("z")),
        "z": draw(leaves()),
    }


def store(world: World, made: Templates) -> None:
    for name, template in made.items():
        world.fake.objects[f"bucket/{name}.json"] = json.dumps(template)


async def shown(world: World, arn: str, found: dict[str, dict[str, Any]]) -> None:
    """The changes of a change set and of those in it, by stack."""
    made = await world.call("DescribeChangeSet", ChangeSetName=arn, IncludePropertyValues=True)
    changes = [each["ResourceChange"] for each in made["Changes"]]
    found[made["StackId"]] = {each["LogicalResourceId"]: each for each in changes}
    for each in changes:
        if each.get("ChangeSetId"):
            await shown(world, each["ChangeSetId"], found)


def done(events: list[tuple[str, str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, status, _ in events:
        if status.startswith(("CREATE", "UPDATE")):
            found[name] = "Add" if status.startswith("CREATE") else "Modify"
        elif name not in found:
            found[name] = "Remove"
    return found


def perhaps(change: dict[str, Any]) -> bool:
    """It only comes if a value that is not known yet turns out to be another one than before."""
    return change["Action"] == "Modify" and all(
        detail["Evaluation"] == "Dynamic" or "KNOWN_AFTER_APPLY" in detail["Target"].get("AfterValue", "")
        for detail in change["Details"]
    )


def conditional(made: Templates) -> bool:
    """A condition hangs on what is not known when the change set is made: it goes by what is now."""

    def passed(template: dict[str, Any]) -> bool:
        given = [each["Properties"].get("Parameters") for each in template["Resources"].values()]
        return any(each is not None and not isinstance(each["V"], str) for each in given)

    return any(passed(each) for each in made.values()) and any(
        "Condition" in json.dumps(each["Resources"]) or "Fn::If" in json.dumps(each) for each in made.values()
    )


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(hierarchies(), hierarchies())
def test_the_execution_of_a_hierarchy_is_what_it_showed(before: Templates, after: Templates) -> None:
    async def story() -> None:
        async with World().running() as world:
            store(world, before)
            assert await world.create("web", before["root"]) == "CREATE_COMPLETE"
            store(world, after)
            body = json.dumps(after["root"])
            made = await world.call(
                "CreateChangeSet",
                StackName="web",
                ChangeSetName="c",
                TemplateBody=body,
                IncludeNestedStacks=True,
            )
            root = await world.call("DescribeChangeSet", ChangeSetName=made["Id"])
            if root["Status"] == "FAILED":
                assert root["StatusReason"].startswith("The submitted information didn't contain changes")
                event("nothing changes")
                return
            changes: dict[str, dict[str, Any]] = {}
            await shown(world, made["Id"], changes)
            known = {stack: len(await world.events(stack)) for stack in changes}
            # What lies behind the addresses by then does not matter.
            store(world, {name: {"Resources": {"Wrong": parameter("wrong")}} for name in "xyz"})
            await world.call("ExecuteChangeSet", ChangeSetName=made["Id"])
            assert await world.settle("web") == "UPDATE_COMPLETE"
            await world.until(
                lambda: not world.database.read("SELECT 1 FROM cfn_stack WHERE status LIKE '%_IN_PROGRESS'")
            )
            if conditional(after):
                event("a guess")
                return
            event("compared")
            for stack, wanted in changes.items():
                happened = done((await world.events(stack))[known[stack] :])
                happened.pop(stack.split("/")[1], None)
                assert happened.keys() <= wanted.keys(), (stack, happened, wanted)
                assert all(perhaps(wanted[name]) for name in wanted.keys() - happened.keys()), (happened, wanted)
                assert {name: wanted[name]["Action"] for name in happened} == happened

    asyncio.run(story())

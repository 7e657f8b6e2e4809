"""For random pairs of templates: the execution does to each resource what the change set showed, and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from cfn_templates import definition, service, topic
from cfn_world import World, parameter

EXAMPLES = 5_000 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 200
NAMES = "ABCDE"
WORDS = st.sampled_from(["one", "two", "three"])
Draw = Callable[..., Any]


@st.composite
def templates(draw: Draw) -> dict[str, Any]:
    """Each name always has one type, so that any template may follow any other."""
    resources: dict[str, Any] = {}

    def text(*attributes: str) -> Any:
        forms: list[Any] = [draw(WORDS), {"Ref": "P"}, {"Fn::Sub": "${P}-x"}, {"Fn::If": ["One", "1", "2"]}]
        for name in resources:
            forms += [{"Ref": name}, {"Fn::Sub": "${" + name + "}"}]
        if "A" in resources:
            forms += [{"Fn::GetAtt": ["A", each]} for each in ("TopicArn", "TopicName", "DisplayName")]
        if "B" in resources:
            forms.append({"Fn::GetAtt": ["B", "Value"]})
        return draw(st.sampled_from(forms))

    for name in sorted(draw(st.sets(st.sampled_from(NAMES), min_size=1))):
        match name:
            case "A":
                tags = draw(st.sampled_from([{}, {"Tags": [{"Key": "k", "Value": draw(WORDS)}]}]))
                named = draw(st.sampled_from([{}, {"TopicName": draw(WORDS)}]))
                made = topic(DisplayName=draw(WORDS), **named, **tags)
            case "B" | "C":
                made = parameter(text())
            case "D":
                made = definition(text())
            case _:
                if "D" not in resources:
                    continue
                made = service(TaskDefinition={"Ref": "D"}, DesiredCount=draw(st.integers(0, 2)))
        made |= draw(st.sampled_from([{}, {}, {"Metadata": {"m": draw(WORDS)}}, {"DeletionPolicy": "Retain"}]))
        resources[name] = made
    if not resources:
        resources["A"] = topic(DisplayName="one")
    return {
        "Parameters": {"P": {"Type": "String", "Default": draw(WORDS)}},
        "Conditions": {"One": {"Fn::Equals": [{"Ref": "P"}, "one"]}},
        "Resources": resources,
    }


# Taken over without touching the resource.
SILENT = {"DeletionPolicy", "UpdateReplacePolicy"}


def shown(changes: list[dict[str, Any]]) -> dict[str, str]:
    found = {}
    for each in changes:
        change = each["ResourceChange"]
        if not set(change["Scope"]) - SILENT and change["Action"] == "Modify":
            continue
        replaced = change.get("Replacement")
        found[change["LogicalResourceId"]] = (
            change["Action"] if replaced in (None, "False") else f"Replace {replaced}"
        )
    return found


def done(events: list[tuple[str, str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, status, reason in events:
        if status.startswith("CREATE"):
            found[name] = "Add"
        elif status.startswith("UPDATE"):
            replaced = reason.startswith("Requested update requires") or found.get(name) == "Replace True"
            found[name] = "Replace True" if replaced else "Modify"
        elif name not in found:
            found[name] = "Remove"
    del found["web"]
    return found


def foreseen_in_vain(changes: list[dict[str, Any]]) -> set[str]:
    """What only changes if a value that is not known yet turns out to be another one than before."""
    return {
        each["ResourceChange"]["LogicalResourceId"]
        for each in changes
        if each["ResourceChange"]["Action"] == "Modify"
        and all(
            detail["Evaluation"] == "Dynamic" or "KNOWN_AFTER_APPLY" in detail["Target"].get("AfterValue", "")
            for detail in each["ResourceChange"]["Details"]
            if detail["Target"]["Attribute"] not in SILENT
        )
    }


def same(wanted: dict[str, str], found: dict[str, str], perhaps: set[str]) -> bool:
    return (
        found.keys() <= wanted.keys()
        and wanted.keys() - found.keys() <= perhaps
        and all(
            what == wanted[name] or (wanted[name] == "Replace Conditional" and what in ("Modify", "Replace True"))
            for name, what in found.items()
        )
    )


@example(
    {"Resources": {"B": parameter("two")}},
    {
        "Resources": {
            "A": topic(DisplayName="two"),
            "B": parameter({"Fn::GetAtt": ["A", "DisplayName"]}) | {"DeletionPolicy": "Retain"},
        }
    },
)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(templates(), templates())
def test_the_execution_of_a_change_set_is_what_it_showed(before: dict[str, Any], after: dict[str, Any]) -> None:
    async def story() -> None:
        async with World().running() as world:
            if await world.create("web", before) != "CREATE_COMPLETE":
                event("could not be created")
                return
            await world.call("CreateChangeSet", StackName="web", ChangeSetName="c", TemplateBody=json.dumps(after))
            found = await world.call(
                "DescribeChangeSet", StackName="web", ChangeSetName="c", IncludePropertyValues=True
            )
            if found["Status"] == "FAILED":
                assert found["StatusReason"].startswith("The submitted information didn't contain changes")
                return
            start = len(await world.events("web"))
            await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
            status = await world.settle("web")
            if status != "UPDATE_COMPLETE":
                event(status)
                return
            event("compared")
            wanted, happened = shown(found["Changes"]), done((await world.events("web"))[start:])
            assert same(wanted, happened, foreseen_in_vain(found["Changes"])), (wanted, happened)

    asyncio.run(story())

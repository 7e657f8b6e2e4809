"""Templates that nobody would write: whatever is handed in, the answer is one that AWS has words for."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cfn_world import World
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.cloudformation import template

# 500 examples with every change, 10,000 at night: `make nightly`.
EXAMPLES = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 500
NAMES = st.sampled_from(["A", "B", "P", "L", "N", "C", "D", "M", "AWS::Region", "AWS::NoValue", "X-y", "", "ü"])
TEXT = st.one_of(
    NAMES,
    st.sampled_from(
        [
            "${A}", "${A.Arn}", "${!A}", "${", "${N}${P}", "&{N}", "{{resolve:ssm:/a}}", "{{resolve:ssm-secure:/a:1}}",
            "10.0.0.0/16", "us-east-1", "Retain", "Delete", "a,b", "0", "-1", "\ud800",
        ]
    ),
    st.text(max_size=6),
)  # fmt: skip
SCALARS = st.one_of(
    TEXT, st.booleans(), st.integers(-3, 300), st.integers(), st.floats(allow_nan=True, width=32), st.none()
)
FUNCTIONS = st.sampled_from(
    [
        "Ref", "Condition", "Fn::And", "Fn::Base64", "Fn::Cidr", "Fn::Contains", "Fn::EachMemberEquals",
        "Fn::EachMemberIn", "Fn::Equals", "Fn::FindInMap", "Fn::ForEach::Loop", "Fn::ForEach::Other", "Fn::GetAtt",
        "Fn::GetAZs", "Fn::If", "Fn::ImportValue", "Fn::Join", "Fn::Length", "Fn::Not", "Fn::Or", "Fn::RefAll",
        "Fn::Select", "Fn::Split", "Fn::Sub", "Fn::ToJsonString", "Fn::Transform", "Fn::ValueOf", "Fn::ValueOfAll",
        "Fn::Nonsense", "DefaultValue",
    ]
)  # fmt: skip
KEYS = st.one_of(
    st.sampled_from(["Type", "Value", "Name", "Properties", "DisplayName", "T${N}", "Parameters", "Location"]),
    TEXT,
)


def well_formed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Functions with arguments that look right at first sight."""
    texts = st.one_of(TEXT, inner)
    return st.one_of(
        NAMES.map(lambda name: {"Ref": name}),
        TEXT.map(lambda text: {"Fn::Sub": text}),
        st.tuples(NAMES, TEXT).map(lambda pair: {"Fn::GetAtt": list(pair)}),
        st.tuples(NAMES, inner, inner).map(lambda parts: {"Fn::If": list(parts)}),
        st.tuples(TEXT, st.lists(texts, max_size=3)).map(lambda parts: {"Fn::Join": list(parts)}),
        st.tuples(TEXT, texts).map(lambda parts: {"Fn::Split": list(parts)}),
        st.tuples(SCALARS, st.one_of(st.lists(texts, max_size=3), inner)).map(lambda p: {"Fn::Select": list(p)}),
        st.tuples(texts, texts, texts).map(lambda parts: {"Fn::FindInMap": list(parts)}),
        st.tuples(texts, texts).map(lambda parts: {"Fn::Equals": list(parts)}),
        st.tuples(NAMES, st.lists(texts, max_size=2), st.dictionaries(KEYS, inner, max_size=2)).map(
            lambda parts: {"Fn::ForEach::Loop": list(parts)}
        ),
        st.lists(texts, min_size=2, max_size=3).map(lambda parts: {"Fn::Cidr": parts}),
    )


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3),
        st.tuples(FUNCTIONS, inner).map(lambda pair: {pair[0]: pair[1]}),
        well_formed(inner),
    ),
    max_leaves=12,
)
POLICIES = st.one_of(st.sampled_from(["Retain", "Delete"]), VALUES)
RESOURCES = st.one_of(
    st.fixed_dictionaries(
        {"Type": st.sampled_from(["AWS::SNS::Topic", "AWS::SSM::Parameter", "AWS::IAM::Role", "AWS::X::Y"])},
        optional={
            "Properties": st.one_of(st.dictionaries(KEYS, VALUES, max_size=3), VALUES),
            "Condition": st.one_of(NAMES, VALUES),
            "DependsOn": VALUES,
            "Metadata": VALUES,
            "DeletionPolicy": POLICIES,
            "UpdateReplacePolicy": POLICIES,
            "CreationPolicy": VALUES,
            "UpdatePolicy": VALUES,
        },
    ),
    VALUES,
)
KINDS = st.sampled_from(
    [
        "String", "Number", "List<Number>", "CommaDelimitedList", "AWS::EC2::VPC::Id", "List<AWS::EC2::Subnet::Id>",
        "AWS::SSM::Parameter::Name", "AWS::SSM::Parameter::Value<String>", "Text",
    ]
)  # fmt: skip
DECLARATIONS = st.one_of(
    st.fixed_dictionaries(
        {"Type": KINDS},
        optional={
            "Default": st.one_of(st.sampled_from(["1", "a", "a,b", "1,2"]), SCALARS),
            "AllowedValues": st.one_of(st.lists(SCALARS, max_size=3), VALUES),
            "AllowedPattern": st.one_of(st.sampled_from(["[a-z]*", "(", "[[:alpha:]]*"]), VALUES),
            "MinLength": SCALARS,
            "MaxValue": SCALARS,
            "NoEcho": SCALARS,
            "Description": VALUES,
        },
    ),
    VALUES,
)


def section(names: list[str], members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    usual = st.dictionaries(st.sampled_from(names), members, max_size=3)
    return st.one_of(usual, usual, usual, VALUES)


DOCUMENTS = st.fixed_dictionaries(
    {"Resources": section(["A", "B", "Fn::ForEach::Loop", "X-y"], RESOURCES)},
    optional={
        "AWSTemplateFormatVersion": st.one_of(st.just("2010-09-09"), VALUES),
        "Description": VALUES,
        "Metadata": VALUES,
        "Parameters": section(["P", "L", "N"], DECLARATIONS),
        "Mappings": section(["M"], st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=2), max_size=2)),
        "Conditions": section(["C", "D"], VALUES),
        "Rules": section(["R"], st.fixed_dictionaries({"Assertions": VALUES}, optional={"RuleCondition": VALUES})),
        "Outputs": section(
            ["O", "Fn::ForEach::Other"],
            st.fixed_dictionaries({"Value": VALUES}, optional={"Condition": NAMES, "Export": VALUES}),
        ),
        "Transform": st.one_of(
            st.sampled_from(["AWS::LanguageExtensions", "AWS::Include", "Mine"]),
            st.just([{"Name": "AWS::Include", "Parameters": {"Location": "s3://b/k"}}, "AWS::LanguageExtensions"]),
            VALUES,
        ),
        "Strange": VALUES,
    },
)
# Documents whose outer form is right, so that what is refused is deeper inside.
WORDS = st.sampled_from(["a", "b", "0", "1", "x-y", "a,b", "${P}", "${A}", "${N}", "${A.Arn}", "10.0.0.0/16"])
IDS = st.sampled_from(["A", "B", "P", "L", "N", "AWS::Region", "AWS::StackName", "AWS::NoValue"])
PLAIN = st.one_of(WORDS, st.booleans(), st.integers(-2, 3))


def sensible(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.one_of(
        st.lists(inner, max_size=3),
        st.just({"Ref": "L"}),
        WORDS.map(lambda text: {"Fn::Split": [",", text]}),
        st.just({"Fn::GetAZs": ""}),
        st.just({"Fn::Cidr": ["10.0.0.0/16", 2, 8]}),
    )
    fragments = st.dictionaries(st.sampled_from(["K${N}", "&{N}", "K"]), inner, min_size=1, max_size=2)
    return st.one_of(
        IDS.map(lambda name: {"Ref": name}),
        WORDS.map(lambda text: {"Fn::Sub": text}),
        st.sampled_from(["A", "B"]).map(lambda name: {"Fn::GetAtt": [name, "TopicName"]}),
        st.tuples(st.sampled_from(["C", "D"]), inner, inner).map(lambda parts: {"Fn::If": list(parts)}),
        st.tuples(WORDS, lists).map(lambda parts: {"Fn::Join": list(parts)}),
        st.tuples(st.integers(0, 2), lists).map(lambda parts: {"Fn::Select": list(parts)}),
        st.tuples(st.just("M"), WORDS, WORDS).map(lambda parts: {"Fn::FindInMap": list(parts)}),
        st.tuples(WORDS, inner).map(
            lambda parts: {"Fn::FindInMap": ["M", parts[0], "a", {"DefaultValue": parts[1]}]}
        ),
        inner.map(lambda value: {"Fn::Base64": value}),
        lists.map(lambda value: {"Fn::Length": value}),
        st.dictionaries(WORDS, inner, max_size=2).map(lambda value: {"Fn::ToJsonString": value}),
        st.tuples(lists, fragments).map(lambda parts: {"Fn::ForEach::Inner": ["N", *parts]}),
        st.dictionaries(WORDS, inner, max_size=2),
    )


SENSIBLE = st.recursive(PLAIN, sensible, max_leaves=5)
BOOLEANS = st.recursive(
    st.tuples(SENSIBLE, SENSIBLE).map(lambda pair: {"Fn::Equals": list(pair)}),
    lambda inner: st.one_of(
        st.sampled_from(["C", "D"]).map(lambda name: {"Condition": name}),
        inner.map(lambda one: {"Fn::Not": [one]}),
        st.lists(inner, min_size=2, max_size=3).map(lambda some: {"Fn::Or": some}),
    ),
    max_leaves=3,
)
TOPICS = st.fixed_dictionaries(
    {"Type": st.sampled_from(["AWS::SNS::Topic", "AWS::SSM::Parameter"])},
    optional={
        "Properties": st.dictionaries(
            st.sampled_from(["DisplayName", "TopicName", "Value", "Tags", "Name"]), SENSIBLE, max_size=2
        ),
        "Condition": st.sampled_from(["C", "D"]),
        "DependsOn": st.sampled_from(["A", "B", ["B"]]),
        "Metadata": st.dictionaries(WORDS, SENSIBLE, max_size=1),
        "DeletionPolicy": st.one_of(st.just("Delete"), st.just({"Fn::If": ["C", "Delete", "Retain"]}), SENSIBLE),
    },
)
LOOPS = st.tuples(st.just("N"), st.one_of(st.just({"Ref": "L"}), st.lists(WORDS, max_size=2)), TOPICS).map(
    lambda parts: [parts[0], parts[1], {"K${N}": parts[2]}]
)
LIKELY = st.builds(
    lambda resources, loops, conditions, outputs, transform: (
        {
            "Parameters": {
                "P": {"Type": "String", "Default": "p"},
                "L": {"Type": "CommaDelimitedList", "Default": "a,b"},
            },
            "Mappings": {"M": {"a": {"a": "x", "b": ["y", "z"]}, "0": {"a": "1"}}},
            "Conditions": {"C": {"Fn::Equals": [{"Ref": "P"}, "p"]}, "D": {"Fn::Equals": ["a", "b"]}} | conditions,
            "Resources": resources | loops,
            "Outputs": {f"O{number}": {"Value": value} for number, value in enumerate(outputs)},
        }
        | ({"Transform": transform} if transform else {})
    ),
    st.dictionaries(st.sampled_from(["A", "B"]), TOPICS, min_size=1),
    st.dictionaries(st.just("Fn::ForEach::Loop"), LOOPS, max_size=1),
    st.dictionaries(st.sampled_from(["C", "D"]), BOOLEANS, max_size=1),
    st.lists(SENSIBLE, max_size=2),
    st.sampled_from(
        ["", "AWS::LanguageExtensions", "AWS::LanguageExtensions", ["AWS::LanguageExtensions", "Mine"]]
    ),
)
EXPECTED = {"ValidationError", "InsufficientCapabilitiesException"}


async def remove(world: World) -> None:
    """Deletes the stack, and looks for what it left behind without saying so."""
    stack_id = (await world.stack("web"))["StackId"]
    await world.call("DeleteStack", StackName="web")
    assert await world.settle(stack_id) == "DELETE_COMPLETE"
    kept = [status for _, status, _ in await world.events(stack_id) if status == "DELETE_SKIPPED"]
    assert len(world.fake.topics) + len(world.fake.parameters) <= len(kept)


async def ask(text: str) -> list[str]:
    """Hands a template in by every way there is; the ends that its stack came to."""
    ends: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        async with World(Path(folder) / "state.db").running() as world:
            world.fake.s3_GetObject = lambda params, caller: {"Body": b"{Outputs: {I: {Value: x}}}"}  # type: ignore[attr-defined]
            world.fake.ec2_DescribeVpcs = lambda params, caller: {"Vpcs": []}  # type: ignore[attr-defined]
            world.fake.ec2_DescribeSubnets = lambda params, caller: {"Subnets": []}  # type: ignore[attr-defined]
            world.fake.ec2_DescribeAvailabilityZones = lambda params, caller: {"AvailabilityZones": []}  # type: ignore[attr-defined]
            capabilities = ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
            for operation, more in (
                ("ValidateTemplate", {}),
                ("GetTemplateSummary", {}),
                (
                    "CreateChangeSet",
                    {"StackName": "set", "ChangeSetName": "c", "ChangeSetType": "CREATE"},
                ),
                ("CreateStack", {"StackName": "web"}),
            ):
                if operation.startswith("Create"):
                    more = more | {"Capabilities": capabilities}
                try:
                    await world.call(operation, TemplateBody=text, **more)
                except AwsError as error:
                    assert error.code in EXPECTED, (operation, error)
                    continue
                if operation == "CreateStack":
                    ends.append(await world.settle("web"))
                    # Whatever came of it can be looked at, and deleted.
                    await world.stack("web")
                    for stage in ("Original", "Processed"):
                        try:
                            await world.call("GetTemplate", StackName="web", TemplateStage=stage)
                        except AwsError as error:
                            assert error.code in EXPECTED
                    await remove(world)
    return ends


# Hypothesis wants to show the whole strategy whenever it gives up an example.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(DOCUMENTS, LIKELY, LIKELY))
def test_any_document_has_an_answer_that_aws_has_words_for(document: dict[str, Any]) -> None:
    ends = asyncio.run(ask(json.dumps(document)))
    assert set(ends) <= {"CREATE_COMPLETE", "ROLLBACK_COMPLETE"}


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=80))
def test_any_text_has_an_answer_that_aws_has_words_for(text: str) -> None:
    try:
        template.parse(text)
    except AwsError as error:
        assert error.code == "ValidationError"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 3000,
        "{" * 3000,
        '{"a": ' * 500 + "1" + "}" * 500,
        "a: !!int x",
        "a: !!float x",
        "a: !!timestamp 2001-99-99",
        "a: !!binary '!'",
        "a: !!set {x, y}",
        "a: .inf",
        '{"a": NaN}',
        '{"a": 1' + "0" * 5000 + "}",
        'a: "\\uD800"',
        '{"a": "\\ud800"}',
        "? [a]\n: b",
        "a: !Ref\n",
        "!Sub x",
        "--- a\n--- b",
        "\x00",
        "a: &a [*a]",
        "<<: {a: b}",
    ],
)
def test_texts_that_trip_readers_up(text: str) -> None:
    with pytest.raises(AwsError) as caught:
        template.parse(text)
    assert caught.value.code == "ValidationError"

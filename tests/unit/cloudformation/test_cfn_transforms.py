"""Transforms: their declaration, their order, and AWS::Include with its complaints."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller
from portside.cloud.services.cloudformation import documents, template, transforms
from portside.cloud.services.cloudformation.stored import bucket_and_key
from portside.testing.calls import ScriptedCalls

CALLER = Caller.root("000000000000", "us-east-1", endpoint="http://127.0.0.1:4566")
TOPIC = {"Type": "AWS::SNS::Topic"}
STORED = {
    ("pieces", "topic.yaml"): "Type: AWS::SNS::Topic\nProperties:\n  DisplayName: &x {Ref: P}\n  TopicName: *x\n",
    ("pieces", "top.json"): json.dumps({"Outputs": {"O": {"Value": "x"}}, "Resources": {"B": TOPIC}}),
    ("pieces", "list.json"): '["a", "b"]',
    ("pieces", "short.yaml"): "Value: !Ref P\n",
    ("pieces", "loop.json"): json.dumps(
        {"Resources": {"Fn::ForEach::L": ["N", ["a", "b"], {"T${N}": TOPIC}]}}
    ),
}  # fmt: skip


def get(params: dict[str, Any]) -> dict[str, Any]:
    if params["Bucket"] != "pieces":
        raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
    found = STORED.get((params["Bucket"], params["Key"]))
    if found is None:
        raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
    return {"Body": found.encode()}


def nowhere(params: dict[str, Any]) -> dict[str, Any]:
    raise AwsError("ValidationError", f"Stack for {params['PhysicalResourceId']} does not exist")


def include(location: Any = "s3://pieces/topic.yaml") -> dict[str, Any]:
    return {"Name": "AWS::Include", "Parameters": {"Location": location}}


async def processed(document: dict[str, Any], **values: Any) -> Any:
    document = documents.read(json.dumps({"Parameters": {"P": {"Type": "String"}}} | document))
    calls = ScriptedCalls({("s3", "GetObject"): get, ("cloudformation", "DescribeStackResources"): nowhere})
    values = {"P": "p", "Bucket": "pieces"} | values
    found = json.loads(await transforms.process(document, template.outline(document), values, calls, CALLER))
    del found["Parameters"]
    return found


async def reason(document: dict[str, Any]) -> str:
    with pytest.raises(transforms.TransformFailed) as caught:
        await processed(document)
    return str(caught.value)


@pytest.mark.parametrize(
    "location",
    [
        "s3://pieces/topic.yaml",
        "https://pieces.s3.amazonaws.com/topic.yaml",
        "https://s3.us-east-1.amazonaws.com/pieces/topic.yaml",
        "http://127.0.0.1:4566/pieces/topic.yaml",
        {"Fn::Sub": "s3://${Bucket}/topic.yaml"},
        {"Fn::Join": ["/", ["s3:/", {"Ref": "Bucket"}, "topic.yaml"]]},
    ],
)
async def test_a_piece_takes_the_place_of_its_transform(location: Any) -> None:
    found = await processed({"Resources": {"A": {"Fn::Transform": include(location)}}})
    made = {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "P"}, "TopicName": {"Ref": "P"}}}
    assert found == {"Resources": {"A": made}}


async def test_a_piece_joins_the_members_beside_its_transform() -> None:
    resource = {
        "Fn::Transform": include(),
        "Properties": {"DisplayName": "mine", "FifoTopic": True},
        "DependsOn": "B",
    }
    found = (await processed({"Resources": {"A": resource, "B": TOPIC}}))["Resources"]["A"]
    assert found == {
        "Properties": {"DisplayName": "mine", "FifoTopic": True, "TopicName": {"Ref": "P"}},
        "DependsOn": "B",
        "Type": "AWS::SNS::Topic",
    }


async def test_a_list_may_be_a_piece() -> None:
    value = {"Fn::Transform": include("s3://pieces/list.json")}
    found = await processed({"Resources": {"A": TOPIC | {"Properties": {"Tags": value}}}})
    assert found["Resources"]["A"]["Properties"] == {"Tags": ["a", "b"]}


async def test_transforms_of_the_template_run_in_their_order() -> None:
    loop = include("s3://pieces/loop.json")
    found = await processed(
        {"Transform": [loop, "AWS::LanguageExtensions"], "Resources": {"A": {"Fn::Transform": include()}}}
    )
    assert list(found["Resources"]) == ["A", "Ta", "Tb"]
    assert "Transform" not in found
    # The other way round the loop comes too late to be unrolled.
    found = await processed({"Transform": ["AWS::LanguageExtensions", loop], "Resources": {"A": TOPIC}})
    assert "Fn::ForEach::L" in found["Resources"]


async def test_sections_come_from_the_store() -> None:
    found = await processed({"Transform": include("s3://pieces/top.json"), "Resources": {"A": TOPIC}})
    assert found == {"Resources": {"A": TOPIC, "B": TOPIC}, "Outputs": {"O": {"Value": "x"}}}


@pytest.mark.parametrize("section", ["Resources", "Mappings", "Outputs", "Conditions", "Metadata"])
async def test_a_piece_may_be_a_whole_section(section: str) -> None:
    document = {"Resources": {"A": TOPIC}} | {section: {"Fn::Transform": include()}}
    found = await processed(document)
    assert found[section]["Properties"] == {"DisplayName": {"Ref": "P"}, "TopicName": {"Ref": "P"}}


async def test_a_piece_may_stand_at_the_top() -> None:
    found = await processed({"Resources": {"A": TOPIC}, "Fn::Transform": include("s3://pieces/top.json")})
    assert found == {"Resources": {"A": TOPIC, "B": TOPIC}, "Outputs": {"O": {"Value": "x"}}}


def test_sections_of_transforms_are_theirs() -> None:
    document = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Globals": {"Function": {}},
        "Resources": {"F": {"Type": "S"}},
    }
    assert set(template.outline(document).resources) == {"F"}


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("s3://doesnotexist/a", "Transform AWS::Include failed with: S3 bucket [doesnotexist] does not exist."),
        ("s3://pieces/none", "Transform AWS::Include failed with: The specified key does not exist."),
        (
            "s3://pieces/short.yaml",
            "Transform AWS::Include failed with: The specified S3 object's content should be valid Yaml/JSON",
        ),
        ("ftp://x/y", "Transform AWS::Include failed with: The location parameter is not a valid S3 uri."),
        ("s3://pieces", "Transform AWS::Include failed with: The location parameter is not a valid S3 uri."),
        ("http://[", "Transform AWS::Include failed with: The location parameter is not a valid S3 uri."),
        ("", "Transform AWS::Include failed with: Location is a required parameter"),
        (
            {"Ref": "A"},
            "The value of parameter Location under transform Include must resolve to a string, number, boolean or a "
            "list of any of these.",
        ),
    ],
)
async def test_includes_that_fail(location: Any, message: str) -> None:
    assert await reason({"Resources": {"A": {"Fn::Transform": include(location)}}}) == message
    assert await reason({"Transform": include(location), "Resources": {"A": TOPIC}}) == message


async def test_transforms_nobody_knows() -> None:
    macro = {"Transform": ["Mine"], "Resources": {"A": TOPIC}}
    assert await reason(macro) == "No transform named 000000000000::Mine found."
    inside = {"Resources": {"A": {"Fn::Transform": {"Name": "AWS::Nothing"}}}}
    assert await reason(inside) == "No transform named AWS::Nothing found."
    inside = {"Resources": {"A": {"Fn::Transform": {"Name": "AWS::LanguageExtensions"}}}}
    assert "can only be used in the Transform section" in await reason(inside)


async def test_extensions_that_fail() -> None:
    document = {
        "Transform": "AWS::LanguageExtensions",
        "Resources": {"Fn::ForEach::L": ["N", "text", {"A${N}": TOPIC}]},
    }
    assert (
        await reason(document) == "Transform AWS::LanguageExtensions failed with: Fn::ForEach layout is incorrect"
    )


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({}, []),
        ({"Transform": "AWS::LanguageExtensions"}, ["AWS::LanguageExtensions"]),
        ({"Transform": ["Mine", include(), "Mine"]}, ["Mine", "AWS::Include"]),
        ({"Transform": "Mine", "Resources": {"A": {"Fn::Transform": include()}}}, ["Mine", "AWS::Include"]),
    ],
)
def test_what_is_declared(document: Any, names: list[str]) -> None:
    assert transforms.names(document) == names


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"Name": {"Ref": "P"}}, "Key Name of transform definition must be a string."),
        ([{"Parameters": {}}], "Key Name of transform definition must be a string."),
        (5, "Template format error: Every Transform member must be a string or an object."),
        (
            {"Name": "X", "Parameters": "y"},
            "Template format error: the Parameters of a transform must be an object.",
        ),
    ],
)
def test_malformed_declarations(section: Any, message: str) -> None:
    for document in ({"Transform": section}, {"Resources": {"A": {"Fn::Transform": section}}}):
        with pytest.raises(AwsError) as caught:
            transforms.names(document)
        assert caught.value.message == message


def test_what_is_not_offered_is_refused_by_name() -> None:
    for name in sorted(transforms.NOT_OFFERED):
        with pytest.raises(AwsError) as caught:
            transforms.refuse_unoffered({"Transform": ["AWS::Include", name]})
        assert caught.value.message == (
            f"Template error: portside's local cloud does not offer the transform [{name}]."
        )


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://b.s3.amazonaws.com/k/x%20y", ("b", "k/x y")),
        ("https://s3-eu-west-1.amazonaws.com/b/k", ("b", "k")),
        ("https://example.com/b/k", None),
        ("file:///etc/passwd", None),
        ("s3://b/k", None),
    ],
)
def test_addresses(url: str, place: Any) -> None:
    assert bucket_and_key(url, "") == place

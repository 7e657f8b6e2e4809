"""AWS::LanguageExtensions: tables of a document before and after."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.cloudformation import language_extensions, template
from portside.cloud.services.cloudformation.for_each import ExtensionError
from portside.cloud.services.cloudformation.intrinsics import EvaluationError, Surroundings

PARAMETERS = {
    "Names": {"Type": "CommaDelimitedList"},
    "Env": {"Type": "String"},
    "Secret": {"Type": "CommaDelimitedList", "NoEcho": True},
}
VALUES = {"Names": ["alpha", "beta"], "Env": "dev", "Secret": ["s"]}
MAPPINGS = {
    "Sizes": {"alpha": {"cpu": "256", "zones": ["a", "b"]}, "beta": {"cpu": "512"}},
    "When": {"condition": {"beta": "IsProd"}},
}
HERE = Surroundings("000000000000", "us-east-1", "", "")


def expanded(**sections: Any) -> dict[str, Any]:
    document = {"Parameters": PARAMETERS, "Mappings": MAPPINGS} | sections
    outline = template.outline(document)
    return language_extensions.apply(document, outline, VALUES, HERE, frozenset({"Secret"}))


def properties(value: Any) -> Any:
    found = expanded(
        Conditions={"IsProd": {"Fn::Equals": [{"Ref": "Env"}, "prod"]}},
        Resources={"A": {"Type": "T", "Properties": {"P": value}}, "B": {"Type": "T"}},
    )
    return found["Resources"]["A"]["Properties"].get("P")


def failed(**sections: Any) -> str:
    with pytest.raises((ExtensionError, EvaluationError)) as caught:
        expanded(**sections)
    return str(caught.value)


def loop(*parts: Any) -> dict[str, Any]:
    return {"Fn::ForEach::Loop": list(parts)}


TOPIC = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": {"Ref": "Name"}}}


@pytest.mark.parametrize(
    "collection",
    [
        ["alpha", "beta"],
        {"Ref": "Names"},
        {"Fn::Split": ["-", "alpha-beta"]},
        {"Fn::Split": [",", {"Fn::Join": [",", {"Ref": "Names"}]}]},
        ["alpha", {"Fn::Sub": ["${X}ta", {"X": "be"}]}],
        {"Fn::FindInMap": ["Nowhere", "x", "y", {"DefaultValue": {"Ref": "Names"}}]},
        {"Fn::If": ["IsProd", ["other"], {"Ref": "Names"}]},
    ],
)
def test_a_loop_over(collection: Any) -> None:
    found = expanded(
        Conditions={"IsProd": {"Fn::Equals": [{"Ref": "Env"}, "prod"]}},
        Resources=loop("Name", collection, {"Topic${Name}": TOPIC}),
    )
    assert found["Resources"] == {
        "Topicalpha": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "alpha"}},
        "Topicbeta": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "beta"}},
    }


def test_where_identifiers_count() -> None:
    found = expanded(
        Resources=loop(
            "X",
            ["a-1", "b-2"],
            {
                "P&{X}": {
                    "Type": "T",
                    "Condition": {"Fn::Sub": "IsProd"},
                    "DependsOn": [{"Fn::Sub": "Q"}],
                    "Properties": {
                        "ref": {"Ref": "X"},
                        "sub": {"Fn::Sub": "${X}/${AWS::Region}/&{X}/${!X}"},
                        "subs": {"Fn::Sub": ["${X}-${Y}", {"Y": {"Ref": "X"}}]},
                        "shadowed": {"Fn::Sub": ["${X}", {"X": "mine"}]},
                        "plain": "${X} &{X}",
                        "att": {"Fn::GetAtt": [{"Fn::Sub": "Q${X}"}, "Arn"]},
                        "other": {"Ref": {"Fn::Join": ["", ["Q", {"Fn::Select": [0, {"Fn::Split": ["-", {"Ref": "X"}]}]}]]}},
                        "${X}": "a key below",
                    },
                }
            },
        ),
        Conditions={"IsProd": {"Fn::Equals": [{"Ref": "Env"}, "prod"]}},
    )["Resources"]  # fmt: skip
    assert list(found) == ["Pa1", "Pb2"]
    assert found["Pa1"] == {
        "Type": "T",
        "Condition": "IsProd",
        "DependsOn": ["Q"],
        "Properties": {
            "ref": "a-1",
            "sub": {"Fn::Sub": "a-1/${AWS::Region}/&{X}/${!X}"},
            "subs": {"Fn::Sub": ["a-1-${Y}", {"Y": "a-1"}]},
            "shadowed": {"Fn::Sub": ["${X}", {"X": "mine"}]},
            "plain": "${X} &{X}",
            "att": {"Fn::GetAtt": ["Qa-1", "Arn"]},
            "other": {"Ref": "Qa"},
            "${X}": "a key below",
        },
    }


def test_loops_in_loops_and_beside_other_members() -> None:
    inner = {
        "Fn::ForEach::Inner": ["S", ["A", "B"], {"${P}${S}": {"Type": "T", "Properties": {"N": {"Ref": "P"}}}}]
    }
    found = expanded(
        Resources={"First": {"Type": "T"}} | loop("P", ["X", "Y"], {"Acl${P}": {"Type": "T"}} | inner)
    )["Resources"]
    assert list(found) == ["First", "AclX", "XA", "XB", "AclY", "YA", "YB"]
    assert found["YB"]["Properties"] == {"N": "Y"}


def test_loops_in_properties_conditions_and_outputs() -> None:
    found = expanded(
        Conditions=loop("E", ["A", "B"], {"Is${E}": {"Fn::Equals": [{"Ref": "Env"}, {"Ref": "E"}]}}),
        Resources={
            "R": {
                "Type": "T",
                "Properties": {
                    "V": {"Fn::ForEach::Vars": ["N", {"Ref": "Names"}, {"VAR_${N}": {"Fn::Sub": "${N}!"}}]}
                },
            }
        },
        Outputs={"Fn::ForEach::Outs": ["N", ["A"], {"${N}Out": {"Condition": "IsA", "Value": {"Ref": "R"}}}]},
    )
    assert found["Conditions"] == {
        "IsA": {"Fn::Equals": [{"Ref": "Env"}, "A"]},
        "IsB": {"Fn::Equals": [{"Ref": "Env"}, "B"]},
    }
    assert found["Resources"]["R"]["Properties"]["V"] == {"VAR_alpha": "alpha!", "VAR_beta": "beta!"}
    assert found["Outputs"] == {"AOut": {"Condition": "IsA", "Value": {"Ref": "R"}}}


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ({"Fn::Length": {"Ref": "Names"}}, 2),
        ({"Fn::Length": ["a", "b", "c"]}, 3),
        ({"Fn::Length": {"Fn::Split": [",", "a,b,c,d"]}}, 4),
        ({"Fn::FindInMap": ["Sizes", {"Fn::Select": [1, {"Ref": "Names"}]}, "cpu"]}, "512"),
        ({"Fn::FindInMap": ["Sizes", "gamma", "cpu", {"DefaultValue": "1024"}]}, "1024"),
        ({"Fn::FindInMap": ["Sizes", "alpha", "zones", {"DefaultValue": "x"}]}, ["a", "b"]),
        (
            {"Fn::FindInMap": ["Sizes", "gamma", "cpu", {"DefaultValue": {"Ref": "AWS::NoValue"}}]},
            {"Ref": "AWS::NoValue"},
        ),
        (
            {"Fn::FindInMap": [{"Fn::Sub": "${Env}Map"}, {"Ref": "AWS::Region"}, "b"]},
            {"Fn::FindInMap": [{"Fn::Sub": "${Env}Map"}, {"Ref": "AWS::Region"}, "b"]},
        ),
        (
            {"Fn::ToJsonString": {"b": {"Ref": "Names"}, "a": [1, True, {"Ref": "AWS::Region"}], "c": 'say "é"'}},
            '{"b":["alpha","beta"],"a":[1,true,"us-east-1"],"c":"say \\"é\\""}',
        ),
        (
            {"Fn::ToJsonString": {"a": {"Fn::If": ["IsProd", 1, {"Ref": "AWS::NoValue"}]}, "b": 2}},
            '{"b":2}',
        ),
        (
            {"Fn::ToJsonString": {"arn": {"Fn::GetAtt": ["B", "Arn"]}, "n": {"Fn::Length": {"Ref": "Names"}}}},
            {"Fn::ToJsonString": {"arn": {"Fn::GetAtt": ["B", "Arn"]}, "n": 2}},
        ),
        ({"Ref": {"Fn::Sub": "${Env}"}}, {"Ref": "dev"}),
        ({"Ref": "B"}, {"Ref": "B"}),
        ({"Fn::GetAtt": "B.Arn"}, {"Fn::GetAtt": "B.Arn"}),
        ({"Fn::GetAtt": ["B", {"Fn::Join": ["", ["A", "rn"]]}]}, {"Fn::GetAtt": ["B", "Arn"]}),
        ({"Fn::If": ["IsProd", {"Fn::Length": ["a"]}, 2]}, {"Fn::If": ["IsProd", 1, 2]}),
    ],
)  # fmt: skip
def test_functions(value: Any, result: Any) -> None:
    assert properties(value) == result


def test_policies_and_conditions_by_function() -> None:
    chosen = {"Fn::FindInMap": ["When", "condition", {"Ref": "N"}, {"DefaultValue": {"Ref": "AWS::NoValue"}}]}
    made = {
        "Type": "T",
        "Condition": chosen,
        "DeletionPolicy": {"Fn::If": ["IsProd", "Retain", "Delete"]},
        "UpdateReplacePolicy": {"Fn::Join": ["", ["Ret", "ain"]]},
    }
    found = expanded(
        Conditions={"IsProd": {"Fn::Equals": [{"Ref": "Env"}, "prod"]}},
        Resources=loop("N", {"Ref": "Names"}, {"R${N}": made}),
    )["Resources"]
    rest = {"Type": "T", "DeletionPolicy": "Delete", "UpdateReplacePolicy": "Retain"}
    assert found == {"Ralpha": rest, "Rbeta": rest | {"Condition": "IsProd"}}


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        (loop("N", "text", {"A${N}": TOPIC}), "Fn::ForEach layout is incorrect"),
        (loop("N", ["a"]), "Fn::ForEach layout is incorrect"),
        (loop(["N"], ["a"], {"A${N}": TOPIC}), "Fn::ForEach layout is incorrect"),
        (loop("N", ["a"], [TOPIC]), "Fn::ForEach layout is incorrect"),
        (
            loop("N", {"Ref": "Env"}, {"A${N}": TOPIC}),
            "Could not find a collection or could not be resolved for Fn::ForEach",
        ),
        (
            loop("N", {"Fn::GetAtt": ["X", "List"]}, {"A${N}": TOPIC}),
            "Could not find a collection or could not be resolved for Fn::ForEach",
        ),
        (
            loop("N", {"Fn::GetAZs": ""}, {"A${N}": TOPIC}),
            "Could not find a collection or could not be resolved for Fn::ForEach",
        ),
        (
            loop("N", [["a"]], {"A${N}": TOPIC}),
            "Could not find a collection or could not be resolved for Fn::ForEach",
        ),
        (
            loop("N", {"Ref": "Secret"}, {"A${N}": TOPIC}),
            "The NoEcho parameter Secret cannot be the collection of a Fn::ForEach",
        ),
        (
            loop("N", ["a", "b"], {"Same": TOPIC}),
            "Duplicate key 'Same' when merging keys to parent object in Fn::ForEach",
        ),
        (
            {"Ta": TOPIC} | loop("N", ["a"], {"T${N}": TOPIC}),
            "Duplicate key 'Ta' when merging keys to parent object in Fn::ForEach",
        ),
        (loop("N", ["a-b"], {"T${N}": TOPIC}), "LogicalId 'Ta-b' should be alphanumeric"),
        (
            loop("Env", ["a"], {"T${Env}": TOPIC}),
            "The name Env of a Fn::ForEach is that of a parameter or a resource",
        ),
        (
            {"Loop": TOPIC} | loop("N", ["a"], {"T${N}": TOPIC}),
            "The name Loop of a Fn::ForEach is that of a parameter or a resource",
        ),
        (
            loop("N", ["a"], {"Fn::ForEach::Loop": ["M", ["b"], {"T${M}": TOPIC}]}),
            "The loop name Loop is used more than once",
        ),
        (
            loop("N", ["a"], {"Fn::ForEach::Inner": ["N", ["b"], {"T${N}": TOPIC}]}),
            "The identifier N is already that of an outer Fn::ForEach",
        ),
        (
            {"A": {"Type": "T", "Properties": {"P": {"Fn::Length": ["a", {"Ref": "B"}, "c"]}}}},
            "The Fn::Length value could not be resolved for properties",
        ),
        ({"A": {"Type": "T", "Condition": "Nowhere"}}, "Key Nowhere is missing in the map."),
        ({"A": {"Type": "T", "Properties": {"P": {"Ref": {"Fn::GetAtt": ["B", "X"]}}}}}, "Ref layout is incorrect"),
        ({"A": {"Type": "T", "Properties": {"P": {"Fn::GetAtt": ["B", {"Ref": "A"}]}}}}, "Fn::GetAtt layout is incorrect"),
        (
            {"A": {"Type": "T", "Properties": {"P": {"Fn::FindInMap": ["Sizes", {"Ref": "A"}, "cpu"]}}}},
            "Fn::FindInMap layout is incorrect",
        ),
        ({"A": {"Type": "T", "Properties": {"P": {"Fn::ToJsonString": "text"}}}}, "Fn::ToJsonString layout is incorrect"),
        (
            {"A": {"Type": "T", "Properties": {"P": {"Fn::Sub": "${Env${Env}}"}}}},
            "Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, "
            "periods, and colons",
        ),
        (
            {"A": {"Type": "T", "DeletionPolicy": {"Ref": "A"}}},
            "Template format error: The DeletionPolicy value could not be resolved.",
        ),
    ],
)  # fmt: skip
def test_complaints(resources: Any, message: str) -> None:
    assert failed(Resources=resources) == message


def test_loops_can_be_five_deep() -> None:
    def nested(depth: int) -> dict[str, Any]:
        names = [f"I{index}" for index in range(depth)]
        fragment: dict[str, Any] = {"R" + "".join(f"${{{name}}}" for name in names): {"Type": "T"}}
        for name in reversed(names):
            fragment = {f"Fn::ForEach::L{name}": [name, ["a", "b"], fragment]}
        return fragment

    assert len(expanded(Resources=nested(5))["Resources"]) == 32
    assert failed(Resources=nested(6)) == "Fn::ForEach can be nested 5 times at most"


def test_outputs_are_named_as_such() -> None:
    outputs = loop("N", ["a.b"], {"O${N}": {"Value": "x"}})
    assert failed(Resources={"A": {"Type": "T"}}, Outputs=outputs) == "OutputKey 'Oa.b' should be alphanumeric"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"Fn::Length": ["a"]}, "Encountered unsupported function: Fn::Length"),
        ({"Fn::ToJsonString": {"a": 1}}, "Encountered unsupported function: Fn::ToJsonString"),
        ({"Fn::FindInMap": ["M", "a", "b", {"DefaultValue": "c"}]}, "every Fn::FindInMap object requires three"),
        ({"Fn::FindInMap": ["M", {"Fn::Sub": "a"}, "b"]}, "every Fn::FindInMap object requires three"),
    ],
)
def test_without_the_transform(value: Any, message: str) -> None:
    document = json.loads(json.dumps({"Resources": {"A": {"Type": "T", "Properties": {"P": value}}}}))
    with pytest.raises(AwsError, match=message):
        language_extensions.undeclared(document)


def test_a_loop_without_the_transform() -> None:
    with pytest.raises(AwsError) as caught:
        template.parse(json.dumps({"Resources": loop("N", ["a"], {"T${N}": TOPIC})}))
    message = "Template format error: [/Resources/Fn::ForEach::Loop] resource definition is malformed"
    assert caught.value.message == message

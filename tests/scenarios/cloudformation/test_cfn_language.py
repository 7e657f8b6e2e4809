"""Templates whose language does something: transforms, parameters of AWS's types, rules, references."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from cfn_templates import topic
from cfn_world import World, body, parameter
from portside.cloud.protocol.errors import AwsError

LOOP = {
    "Transform": "AWS::LanguageExtensions",
    "Parameters": {"Names": {"Type": "CommaDelimitedList", "Default": "a,b"}},
    "Resources": {"Fn::ForEach::Parameters": ["Name", {"Ref": "Names"}, {"P${Name}": parameter({"Ref": "Name"})}]},
    "Outputs": {
        "Fn::ForEach::Outputs": ["Name", {"Ref": "Names"}, {"O${Name}": {"Value": {"Ref": {"Fn::Sub": "P${Name}"}}}}]
    },
}  # fmt: skip
EXPAND = {"Capabilities": ["CAPABILITY_AUTO_EXPAND"]}


def values(**given: str) -> list[dict[str, str]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]


def stored(world: World, **pieces: str) -> None:
    def get(params: Any, caller: Any) -> Any:
        if params["Bucket"] != "pieces":
            raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404)
        return {"Body": pieces[params["Key"]].encode()}

    world.fake.s3_GetObject = get  # type: ignore[attr-defined]


async def test_a_loop_becomes_resources(world: World) -> None:
    assert await world.create("web", LOOP, **EXPAND) == "CREATE_COMPLETE"
    assert set(await world.resources("web")) == {"Pa", "Pb"}
    made = {each["Value"] for each in world.fake.parameters.values()}
    assert made == {"a", "b"}
    outputs = {each["OutputKey"] for each in (await world.stack("web"))["Outputs"]}
    assert outputs == {"Oa", "Ob"}


async def test_the_original_and_the_processed_template(world: World) -> None:
    text = json.dumps(LOOP, indent=2)
    await world.create("web", text, **EXPAND)
    original = await world.call("GetTemplate", StackName="web", TemplateStage="Original")
    assert original == {"TemplateBody": text, "StagesAvailable": ["Original", "Processed"]}
    assert (await world.call("GetTemplate", StackName="web"))["TemplateBody"] == text
    processed = await world.call("GetTemplate", StackName="web", TemplateStage="Processed")
    found = json.loads(processed["TemplateBody"])
    assert set(found["Resources"]) == {"Pa", "Pb"} and "Transform" not in found
    summary = await world.call("GetTemplateSummary", StackName="web")
    assert summary["DeclaredTransforms"] == ["AWS::LanguageExtensions"]


async def test_both_stages_are_the_same_without_transforms(world: World) -> None:
    text = json.dumps({"Resources": {"A": topic()}}, indent=1)
    await world.create("web", text)
    for stage in ("Original", "Processed"):
        found = await world.call("GetTemplate", StackName="web", TemplateStage=stage)
        assert found == {"TemplateBody": text, "StagesAvailable": ["Original", "Processed"]}


async def test_an_update_with_the_previous_template_runs_its_transforms_again(world: World) -> None:
    await world.create("web", LOOP, **EXPAND)
    await world.call(
        "UpdateStack", StackName="web", UsePreviousTemplate=True, Parameters=values(Names="b,c"), **EXPAND
    )
    assert await world.settle("web") == "UPDATE_COMPLETE"
    present = await world.resources("web")
    assert {name for name, (status, _) in present.items() if not status.startswith("DELETE")} == {"Pb", "Pc"}
    refused = await world.refused(
        "UpdateStack", StackName="web", UsePreviousTemplate=True, Parameters=values(Names="b,c"), **EXPAND
    )
    assert refused.message == "No updates are to be performed."


async def test_transforms_must_be_acknowledged_unless_a_change_set_shows_them(world: World) -> None:
    refused = await world.refused("CreateStack", StackName="web", TemplateBody=body(LOOP))
    assert (refused.code, refused.message) == (
        "InsufficientCapabilitiesException",
        "Requires capabilities : [CAPABILITY_AUTO_EXPAND]",
    )
    await world.call(
        "CreateChangeSet", StackName="web", ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=body(LOOP)
    )
    found = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c")
    shown = [each["ResourceChange"]["LogicalResourceId"] for each in found["Changes"]]
    assert (found["Status"], shown) == ("CREATE_COMPLETE", ["Pa", "Pb"])
    stage = await world.call("GetTemplate", StackName="web", ChangeSetName="c", TemplateStage="Processed")
    assert set(json.loads(stage["TemplateBody"])["Resources"]) == {"Pa", "Pb"}
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    assert await world.settle("web") == "CREATE_COMPLETE"


async def test_a_change_set_keeps_what_its_includes_were(world: World) -> None:
    stored(world, piece=json.dumps({"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": "one"}}))
    location = {"Name": "AWS::Include", "Parameters": {"Location": "s3://pieces/piece"}}
    template = body({"Resources": {"A": {"Fn::Transform": location}}})
    await world.call(
        "CreateChangeSet", StackName="web", ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=template
    )
    stored(world, piece=json.dumps({"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": "two"}}))
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    assert await world.settle("web") == "CREATE_COMPLETE"
    (made,) = world.fake.topics.values()
    assert made["DisplayName"] == "one"
    # An update fetches anew.
    await world.call("UpdateStack", StackName="web", UsePreviousTemplate=True, **EXPAND)
    assert await world.settle("web") == "UPDATE_COMPLETE"
    (made,) = world.fake.topics.values()
    assert made["DisplayName"] == "two"


FAILING = {
    "Transform": {"Name": "AWS::Include", "Parameters": {"Location": "s3://doesnotexist/a"}},
    "Parameters": {"Secret": {"Type": "String", "NoEcho": True, "Default": "hidden"}},
    "Resources": {"A": topic()},
}
FAILURE = "Transform AWS::Include failed with: S3 bucket [doesnotexist] does not exist."


async def test_a_transform_that_fails_rolls_a_new_stack_back(world: World) -> None:
    stored(world)
    assert await world.create("web", FAILING, **EXPAND) == "ROLLBACK_COMPLETE"
    events = await world.events("web")
    assert [status for _, status, _ in events] == [
        "CREATE_IN_PROGRESS",
        "ROLLBACK_IN_PROGRESS",
        "ROLLBACK_COMPLETE",
    ]
    assert events[1][2] == f"{FAILURE} Rollback requested by user."
    found = await world.stack("web")
    assert found["Parameters"] == [{"ParameterKey": "Secret", "ParameterValue": "****"}]
    stages = await world.call("GetTemplate", StackName="web")
    assert stages == {"TemplateBody": body(FAILING), "StagesAvailable": ["Original"]}
    assert await world.delete("web") == "DELETE_COMPLETE"


async def test_a_stack_that_never_had_a_template_can_be_looked_at_and_deleted(world: World) -> None:
    stored(world)
    assert await world.create("web", FAILING, OnFailure="DO_NOTHING", **EXPAND) == "CREATE_FAILED"
    assert (await world.stack("web"))["StackStatusReason"] == FAILURE
    assert await world.resources("web") == {}
    refused = await world.refused("GetTemplate", StackName="web", TemplateStage="Processed")
    assert refused.message == "Template is not available in stage Processed."
    assert await world.delete("web") == "DELETE_COMPLETE"


async def test_a_transform_that_fails_fails_its_change_set(world: World) -> None:
    stored(world)
    await world.call(
        "CreateChangeSet", StackName="web", ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=body(FAILING)
    )
    found = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c")
    assert (found["Status"], found["ExecutionStatus"], found["StatusReason"], found["Changes"]) == (
        "FAILED",
        "UNAVAILABLE",
        FAILURE,
        [],
    )


async def test_a_transform_that_fails_in_an_update_leaves_the_stack_as_it_was(world: World) -> None:
    stored(world)
    before = {"Resources": {"A": topic(DisplayName="one")}}
    await world.create("web", before)
    assert await world.update("web", FAILING, **EXPAND) == "UPDATE_ROLLBACK_COMPLETE"
    assert FAILURE in [reason for _, _, reason in await world.events("web")]
    assert (await world.call("GetTemplate", StackName="web"))["TemplateBody"] == body(before)
    (made,) = world.fake.topics.values()
    assert made["DisplayName"] == "one"


async def test_what_a_transform_made_is_checked_like_any_template(world: World) -> None:
    template = LOOP | {"Outputs": {"O": {"Value": {"Ref": "Pz"}}}}
    assert await world.create("web", template, **EXPAND) == "ROLLBACK_COMPLETE"
    reasons = [reason for _, _, reason in await world.events("web")]
    assert (
        "Template format error: Unresolved resource dependencies [Pz] in the Outputs block of the template. "
        "Rollback requested by user." in reasons
    )


async def test_a_macro_is_declared_once_and_not_carried_out(world: World) -> None:
    macro = {"Type": "AWS::CloudFormation::Macro", "Properties": {"Name": "Mine", "FunctionName": "mine"}}
    assert await world.create("macro", {"Resources": {"Macro": macro}}) == "CREATE_COMPLETE"
    (made,) = (await world.call("DescribeStackResources", StackName="macro"))["StackResources"]
    assert made["PhysicalResourceId"] == "Mine"
    assert await world.create("again", {"Resources": {"Macro": macro}}) == "ROLLBACK_COMPLETE"
    told = " ".join(reason for _, _, reason in await world.events("again"))
    assert "Resource of type 'AWS::CloudFormation::Macro' with identifier 'Mine' already exists." in told
    assert await world.create("web", {"Transform": "Mine", "Resources": {"A": topic()}}, **EXPAND) == (
        "ROLLBACK_COMPLETE"
    )
    told = " ".join(reason for _, _, reason in await world.events("web"))
    assert (
        "Transform 000000000000::Mine failed with: portside's local cloud does not carry out macros, for no function "
        "runs here. Rollback requested by user." in told
    )
    for name in ("macro", "web"):
        assert await world.delete(name) == "DELETE_COMPLETE"
    assert await world.create("web", {"Transform": "Mine", "Resources": {"A": topic()}}, **EXPAND) == (
        "ROLLBACK_COMPLETE"
    )
    told = " ".join(reason for _, _, reason in await world.events("web"))
    assert "No transform named 000000000000::Mine found." in told


async def test_macros_and_the_transforms_of_others(world: World) -> None:
    macro = {"Transform": "Mine", "Resources": {"A": topic()}}
    assert await world.create("web", macro, **EXPAND) == "ROLLBACK_COMPLETE"
    reasons = [reason for _, _, reason in await world.events("web")]
    assert "No transform named 000000000000::Mine found. Rollback requested by user." in reasons
    refused = await world.refused(
        "CreateStack",
        StackName="other",
        TemplateBody=body(macro | {"Transform": "AWS::CodeDeployBlueGreen"}),
        **EXPAND,
    )
    assert refused.message == (
        "Template error: portside's local cloud does not offer the transform [AWS::CodeDeployBlueGreen]."
    )


async def test_templates_with_transforms_are_validated_without_running_them(world: World) -> None:
    found = await world.call("ValidateTemplate", TemplateBody=body(LOOP))
    assert found == {
        "Parameters": [{"ParameterKey": "Names", "DefaultValue": "a,b", "NoEcho": False, "Description": None}],
        "Description": None,
        "DeclaredTransforms": ["AWS::LanguageExtensions"],
        "Capabilities": ["CAPABILITY_AUTO_EXPAND"],
        "CapabilitiesReason": "The following resource(s) require capabilities: [AWS::LanguageExtensions]",
    }
    serverless = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {"F": {"Type": "AWS::Serverless::Function"}},
    }
    summary = await world.call("GetTemplateSummary", TemplateBody=body(serverless))
    assert summary["ResourceTypes"] == ["AWS::Serverless::Function"]
    assert summary["DeclaredTransforms"] == ["AWS::Serverless-2016-10-31"]
    undeclared = {key: value for key, value in LOOP.items() if key != "Transform"}
    for operation in ("ValidateTemplate", "GetTemplateSummary"):
        refused = await world.refused(operation, TemplateBody=body(undeclared))
        assert refused.message == (
            "Template format error: [/Resources/Fn::ForEach::Parameters] resource definition is malformed"
        )


async def test_types_that_aws_does_not_know_are_warned_of_only_on_request(world: World) -> None:
    text = body({"Resources": {"A": topic(), "B": {"Type": "AWS::Nothing::Known"}, "C": {"Type": "Custom::Mine"}}})
    refused = await world.refused("GetTemplateSummary", TemplateBody=text)
    assert refused.message == "Template format error: Unrecognized resource types: [AWS::Nothing::Known]"
    config = {"TreatUnrecognizedResourceTypesAsWarnings": True}
    found = await world.call("GetTemplateSummary", TemplateBody=text, TemplateSummaryConfig=config)
    assert found["Warnings"] == {"UnrecognizedResourceTypes": ["AWS::Nothing::Known"]}


async def test_policies_may_be_chosen_by_functions_of_the_parameters(world: World) -> None:
    kept = parameter("x") | {"DeletionPolicy": {"Fn::If": ["IsProd", "Retain", "Delete"]}}
    template = {
        "Parameters": {"Env": {"Type": "String", "Default": "dev"}},
        "Conditions": {"IsProd": {"Fn::Equals": [{"Ref": "Env"}, "prod"]}},
        "Resources": {"A": kept},
    }
    await world.call("ValidateTemplate", TemplateBody=body(template))
    await world.create("dev", template)
    await world.create("prod", template, Parameters=values(Env="prod"))
    assert await world.delete("dev") == await world.delete("prod") == "DELETE_COMPLETE"
    assert len(world.fake.parameters) == 1
    wrong = template | {"Resources": {"A": kept | {"DeletionPolicy": {"Ref": "Env"}}}}
    refused = await world.refused("CreateStack", StackName="w", TemplateBody=body(wrong))
    assert refused.message == "Template format error: Unrecognized DeletionPolicy dev for resource A"


VPC = {"Parameters": {"Vpc": {"Type": "AWS::EC2::VPC::Id"}}, "Resources": {"A": topic(DisplayName={"Ref": "Vpc"})}}


def with_vpcs(world: World, *present: str) -> None:
    def describe(params: Any, caller: Any) -> Any:
        if not set(params["VpcIds"]) <= set(present):
            raise AwsError("InvalidVpcID.NotFound", "The vpc ID does not exist")
        return {"Vpcs": [{"VpcId": each} for each in params["VpcIds"]]}

    world.fake.ec2_DescribeVpcs = describe  # type: ignore[attr-defined]


async def test_what_a_parameter_names_must_exist(world: World) -> None:
    with_vpcs(world, "vpc-0123abcd")
    missing = "Parameter validation failed: parameter value vpc-00000000 for parameter name Vpc does not exist"
    assert await world.create("bad", VPC, Parameters=values(Vpc="vpc-00000000")) == "ROLLBACK_COMPLETE"
    reasons = [reason for _, _, reason in await world.events("bad")]
    assert f"{missing}. Rollback requested by user." in reasons
    assert await world.create("web", VPC, Parameters=values(Vpc="vpc-0123abcd")) == "CREATE_COMPLETE"
    assert await world.update("web", VPC, Parameters=values(Vpc="vpc-00000000")) == "UPDATE_ROLLBACK_COMPLETE"
    assert missing in [reason for _, _, reason in await world.events("web")]
    await world.call(
        "CreateChangeSet",
        StackName="web",
        ChangeSetName="c",
        TemplateBody=body(VPC),
        Parameters=values(Vpc="vpc-00000000"),
    )
    found = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c")
    assert (found["Status"], found["StatusReason"]) == ("FAILED", missing)
    # Not even what cannot be an identifier is refused in the call.
    assert await world.create("x", VPC, Parameters=values(Vpc="nonsense")) == "ROLLBACK_COMPLETE"
    reason = "Parameter validation failed: parameter value nonsense for parameter name Vpc does not exist"
    assert f"{reason}. Rollback requested by user." in [reason for _, _, reason in await world.events("x")]


THROUGH_SSM = {
    "Parameters": {"Tag": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/tag"}},
    "Resources": {"A": topic(DisplayName={"Ref": "Tag"})},
}


async def test_values_from_the_parameter_store(world: World) -> None:
    def put(value: str) -> None:
        world.fake.parameters["/tag"] = {"Name": "/tag", "Type": "String", "Value": value}

    refused = await world.refused("CreateStack", StackName="web", TemplateBody=body(THROUGH_SSM))
    assert refused.message == "Unable to fetch parameters [/tag] from parameter store for this account."
    put("one")
    await world.create("web", THROUGH_SSM)
    shown = [{"ParameterKey": "Tag", "ParameterValue": "/tag", "ResolvedValue": "one"}]
    assert (await world.stack("web"))["Parameters"] == shown
    # A change set keeps what it found, even if the store moves on.
    put("two")
    await world.call("CreateChangeSet", StackName="web", ChangeSetName="c", UsePreviousTemplate=True)
    put("three")
    found = await world.call("DescribeChangeSet", StackName="web", ChangeSetName="c")
    assert found["Parameters"] == [shown[0] | {"ResolvedValue": "two"}]
    await world.call("ExecuteChangeSet", StackName="web", ChangeSetName="c")
    await world.settle("web")
    (made,) = world.fake.topics.values()
    assert made["DisplayName"] == "two"
    # The previous value is the key, what it leads to is fetched anew.
    previous = [{"ParameterKey": "Tag", "UsePreviousValue": True}]
    await world.call("UpdateStack", StackName="web", UsePreviousTemplate=True, Parameters=previous)
    await world.settle("web")
    (made,) = world.fake.topics.values()
    assert made["DisplayName"] == "three"


async def test_a_broken_rule_refuses_the_call(world: World) -> None:
    template = {
        "Parameters": {"Env": {"Type": "String"}, "Size": {"Type": "Number"}},
        "Rules": {
            "Small": {
                "RuleCondition": {"Fn::Equals": [{"Ref": "Env"}, "dev"]},
                "Assertions": [
                    {"Assert": {"Fn::Contains": [["1", "2"], {"Ref": "Size"}]}, "AssertDescription": "Be small."}
                ],
            }
        },
        "Resources": {"A": topic(DisplayName={"Ref": "Size"})},
    }
    for operation, more in (
        ("CreateStack", {}),
        ("CreateChangeSet", {"ChangeSetName": "c", "ChangeSetType": "CREATE"}),
    ):
        refused = await world.refused(
            operation,
            StackName="web",
            TemplateBody=body(template),
            Parameters=values(Env="dev", Size="3"),
            **more,
        )
        assert (refused.code, refused.message) == (
            "ValidationError",
            "Template constraint error: Rule Small failed: Be small.",
        )
    assert await world.create("web", template, Parameters=values(Env="dev", Size="2")) == "CREATE_COMPLETE"
    assert await world.create("big", template, Parameters=values(Env="prod", Size="3")) == "CREATE_COMPLETE"


SECRET = json.dumps({"password": "hunter2", "port": 5432})


@pytest.mark.parametrize(
    ("reference", "value", "asked"),
    [
        ("{{resolve:ssm:/tag}}", "one", {}),
        ("a-{{resolve:ssm:/tag}}-{{resolve:ssm:/tag}}", "a-one-one", {}),
        ("{{resolve:secretsmanager:db}}", SECRET, {"SecretId": "db"}),
        ("{{resolve:secretsmanager:db:SecretString:password}}", "hunter2", {"SecretId": "db"}),
        ("{{resolve:secretsmanager:db:SecretString:port}}", "5432", {"SecretId": "db"}),
        (
            "{{resolve:secretsmanager:db:SecretString:password:AWSPREVIOUS}}",
            "hunter2",
            {"SecretId": "db", "VersionStage": "AWSPREVIOUS"},
        ),
        (
            "{{resolve:secretsmanager:db:SecretString:password::v1}}",
            "hunter2",
            {"SecretId": "db", "VersionId": "v1"},
        ),
        (
            "{{resolve:secretsmanager:arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf:SecretString:password}}",
            "hunter2",
            {"SecretId": "arn:aws:secretsmanager:us-east-1:000000000000:secret:db-AbCdEf"},
        ),
    ],
)  # fmt: skip
async def test_dynamic_references(world: World, reference: str, value: str, asked: Any) -> None:
    world.fake.parameters["/tag"] = {"Name": "/tag", "Type": "String", "Value": "one"}
    world.fake.secretsmanager_GetSecretValue = lambda params, caller: {"SecretString": SECRET}  # type: ignore[attr-defined]
    assert await world.create("web", {"Resources": {"A": topic(DisplayName=reference)}}) == "CREATE_COMPLETE"
    (made,) = world.fake.topics.values()
    assert made["DisplayName"] == value
    if asked:
        assert world.fake.asked("secretsmanager", "GetSecretValue")[0] == asked
    events = (await world.call("DescribeStackEvents", StackName="web"))["StackEvents"]
    assert all("hunter2" not in (each["ResourceProperties"] or "") for each in events)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("{{resolve:secretsmanager:db:SecretString:nothing}}", "Could not find a value associated with JSONKey"),
        ("{{resolve:secretsmanager:db:SecretBinary}}", "The only supported value"),
        ("{{resolve:secretsmanager:db:SecretString:password:A:v1}}", "not both"),
        ("{{resolve:secretsmanager:text:SecretString:password}}", "Could not parse SecretString JSON"),
        (
            "{{resolve:secretsmanager:none}}",
            "Secrets Manager can't find the specified secret. (Service: AWSSecretsManager; Status Code: 400; Error Code: "
            "ResourceNotFoundException)",
        ),
    ],
)
async def test_dynamic_references_that_lead_nowhere(world: World, reference: str, reason: str) -> None:
    def get(params: Any, caller: Any) -> Any:
        if params["SecretId"] == "none":
            raise AwsError("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        return {"SecretString": SECRET if params["SecretId"] == "db" else "plain text"}

    world.fake.secretsmanager_GetSecretValue = get  # type: ignore[attr-defined]
    assert await world.create("web", {"Resources": {"A": topic(DisplayName=reference)}}) == "ROLLBACK_COMPLETE"
    assert any(reason in found for name, _, found in await world.events("web") if name == "A")


async def test_br_30_select_of_split_names_an_export(world: World) -> None:
    producer = {
        "Resources": {"A": topic()},
        "Outputs": {"Id": {"Value": "c-1", "Export": {"Name": "staging-cluster-id"}}},
    }
    await world.create("producer", producer)
    name = {
        "Fn::Join": ["-", [{"Fn::Select": [0, {"Fn::Split": ["-", {"Ref": "AWS::StackName"}]}]}, "cluster-id"]]
    }
    consumer = {"Resources": {"A": topic(DisplayName={"Fn::ImportValue": name})}}
    assert await world.create("staging-alb", consumer) == "CREATE_COMPLETE"
    assert {"DisplayName": "c-1"} in world.fake.topics.values()
    assert await world.create("production-alb", consumer) == "ROLLBACK_COMPLETE"
    reasons = [reason for _, _, reason in await world.events("production-alb")]
    assert "No export named production-cluster-id found. Rollback requested by user." in reasons


async def test_br_30_select_of_cidr(world: World) -> None:
    blocks = {"Fn::Cidr": ["10.0.0.0/16", 4, 8]}
    template = {"Resources": {"A": topic(DisplayName={"Fn::Select": [3, blocks]})}}
    assert await world.create("web", template) == "CREATE_COMPLETE"
    (made,) = world.fake.topics.values()
    assert made["DisplayName"] == "10.0.3.0/24"


async def test_br_31_the_id_of_a_stack_has_three_parts(world: World) -> None:
    template = {
        "Resources": {"A": topic()},
        "Outputs": {"Id": {"Value": {"Fn::Select": [2, {"Fn::Split": ["/", {"Ref": "AWS::StackId"}]}]}}},
    }
    await world.create("web", template)
    found = await world.stack("web")
    (output,) = found["Outputs"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", output["OutputValue"])
    assert re.fullmatch(
        r"arn:aws:cloudformation:us-east-1:\d{12}:stack/web/" + output["OutputValue"], found["StackId"]
    )


async def test_conditions_decide_what_exists(world: World) -> None:
    template = {
        "Parameters": {"Env": {"Type": "String"}},
        "Conditions": {"IsProd": {"Fn::Equals": [{"Ref": "Env"}, "prod"]}},
        "Resources": {
            "A": topic() | {"Condition": "IsProd"},
            "B": topic(DisplayName={"Fn::If": ["IsProd", {"Ref": "A"}, {"Ref": "AWS::NoValue"}]}),
        },
        "Outputs": {"O": {"Condition": "IsProd", "Value": {"Ref": "A"}}, "P": {"Value": {"Ref": "B"}}},
    }
    assert await world.create("dev", template, Parameters=values(Env="dev")) == "CREATE_COMPLETE"
    assert set(await world.resources("dev")) == {"B"}
    assert [each["OutputKey"] for each in (await world.stack("dev"))["Outputs"]] == ["P"]
    assert await world.create("prod", template, Parameters=values(Env="prod")) == "CREATE_COMPLETE"
    assert set(await world.resources("prod")) == {"A", "B"}


@pytest.mark.parametrize(
    ("parts", "where"),
    [
        ({"Outputs": {"O": {"Value": {"Fn::GetAtt": ["A", "Invalid"]}}}}, "/Outputs/O/Value/Fn::GetAtt"),
        ({"Outputs": {"O": {"Value": {"Fn::Sub": "x ${A.Invalid}"}}}}, "/Outputs/O/Value/Fn::Sub"),
        (
            {
                "Resources": {
                    "A": topic(),
                    "B": topic(DisplayName={"Fn::Join": ["", [{"Fn::GetAtt": "A.Invalid"}]]}),
                }
            },
            "/Resources/B/Properties/DisplayName/Fn::Join/1/0/Fn::GetAtt",
        ),
    ],
)
async def test_an_attribute_that_does_not_exist_ends_the_operation(world: World, parts: Any, where: str) -> None:
    template = {"Resources": {"A": topic()}} | parts
    reason = f"[Error] {where}: Resource type AWS::SNS::Topic does not support attribute {{Invalid}}."
    assert await world.create("web", template) == "ROLLBACK_COMPLETE"
    assert f"{reason} Rollback requested by user." in [found for _, _, found in await world.events("web")]
    assert world.fake.topics == {}
    # A change set does not notice, only its execution does.
    text = body(template)
    await world.call(
        "CreateChangeSet", StackName="set", ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=text
    )
    found = await world.call("DescribeChangeSet", StackName="set", ChangeSetName="c")
    assert found["Status"] == "CREATE_COMPLETE"
    await world.call("ExecuteChangeSet", StackName="set", ChangeSetName="c")
    assert await world.settle("set") == "ROLLBACK_COMPLETE"
    await world.create("old", {"Resources": {"A": topic(FifoTopic=False)}})
    assert await world.update("old", template) == "UPDATE_ROLLBACK_COMPLETE"


async def test_stack_tags_are_limited(world: World) -> None:
    tags = [{"Key": f"k{index}", "Value": "v"} for index in range(51)]
    text = body({"Resources": {"A": topic()}})
    refused = await world.refused("CreateStack", StackName="web", TemplateBody=text, Tags=tags)
    assert (
        "at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50"
        in refused.message
    )
    await world.call("CreateStack", StackName="web", TemplateBody=text, Tags=tags[:50])


async def test_bodies_are_limited_by_where_they_come_from(world: World) -> None:
    padding = "#" * 60_000
    text = json.dumps({"Resources": {"A": topic()}}) + "\n"
    stored(world, big=f"Resources: {{A: {{Type: AWS::SNS::Topic}}}}\n{padding}", bigger="#" * 1_048_577)
    refused = await world.refused("CreateStack", StackName="web", TemplateBody=text + padding)
    assert "Member must have length less than or equal to 51200" in refused.message
    url = "https://pieces.s3.amazonaws.com/"
    refused = await world.refused("CreateStack", StackName="web", TemplateURL=url + "bigger")
    assert refused.message == "Template may not exceed 1048576 bytes in size."
    await world.call("CreateStack", StackName="web", TemplateURL=url + "big")
    assert await world.settle("web") == "CREATE_COMPLETE"


async def test_allowed_values_are_shown_as_they_are_to_be_given(world: World) -> None:
    switch = {"Type": "String", "AllowedValues": [True, False, 5]}
    text = body({"Parameters": {"On": switch}, "Resources": {"A": topic()}})
    (shown,) = (await world.call("GetTemplateSummary", TemplateBody=text))["Parameters"]
    assert shown["ParameterConstraints"] == {"AllowedValues": ["true", "false", "5"]}
    assert await world.create("web", text, Parameters=values(On="true")) == "CREATE_COMPLETE"


async def test_a_condition_may_leave_out_whole_attributes_of_a_resource(world: World) -> None:
    def chosen(value: Any) -> Any:
        return {"Fn::If": ["Never", value, {"Ref": "AWS::NoValue"}]}

    template = {
        "Conditions": {"Never": {"Fn::Equals": ["a", "b"]}},
        "Resources": {
            "A": parameter("x", Metadata=chosen({"a": "b"})),
            "H": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
            "W": {
                "Type": "AWS::CloudFormation::WaitCondition",
                "CreationPolicy": chosen({"ResourceSignal": {"Count": 1}}),
                "Properties": {"Handle": {"Ref": "H"}, "Count": 0, "Timeout": "1"},
            },
        },
    }
    await world.call(
        "CreateChangeSet",
        StackName="w",
        ChangeSetName="c",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps(template),
    )
    found = await world.call("DescribeChangeSet", StackName="w", ChangeSetName="c", IncludePropertyValues=True)
    assert "Metadata" not in json.loads(found["Changes"][0]["ResourceChange"]["AfterContext"])
    await world.call("ExecuteChangeSet", StackName="w", ChangeSetName="c")
    assert await world.settle("w") == "CREATE_COMPLETE"
    shown = await world.call("DescribeStackResource", StackName="w", LogicalResourceId="A")
    assert shown["StackResourceDetail"]["Metadata"] == "{}"

"""What is done again for each recording: the calls, in our own words, by the names that its answers were given.

`Session` is one account's clients with the templates of the recordings; a replay returns answers by name. Most of them
walk from one template to another by change sets (`steps`).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

Answers = dict[str, Any]
Replay = Callable[["Session"], Answers]
CAPABILITIES = ["CAPABILITY_AUTO_EXPAND", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"]
QUICK = {"Delay": 1, "MaxAttempts": 60}
REPLAYS: dict[str, Replay] = {}


class Session:
    """Clients of one recording. Every stack gets a name of its own, and `clean` takes all of them away."""

    number = 0

    def __init__(self, endpoint: str, templates: Path, recorded: Answers) -> None:
        self.endpoint = endpoint
        self.recorded = recorded
        self._templates = templates
        self._made: list[str] = []
        self.cfn = self.client("cloudformation")
        self.acknowledged = CAPABILITIES if "CAPABILITY_" in json.dumps(recorded) else []

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key="none",  # noqa: S106
            config=Config(parameter_validation=False),
        )

    def name(self) -> str:
        Session.number += 1
        self._made.append(f"stack-{Session.number}")
        return self._made[-1]

    def template(self, name: str) -> str:
        return next(iter(sorted(self._templates.rglob(name)))).read_text()

    def error(self, operation: str, service: str = "cloudformation", **params: Any) -> Any:
        """The error of a call: as its answer, or as boto3 says it if the recording has that."""
        method = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation).strip("_")
        try:
            getattr(self.client(service), method)(**params)
        except ClientError as error:
            return error
        raise AssertionError(f"{operation} was not refused")

    def shaped(self, key: str, error: ClientError) -> Any:
        recorded = self.recorded.get(key)
        if isinstance(recorded, str):
            return str(error)
        answer: Any = error.response
        return answer if isinstance(recorded, dict) and "ResponseMetadata" in recorded else answer["Error"]

    def create(self, body: str | dict[str, Any], name: str = "", **more: Any) -> str:
        """A stack, once it is complete; its id."""
        text = body if isinstance(body, str) else json.dumps(body)
        made = self.cfn.create_stack(
            StackName=name or self.name(), TemplateBody=text, Capabilities=self.acknowledged, **more
        )
        self.cfn.get_waiter("stack_create_complete").wait(StackName=made["StackId"], WaiterConfig=QUICK)
        return str(made["StackId"])

    def deploy(self, body: str | dict[str, Any], name: str = "", kind: str = "CREATE", **more: Any) -> str:
        """A stack by a change set, as deployment tools make it; its id."""
        text = body if isinstance(body, str) else json.dumps(body)
        name = name or self.name()
        made = self.cfn.create_change_set(
            StackName=name,
            ChangeSetName=f"{name}-set",
            ChangeSetType=kind,
            TemplateBody=text,
            Capabilities=self.acknowledged,
            **more,
        )
        self.cfn.get_waiter("change_set_create_complete").wait(ChangeSetName=made["Id"], WaiterConfig=QUICK)
        self.cfn.execute_change_set(ChangeSetName=made["Id"])
        waiter = "stack_create_complete" if kind == "CREATE" else "stack_update_complete"
        self.cfn.get_waiter(waiter).wait(StackName=made["StackId"], WaiterConfig=QUICK)
        return str(made["StackId"])

    def delete(self, stack: str) -> None:
        self.cfn.delete_stack(StackName=stack)
        self.cfn.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig=QUICK)

    def stack(self, stack: str) -> Any:
        return self.cfn.describe_stacks(StackName=stack)["Stacks"][0]

    def outputs(self, stack: str) -> dict[str, str]:
        return {each["OutputKey"]: each["OutputValue"] for each in self.stack(stack).get("Outputs", [])}

    def physical(self, stack: str, logical: str) -> str:
        found = self.cfn.describe_stack_resource(StackName=stack, LogicalResourceId=logical)
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def events(self, stack: str) -> list[Any]:
        pages = self.cfn.get_paginator("describe_stack_events").paginate(StackName=stack)
        return [each for page in pages for each in page["StackEvents"]]

    def clean(self) -> None:
        for name in reversed(self._made):
            with contextlib.suppress(ClientError, WaiterError):
                self.delete(name)


def replay(*names: str) -> Callable[[Replay], Replay]:
    def mark(made: Replay) -> Replay:
        REPLAYS.update(dict.fromkeys(names, made))
        return made

    return mark


def parameters(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]


# From one template to the next by change sets


def steps(
    first: dict[str, Any],
    second: dict[str, Any],
    one: dict[str, str] | None = None,
    two: dict[str, str] | None = None,
    *,
    session: Session,
) -> Answers:
    name, answers = session.name(), {}
    stack = ""
    acknowledged = session.recorded["describe-change-set-1"]["Capabilities"]
    for number, body, values in (("1", first, one), ("2", second, two)):
        made = session.cfn.create_change_set(
            StackName=name,
            ChangeSetName="change-set",
            ChangeSetType="CREATE" if number == "1" else "UPDATE",
            TemplateBody=json.dumps(body),
            Parameters=parameters(values or {}),
            Capabilities=acknowledged,
        )
        answers[f"create-change-set-{number}"] = made
        stack, change_set = made["StackId"], made["Id"]
        session.cfn.get_waiter("change_set_create_complete").wait(ChangeSetName=change_set, WaiterConfig=QUICK)
        for key, whole in (("-prop-values", True), ("", False)):
            found = session.cfn.describe_change_set(ChangeSetName=change_set, IncludePropertyValues=whole)
            answers[f"describe-change-set-{number}{key}"] = found
        answers[f"execute-change-set-{number}"] = session.cfn.execute_change_set(ChangeSetName=change_set)
        waiter = "stack_create_complete" if number == "1" else "stack_update_complete"
        session.cfn.get_waiter(waiter).wait(StackName=stack, WaiterConfig=QUICK)
        answers[f"post-create-{number}-describe"] = session.stack(stack)
    answers["describe"] = session.stack(stack)
    told = session.recorded["per-resource-events"]
    short = "Stack" in told
    if not short:
        answers["per-resource-events"] = by_resource(session.events(stack), "<stack-name:1>" in told, name)
    session.delete(stack)
    if short:
        answers["per-resource-events"] = shortened(session.events(stack), name)
    answers["delete-describe"] = session.stack(stack)
    if "all-events" in session.recorded:
        answers["all-events"] = in_all(session.events(stack))
    return answers


def in_all(events: list[Any]) -> list[list[str]]:
    """The statuses of everything in the order of time, each told once."""
    found: list[list[str]] = []
    for each in reversed(events):
        told = [each["LogicalResourceId"], each["ResourceStatus"]]
        if told not in found and "CLEANUP" not in told[1]:
            found.append(told)
    return found


def by_resource(events: list[Any], with_stack: bool, name: str) -> dict[str, list[Any]]:
    """Newest first, as they are told."""
    found: dict[str, list[Any]] = {}
    for each in events:
        if with_stack or each["LogicalResourceId"] != name:
            found.setdefault(each["LogicalResourceId"], []).append(each)
    return found


SHORT = ("LogicalResourceId", "PhysicalResourceId", "ResourceStatus", "ResourceType", "Timestamp")


def shortened(events: list[Any], name: str) -> dict[str, list[Any]]:
    """Oldest first, one for each status that a resource came to; some recordings keep no more of them."""
    found: dict[str, list[Any]] = {}
    for each in reversed(events):
        if "CLEANUP" in each["ResourceStatus"]:
            continue
        logical = each["LogicalResourceId"]
        told = found.setdefault("Stack" if logical == name else logical, [])
        if told and told[-1]["ResourceStatus"] == each["ResourceStatus"]:
            told.pop()
        told.append({key: each[key] for key in SHORT if key in each})
    return found


def topic(number: Any = 1, display: Any = None, *, name: Any = None, **more: Any) -> dict[str, Any]:
    properties = {} if display is None else {"DisplayName": display}
    if name is not False:
        properties["TopicName"] = name or f"topic-name-{number}"
    return {"Type": "AWS::SNS::Topic", "Properties": properties} | more


def parameter(value: Any, **more: Any) -> dict[str, Any]:
    return {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": value} | more}


def resources(*topics: Any, **named: Any) -> dict[str, Any]:
    return {"Resources": {f"Topic{number}": each for number, each in enumerate(topics, start=1)} | named}


def changed(file: str, test: str, first: Any, second: Any, one: Any = None, two: Any = None) -> None:
    kind = {
        "depends_on": "DependsOn", "fn_get_attr": "FnGetAttr", "fn_join": "FnJoin", "fn_select": "FnSelect",
        "fn_split": "FnSplit", "fn_sub": "FnSub", "mappings": "Mappings", "ref": "Ref", "parameters": "Parameters",
    }  # fmt: skip
    group = kind.get(file)
    name = f"cloudformation/test_change_set_{file}::TestChangeSet{group}::{test}" if group else f"{file}::{test}"
    REPLAYS[name] = lambda session: steps(first, second, one, two, session=session)


def literal(file: str, test: str, first: Any, second: Any, *, name: Any = None, **sections: Any) -> None:
    """One topic whose display name changes."""
    changed(
        file,
        test,
        resources(topic(1, first, name=name)) | sections,
        resources(topic(1, second, name=name)) | sections,
    )


def att(number: int, attribute: str = "DisplayName") -> dict[str, Any]:
    return {"Fn::GetAtt": [f"Topic{number}", attribute]}


def ref(name: Any) -> dict[str, Any]:
    return {"Ref": f"Topic{name}" if isinstance(name, int) else name}


def join(delimiter: Any, *values: Any) -> dict[str, Any]:
    return {"Fn::Join": [delimiter, list(values)]}


def select(index: Any, values: Any) -> dict[str, Any]:
    return {"Fn::Select": [index, values]}


def split(delimiter: str, source: Any) -> dict[str, Any]:
    return {"Fn::Join": ["_", {"Fn::Split": [delimiter, source]}]}


def found(name: Any, key: Any, second: Any) -> dict[str, Any]:
    return {"Fn::FindInMap": [name, key, second]}


V1, V2 = "display-value-1", "display-value-2"

# DependsOn
for test, needs in (
    ("test_update_depended_resource", "Topic1"),
    ("test_update_depended_resource_list", ["Topic1"]),
):
    changed(
        "depends_on",
        test,
        resources(topic(1, V1), topic(2, V2, DependsOn=needs)),
        resources(topic(1, f"{V1}-updated"), topic(2, V2, DependsOn=needs)),
    )
LAST = topic("n", "display-value-n", DependsOn=["Topic1"])
LAST_OF_TWO = topic("n", "display-value-n", DependsOn=["Topic1", "Topic2"])
SECOND = topic(2, V2, DependsOn=["Topic1"])
changed(
    "depends_on",
    "test_multiple_dependencies_addition",
    resources(topic(1, V1), Topicn=LAST),
    resources(topic(1, V1), SECOND, Topicn=LAST_OF_TWO),
)
changed(
    "depends_on",
    "test_multiple_dependencies_deletion",
    resources(topic(1, V1), SECOND, Topicn=LAST_OF_TWO),
    resources(topic(1, V1), Topicn=LAST),
)

# Fn::GetAtt and Ref
for file, of in (("fn_get_attr", att), ("ref", ref)):
    pair = resources(topic(1, V1), topic(2, of(1)))
    changed(file, "test_resource_addition", resources(topic(1, V1)), pair)
    changed(file, "test_direct_attribute_value_change", pair, resources(topic(1, V2), topic(2, of(1))))
    changed(
        file,
        "test_direct_attribute_value_change_with_dependent_addition",
        resources(topic(1, V1)),
        resources(topic(1, V2), topic(2, of(1))),
    )
    changed(
        file,
        "test_immutable_property_update_causes_resource_replacement",
        resources(topic(1, "value"), topic(2, of(1))),
        resources(topic(1, "new_value", name="updated-topic-name-1"), topic(2, of(1))),
    )
    chain = "get_attr" if file == "fn_get_attr" else "ref"
    changed(
        file,
        f"test_direct_attribute_value_change_in_{chain}_chain",
        resources(topic(1, V1), topic(2, of(1)), topic(3, of(2))),
        resources(topic(1, V2), topic(2, of(1)), topic(3, of(2))),
    )
changed(
    "fn_get_attr",
    "test_resource_deletion",
    resources(topic(1, V1), topic(2, att(1))),
    resources(topic(1, V1)),
)
PSEUDO = ("Partition", "AccountId", "Region", "StackName", "StackId", "URLSuffix")
changed(
    "ref",
    "test_supported_pseudo_parameter",
    resources(topic(1, name="topic_name_1")),
    {
        "Resources": {
            "Topic2": {
                "Type": "AWS::SNS::Topic",
                "Properties": {
                    "TopicName": "topic_name_2",
                    "Tags": [{"Key": each, "Value": ref(f"AWS::{each}")} for each in PSEUDO],
                },
            }
        }
    },
)

# Fn::Join
literal("fn_join", "test_update_string_literal_argument", join("-", "v1", "test"), join("-", "v2", "test"))
literal("fn_join", "test_update_string_literal_delimiter", join("-", "v1", "test"), join("_", "v2", "test"))
literal("fn_join", "test_update_string_literal_delimiter_empty", join("", "v1", "test"), join("-", "v1", "test"))
literal("fn_join", "test_update_string_literal_arguments_empty", join(""), join("", "v1", "test"))
for test, source in (
    ("test_update_refence_argument", att(1)),
    ("test_indirect_update_refence_argument", select(0, {"Fn::Split": ["delimiter", att(1)]})),
):
    changed(
        "fn_join",
        test,
        resources(topic(1, "display-name-1"), topic(2, join("-", "prefix", source))),
        resources(topic(1, "display-name-2"), topic(2, join("-", "prefix", source))),
    )

# Fn::Select
THREE, OTHERS = ["1st", "2nd", "3rd"], ["1st", "new-2nd", "3rd"]
literal("fn_select", "test_fn_select_add_to_static_property", "topic-name-1", select(1, THREE), name=False)
literal("fn_select", "test_fn_select_remove_from_static_property", select(1, THREE), "topic-name-1", name=False)
literal(
    "fn_select",
    "test_fn_select_change_in_selection_list",
    select(1, ["1st", "2nd"]),
    select(1, OTHERS),
    name=False,
)
literal(
    "fn_select", "test_fn_select_change_in_selection_index_only", select(1, THREE), select(0, THREE), name=False
)
literal(
    "fn_select",
    "test_fn_select_change_in_selected_element_type_ref",
    select(0, ["1st"]),
    select(0, [ref("AWS::StackName")]),
    name=False,
)
PICKED = topic(2, select(0, [att(1)]), name=False)
changed(
    "fn_select",
    "test_fn_select_change_get_att_reference",
    resources(topic(1, "topic-name-1", name=False), PICKED),
    resources(topic(1, "topic-name-2", name=False), PICKED),
)

# Fn::Split
PARTS = split("-", "part1-part2-part3")
literal("fn_split", "test_fn_split_add_to_static_property", "topic-name-1", PARTS, name=False)
literal("fn_split", "test_fn_split_remove_from_static_property", PARTS, "topic-name-1", name=False)
literal("fn_split", "test_fn_split_change_source_string_only", split("-", "a-b"), split("-", "x-y-z"), name=False)
literal(
    "fn_split",
    "test_fn_split_change_delimiter",
    split("-", "a-b--c::d"),
    split(":", "a-b--c::d"),
    name=False,
)
SPLIT_OF = topic(2, split("-", att(1)), name=False)
changed(
    "fn_split",
    "test_fn_split_with_get_att",
    resources(topic(1, "topic-name-1", name=False), SPLIT_OF),
    resources(topic(1, "topic-name-2", name=False), SPLIT_OF),
)


def declared(name: str, default: str | None = None, kind: str = "String") -> dict[str, Any]:
    return {"Parameters": {name: {"Type": kind} | ({} if default is None else {"Default": default})}}


SOURCE = resources(topic(1, split("-", ref("DelimiterParam")), name=False))
changed(
    "fn_split",
    "test_fn_split_with_ref_as_string_source",
    SOURCE | declared("DelimiterParam", "hello-world"),
    SOURCE | declared("DelimiterParam", "foo-bar-baz"),
)

# Fn::Sub
STACK_NAME = {"Fn::Sub": "The stack name is ${AWS::StackName}"}
REGION_NAME = {"Fn::Sub": "The region name is ${AWS::Region}"}


def sub(names: dict[str, Any]) -> dict[str, Any]:
    holes = ", ".join(f"${{{each}}}" for each in names)
    return {"Fn::Sub": [f"Parameter interpolation: {holes}", names]}


literal("fn_sub", "test_fn_sub_addition_string_pseudo", V1, STACK_NAME)
literal("fn_sub", "test_fn_sub_update_string_pseudo", STACK_NAME, REGION_NAME)
literal("fn_sub", "test_fn_sub_delete_string_pseudo", STACK_NAME, "display-name-2")
literal("fn_sub", "test_fn_sub_addition_parameter_literal", V1, sub({"var_name": "var_value"}))
ONE, BOTH = {"var_name_1": "var_value_1"}, {"var_name_1": "var_value_1", "var_name_2": "var_value_2"}
literal("fn_sub", "test_fn_sub_update_parameter_literal", sub(ONE), sub(BOTH))
literal("fn_sub", "test_fn_sub_delete_parameter_literal", sub(BOTH), sub(ONE))
SHOWN = declared("ParameterDisplayName", "display-value-parameter")
NAMED = {"Fn::Sub": "Parameter interpolation: ${ParameterDisplayName}"}
for test, before, after in (
    ("test_fn_sub_addition_parameter_ref", V1, sub({"var_name": ref("ParameterDisplayName")})),
    ("test_fn_sub_addition_parameter", V1, NAMED),
    (
        "test_fn_sub_update_parameter_type",
        sub({"var_name": V1}),
        sub({"var_name": ref("ParameterDisplayName")}),
    ),
):
    changed("fn_sub", test, resources(topic(1, before)), resources(topic(1, after)) | SHOWN)


# Mappings
def mapped(*topics: Any, **maps: Any) -> dict[str, Any]:
    return resources(*topics) | {"Mappings": maps}


LOOKED = topic(1, found("SNSMapping", "Key1", "Val"))
NEXT = topic(2, found("SNSMapping", "Key2", "Val"))
FIRST_KEY = {"Key1": {"Val": V1}}
TWO_KEYS = {"Key1": {"Val": V1}, "Key2": {"Val": V2}}
changed(
    "mappings",
    "test_mapping_leaf_update",
    mapped(LOOKED, SNSMapping=FIRST_KEY),
    mapped(LOOKED, SNSMapping={"Key1": {"Val": V2}}),
)
changed(
    "mappings",
    "test_mapping_key_update",
    mapped(LOOKED, SNSMapping=FIRST_KEY),
    mapped(topic(1, found("SNSMapping", "KeyNew", "Val")), SNSMapping={"KeyNew": {"Val": V2}}),
)
NEW = {"Key1": {"Val": "display-value-new"}}
OTHER_MAP = topic(2, found("SNSMapping2", "Key1", "Val"))
changed(
    "mappings",
    "test_mapping_addition_with_resource",
    mapped(LOOKED, SNSMapping=FIRST_KEY),
    mapped(LOOKED, OTHER_MAP, SNSMapping=FIRST_KEY, SNSMapping2=NEW),
)
changed(
    "mappings",
    "test_mapping_key_addition_with_resource",
    mapped(LOOKED, SNSMapping=FIRST_KEY),
    mapped(LOOKED, NEXT, SNSMapping=FIRST_KEY | {"Key2": {"Val": "display-value-new"}}),
)
REMAPPED = topic(2, found("SNSMapping", "Key1", "Val"))
changed(
    "mappings",
    "test_mapping_deletion_with_resource_remap",
    mapped(LOOKED, OTHER_MAP, SNSMapping=FIRST_KEY, SNSMapping2=NEW),
    mapped(LOOKED, REMAPPED, SNSMapping=FIRST_KEY),
)
changed(
    "mappings",
    "test_mapping_key_deletion_with_resource_remap",
    mapped(LOOKED, NEXT, SNSMapping=TWO_KEYS),
    mapped(LOOKED, REMAPPED, SNSMapping=FIRST_KEY),
)
ZONE = found("Zones", ref("AWS::Region"), "Id")
ZONES = {"us-east-1": {"Id": "Z2FDTNDATAQYW2"}}
changed(
    "mappings",
    "test_fn_find_in_map_with_nested_ref",
    mapped(topic(1, ZONE), Zones=ZONES),
    mapped(topic(1, ZONE, name="topic-name-1-updated"), Zones=ZONES),
)
changed(
    "mappings",
    "test_fn_find_in_map_with_nested_ref_change_mapping",
    mapped(topic(1, ZONE), Zones={"us-east-1": {"Id": "value-1"}}),
    mapped(topic(1, ZONE), Zones={"us-east-1": {"Id": "value-3"}}),
)
NESTED = found(ref("Environment"), ref("AWS::Partition"), "Id")
MAPS = {each: {"aws": {"Id": f"{each}-aws-value"}} for each in ("prod", "dev")}
changed(
    "mappings",
    "test_fn_find_in_map_with_multiple_nested_functions",
    mapped(
        topic(1, found("Maps", ref("Environment"), ref("AWS::Partition"))),
        Maps={each: {"aws": f"{each}-aws-value"} for each in ("prod", "dev")},
    )
    | declared("Environment"),
    mapped(
        topic(1, found("Maps", ref("Environment"), ref("AWS::Partition"))),
        Maps={each: {"aws": f"{each}-aws-value"} for each in ("prod", "dev")},
    )
    | declared("Environment"),
    {"Environment": "prod"},
    {"Environment": "dev"},
)

# Parameters
FOO = {"Resources": {"Foo": topic(name=ref("TopicName"))}}
T1, T2 = {"TopicName": "topic-name-1"}, {"TopicName": "topic-name-2"}
for test, first, second, one, two in (
    ("test_update_parameter_default_value", "topic-name-1", "topic-name-2", None, None),
    ("test_update_parameter_with_added_default_value", None, "topic-name-2", T1, None),
    ("test_update_parameter_with_removed_default_value", "topic-name-1", None, None, T2),
    ("test_update_parameter_default_value_with_dynamic_overrides", "default-1", "default-2", T1, T2),
):
    changed("parameters", test, FOO | declared("TopicName", first), FOO | declared("TopicName", second), one, two)
VALUE = {"Resources": {"MyParameter": parameter(ref("Value"))}}
REPLAYS["cloudformation/test_change_set_parameters::test_parameter_type_change"] = partial(
    lambda session: steps(
        VALUE | declared("Value", kind="Number"),
        VALUE | declared("Value"),
        {"Value": "123"},
        {"Value": "456"},
        session=session,
    )
)

# What the group of general change sets has
SETS = "cloudformation/test_change_sets"
UPDATES = f"{SETS}::TestCaptureUpdateProcess"


def foo(name: Any) -> dict[str, Any]:
    return {"Foo": topic(name=name)}


DERIVED = {"Parameter": parameter({"Fn::GetAtt": ["Foo", "TopicName"]})}
STATIC = {"MyMap": {"MyKey": {"Name": "topic-name-1"}}}
KEYED = {"MyMap": {"key1": {"Name": "topic-name-1"}, "key2": {"Name": "topic-name-2"}}}
CHOSEN = {"Resources": foo(found("MyMap", ref("TopicName"), "Name")) | DERIVED, "Mappings": KEYED}
changed(UPDATES, "test_direct_update", {"Resources": foo("topic-1")}, {"Resources": foo("topic-2")})
changed(
    UPDATES,
    "test_dynamic_update",
    {"Resources": foo("topic-1") | DERIVED},
    {"Resources": foo("topic-2") | DERIVED},
)
GIVEN = {"Resources": foo(ref("TopicName")) | DERIVED} | declared("TopicName")
changed(UPDATES, "test_parameter_changes", GIVEN, GIVEN, {"TopicName": "topic-1"}, {"TopicName": "topic-2"})
MAPPED = {"Resources": foo(found("MyMap", "MyKey", "Name")) | DERIVED}
changed(
    UPDATES,
    "test_mappings_with_static_fields",
    MAPPED | {"Mappings": STATIC},
    MAPPED | {"Mappings": {"MyMap": {"MyKey": {"Name": "topic-name-2"}}}},
)
CHOSEN |= declared("TopicName")
changed(
    UPDATES, "test_mappings_with_parameter_lookup", CHOSEN, CHOSEN, {"TopicName": "key1"}, {"TopicName": "key2"}
)
CONDITIONAL = {
    "Conditions": {"IsProduction": {"Fn::Equals": [ref("EnvironmentType"), "prod"]}},
    "Resources": {
        "Bucket": {"Type": "AWS::S3::Bucket"},
        "Parameter": parameter("test") | {"Condition": "IsProduction"},
    },
} | declared("EnvironmentType")
changed(
    UPDATES,
    "test_conditions",
    CONDITIONAL,
    CONDITIONAL,
    {"EnvironmentType": "not-prod"},
    {"EnvironmentType": "prod"},
)
for test, first, second in (
    (
        "test_unrelated_changes_update_propagation",
        parameter("topic-name", Description="original"),
        parameter("topic-name", Description="changed"),
    ),
    (
        "test_unrelated_changes_requires_replacement",
        parameter("value", Name="parameter-1-name"),
        parameter("value", Name="parameter-2-name"),
    ),
):
    depending = parameter({"Fn::GetAtt": ["Parameter1", "Value"]})
    changed(
        UPDATES,
        test,
        {"Resources": {"Parameter1": first, "Parameter2": depending}},
        {"Resources": {"Parameter1": second, "Parameter2": depending}},
    )
for test, first, second, one, two in (
    (
        "test_base_dynamic_parameter_scenarios[change_dynamic]",
        {"Resources": {"Parameter": parameter(ref("ParameterValue"))}} | declared("ParameterValue"),
        {"Resources": {"Parameter": parameter(ref("ParameterValue"))}} | declared("ParameterValue"),
        {"ParameterValue": "value-1"},
        {"ParameterValue": "value-2"},
    ),
    (
        "test_base_mapping_scenarios[update_string_referencing_resource]",
        {
            "Resources": {"MySSMParameter": parameter(found("GenericMapping", "EnvironmentA", "ParameterValue"))},
            "Mappings": {"GenericMapping": {"EnvironmentA": {"ParameterValue": "value-1"}}},
        },
        {
            "Resources": {"MySSMParameter": parameter(found("GenericMapping", "EnvironmentA", "ParameterValue"))},
            "Mappings": {"GenericMapping": {"EnvironmentA": {"ParameterValue": "value-2"}}},
        },
        None,
        None,
    ),
):
    changed(UPDATES, test, first, second, one, two)
    changed(SETS, test, first, second, one, two)


def why_not(name: str, recorded: Answers) -> str:
    """Why a recording is not done again."""
    for part, reason in REASONS.items():
        if part in name or part in json.dumps(recorded):
            return reason
    return "its template is not among those that were published with it"


REASONS = {
    "iam/": "calls IAM alone, which moto answers",
    "sts/": "calls STS alone, for federation and tagged sessions that the local cloud does not have",
    "Macro": "macros are not offered",
    "macro": "macros are not offered",
    "lambda": "needs a Lambda function that runs",
}

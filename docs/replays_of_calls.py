"""What is done again for recordings of single calls: stacks, change sets, policies, templates and their errors."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import WaiterError
from replays import (
    QUICK,
    Answers,
    Session,
    parameter,
    parameters,
    ref,
    replay,
    shortened,
    steps,
    topic,
)

API = "cloudformation/api"
STACKS, SETS, TEMPLATES = f"{API}/test_stacks", f"{API}/test_changesets", f"{API}/test_templates"
POLICIES = f"{API}/test_stack_policies::TestStackPolicy"
UPDATE, RESOURCES = f"{API}/test_update_stack", f"{API}/test_resources"
ENGINE = "cloudformation/engine"
SIMPLE = {"Resources": {"SimpleParam": parameter("test")}}


def one_error(name: str, key: str, operation: str, body: Any = None, **params: Any) -> None:
    """A single call that is refused."""

    def act(session: Session) -> Answers:
        given = dict(params)
        if body is not None:
            given["TemplateBody"] = body if isinstance(body, str) else json.dumps(body)
        if operation in ("CreateStack", "CreateChangeSet") and "StackName" not in given:
            given["StackName"] = session.name()
        if operation == "CreateChangeSet":
            given |= {"ChangeSetName": "change-set", "ChangeSetType": "CREATE"}
        return {key: session.shaped(key, session.error(operation, **given))}

    replay(name)(act)


# Templates that are refused

OUTPUT = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
BROKEN = f"{API}/test_validations::test_invalid_output_structure"
one_error(
    f"{BROKEN}[none-value]",
    "validation-error",
    "CreateChangeSet",
    OUTPUT | {"Outputs": {"MyOutput": {"Value": None}}},
)
one_error(
    f"{API}/test_validations::test_missing_resources_block",
    "validation-error",
    "CreateChangeSet",
    {"Parameters": {"P": {"Type": "String"}}},
)
BLOCKS = f"{API}/test_validations::test_resources_blocks"
one_error(
    f"{BLOCKS}[missing-type]", "validation-error", "CreateChangeSet", {"Resources": {"A": {"Properties": {}}}}
)
one_error(
    f"{BLOCKS}[invalid-key]",
    "validation-error",
    "CreateChangeSet",
    {"Resources": {"A": {"Type": "AWS::SNS::Topic", "Invalid": "x"}}},
)
one_error(
    f"{STACKS}::test_linting_error_during_creation", "error", "CreateStack", {"Resources": {"A": "no object"}}
)
one_error(
    f"{TEMPLATES}::test_validate_invalid_json_template_should_fail",
    "validate-invalid-json",
    "ValidateTemplate",
    '{"this is invalid JSON"}',
)
one_error(
    f"{RESOURCES}::test_invalid_logical_resource_id",
    "error",
    "CreateChangeSet",
    {"Resources": {"my-bad-resource-id": parameter("x")}},
)
PSEUDO = f"{SETS}::test_using_pseudoparameters_in_places"
one_error(f"{PSEUDO}[resource]", "error", "CreateChangeSet", {"Resources": {"AWS::NoValue": parameter("x")}})
one_error(
    f"{PSEUDO}[parameter]",
    "error",
    "CreateChangeSet",
    SIMPLE | {"Parameters": {"AWS::NoValue": {"Type": "String"}}},
)
SELECT = "cloudformation/test_change_set_fn_select::TestChangeSetFnSelect::test_invalid_select_index_type"
for case, argument in (
    ("non-integer-index", ["a", ["1st", "2nd"]]),
    ("non-list-list", [0, "1st"]),
    ("index-out-of-range", [3, ["1st", "2nd"]]),
):
    one_error(
        f"{SELECT}[{case}]",
        "error",
        "CreateChangeSet",
        {"Resources": {"P": parameter({"Fn::Select": argument})}},
    )
for file in ("getatt_validation.yml", "getatt_validation2.yml"):
    group = "cloudformation/test_change_set_fn_get_attr::TestChangeSetFnGetAttr"

    def refused(session: Session, file: str = file) -> Answers:
        error = session.error(
            "CreateChangeSet",
            StackName=session.name(),
            ChangeSetName="change-set",
            ChangeSetType="CREATE",
            TemplateBody=session.template(file),
        )
        return {"error": session.shaped("error", error)}

    replay(f"{group}::test_invalid_structure[{file}]")(refused)
one_error(
    "cloudformation/test_change_set_parameters::TestChangeSetParameters::test_invalid_parameter_type",
    "error",
    "CreateChangeSet",
    {"Resources": {"MyParameter": parameter(ref("Value"))}, "Parameters": {"Value": {"Type": "Number"}}},
    Parameters=parameters({"Value": "not a number"}),
)

# Names that lead nowhere

one_error(f"{SETS}::test_describe_change_set_nonexisting", "exception", "DescribeChangeSet",
          StackName="somestack", ChangeSetName="DoesNotExist")  # fmt: skip
one_error(f"{STACKS}::test_describe_stack_events_errors", "describe_stack_events_stack_not_found",
          "DescribeStackEvents", StackName="does-not-exist")  # fmt: skip
one_error(f"{RESOURCES}::test_describe_non_existent_stack", "error", "DescribeStackResource",
          StackName="not-a-valid-stack", LogicalResourceId="r")  # fmt: skip
one_error(f"{TEMPLATES}::test_get_template_no_arguments", "stack-error", "GetTemplate")
one_error(f"{TEMPLATES}::test_get_template_missing_resources_stack", "stack-error", "GetTemplate",
          StackName="does-not-exist")  # fmt: skip
one_error(f"{TEMPLATES}::test_get_template_missing_resources_change_set", "change-set-error", "GetTemplate",
          ChangeSetName="does-not-exist")  # fmt: skip
one_error(f"{TEMPLATES}::test_get_template_summary_no_resources", "error", "GetTemplateSummary",
          {"Parameters": {"P": {"Type": "String"}}})  # fmt: skip
one_error(f"{TEMPLATES}::test_create_stack_from_s3_template_url[http_invalid]", "create-error", "CreateStack",
          TemplateURL="https://example.invalid/template.yaml")  # fmt: skip
one_error(f"{TEMPLATES}::test_create_stack_from_s3_template_url[s3_url]", "create-error", "CreateStack",
          TemplateURL="s3://bucket/template.yaml")  # fmt: skip
one_error(f"{STACKS}::TestStacksApi::test_create_stack_url_as_template", "stack_create_ec2", "CreateStack",
          "https://bucket.s3.amazonaws.com/template.yaml")  # fmt: skip


@replay(f"{TEMPLATES}::test_get_template_missing_resources")
def missing_templates(session: Session) -> Answers:
    asked = {"stack-error": {"StackName": "does-not-exist"}, "change-set-error": {"ChangeSetName": "none"}}
    return {key: session.shaped(key, session.error("GetTemplate", **params)) for key, params in asked.items()}


@replay(f"{SETS}::test_delete_change_set_exception")
def deletions_refused(session: Session) -> Answers:
    one = session.error("DeleteChangeSet", StackName="nostack", ChangeSetName="DoesNotExist")
    other = session.error("DeleteChangeSet", ChangeSetName="DoesNotExist")
    return {"e1": session.shaped("e1", one), "e2": session.shaped("e2", other)}


@replay(f"{STACKS}::TestStacksApi::test_stack_name_creation")
def bad_name(session: Session) -> Answers:
    error = session.error(
        "CreateChangeSet",
        StackName="*@da591fa3_$",
        ChangeSetName="change-set",
        ChangeSetType="CREATE",
        TemplateBody=session.template("sns_topic_template.yaml"),
    )
    return {"stack_response": session.shaped("stack_response", error)}


@replay(f"{STACKS}::test_no_parameters_given")
def no_parameters(session: Session) -> Answers:
    error = session.error(
        "CreateChangeSet",
        StackName=session.name(),
        ChangeSetName="change-set",
        ChangeSetType="CREATE",
        TemplateBody=session.template("ssm_parameter_defaultname.yaml"),
    )
    return {"deploy-error": session.shaped("deploy-error", error)}


@replay(f"{STACKS}::test_stack_resource_not_found")
def no_such_resource(session: Session) -> Answers:
    name = session.name()
    session.deploy(session.template("sns_topic_simple.yaml"), name)
    error = session.error("DescribeStackResource", StackName=name, LogicalResourceId="NonExistentResource")
    return {"Error": session.shaped("Error", error)}


@replay(f"{RESOURCES}::test_describe_non_existent_resource")
def no_such_resource_of_an_id(session: Session) -> Answers:
    stack = session.deploy(SIMPLE)
    error = session.error("DescribeStackResource", StackName=stack, LogicalResourceId="not-a-valid-resource")
    return {"error": session.shaped("error", error)}


@replay(f"{RESOURCES}::test_describe_deleted_resource_on_update")
def resource_gone(session: Session) -> Answers:
    name = session.name()
    session.deploy({"Resources": {"Parameter": parameter("one")}}, name)
    session.deploy({"Resources": {"Parameter2": parameter("two")}}, name, "UPDATE")
    error = session.error("DescribeStackResource", StackName=name, LogicalResourceId="Parameter")
    found = session.cfn.describe_stack_resource(StackName=name, LogicalResourceId="Parameter2")
    return {"error": session.shaped("error", error), "parameter": found}


@replay(f"{STACKS}::test_non_existing_stack_message")
def no_such_stack(session: Session) -> Answers:
    return {"Error": session.shaped("Error", session.error("DescribeStacks", StackName="no-such-stack"))}


# The mapping that the same template was tried with


def mapping(name: str, key: str, file: str, *, change_set: bool = False, **values: str) -> None:
    def act(session: Session) -> Answers:
        given = {"TopicName": "topic"} | values
        params: dict[str, Any] = {"StackName": session.name(), "TemplateBody": session.template(file)}
        if change_set:
            params |= {"ChangeSetName": "change-set", "ChangeSetType": "CREATE"}
        operation = "CreateChangeSet" if change_set else "CreateStack"
        error = session.error(operation, **params, Parameters=parameters(given))
        return {key: session.shaped(key, error)}

    replay(f"{ENGINE}/test_mappings::TestCloudFormationMappings::{name}")(act)


mapping("test_mapping_with_nonexisting_key", "mapping_nonexisting_key_exc", "simple-mapping.yaml",
        TopicNameSuffixSelector="C")  # fmt: skip
mapping("test_async_mapping_error_first_level_v2", "error", "simple-mapping.yaml", change_set=True,
        TopicNameSuffixSelector="C")  # fmt: skip
mapping("test_async_mapping_error_second_level_v2", "error", "simple-mapping.yaml", change_set=True,
        TopicNameSuffixSelector="A", TopicAttributeSelector="NotValid")  # fmt: skip
mapping("test_mapping_with_invalid_refs", "mapping_invalid_ref_exc", "simple-mapping-invalid-ref.yaml",
        TopicNameSuffixSelector="A", TopicNameSuffix="suffix")  # fmt: skip
mapping("test_mapping_maximum_nesting_depth", "mapping_maximum_level_exc", "simple-mapping-nesting-depth.yaml",
        TopicNameSuffixSelector="A")  # fmt: skip
mapping("test_mapping_minimum_nesting_depth", "mapping_minimum_level_exc", "simple-mapping-single-level.yaml",
        TopicNameSuffixSelector="A")  # fmt: skip


# Stack policies


def policy_stack(session: Session, **more: Any) -> str:
    values = parameters({"TopicName": "policy-topic", "BucketName": "policy-bucket-of-ours"})
    return session.create(session.template("stack_policy_test.yaml"), Parameters=values, **more)


def policy(session: Session, stack: str) -> Any:
    return session.cfn.get_stack_policy(StackName=stack)


@replay(f"{POLICIES}::test_empty_policy")
def empty_policy(session: Session) -> Answers:
    stack = policy_stack(session)
    session.cfn.set_stack_policy(StackName=stack, StackPolicyBody=session.template("empty_policy.json"))
    return {"policy": policy(session, stack)}


@replay(f"{POLICIES}::test_policy_lifecycle")
def policies_in_turn(session: Session) -> Answers:
    stack = policy_stack(session)
    answers = {"initial_policy": policy(session, stack)}
    for key, effect in (("policy", "Allow"), ("policy_updated", "Deny")):
        body = {"Statement": [{"Effect": effect, "Action": "Update:*", "Principal": "*", "Resource": "*"}]}
        session.cfn.set_stack_policy(StackName=stack, StackPolicyBody=json.dumps(body))
        answers[key] = policy(session, stack)
    session.cfn.set_stack_policy(StackName=stack, StackPolicyBody="{}")
    answers["policy_deleted"] = policy(session, stack)
    return answers


@replay(f"{POLICIES}::test_create_stack_with_policy")
def policy_from_the_start(session: Session) -> Answers:
    stack = policy_stack(session, StackPolicyBody=session.template("stack_policy.json"))
    return {"policy": policy(session, stack)}


def policy_refused(name: str, **params: Any) -> None:
    def act(session: Session) -> Answers:
        stack = policy_stack(session)
        given = {
            key: session.template(value.removeprefix("file:")) if value.startswith("file:") else value
            for key, value in params.items()
        }
        error = session.error("SetStackPolicy", StackName=stack, **given)
        return {"error": session.shaped("error", error)}

    replay(f"{POLICIES}::{name}")(act)


def statement(**members: Any) -> str:
    return json.dumps({"Statement": [{"Effect": "Allow", "Resource": "*"} | members]})


policy_refused("test_invalid_policy", StackPolicyBody="file:invalid_stack_policy.json")
policy_refused("test_not_json_policy", StackPolicyBody="no policy")
policy_refused(
    "test_different_principal_attribute",
    StackPolicyBody=statement(Action="Update:*", Principal="arn:aws:iam::111111111111:user/someone"),
)
policy_refused("test_different_action_attribute", StackPolicyBody=statement(Action="Delete:*", Principal="*"))
policy_refused(
    "test_set_policy_both_policy_and_url",
    StackPolicyBody="file:stack_policy.json",
    StackPolicyURL="https://bucket.s3.amazonaws.com/policy.json",
)


def stored(session: Session, key: str, text: str) -> str:
    objects = session.client("s3")
    objects.create_bucket(Bucket="recorded")
    objects.put_object(Bucket="recorded", Key=key, Body=text.encode())
    return f"{session.endpoint}/recorded/{key}"


@replay(f"{POLICIES}::test_set_policy_with_url", f"{POLICIES}::test_set_empty_policy_with_url")
def policy_by_address(session: Session) -> Answers:
    empty = session.recorded["policy"]["StackPolicyBody"] == {}
    stack = policy_stack(session)
    file = "empty_policy.json" if empty else "stack_policy.json"
    session.cfn.set_stack_policy(StackName=stack, StackPolicyURL=stored(session, file, session.template(file)))
    return {"policy": policy(session, stack)}


@replay(f"{POLICIES}::test_set_invalid_policy_with_url")
def bad_policy_by_address(session: Session) -> Answers:
    stack = policy_stack(session)
    url = stored(session, "bad.json", session.template("invalid_stack_policy.json"))
    error = session.error("SetStackPolicy", StackName=stack, StackPolicyURL=url)
    return {"error": session.shaped("error", error)}


# Stacks


@replay(f"{STACKS}::TestStacksApi::test_list_events_after_deployment")
def events_of_a_stack(session: Session) -> Answers:
    stack = session.deploy(session.template("sns_topic_simple.yaml"))
    answer = session.cfn.describe_stack_events(StackName=stack)
    answer["StackEvents"].reverse()
    return {"events": answer}


@replay(f"{STACKS}::test_name_conflicts")
def one_name_twice(session: Session) -> Answers:
    name, body, answers = session.name(), session.template("simple_no_change.yaml"), {}
    first = session.create(body, name)
    taken = session.error("CreateStack", StackName=name, TemplateBody=body)
    answers["create_stack_already_exists_exc"] = session.shaped("create_stack_already_exists_exc", taken)
    answers["created_stack_desc"] = session.stack(name)["StackStatus"]
    session.delete(first)
    gone = session.error("DescribeStacks", StackName=name)
    answers["deleted_stack_not_found_exc"] = session.shaped("deleted_stack_not_found_exc", gone)
    silent = session.error("DescribeStackEvents", StackName=name)
    key = "deleted_stack_events_not_found_by_name"
    answers[key] = session.shaped(key, silent)
    answers["deleted_stack_desc"] = session.cfn.describe_stacks(StackName=first)
    second = session.create(body, name)
    answers["new_stack_desc"] = session.cfn.describe_stacks(StackName=name)
    answers["stack_id_desc"] = session.cfn.describe_stacks(StackName=first)
    answers["new_stack_id_desc"] = session.cfn.describe_stacks(StackName=second)
    session.delete(second)
    answers["deleted_second_stack_desc"] = session.cfn.describe_stacks(StackName=second)
    return answers


@replay(f"{STACKS}::TestStacksApi::test_update_stack_with_same_template_withoutchange")
def nothing_new(session: Session) -> Answers:
    name, body = session.name(), session.template("simple_no_change.yaml")
    session.create(body, name)
    error = session.error("UpdateStack", StackName=name, TemplateBody=body)
    return {"no_change_exception": session.shaped("no_change_exception", error)}


def orders(order: str) -> dict[str, Any]:
    chain = {"A": parameter("root"), "B": parameter(ref("A")), "C": parameter(ref("B"))}
    outputs = {each: {"Value": ref(each)} for each in "ABC"}
    return {"Resources": {each: chain[each] for each in order}, "Outputs": outputs}


def deployed_in_order(session: Session, order: str) -> Answers:
    stack = session.deploy(orders(order))
    session.delete(stack)
    complete = [
        each
        for each in reversed(session.events(stack))
        if each["ResourceStatus"] in ("CREATE_COMPLETE", "DELETE_COMPLETE") and each["LogicalResourceId"] in "ABC"
    ]
    return {"events": complete}


for order in ("A-B-C", "A-C-B", "B-A-C", "B-C-A", "C-A-B", "C-B-A"):

    def in_order(session: Session, order: str = order) -> Answers:
        return deployed_in_order(session, order.replace("-", ""))

    replay(f"{STACKS}::test_stack_deploy_order[{order}]")(in_order)


for left in ("C", "B-C", "A-B-C"):

    def leaving(session: Session, left: str = left) -> Answers:
        chain = orders("ABC")["Resources"]
        dummy = {"Dummy": parameter("dummy")}
        kept = {name: each for name, each in chain.items() if name not in left}
        return steps({"Resources": chain | dummy}, {"Resources": kept | dummy}, session=session)

    replay(f"{STACKS}::test_stack_deletion_order[{left}]")(leaving)


@replay(
    f"{STACKS}::TestStacksApi::test_get_template_using_create_stack[yaml]",
    f"{STACKS}::TestStacksApi::test_get_template_using_create_stack[json]",
    f"{STACKS}::TestStacksApi::test_get_template_using_changesets[yaml]",
    f"{STACKS}::TestStacksApi::test_get_template_using_changesets[json]",
)
def templates_given_back(session: Session) -> Answers:
    text = session.template("sns_topic_template.yaml")
    recorded = session.recorded["template_original"]["TemplateBody"]
    if isinstance(recorded, dict):
        text = json.dumps(recorded)
    stack = session.deploy(text)
    return {
        f"template_{stage.lower()}": session.cfn.get_template(StackName=stack, TemplateStage=stage)
        for stage in ("Original", "Processed")
    }


@replay(
    f"{API}/test_reference_resolving::test_nested_getatt_ref[TopicName]",
    f"{API}/test_reference_resolving::test_nested_getatt_ref[TopicArn]",
    f"{API}/test_reference_resolving::test_sub_resolving",
)
def outputs_of_a_topic(session: Session) -> Answers:
    sub = "MyTopicSub" in session.recorded["outputs"]
    custom = session.recorded["outputs"].get("MyTopicCustom", "")
    values = {"MyParam": "recorded-topic"}
    if not sub:
        values["CustomOutputName"] = "TopicArn" if custom.startswith("arn:") else "TopicName"
    file = "cfn_sub_resovling.yaml" if sub else "cfn_getatt_ref.yaml"
    return {"outputs": session.outputs(session.deploy(session.template(file), Parameters=parameters(values)))}


@replay(f"{STACKS}::test_subnet_id_parameter_type")
def subnets(session: Session) -> Answers:
    found = session.client("ec2").describe_subnets()["Subnets"]
    chosen = [each["SubnetId"] for each in found[:2]]
    values = parameters({"ParamsList": ",".join(chosen)})
    stack = session.deploy(session.template("cfn_parameter_list_subnet_id_type.yaml"), Parameters=values)
    made = session.outputs(stack)["ParamValue"]
    # The recording gave them names of its own.
    for number, each in enumerate(chosen, start=1):
        made = made.replace(each, f"subnet-id-{number}")
    return {"outputs": {"ParamValue": made}}


@replay(f"{ENGINE}/test_attributes::TestResourceAttributes::test_dependency_on_attribute_with_dot_notation")
def dotted(session: Session) -> Answers:
    return {"outputs": session.outputs(session.deploy(session.template("cfn_getatt_dot_dependency.yml")))}


@replay(f"{ENGINE}/test_attributes::TestResourceAttributes::test_invalid_getatt_fails")
def no_such_attribute(session: Session) -> Answers:
    name = session.name()
    try:
        session.deploy(session.template("cfn_invalid_getatt.yaml"), name)
    except WaiterError:
        return {"stack_events": {"events": session.events(name)}}
    raise AssertionError("the stack was made")


@replay(f"{ENGINE}/test_deletion_policy::test_deletion_policy_with_retain")
def retained(session: Session) -> Answers:
    name = session.name()
    values = parameters({"EnvType": "prod", "ParameterValue": "value"})
    stack = session.deploy(session.template("deletion_policy.yaml"), name, Parameters=values)
    session.delete(stack)
    return {"per-resource-events": shortened(session.events(stack), name)}


@replay(f"{ENGINE}/test_deletion_policy::test_deletion_policy_with_deletion")
def deleted(session: Session) -> Answers:
    values = parameters({"EnvType": "dev", "ParameterValue": "value"})
    stack = session.deploy(session.template("deletion_policy.yaml"), Parameters=values)
    made = session.physical(stack, "MyParameter")
    session.delete(stack)
    return {"error": {"message": str(session.error("GetParameter", "ssm", Name=made))}}


@replay(f"{STACKS}::test_update_termination_protection")
def protection(session: Session) -> Answers:
    name, answers = session.name(), {}
    values = parameters({"ApiName": "api-name"})
    body = {
        "Parameters": {"ApiName": {"Type": "String"}},
        "Resources": {"P": parameter(ref("ApiName"))},
    }
    session.deploy(body, name, Parameters=values)
    for number, wanted in (("1", True), ("2", False)):
        session.cfn.update_termination_protection(EnableTerminationProtection=wanted, StackName=name)
        answers[f"describe-stack-{number}"] = session.cfn.describe_stacks(StackName=name)
    return answers


# Change sets


def proposed(
    session: Session, name: str, body: Any, kind: str, change_set: str = "change-set", **more: Any
) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    made = session.cfn.create_change_set(
        StackName=name, ChangeSetName=change_set, ChangeSetType=kind, TemplateBody=text, **more
    )
    try:
        waiter = session.cfn.get_waiter("change_set_create_complete")
        waiter.wait(ChangeSetName=made["Id"], WaiterConfig=QUICK)
    except WaiterError:
        made["failed"] = True
    return made


@replay(f"{SETS}::test_create_change_set_update_without_parameters")
def renamed_topic(session: Session) -> Answers:
    name = session.name()
    first, second = ({"Resources": {"topic123": topic(name=f"topic-{each}")}} for each in ("one", "two"))
    session.create(first, name)
    made = proposed(session, name, second, "UPDATE")
    return {
        "create_change_set": made,
        "describe_change_set": session.cfn.describe_change_set(ChangeSetName=made["Id"]),
        "list_change_set": session.cfn.list_change_sets(StackName=name),
    }


@replay(f"{SETS}::test_create_change_set_no_changes")
def no_changes(session: Session) -> Answers:
    name = session.name()
    body = session.template("simple_no_change.yaml")
    session.create(body, name)
    made = proposed(session, name, body, "UPDATE")
    return {"change-set-description": session.cfn.describe_change_set(ChangeSetName=made["Id"])}


@replay(f"{SETS}::test_deleted_changeset")
def change_set_gone(session: Session) -> Answers:
    made = proposed(session, session.name(), SIMPLE, "CREATE")
    session.cfn.delete_change_set(ChangeSetName=made["Id"])
    key = "postdelete_changeset_notfound"
    return {"create": made, key: session.shaped(key, session.error("DescribeChangeSet", ChangeSetName=made["Id"]))}


@replay(f"{SETS}::test_create_while_in_review")
def stack_in_review(session: Session) -> Answers:
    name = session.name()
    made = proposed(session, name, SIMPLE, "CREATE")
    stack = session.cfn.create_stack(StackName=name, TemplateBody=json.dumps(SIMPLE))
    session.cfn.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=QUICK)
    return {
        "create_stack_while_in_review": stack,
        "describe_stack": session.cfn.describe_stacks(StackName=name),
        "describe_change_set": session.cfn.describe_change_set(ChangeSetName=made["Id"]),
    }


@replay(f"{SETS}::test_multiple_create_changeset")
def two_proposals(session: Session) -> Answers:
    name = session.name()
    first = proposed(session, name, SIMPLE, "CREATE")
    shown = session.cfn.describe_change_set(ChangeSetName=first["Id"])
    second = proposed(session, name, SIMPLE, "CREATE", "another")
    return {"initial_changeset": shown, "additional_changeset": second}


@replay(f"{SETS}::test_create_changeset_for_deleted_stack")
def proposals_for_what_is_gone(session: Session) -> Answers:
    stack = session.create(SIMPLE)
    session.delete(stack)
    answers = {}
    for key, kind in (("ErrorForCreate", "CREATE"), ("ErrorForUpdate", "UPDATE")):
        error = session.error(
            "CreateChangeSet",
            StackName=stack,
            ChangeSetName="test",
            ChangeSetType=kind,
            TemplateBody=json.dumps(SIMPLE),
        )
        answers[key] = session.shaped(key, error)
    return answers


@replay("cloudformation/test_change_sets::test_list_change_sets")
def listed(session: Session) -> Answers:
    name = session.name()
    proposed(session, name, SIMPLE, "CREATE")
    return {"change-sets": session.cfn.list_change_sets(StackName=name)}


@replay("cloudformation/test_change_sets::test_describe_failed_change_set")
def failed_transform(session: Session) -> Answers:
    body = {
        "Resources": {"P": parameter("x")},
        "Transform": {"Name": "AWS::Include", "Parameters": {"Location": "s3://doesnotexist/key"}},
    }
    made = proposed(session, session.name(), body, "CREATE")
    return {"describe": session.cfn.describe_change_set(ChangeSetName=made["Id"])}


IMPORTS = "cloudformation/test_change_set_exports_imports::TestChangeSetImportExport"


@replay(
    f"{IMPORTS}::test_describe_change_set_import",
    f"{IMPORTS}::test_describe_change_set_import_non_existent_export",
    f"{IMPORTS}::test_describe_change_set_import_non_existent_export_then_create",
)
def importing(session: Session) -> Answers:
    late = "StatusReason" in session.recorded["describe_with_values"]
    never = session.recorded["post-deploy-stack-describe"]["StackStatus"] == "ROLLBACK_COMPLETE"
    name, export = session.name(), f"export-{Session.number}"
    exporting = {
        "Resources": {"P": parameter("value")},
        "Outputs": {"O": {"Value": {"Fn::GetAtt": ["P", "Value"]}, "Export": {"Name": export}}},
    }
    if not late:
        session.create(exporting)
    body = {"Resources": {"MyFoo": parameter({"Fn::ImportValue": export})}}
    made = proposed(session, name, body, "CREATE")
    answers = {
        key: session.cfn.describe_change_set(ChangeSetName=made["Id"], IncludePropertyValues=whole)
        for key, whole in (("describe", False), ("describe_with_values", True))
    }
    if late and not never:
        session.create(exporting)
    session.cfn.execute_change_set(ChangeSetName=made["Id"])
    waiter = session.cfn.get_waiter("stack_rollback_complete" if never else "stack_create_complete")
    try:
        waiter.wait(StackName=made["StackId"], WaiterConfig=QUICK)
    except WaiterError:
        if not never:
            raise
    answers["post-deploy-stack-describe"] = session.stack(made["StackId"])
    session.delete(made["StackId"])
    return answers


# Updates


@replay(f"{UPDATE}::test_basic_update")
def basic_update(session: Session) -> Answers:
    name = session.name()
    body = session.template("sns_topic_simple.yaml")
    session.create(body, name)
    made = session.cfn.update_stack(
        StackName=name, TemplateBody=body, Parameters=parameters({"TopicName": "another-topic"})
    )
    session.cfn.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig=QUICK)
    return {"update_response": made}


def update_refused(name: str, **wanted: dict[str, Any]) -> None:
    def act(session: Session) -> Answers:
        stack = session.name()
        body = session.template("sns_topic_simple.yaml")
        session.create(body, stack)
        answers = {}
        for key, params in wanted.items():
            recorded = key.replace("_in_", "-") if key not in session.recorded else key
            given = params | ({} if params.get("TemplateBody") == "" else {"TemplateBody": body})
            given = {key: value for key, value in given.items() if value != ""}
            error = session.error("UpdateStack", StackName=stack, **given)
            answers[recorded] = session.shaped(recorded, error)
        return answers

    replay(f"{UPDATE}::{name}")(act)


OTHER = parameters({"TopicName": "another-topic"})
update_refused("test_no_template_error", error={"TemplateBody": ""})
update_refused(
    "test_update_with_resource_types",
    invalid_type_error={"ResourceTypes": ["AWS::EC2:*"], "Parameters": OTHER},
    resource_not_allowed={"ResourceTypes": ["AWS::EC2::*"], "Parameters": OTHER},
)
ALARM = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:x"
update_refused(
    "test_update_with_invalid_rollback_configuration_errors",
    type_error={
        "Parameters": OTHER,
        "RollbackConfiguration": {"RollbackTriggers": [{"Arn": ALARM, "Type": "WrongType"}]},
    },
    arn_error={
        "Parameters": OTHER,
        "RollbackConfiguration": {
            "RollbackTriggers": [
                {"Arn": "arn:aws:cloudwatch:us-east-1:123456789012:topic:x", "Type": "AWS::CloudWatch::Alarm"}
            ]
        },
    },
)


@replay(f"{UPDATE}::test_diff_after_update")
def unchanged_after_an_update(session: Session) -> Answers:
    name = session.name()
    after: str = session.recorded["get-template-response"]["TemplateBody"]
    session.create(after.replace("after-stack-update", "before"), name)
    session.cfn.update_stack(StackName=name, TemplateBody=after)
    session.cfn.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig=QUICK)
    shown = session.cfn.get_template(StackName=name)
    error = session.error("UpdateStack", StackName=name, TemplateBody=after)
    return {"get-template-response": shown, "update-error": session.shaped("update-error", error)}


@replay(f"{UPDATE}::test_update_deleted_stack")
def update_of_what_is_gone(session: Session) -> Answers:
    stack = session.create(SIMPLE)
    session.delete(stack)
    error = session.error("UpdateStack", StackName=stack, TemplateBody=json.dumps(SIMPLE))
    return {"Error": session.shaped("Error", error)}


# Templates that are read


@replay(f"{TEMPLATES}::test_get_template_summary")
def summary(session: Session) -> Answers:
    stack = session.deploy(session.template("sns_topic_simple.yaml"))
    found = session.cfn.get_template_summary(StackName=stack)
    return {"template-summary": found | {"Metadata": str(json.loads(found["Metadata"]))}}


@replay(f"{TEMPLATES}::test_validate_template")
def validated(session: Session) -> Answers:
    found = session.cfn.validate_template(TemplateBody=session.template("valid_template.json"))
    return {"validate-template": found}


@replay(f"{TEMPLATES}::test_get_template_summary_non_executed_change_set")
def summary_of_a_proposal(session: Session) -> Answers:
    name = session.name()
    proposed(session, name, SIMPLE, "CREATE")
    return {"error": session.shaped("error", session.error("GetTemplateSummary", StackName=name))}


# Resources of single types


@replay("cloudformation/resources/test_kms::test_cfn_with_kms_resources")
def key_and_alias(session: Session) -> Answers:
    values = parameters({"AliasName": "alias/recorded"})
    return {
        "stack-outputs": session.outputs(session.deploy(session.template("template34.yaml"), Parameters=values))
    }


@replay("cloudformation/resource_providers/ssm/test_parameter::TestBasicCRD::test_black_box")
def whole_parameter(session: Session) -> Answers:
    stack = session.deploy(session.template("aws_ssm_parameter_minimal.yaml"))
    made = next(iter(session.outputs(stack).values()))
    found = session.client("ssm").get_parameter(Name=made)
    session.delete(stack)
    error = session.error("GetParameter", "ssm", Name=made)
    return {"describe-resource": found, "deleted-resource": {"error-message": str(error)}}


@replay("cloudformation/resources/test_s3::test_object_lock_configuration")
def object_lock(session: Session) -> Answers:
    made = session.outputs(session.deploy(session.template("s3_object_lock_config.yaml")))
    objects, answers = session.client("s3"), {}
    for key, part in (
        ("object-lock-info-with-configuration", "LockConfigAllParameters"),
        ("object-lock-info-only-enabled", "LockConfigOnlyRequired"),
    ):
        answers[key] = objects.get_object_lock_configuration(Bucket=made[part])
    return answers


@replay("cloudformation/resources/test_s3::test_cors_configuration")
def cors(session: Session) -> Answers:
    made = session.outputs(session.deploy(session.template("s3_cors_bucket.yaml")))
    objects = session.client("s3")
    return {
        "cors-info-optional": objects.get_bucket_cors(Bucket=made["BucketNameAllParameters"]),
        "cors-info-only-required": objects.get_bucket_cors(Bucket=made["BucketNameOnlyRequired"]),
    }

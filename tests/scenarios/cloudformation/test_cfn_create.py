"""Creating stacks: events, order, failure and roll-back."""

from __future__ import annotations

import json
from typing import Any

from cfn_templates import definition, refuse, service
from cfn_world import World, parameter
from portside.cloud.protocol.errors import AwsError


async def test_a_stack_is_created_with_the_events_of_aws(world: World) -> None:
    template = {"Resources": {"A": parameter("one")}, "Outputs": {"Name": {"Value": {"Ref": "A"}}}}
    assert await world.create("web", template) == "CREATE_COMPLETE"
    assert await world.events("web") == [
        ("web", "CREATE_IN_PROGRESS", "User Initiated"),
        ("A", "CREATE_IN_PROGRESS", ""),
        ("A", "CREATE_IN_PROGRESS", "Resource creation Initiated"),
        ("A", "CREATE_COMPLETE", ""),
        ("web", "CREATE_COMPLETE", ""),
    ]
    stack = await world.stack("web")
    (name,) = world.fake.parameters
    assert stack["Outputs"] == [
        {"OutputKey": "Name", "OutputValue": name, "Description": None, "ExportName": None}
    ]
    assert name.startswith("CFN-A-")


async def test_events_carry_physical_ids_properties_and_the_token(world: World) -> None:
    await world.create("web", {"Resources": {"A": parameter(7)}}, ClientRequestToken="t-1")
    events = (await world.call("DescribeStackEvents", StackName="web"))["StackEvents"][::-1]
    (name,) = world.fake.parameters
    assert [each["PhysicalResourceId"] for each in events[1:4]] == ["", name, name]
    assert json.loads(events[1]["ResourceProperties"]) == {"Type": "String", "Value": "7"}
    assert events[1]["EventId"].startswith("A-CREATE_IN_PROGRESS-20")
    assert {each["ClientRequestToken"] for each in events} == {"t-1"}


async def test_dependencies_come_first_and_the_rest_side_by_side(world: World) -> None:
    template = {
        "Resources": {
            "Last": parameter("x", DependsOn=["Left", "Right"]),
            "Left": parameter({"Ref": "First"}),
            "Right": parameter({"Fn::Sub": "${First}"}),
            "First": parameter("x"),
        }
    }
    assert await world.create("web", template) == "CREATE_COMPLETE"
    started = [name for name, status, reason in await world.events("web") if status == "CREATE_IN_PROGRESS"]
    done = [name for name, status, _ in await world.events("web") if status == "CREATE_COMPLETE"]
    assert done.index("First") < done.index("Left") < done.index("Last")
    assert started.index("Left") < done.index("First") + 8  # both begin before either has ended
    events = [(name, status) for name, status, _ in await world.events("web")]
    assert events.index(("Right", "CREATE_IN_PROGRESS")) < events.index(("Left", "CREATE_COMPLETE"))


async def test_a_failure_rolls_back_what_was_made(world: World) -> None:
    template = {
        "Resources": {
            "Good": parameter("x"),
            "Bad": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "t"}, "DependsOn": "Good"},
        }
    }
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no such topic")
    assert await world.create("web", template) == "ROLLBACK_COMPLETE"
    events = await world.events("web")
    bad = next(reason for name, status, reason in events if (name, status) == ("Bad", "CREATE_FAILED"))
    assert bad.startswith('Resource handler returned message: "no such topic (Error Code: InvalidParameter')
    assert bad.endswith("HandlerErrorCode: InvalidRequest)")
    reason = "The following resource(s) failed to create: [Bad]. Rollback requested by user."
    assert ("web", "ROLLBACK_IN_PROGRESS", reason) in events
    assert [(n, s) for n, s, _ in events][-4:] == [
        ("Bad", "DELETE_COMPLETE"),
        ("Good", "DELETE_IN_PROGRESS"),
        ("Good", "DELETE_COMPLETE"),
        ("web", "ROLLBACK_COMPLETE"),
    ]
    assert world.fake.parameters == {} and world.fake.asked("sns", "DeleteTopic") == []


async def test_siblings_in_flight_are_cancelled(world: World) -> None:
    world.fake.rollout_seconds = 600.0
    template = {
        "Resources": {
            "Definition": definition("app:1"),
            "Service": service(),
            "Wait": parameter("x", DependsOn="Definition"),
            "Bad": {"Type": "AWS::SNS::Topic", "Properties": {}, "DependsOn": "Wait"},
        }
    }
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no")
    assert await world.create("web", template) == "ROLLBACK_COMPLETE"
    assert ("Service", "CREATE_FAILED", "Resource creation cancelled") in await world.events("web")
    reason = "The following resource(s) failed to create: [Bad]. Rollback requested by user."
    assert ("web", "ROLLBACK_IN_PROGRESS", reason) in await world.events("web")
    assert [each["status"] for each in world.fake.services.values()] == ["INACTIVE"]


async def test_without_rollback_the_stack_stays_as_it_is(world: World) -> None:
    template = {"Resources": {"A": parameter("x"), "B": {"Type": "AWS::SNS::Topic", "DependsOn": "A"}}}
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no")
    assert await world.create("web", template, DisableRollback=True) == "CREATE_FAILED"
    assert len(world.fake.parameters) == 1
    stack = await world.stack("web")
    assert stack["StackStatusReason"] == "The following resource(s) failed to create: [B]. "
    assert await world.delete("web") == "DELETE_COMPLETE"
    assert world.fake.parameters == {}


async def test_on_failure_delete_deletes(world: World) -> None:
    world.fake.broken["sns", "CreateTopic"] = refuse("InvalidParameter", "no")
    template = {"Resources": {"A": parameter("x"), "B": {"Type": "AWS::SNS::Topic", "DependsOn": "A"}}}
    made = await world.call("CreateStack", StackName="w", TemplateBody=json.dumps(template), OnFailure="DELETE")
    assert await world.settle(made["StackId"]) == "DELETE_COMPLETE"
    assert world.fake.parameters == {}


async def test_a_resource_of_somebody_else_is_never_adopted(world: World) -> None:
    world.fake.parameters["mine"] = {"Name": "mine", "Value": "theirs", "Type": "String"}
    template = {"Resources": {"A": parameter("x", Properties={"Name": "mine"})}}
    assert await world.create("web", template) == "ROLLBACK_COMPLETE"
    failed = next(reason for name, status, reason in await world.events("web") if status == "CREATE_FAILED")
    assert failed.startswith(
        "Resource handler returned message: \"Resource of type 'AWS::SSM::Parameter' with identifier 'mine' "
        'already exists."'
    )
    assert failed.endswith("HandlerErrorCode: AlreadyExists)")
    assert world.fake.parameters["mine"]["Value"] == "theirs"


async def test_a_resource_of_another_stack_names_that_stack(world: World) -> None:
    template = {"Resources": {"A": parameter("x", Properties={"Name": "mine"})}}
    assert await world.create("first", template) == "CREATE_COMPLETE"
    owner = (await world.stack("first"))["StackId"]
    assert await world.create("web", template) == "ROLLBACK_COMPLETE"
    assert ("A", "CREATE_FAILED", f"mine already exists in stack {owner}") in await world.events("web")
    template["Resources"]["B"] = parameter("y", Properties={"Name": "mine"}, DependsOn="A")
    assert await world.update("first", template) == "UPDATE_ROLLBACK_COMPLETE"
    assert ("B", "CREATE_FAILED", f"mine already exists in stack {owner}") in await world.events("first")
    assert world.fake.parameters["mine"]["Value"] == "x"


async def test_a_name_taken_in_the_meantime_is_left_alone_too(world: World) -> None:
    def taken(params: Any) -> None:
        world.fake.parameters[params["Name"]] = {"Name": params["Name"], "Value": "theirs", "Type": "String"}
        raise AwsError("ParameterAlreadyExists", "The parameter already exists.")

    world.fake.broken["ssm", "PutParameter"] = taken
    template = {"Resources": {"A": parameter("x", Properties={"Name": "mine"})}}
    assert await world.create("web", template) == "ROLLBACK_COMPLETE"
    assert world.fake.parameters["mine"]["Value"] == "theirs"


async def test_properties_that_do_not_fit_fail_the_resource(world: World) -> None:
    template = {"Resources": {"A": {"Type": "AWS::SSM::Parameter", "Properties": {"Value": "x"}}}}
    assert await world.create("web", template) == "ROLLBACK_COMPLETE"
    reasons = [reason for _, status, reason in await world.events("web") if status == "CREATE_FAILED"]
    assert reasons == ["Property validation failure: [The property {/Type} is required]"]
    template = {"Resources": {"A": parameter("x", Properties={"Nonsense": 1})}}
    assert await world.create("other", template) == "ROLLBACK_COMPLETE"
    reasons = [reason for _, status, reason in await world.events("other") if status == "CREATE_FAILED"]
    assert reasons == ["Encountered unsupported property Nonsense"]


async def test_a_missing_export_rolls_back_before_anything_is_made(world: World) -> None:
    template = {"Resources": {"A": parameter("x"), "B": parameter({"Fn::ImportValue": "nowhere"})}}
    assert await world.create("web", template) == "ROLLBACK_COMPLETE"
    reason = "No export named nowhere found. Rollback requested by user."
    assert ("web", "ROLLBACK_IN_PROGRESS", reason) in await world.events("web")
    assert world.fake.asked("ssm", "PutParameter") == []


async def test_the_time_limit_ends_a_creation(world: World) -> None:
    world.fake.rollout_seconds = 1e9
    template = {"Resources": {"Definition": definition("app:1"), "Service": service()}}
    assert await world.create("web", template, TimeoutInMinutes=5) == "ROLLBACK_COMPLETE"
    reason = "Stack creation time exceeded the specified timeout. Rollback requested by user."
    assert ("web", "ROLLBACK_IN_PROGRESS", reason) in await world.events("web")


async def test_a_service_that_never_settles_fails_after_three_hours(world: World) -> None:
    world.fake.rollout_seconds = 1e9
    template = {"Resources": {"Definition": definition("app:1"), "Service": service()}}
    before = world.clock.now()
    assert await world.create("web", template) == "ROLLBACK_COMPLETE"
    assert 3 * 3600 <= world.clock.now() - before < 3.2 * 3600
    reason = next(r for n, s, r in await world.events("web") if (n, s) == ("Service", "CREATE_FAILED"))
    assert "NotStabilized" in reason


async def test_the_circuit_breaker_fails_the_service(world: World) -> None:
    world.fake.bad_images.add("app:broken")
    template = {"Resources": {"Definition": definition("app:broken"), "Service": service()}}
    assert await world.create("web", template) == "ROLLBACK_COMPLETE"
    reason = next(r for n, s, r in await world.events("web") if (n, s) == ("Service", "CREATE_FAILED"))
    assert reason.startswith(
        'Resource handler returned message: "Error occurred during operation '
        "'ECS Deployment Circuit Breaker was triggered'.\" (RequestToken: "
    )
    assert reason.endswith(", HandlerErrorCode: GeneralServiceException)")


async def test_throttling_is_waited_out(world: World) -> None:
    left = [3]

    def throttled(params: Any) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise AwsError("ThrottlingException", "Rate exceeded")

    world.fake.broken["ssm", "PutParameter"] = throttled
    assert await world.create("web", {"Resources": {"A": parameter("x")}}) == "CREATE_COMPLETE"
    assert len(world.fake.parameters) == 1


async def test_no_echo_values_are_masked_everywhere(world: World) -> None:
    template = {
        "Parameters": {"Secret": {"Type": "String", "NoEcho": True}},
        "Resources": {"A": parameter({"Fn::Sub": "key=${Secret}"})},
    }
    await world.create("web", template, Parameters=[{"ParameterKey": "Secret", "ParameterValue": "hunter2"}])
    assert [each["Value"] for each in world.fake.parameters.values()] == ["key=hunter2"]
    assert (await world.stack("web"))["Parameters"] == [{"ParameterKey": "Secret", "ParameterValue": "****"}]
    assert "hunter2" not in json.dumps(await world.call("DescribeStackEvents", StackName="web"))


async def test_dynamic_references_stay_literal_in_events(world: World) -> None:
    world.fake.parameters["/db/host"] = {"Name": "/db/host", "Value": "db.local", "Type": "String"}
    template = {"Resources": {"A": parameter("host={{resolve:ssm:/db/host:1}}")}}
    world.fake.parameters["/db/host:1"] = world.fake.parameters["/db/host"]
    assert await world.create("web", template) == "CREATE_COMPLETE"
    assert "host=db.local" in [each["Value"] for each in world.fake.parameters.values()]
    assert "db.local" not in json.dumps(await world.call("DescribeStackEvents", StackName="web"))


async def test_a_creation_may_be_broken_off_by_deleting(world: World) -> None:
    world.fake.rollout_seconds = 1e9
    template = {"Resources": {"Definition": definition("app:1"), "Service": service()}}
    made = await world.call("CreateStack", StackName="web", TemplateBody=json.dumps(template))
    await world.clock.advance(30)
    assert world.status("web") == "CREATE_IN_PROGRESS"
    await world.call("DeleteStack", StackName="web")
    assert await world.settle(made["StackId"]) == "DELETE_COMPLETE"
    assert [each["status"] for each in world.fake.services.values()] == ["INACTIVE"]


async def test_conditions_decide_what_exists(world: World) -> None:
    template = {
        "Parameters": {"Stage": {"Type": "String"}},
        "Conditions": {"Production": {"Fn::Equals": [{"Ref": "Stage"}, "production"]}},
        "Resources": {
            "A": parameter({"Fn::If": ["Production", "big", "small"]}),
            "B": parameter({"Ref": "A"}, Condition="Production"),
        },
        "Outputs": {"B": {"Condition": "Production", "Value": {"Ref": "B"}}},
    }
    stage = [{"ParameterKey": "Stage", "ParameterValue": "staging"}]
    assert await world.create("web", template, Parameters=stage) == "CREATE_COMPLETE"
    assert [each["Value"] for each in world.fake.parameters.values()] == ["small"]
    assert "Outputs" not in await world.stack("web")

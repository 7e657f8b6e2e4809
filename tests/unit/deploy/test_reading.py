"""deploy's reading parts against scripted answers: logs that follow, what runs, why it failed."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import islice
from types import SimpleNamespace

import pytest

from portside.cli import exits
from portside.deploy import logs, verify
from portside.deploy.diagnose import allowances, cause, describe_stopped, waiting
from portside.deploy.errors import NotAccepted, StackFailed, TimedOut
from portside.deploy.events import StackEvent
from portside.image.errors import ImageError


class Scripted:
    """Stands for `Aws`: clients are namespaces of functions; waiting moves a clock of its own."""

    def __init__(self, **clients):
        self.clients = clients
        self.at = 0.0
        self.target = SimpleNamespace(poll=1.0, endpoint=None)
        self.clock = SimpleNamespace(now=lambda: self.at, sleep=self.sleep)

    def sleep(self, seconds):
        self.at += seconds

    def client(self, name):
        return self.clients[name]

    def errors(self, what):
        return nullcontext()


def pages(*answers):
    waiting = list(answers)

    def paginate(**asked):
        return [waiting.pop(0) if len(waiting) > 1 else waiting[0]]

    return SimpleNamespace(get_paginator=lambda name: SimpleNamespace(paginate=paginate))


def event(number, at):
    return {
        "eventId": str(number),
        "timestamp": at,
        "logStreamName": "web/web/0a1b2c3d4e",
        "message": f"line {number}\n",
    }


def test_followed_lines_come_once_and_late_ones_are_not_missed():
    first = {"events": [event(1, 1000), event(3, 3000)]}
    second = {"events": [event(1, 1000), event(2, 2000), event(3, 3000), event(4, 9000)]}
    aws = Scripted(logs=pages(first, second))
    found = [line.text for line in islice(logs.follow(aws, "group", 0), 4)]
    assert found == ["line 1", "line 3", "line 2", "line 4"]


def test_lines_are_read_oldest_first_with_their_task():
    aws = Scripted(logs=pages({"events": [event(2, 2000), event(1, 1000)]}))
    found = logs.read(aws, "group", 0)
    assert [line.text for line in found] == ["line 1", "line 2"]
    assert found[0].task == "0a1b2c3d4e"


def running(image="app:new", rollout="COMPLETED", desired=1, count=1, states=("healthy",), reason=""):
    """The answers of a service in this state."""
    health = [
        {"Target": {"Id": "i-1", "Port": 32768}, "TargetHealth": {"State": state, "Description": "why"}}
        for state in states
    ]
    service = {
        "serviceName": "web",
        "desiredCount": desired,
        "runningCount": count,
        "pendingCount": 0,
        "taskDefinition": "web:1",
        "deployments": [{"status": "PRIMARY", "rolloutState": rollout, "rolloutStateReason": reason}],
        "loadBalancers": [{"targetGroupArn": "tg"}],
        "events": [{"message": "(service web) was unable to place a task."}],
    }
    resource = {"ResourceType": "AWS::ECS::Service", "PhysicalResourceId": "arn:aws:ecs:r:a:service/one/web"}
    definition = {"taskDefinition": {"containerDefinitions": [{"image": image}]}}
    return Scripted(
        cloudformation=SimpleNamespace(describe_stack_resources=lambda **_: {"StackResources": [resource]}),
        ecs=SimpleNamespace(
            describe_services=lambda **_: {"services": [service]},
            describe_task_definition=lambda **_: definition,
        ),
        elbv2=SimpleNamespace(describe_target_health=lambda **_: {"TargetHealthDescriptions": health}),
    )


def test_what_answers_is_counted():
    assert verify.wait_until_answering(running(), "stack", "new") == 1


def test_br_06_the_old_image_after_a_rollback_is_a_failure_however_stable_it_is():
    aws = running(image="app:old", reason="ECS deployment circuit breaker: rolling back")
    with pytest.raises(StackFailed, match="does not run new") as caught:
        verify.wait_until_answering(aws, "stack", "new")
    assert "app:old" in caught.value.why
    assert "circuit breaker" in caught.value.why


def test_a_failed_rollout_is_a_failure():
    with pytest.raises(StackFailed, match="deployment of web failed"):
        verify.wait_until_answering(running(rollout="FAILED"), "stack", "new")


def test_a_time_out_names_what_it_waited_for():
    with pytest.raises(TimedOut) as caught:
        verify.wait_until_answering(running(states=("initial",)), "stack", "new")
    assert caught.value.why == "i-1:32768 is initial (why)"
    with pytest.raises(TimedOut) as caught:
        verify.wait_until_answering(running(states=(), count=0), "stack", "new")
    assert "unable to place a task" in caught.value.why


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"name": "web", "exitCode": 1}, "web exited with 1"),
        ({"name": "web", "exitCode": 137}, "web killed (137): out of memory, or it did not stop in time"),
        ({"name": "web", "reason": "CannotPullContainerError: no"}, "web: CannotPullContainerError: no"),
    ],
)
def test_a_stopped_task_in_a_sentence(container, expected):
    task = {
        "taskArn": "arn/0a1b2c3d4e5f",
        "stoppedReason": "Essential container in task exited",
        "containers": [container],
    }
    assert describe_stopped(task) == f"Task 0a1b2c3d stopped: Essential container in task exited; {expected}."


def test_the_cause_is_the_first_failure_and_not_its_echo():
    def failed(name, reason):
        return StackEvent("1", "web", name, "", "AWS::SNS::Topic", "CREATE_FAILED", reason)

    happened = [failed("B", "Resource creation cancelled"), failed("A", "no such thing")]
    assert cause(Scripted(), {"StackName": "web"}, happened) == "A (AWS::SNS::Topic): no such thing"
    assert cause(Scripted(), {"StackStatusReason": "No export named x found"}, []) == "No export named x found"


@pytest.mark.parametrize("error", [NotAccepted("what", "why"), StackFailed("what"), ImageError("what")])
def test_every_failure_ends_in_a_next_step(error):
    failure = exits.explain(error)
    assert failure is not None
    assert (failure.what, bool(failure.next)) == ("what", True)
    assert failure.code not in (exits.OK, exits.OTHER)


def test_a_fault_of_ours_says_so_and_where():
    try:
        raise ValueError("oops")
    except ValueError as error:
        assert exits.explain(error) is None
        failure = exits.fault(error)
    assert (failure.code, failure.what) == (exits.OTHER, "portside failed: ValueError('oops')")
    assert failure.why.startswith("at test_reading.py:")


SERVICE = "arn:aws:ecs:us-east-1:000000000000:service/staging/web"


def stack_event(name, kind, status, physical=""):
    return StackEvent("1", "stack", name, physical, kind, status, "")


def test_br_10_a_time_out_says_what_drains_until_when_and_the_newest_events():
    service = {
        "loadBalancers": [{"targetGroupArn": "group"}],
        "events": [{"message": "(service web) has begun draining connections on 1 tasks."}],
    }
    attributes = [{"Key": "deregistration_delay.timeout_seconds", "Value": "300"}]
    targets = [
        {"Target": {"Id": "i-1", "Port": 32768}, "TargetHealth": {"State": "draining"}},
        {"Target": {"Id": "i-1", "Port": 32769}, "TargetHealth": {"State": "healthy"}},
    ]
    aws = Scripted(
        ecs=SimpleNamespace(describe_services=lambda **_: {"services": [service]}),
        elbv2=SimpleNamespace(
            describe_target_health=lambda **_: {"TargetHealthDescriptions": targets},
            describe_target_group_attributes=lambda **_: {"Attributes": attributes},
        ),
    )
    happened = [
        stack_event("TaskDefinition", "AWS::ECS::TaskDefinition", "UPDATE_IN_PROGRESS"),
        stack_event("TaskDefinition", "AWS::ECS::TaskDefinition", "UPDATE_COMPLETE"),
        stack_event("Service", "AWS::ECS::Service", "UPDATE_IN_PROGRESS", SERVICE),
    ]
    assert waiting(aws, happened) == (
        "waiting for Service; i-1:32768 is draining, 300 s at the longest; "
        "(service web) has begun draining connections on 1 tasks."
    )


def test_br_08_grace_period_and_start_period_are_told_side_by_side():
    definition = {
        "containerDefinitions": [{"name": "app", "healthCheck": {"startPeriod": 120}}, {"name": "side"}],
    }
    aws = Scripted(
        ecs=SimpleNamespace(
            describe_services=lambda **_: {"services": [{"taskDefinition": "web:1"}]},
            describe_task_definition=lambda **_: {"taskDefinition": definition},
        )
    )
    assert allowances(aws, SERVICE) == (
        "The load balancer's checks: grace period 0 s; the containers' own checks: start period app 120 s."
    )

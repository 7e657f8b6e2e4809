"""Why an action failed, and what an execution says as it goes, against scripted answers."""

from __future__ import annotations

from itertools import islice

from delivery_answers import (
    DECLARED,
    EXECUTIONS,
    NEW,
    NEWER,
    STACK,
    WAITING,
    Answers,
    at,
    codepipeline,
    execution,
    paginator,
    refused,
    run,
    stage,
)
from portside.deploy import builds, explain, pipeline, story

BUILD = "helloworld-codebuild:1"


def build(status="FAILED", phases=(), **more):
    return {
        "id": BUILD,
        "buildNumber": 7,
        "buildStatus": status,
        "resolvedSourceVersion": NEW,
        "startTime": at(0),
        "endTime": at(9),
        "phases": [
            {"phaseType": "INSTALL", "phaseStatus": "SUCCEEDED"},
            {
                "phaseType": "BUILD",
                "phaseStatus": "FAILED",
                "contexts": [{"statusCode": "COMMAND_EXECUTION_ERROR", "message": "docker build: exit status 1"}],
            },
            {"phaseType": "COMPLETED"},
            *phases,
        ],
        "logs": {"groupName": "builds", "streamName": "stream"},
    } | more


def events(*texts):
    return {"events": [{"message": f"{text}\n", "timestamp": 1} for text in texts], "nextForwardToken": "f"}


def states(failed, **action):
    names = [s["name"] for s in DECLARED["stages"]]
    return [
        stage(name, "Failed" if name == failed else "Succeeded", "two", action if name == failed else {})
        if names.index(name) <= names.index(failed)
        else stage(name)
        for name in names
    ]


def failures(aws):
    return explain.failures(aws, pipeline.read(aws, DECLARED))


def test_a_failed_build_is_explained_by_its_phase_and_its_last_lines():
    asked = []

    def get_log_events(**given):
        asked.append(given)
        return events("Step 3/8 : RUN npm ci", "npm error code E404")

    aws = Answers(
        codepipeline=codepipeline(states("Build", externalExecutionId=BUILD), EXECUTIONS[1:]),
        codebuild={"batch_get_builds": lambda ids: {"builds": [build()]}},
        logs={"get_log_events": get_log_events},
    )
    (why,) = failures(aws)
    assert (why.stage, why.source) == ("Build", f"build {BUILD}")
    assert why.reason == "phase BUILD FAILED: COMMAND_EXECUTION_ERROR: docker build: exit status 1"
    assert why.lines == ("Step 3/8 : RUN npm ci", "npm error code E404")
    assert asked[0] == {"logGroupName": "builds", "logStreamName": "stream", "limit": 10, "startFromHead": False}


def test_what_cannot_be_asked_is_left_out():
    def denied(**given):
        raise refused("AccessDeniedException")

    action = {"externalExecutionId": BUILD, "errorDetails": {"code": "JobFailed", "message": "Build terminated"}}
    aws = Answers(
        codepipeline=codepipeline(states("Build", **action), EXECUTIONS[1:]),
        codebuild={"batch_get_builds": lambda ids: {"builds": [build()]}},
        logs={"get_log_events": denied},
    )
    (why,) = failures(aws)
    assert why.lines == ()
    assert why.reason.startswith("phase BUILD")
    aws.clients["codebuild"].batch_get_builds = denied
    (why,) = failures(aws)
    assert (why.reason, why.lines) == ("Build terminated", ())


SERVICE = "arn:aws:ecs:eu-west-1:1:service/staging-cluster-x/staging-helloworld-service-S"
TASK = "arn:aws:ecs:eu-west-1:1:task/staging-cluster-x/"


def event(number, logical, status, reason="", type_="AWS::ECS::Service", physical=SERVICE):
    return {
        "EventId": str(number),
        "StackName": "staging-helloworld-service",
        "LogicalResourceId": logical,
        "PhysicalResourceId": physical,
        "ResourceType": type_,
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
        "Timestamp": at(number),
    }


def about_stack(number, status):
    return event(number, "staging-helloworld-service", status, "", "AWS::CloudFormation::Stack", "arn")


EVENTS = [  # oldest first
    about_stack(1, "UPDATE_IN_PROGRESS"),
    event(2, "Service", "UPDATE_FAILED", "an older story"),
    about_stack(3, "UPDATE_ROLLBACK_COMPLETE"),
    about_stack(4, "UPDATE_IN_PROGRESS"),
    event(5, "Service", "UPDATE_FAILED", "ECS Deployment Circuit Breaker was triggered"),
    about_stack(6, "UPDATE_ROLLBACK_COMPLETE"),
]


def task(name, stopped_at, reason, code=None):
    container = {"name": "helloworld"} | ({"exitCode": code} if code is not None else {})
    return {
        "taskArn": TASK + name,
        "taskDefinitionArn": f"definition-of-{name}",
        "stoppedAt": at(stopped_at),
        "stoppedReason": reason,
        "containers": [container],
    }


TASKS = [
    task("crashed1", 50, "Essential container in task exited", 1),
    task("scaledin", 60, "Scaling activity initiated by (deployment ecs-svc/1)", 0),
    task("crashed2", 55, "Essential container in task exited", 1),
]


def deployment(tasks=TASKS, told=EVENTS, lines=("TypeError: greeting is not a function",)):
    streams = []

    def get_log_events(**given):
        streams.append(given["logStreamName"])
        return events(*lines)

    definition = {
        "containerDefinitions": [
            {
                "name": "helloworld",
                "logConfiguration": {"options": {"awslogs-group": "g", "awslogs-stream-prefix": "helloworld"}},
            }
        ]
    }
    stack = {"StackName": "s", "StackId": "arn:stack", "StackStatus": "UPDATE_ROLLBACK_COMPLETE"}
    aws = Answers(
        codepipeline=codepipeline(states("Staging", externalExecutionId="arn:stack"), EXECUTIONS[1:]),
        cloudformation={
            "describe_stacks": lambda StackName: {"Stacks": [stack]},  # noqa: N803
            "get_paginator": paginator(describe_stack_events=[{"StackEvents": list(reversed(told))}]),
        },
        ecs={
            "list_tasks": lambda **given: {"taskArns": [each["taskArn"] for each in tasks]},
            "describe_tasks": lambda **given: {"tasks": list(tasks)},
            "describe_services": lambda **given: {"services": [{"taskDefinition": "app:1"}]},
            "describe_task_definition": lambda taskDefinition: {"taskDefinition": definition},  # noqa: N803
        },
        logs={"get_log_events": get_log_events},
    )
    aws.streams = streams
    return aws


def test_a_failed_deployment_is_explained_by_the_task_that_died_and_its_last_lines():
    aws = deployment()
    (why,) = failures(aws)
    assert "Circuit Breaker" in why.reason
    assert "older story" not in why.reason
    assert "helloworld exited with 1" in why.reason
    assert why.lines == ("TypeError: greeting is not a function",)
    # The newest that died of itself, not the one that made room after it.
    assert aws.streams == ["helloworld/helloworld/crashed2"]
    assert why.source == "helloworld of task crashed2"


def test_failed_health_checks_are_told_by_ecs():
    reason = "Task failed ELB health checks in (target-group arn)"
    (why,) = failures(deployment(tasks=[task("sick", 50, reason)], lines=("Server running",)))
    assert "Task failed ELB health checks" in why.reason
    assert why.lines == ("Server running",)


def test_a_failure_before_any_resource_is_told_as_the_action_tells_it():
    aws = deployment(told=[])
    aws.clients["codepipeline"].get_pipeline_state = lambda name: {
        "stageStates": states(
            "Staging", errorDetails={"code": "ConfigurationError", "message": "template not in App"}
        )
    }
    (why,) = failures(aws)
    assert (why.reason, why.lines) == ("template not in App", ())


def test_a_refusal_is_told_with_its_comment():
    aws = Answers(codepipeline=codepipeline(states("Approval", summary="wrong greeting"), EXECUTIONS[1:]))
    (why,) = failures(aws)
    assert why.reason == "rejected: wrong greeting"


def test_nothing_is_explained_that_has_not_failed():
    assert failures(Answers(codepipeline=codepipeline(WAITING, EXECUTIONS))) == ()


# Logs that are followed


class Stream:
    """A build whose log grows by one answer at each look, and ends with the last."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.looks = 0

    def batch_get_builds(self, ids):
        self.looks += 1
        live = self.looks <= len(self.answers)
        logs = {"groupName": "g", "streamName": "s"} if self.looks > 1 else {}
        return {"builds": [build("IN_PROGRESS" if live else "SUCCEEDED", phases=(), logs=logs)]}

    def get_log_events(self, nextToken="0", **given):  # noqa: N803
        at_token = int(nextToken)
        lines = self.answers[at_token] if at_token < len(self.answers) else []
        return {"events": [{"message": line} for line in lines], "nextForwardToken": str(at_token + bool(lines))}

    @property
    def aws(self):
        return Answers(
            codebuild={"batch_get_builds": self.batch_get_builds}, logs={"get_log_events": self.get_log_events}
        )


def test_a_build_is_followed_from_before_its_first_line_to_after_its_last():
    stream = Stream(["one"], ["two", "three"], ["four"])
    assert list(builds.follow(stream.aws, BUILD)) == ["one", "two", "three", "four"]


def test_everything_is_read_page_by_page():
    stream = Stream(["one"], ["two"])
    stream.looks = 5
    assert builds.everything(stream.aws, BUILD) == ["one", "two"]


def test_an_execution_s_story_ends_where_a_person_is_waited_for():
    stream = Stream(["Step 1/8"])
    stream.looks = 5
    runs = [
        run(
            "Staging",
            "Deploy",
            "Deploy",
            "CloudFormation",
            startTime=at(4),
            lastUpdateTime=at(6),
            input={
                "actionTypeId": {"category": "Deploy", "provider": "CloudFormation"},
                "configuration": {"StackName": STACK},
            },
        ),
        run("Build", "Build", "Build", "CodeBuild", output={"executionResult": {"externalExecutionId": BUILD}}),
    ]
    aws = deployment()
    aws.clients |= stream.aws.clients | {
        "codepipeline": Answers(
            codepipeline=codepipeline(WAITING, [execution("two", "InProgress", NEW)], runs)
        ).client("codepipeline")
    }
    told = [(each.stage, each.text) for each in islice(story.tell(aws, DECLARED, follow=True), 20)]
    assert told[0] == ("Build", "Step 1/8")
    assert ("Staging", "Service UPDATE_FAILED: ECS Deployment Circuit Breaker was triggered") in told
    assert not [text for _, text in told if "older story" in text]
    assert told[-1] == ("Approval", "waits for a person")


def test_what_failed_in_an_earlier_execution_is_history():
    found = states("Approval", summary="wrong greeting")
    found[1] = stage("Build", "Failed", "three", {"summary": "the build failed"})
    ran = [execution("three", "Failed", NEWER), execution("two", "Failed", NEW)]
    (why,) = failures(Answers(codepipeline=codepipeline(found, ran)))
    assert (why.stage, why.reason) == ("Build", "the build failed")

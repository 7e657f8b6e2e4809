"""Answers of CodePipeline, CodeBuild and the services around them, as a test wants them."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from botocore.exceptions import ClientError

from portside.deploy.errors import NotAccepted

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OLD, NEW, NEWER = "a" * 40, "b" * 40, "c" * 40
STACK = "production-helloworld-service"


def at(seconds):
    return BEGAN + timedelta(seconds=seconds)


class Answers:
    """Stands for `Aws`: each client is a namespace of functions, every call is written down."""

    def __init__(self, **clients):
        self.clients = {name: SimpleNamespace(**found) for name, found in clients.items()}
        self.at = 0.0
        self.target = SimpleNamespace(poll=1.0, endpoint=None, name="AWS")
        self.clock = SimpleNamespace(now=lambda: self.at, sleep=self.sleep)
        self.region = "eu-west-1"

    def sleep(self, seconds):
        self.at += seconds
        assert self.at < 1000, "waited for ever"

    def client(self, name):
        return self.clients[name]

    @contextmanager
    def errors(self, what):
        try:
            yield
        except ClientError as error:
            raise NotAccepted(what, error.response["Error"]["Message"]) from error


def refused(code, message="no"):
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


def paginator(**pages):
    """`operation=function or list of pages`."""

    def get(name):
        found = pages[name]
        return SimpleNamespace(paginate=lambda **asked: found(**asked) if callable(found) else found)

    return get


def type_id(category, provider):
    return {"category": category, "owner": "AWS", "provider": provider, "version": "1"}


DECLARED = {
    "name": "helloworld-codepipeline",
    "executionMode": "QUEUED",
    "stages": [
        {"name": "Source", "actions": [{"name": "Source", "actionTypeId": type_id("Source", "GitHub")}]},
        {"name": "Build", "actions": [{"name": "Build", "actionTypeId": type_id("Build", "CodeBuild")}]},
        {
            "name": "Staging",
            "actions": [
                {
                    "name": "Deploy",
                    "actionTypeId": type_id("Deploy", "CloudFormation"),
                    "configuration": {"StackName": "staging-helloworld-service"},
                }
            ],
        },
        {"name": "Approval", "actions": [{"name": "Approve", "actionTypeId": type_id("Approval", "Manual")}]},
        {
            "name": "Production",
            "actions": [
                {
                    "name": "Deploy",
                    "actionTypeId": type_id("Deploy", "CloudFormation"),
                    "configuration": {"StackName": STACK, "TemplatePath": "App::templates/p.template"},
                }
            ],
        },
    ],
}


def stage(name, status="", execution="", action=None, **more):
    """A row of GetPipelineState. `action` is the latest execution of its one action."""
    declared = next(each for each in DECLARED["stages"] if each["name"] == name)
    row = {"stageName": name, "actionStates": [{"actionName": declared["actions"][0]["name"]}], **more}
    if status:
        row["latestExecution"] = {"pipelineExecutionId": execution, "status": status}
        row["actionStates"][0]["latestExecution"] = {"status": status, "lastStatusChange": at(0)} | (action or {})
    return row


def execution(identifier, status, commit, message="says hello", **more):
    return {
        "pipelineExecutionId": identifier,
        "status": status,
        "startTime": at(0),
        "lastUpdateTime": at(30),
        "trigger": {"triggerType": "WebhookV2"},
        "sourceRevisions": [{"actionName": "Source", "revisionId": commit, "revisionSummary": message}],
    } | more


def codepipeline(states, executions, runs=(), **more):
    return {
        "get_pipeline": lambda name: {"pipeline": DECLARED},
        "get_pipeline_state": lambda name: {"pipelineName": name, "stageStates": states},
        "get_paginator": paginator(
            list_pipeline_executions=[{"pipelineExecutionSummaries": executions}],
            list_action_executions=[{"actionExecutionDetails": list(runs)}],
        ),
    } | more


WAITING = [
    stage("Source", "Succeeded", "two"),
    stage("Build", "Succeeded", "two"),
    stage("Staging", "Succeeded", "two"),
    stage("Approval", "InProgress", "two", {"token": "t-2"}, inboundExecutions=[{"pipelineExecutionId": "three"}]),
    stage("Production", "Succeeded", "one"),
]
EXECUTIONS = [
    execution("three", "InProgress", NEWER, "third"),
    execution("two", "InProgress", NEW, "second\n\nat length"),
    execution("one", "Succeeded", OLD, "first"),
]


def run(stage_name, name, category, provider, **more):
    return {
        "pipelineExecutionId": "two",
        "actionExecutionId": f"{stage_name}-{name}",
        "stageName": stage_name,
        "actionName": name,
        "startTime": at(0),
        "lastUpdateTime": at(10),
        "status": "Succeeded",
        "input": {"actionTypeId": type_id(category, provider)} | more.pop("input", {}),
        "output": more.pop("output", {}),
    } | more


def archive(**files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return made.getvalue()


def template(memory):
    return json.dumps({"Resources": {"Task": {"Memory": memory}}})


SOURCE_RUN = run(
    "Source",
    "Source",
    "Source",
    "GitHub",
    output={"outputArtifacts": [{"name": "App", "s3location": {"bucket": "artifacts", "key": "k"}}]},
)
BUILD_RUN = run("Build", "Build", "Build", "CodeBuild", output={"outputVariables": {"TAG": NEW}})
DIGESTS = {OLD: "sha256:old", NEW: "sha256:new"}


def world(present=OLD, content=None, memory=128, executions=EXECUTIONS, digests=DIGESTS):
    content = archive(**{"templates/p.template": template(256)}) if content is None else content

    def describe_stacks(StackName):  # noqa: N803
        if not present:
            raise refused("ValidationError", f"Stack with id {StackName} does not exist")
        tag = {"ParameterKey": "Tag", "ParameterValue": present}
        return {"Stacks": [{"StackName": STACK, "StackStatus": "UPDATE_COMPLETE", "Parameters": [tag]}]}

    def describe_images(repositoryName, imageIds):  # noqa: N803
        tag = imageIds[0]["imageTag"]
        if tag not in digests:
            raise refused("ImageNotFoundException")
        return {"imageDetails": [{"imageDigest": digests[tag]}]}

    return Answers(
        codepipeline=codepipeline(WAITING, executions, [BUILD_RUN, SOURCE_RUN]),
        cloudformation={
            "describe_stacks": describe_stacks,
            "get_template": lambda StackName: {"TemplateBody": {"Resources": {"Task": {"Memory": memory}}}},  # noqa: N803
        },
        ecr={"describe_images": describe_images},
        s3={
            "get_object": lambda Bucket, Key: {  # noqa: N803
                "ContentLength": len(content),
                "Body": io.BytesIO(content),
            }
        },
    )

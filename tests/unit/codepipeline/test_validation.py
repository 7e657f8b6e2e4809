"""Declarations that can run, and what is said of those that cannot."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.models import model
from portside.cloud.protocol.shapes import violations
from portside.cloud.services.codepipeline import validation
from portside.cloud.services.codepipeline.structure import complete, part_secrets
from worlds.pipelines import action, codebuild, delivery, deploy, github, manual, pipeline, stage

REGION = "us-east-1"


def check(declared: dict[str, Any]) -> None:
    shape = model("codepipeline").operation_model("CreatePipeline").input_shape
    assert not violations(shape, {"pipeline": declared})
    validation.check(declared, REGION)


def refused(declared: dict[str, Any]) -> AwsError:
    with pytest.raises(AwsError) as error:
        check(declared)
    return error.value


def test_a_whole_delivery_is_sound():
    check(delivery())
    check(pipeline(pipelineType="V2", executionMode="QUEUED"))


def of_source(*actions):
    return pipeline(stage("Source", *actions), stage("Build", codebuild()))


def of_build(*actions):
    return pipeline(stage("Source", github()), stage("Build", *actions))


def of_deploy(**more):
    return pipeline(stage("Source", github()), stage("Build", codebuild()), stage("Deploy", deploy(**more)))


CASES = {
    "one stage": (pipeline(stage("Source", github())), "InvalidStructure", "at least 2 stages"),
    "a cycle of artifacts": (
        of_build(
            codebuild("One", inputs=("B",), outputs=("A",)),
            codebuild("Two", inputs=("A",), outputs=("B",), runOrder=2),
        ),
        "InvalidActionDeclaration",
        "Input artifact B of action One in stage Build must be the output of an action that runs before it; Two",
    ),
    "an artifact of its own": (
        of_build(codebuild("One", inputs=("A",), outputs=("A",))),
        "InvalidActionDeclaration",
        "Input artifact A of action One in stage Build",
    ),
    "a missing input": (
        of_build(codebuild(inputs=("Nothing",))),
        "InvalidActionDeclaration",
        "Input artifact Nothing of action Build in stage Build is not the output of any action.",
    ),
    "an artifact made at the same time": (
        of_build(codebuild("One", outputs=("A",)), codebuild("Two", inputs=("A",), outputs=())),
        "InvalidActionDeclaration",
        "runs before it; One does not",
    ),
    "an output twice": (
        of_build(codebuild("One"), codebuild("Two")),
        "InvalidActionDeclaration",
        "Output artifact BuildOutput of action Two in stage Build is already an output of action One",
    ),
    "two stages of a name": (
        pipeline(stage("Source", github()), stage("Build", codebuild()), stage("Build", manual())),
        "InvalidStageDeclaration",
        "Build is there more than once",
    ),
    "two actions of a name": (
        of_build(codebuild(), codebuild(outputs=())),
        "InvalidActionDeclaration",
        "Build is in stage Build more than once",
    ),
    "no source first": (
        pipeline(stage("Source", manual()), stage("Build", codebuild())),
        "InvalidStructure",
        "action Approve in stage Source has category Approval",
    ),
    "a source later": (
        of_build(codebuild(), github("Again", "Other")),
        "InvalidStructure",
        "action Again in stage Build has category Source",
    ),
    "a stage without actions": (of_build(), "InvalidStageDeclaration", "Stage Build must have at least one action"),
    "lambda": (
        of_build(action("Call", "Invoke", "Lambda", {"FunctionName": "f"})),
        "InvalidActionDeclaration",
        "does not offer actions of category Invoke, owner AWS, provider Lambda",
    ),
    "custom": (
        of_build(action("Call", "Build", "Mine", owner="Custom")),
        "InvalidActionDeclaration",
        "does not offer actions of category Build, owner Custom, provider Mine",
    ),
    "unknown provider": (
        of_build(action("Call", "Deploy", "Teleport")),
        "InvalidActionDeclaration",
        "there is no action type",
    ),
    "missing configuration": (
        of_source(action("Fetch", "Source", "S3", {"S3Bucket": "b"}, outputs=("App",))),
        "InvalidActionDeclaration",
        "Action Fetch in stage Source is missing required configuration: S3ObjectKey",
    ),
    "unknown configuration": (
        of_source(github(Colour="red")),
        "InvalidActionDeclaration",
        "Action Fetch in stage Source has unknown configuration: Colour",
    ),
    "no boolean": (
        of_source(github(PollForSourceChanges="maybe")),
        "InvalidActionDeclaration",
        "PollForSourceChanges must be true or false",
    ),
    "too many artifacts": (
        of_source(github() | {"outputArtifacts": [{"name": "App"}, {"name": "More"}]}),
        "InvalidActionDeclaration",
        "has 2 output artifacts; GitHub takes 1 output artifacts",
    ),
    "no primary source": (
        pipeline(
            stage("Source", github(), github("Second", "Other")), stage("Build", codebuild(inputs=("App", "Other")))
        ),
        "InvalidActionDeclaration",
        "PrimarySource must name one of App, Other",
    ),
    "batch": (
        of_build(codebuild(configuration={"BatchEnabled": "true"})),
        "InvalidActionDeclaration",
        "does not offer batch builds",
    ),
    "an action mode": (of_deploy(ActionMode="CREATE"), "InvalidActionDeclaration", "ActionMode must be one of"),
    "no role": (of_deploy(RoleArn=""), "InvalidActionDeclaration", "CREATE_UPDATE needs: RoleArn"),
    "a template path without an artifact": (
        of_deploy(TemplatePath="service.template"),
        "InvalidActionDeclaration",
        "TemplatePath must have the form ArtifactName::path",
    ),
    "a template path in another artifact": (
        of_deploy(TemplatePath="Other::service.template"),
        "InvalidActionDeclaration",
        "TemplatePath names artifact Other, which is no input artifact of the action",
    ),
    "a parameter of another artifact": (
        of_deploy(ParameterOverrides='{"Tag": {"Fn::GetParam": ["Other", "a.json", "k"]}}'),
        "InvalidActionDeclaration",
        "Fn::GetParam of parameter Tag names artifact Other",
    ),
    "overrides that are no JSON": (
        of_deploy(ParameterOverrides="Tag=1"),
        "InvalidActionDeclaration",
        "ParameterOverrides must be a JSON object",
    ),
    "a namespace twice": (
        of_build(codebuild("One", namespace="N"), codebuild("Two", outputs=(), namespace="N")),
        "InvalidActionDeclaration",
        "namespace N is used by another action",
    ),
    "a namespace of a later action": (
        of_build(
            codebuild("One", configuration={"EnvironmentVariables": '[{"name":"A","value":"#{Late.X}"}]'}),
            codebuild("Two", outputs=(), namespace="Late", runOrder=2),
        ),
        "InvalidActionDeclaration",
        "refers to namespace Late of an action that does not run before it",
    ),
    "V1 with a mode": (pipeline(executionMode="QUEUED"), "InvalidStructure", "executionMode QUEUED"),
    "V1 with conditions": (
        pipeline(stage("Source", github()), stage("Build", codebuild(), onFailure={"result": "RETRY"})),
        "InvalidStructure",
        "onFailure of stage Build",
    ),
    "rollback of the source": (
        pipeline(
            stage("Source", github(), onFailure={"result": "ROLLBACK"}), stage("Build", codebuild()), pipelineType="V2"
        ),
        "InvalidStageDeclaration",
        "not for the source stage",
    ),
    "two stores": (
        pipeline(artifactStores={"us-east-1": {"type": "S3", "location": "artifacts"}}),
        "InvalidStructure",
        "Exactly one of artifactStore and artifactStores",
    ),
    "another region": (of_build(codebuild(region="eu-west-1")), "InvalidActionDeclaration", "Region eu-west-1"),
    "a rule that is not offered": (
        pipeline(
            stage("Source", github()),
            stage(
                "Build",
                codebuild(),
                beforeEntry={
                    "conditions": [
                        {
                            "result": "FAIL",
                            "rules": [
                                {"name": "R", "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "LambdaInvoke"}}
                            ],
                        }
                    ]
                },
            ),
            pipelineType="V2",
        ),
        "InvalidStageDeclaration",
        "does not offer LambdaInvoke rules",
    ),
    "a pull request": (
        pipeline(
            stage(
                "Source",
                action(
                    "Fetch", "Source", "CodeStarSourceConnection",
                    {"ConnectionArn": "a", "FullRepositoryId": "o/r", "BranchName": "main"}, outputs=("App",),
                ),
            ),
            stage("Build", codebuild()),
            pipelineType="V2",
            triggers=[
                {
                    "providerType": "CodeStarSourceConnection",
                    "gitConfiguration": {"sourceActionName": "Fetch", "pullRequest": [{"events": ["OPEN"]}]},
                }
            ],
        ),
        "InvalidStructure",
        "pull requests",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_run_is_refused_by_name(case):
    declared, code, text = CASES[case]
    error = refused(declared)
    assert (error.code, text in error.message) == (f"{code}Exception", True), error


def test_secrets_are_parted_from_the_declaration_and_a_mask_keeps_them():
    declared = complete(delivery())
    shown, secrets = part_secrets(declared, {})
    assert "hush" not in json.dumps(shown)
    assert secrets == {"Source/Fetch/OAuthToken": "hush"}
    again, kept = part_secrets(copy.deepcopy(shown), secrets)
    assert (again, kept) == (shown, secrets)

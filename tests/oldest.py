"""The build and pipeline stacks as a person wrote them in 2018: nothing in them is made for this cloud."""

from __future__ import annotations

from typing import Any

POLICY = "arn:aws:iam::aws:policy/"
# Version 0.1 runs each command in a shell of its own: what one finds, the next reads from a file.
BUILDSPEC = r"""version: 0.1
phases:
  pre_build:
    commands:
      - aws codepipeline get-pipeline-state --name "${CODEBUILD_INITIATOR#codepipeline/}" --query stageStates[?actionStates[?latestExecution.externalExecutionId==\`$CODEBUILD_BUILD_ID\`]].latestExecution.pipelineExecutionId --output=text > /tmp/execution_id.txt
      - aws codepipeline get-pipeline-execution --pipeline-name "${CODEBUILD_INITIATOR#codepipeline/}" --pipeline-execution-id "$(cat /tmp/execution_id.txt)" --query 'pipelineExecution.artifactRevisions[0].revisionId' --output=text > /tmp/tag.txt
      - printf "%s:%s" "$REPOSITORY_URI" "$(cat /tmp/tag.txt)" > /tmp/build_tag.txt
      - printf '{"tag":"%s"}' "$(cat /tmp/tag.txt)" > /tmp/build.json
      - $(aws ecr get-login --no-include-email)
  build:
    commands:
      - docker build -t "$(cat /tmp/build_tag.txt)" .
  post_build:
    commands:
      - docker push "$(cat /tmp/build_tag.txt)"
      - aws ecr batch-get-image --repository-name "$REPOSITORY_NAME" --image-ids imageTag="$(cat /tmp/tag.txt)" --query 'images[0].imageManifest' --output text > /tmp/manifest.json
      - aws ecr put-image --repository-name "$REPOSITORY_NAME" --image-tag latest --image-manifest "$(cat /tmp/manifest.json)"
artifacts:
  files: /tmp/build.json
  discard-paths: yes
"""


def role(service: str, *policies: str) -> dict[str, Any]:
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
            "ManagedPolicyArns": [POLICY + each for each in policies],
        },
    }


REPOSITORY = {"Fn::ImportValue": "helloworld-repo"}
CODEBUILD: dict[str, Any] = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Resources": {
        "Role": role(
            "codebuild.amazonaws.com",
            "AmazonEC2ContainerRegistryPowerUser",
            "AWSCodeBuildDeveloperAccess",
            "AWSCodePipelineReadOnlyAccess",
            "AmazonS3FullAccess",
            "CloudWatchLogsFullAccess",
        ),
        "Project": {
            "Type": "AWS::CodeBuild::Project",
            "Properties": {
                "Name": "HelloWorldContainer",
                "ServiceRole": {"Fn::GetAtt": ["Role", "Arn"]},
                "Source": {"Type": "CODEPIPELINE", "BuildSpec": BUILDSPEC},
                "Artifacts": {"Type": "CODEPIPELINE"},
                "Environment": {
                    "Type": "LINUX_CONTAINER",
                    "ComputeType": "BUILD_GENERAL1_SMALL",
                    "Image": "aws/codebuild/docker:1.12.1",
                    "EnvironmentVariables": [
                        {"Name": "REPOSITORY_NAME", "Value": REPOSITORY},
                        {
                            "Name": "REPOSITORY_URI",
                            "Value": {
                                "Fn::Sub": [
                                    "${AWS::AccountId}.dkr.ecr.${AWS::Region}.amazonaws.com/${Name}",
                                    {"Name": REPOSITORY},
                                ]
                            },
                        },
                    ],
                },
            },
        },
    },
}


def everything(*actions: str) -> list[dict[str, Any]]:
    """An inline policy as wide as they were."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return [{"PolicyName": "all", "PolicyDocument": {"Statement": [statement]}}]


def with_policies(made: dict[str, Any], *actions: str) -> dict[str, Any]:
    return made | {"Properties": made["Properties"] | {"Policies": everything(*actions)}}


def deploy(environment: str) -> dict[str, Any]:
    """A stage that deploys the service stack with the tag that the build wrote down."""
    return {
        "Name": environment.title(),
        "Actions": [
            {
                "Name": "Deploy",
                "ActionTypeId": {
                    "Category": "Deploy",
                    "Owner": "AWS",
                    "Provider": "CloudFormation",
                    "Version": "1",
                },
                "Configuration": {
                    "ChangeSetName": "Deploy",
                    "ActionMode": "CREATE_UPDATE",
                    "StackName": f"{environment}-helloworld-service",
                    "Capabilities": "CAPABILITY_NAMED_IAM",
                    "TemplatePath": f"App::templates/{environment}-helloworld-service.template",
                    "RoleArn": {"Fn::GetAtt": ["DeployRole", "Arn"]},
                    "ParameterOverrides": '{"Tag": {"Fn::GetParam": ["BuildOutput", "build.json", "tag"]}}',
                },
                "InputArtifacts": [{"Name": "App"}, {"Name": "BuildOutput"}],
            }
        ],
    }


CODEPIPELINE: dict[str, Any] = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Resources": {
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "Properties": {"VersioningConfiguration": {"Status": "Enabled"}},
        },
        "PipelineRole": with_policies(
            role("codepipeline.amazonaws.com"),
            *("codecommit:*", "codebuild:*", "cloudformation:*", "iam:*", "s3:*", "ecs:*", "cloudwatch:*"),
        ),
        "DeployRole": with_policies(
            role("cloudformation.amazonaws.com"),
            *("cloudformation:*", "ecr:*", "ecs:*", "elasticloadbalancing:*", "iam:*", "logs:*"),
        ),
        "Pipeline": {
            "Type": "AWS::CodePipeline::Pipeline",
            "Properties": {
                "RoleArn": {"Fn::GetAtt": ["PipelineRole", "Arn"]},
                "ArtifactStore": {"Type": "S3", "Location": {"Ref": "Bucket"}},
                "Stages": [
                    {
                        "Name": "Source",
                        "Actions": [
                            {
                                "Name": "Source",
                                "ActionTypeId": {
                                    "Category": "Source",
                                    "Owner": "ThirdParty",
                                    "Provider": "GitHub",
                                    "Version": "1",
                                },
                                "Configuration": {
                                    "Owner": "ToBeConfiguredLater",
                                    "Repo": "ToBeConfiguredLater",
                                    "Branch": "main",
                                    "OAuthToken": "ToBeConfiguredLater",
                                },
                                "OutputArtifacts": [{"Name": "App"}],
                            }
                        ],
                    },
                    {
                        "Name": "Build",
                        "Actions": [
                            {
                                "Name": "Container",
                                "ActionTypeId": {
                                    "Category": "Build",
                                    "Owner": "AWS",
                                    "Provider": "CodeBuild",
                                    "Version": "1",
                                },
                                "Configuration": {"ProjectName": "HelloWorldContainer"},
                                "InputArtifacts": [{"Name": "App"}],
                                "OutputArtifacts": [{"Name": "BuildOutput"}],
                            }
                        ],
                    },
                    deploy("staging"),
                    {
                        "Name": "Approval",
                        "Actions": [
                            {
                                "Name": "Approval",
                                "ActionTypeId": {
                                    "Category": "Approval",
                                    "Owner": "AWS",
                                    "Provider": "Manual",
                                    "Version": "1",
                                },
                                "Configuration": {},
                                "InputArtifacts": [],
                                "OutputArtifacts": [],
                            }
                        ],
                    },
                    deploy("production"),
                ],
            },
        },
    },
    "Outputs": {"Pipeline": {"Value": {"Ref": "Pipeline"}}},
}

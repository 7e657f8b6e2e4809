"""The pipeline stack: source, build, and one deployment per environment, with a person before all but the first.

Owns stages and artifacts; `delivery_roles.py` who may do what, `app.py` every name. The pipeline deploys the very
stacks that `portside up` deploys.
"""

from __future__ import annotations

import json

from troposphere import GetAtt, ImportValue, Output, Parameter, Ref, Sub, Template
from troposphere.codepipeline import Actions as Action
from troposphere.codepipeline import (
    ActionTypeId,
    ArtifactStore,
    GitBranchFilterCriteria,
    GitConfiguration,
    GitFilePathFilterCriteria,
    GitPushFilter,
    InputArtifacts,
    OutputArtifacts,
    PipelineTriggerDeclaration,
    Stages,
)
from troposphere.codepipeline import Pipeline as CodePipeline
from troposphere.iam import Role
from troposphere.s3 import (
    AbortIncompleteMultipartUpload,
    Bucket,
    BucketEncryption,
    BucketPolicy,
    LifecycleConfiguration,
    LifecycleRule,
    NoncurrentVersionExpiration,
    PublicAccessBlockConfiguration,
    ServerSideEncryptionByDefault,
    ServerSideEncryptionRule,
    VersioningConfiguration,
)

from portside.blueprint import delivery_roles
from portside.blueprint.app import App, build_project_export
from portside.blueprint.settings import Pipeline

SOURCE = "App"
BUILT = "BuildOutput"
# An approval may wait for a week, and whoever looks back wants the artifacts of some more.
ARTIFACT_DAYS = 90


def template(app: App, settings: Pipeline) -> Template:
    made = Template()
    made.set_version("2010-09-09")
    made.set_description("Brings each commit of one app through its environments.")
    connection = made.add_parameter(
        Parameter(
            "ConnectionArn",
            Type="String",
            Description="ARN of the connection to the repository's host.",
            AllowedPattern="arn:[^:]+:(codeconnections|codestar-connections):[^:]+:[0-9]{12}:connection/.+",
            ConstraintDescription="the ARN of a connection",
        )
    )
    bucket = made.add_resource(_bucket())
    made.add_resource(_tls_only(bucket))
    access = made.add_resource(delivery_roles.artifact_access(app, bucket))
    deploy_roles = {
        name: made.add_resource(delivery_roles.deploy_role(app, name)) for name in app.settings.environments
    }
    role = made.add_resource(delivery_roles.pipeline_role(app, bucket, connection, list(deploy_roles.values())))
    pipeline = made.add_resource(
        CodePipeline(
            "Pipeline",
            # Its first execution begins at once, and must find the build let into the bucket.
            DependsOn=[access.title],
            Name=Ref("AWS::StackName"),
            RoleArn=GetAtt(role, "Arn"),
            PipelineType="V2",
            ExecutionMode=settings.execution_mode,
            RestartExecutionOnUpdate=False,
            ArtifactStore=ArtifactStore(Type="S3", Location=Ref(bucket)),
            Triggers=[_trigger(app, settings)],
            Stages=[_source(settings, connection), _build(app), *_deployments(app, deploy_roles)],
        )
    )
    made.add_output(Output("Pipeline", Description="Name of the pipeline.", Value=Ref(pipeline)))
    made.add_output(Output("ArtifactBucket", Description="Where artifacts are kept.", Value=Ref(bucket)))
    return made


def stages(app: App) -> list[str]:
    """The names of the stages, in order."""
    names = ["Source", "Build"]
    for environment in app.settings.environments:
        if len(names) > 2:
            names.append(approval(app, environment))
        names.append(environment.title())
    return names


def approval(app: App, environment: str) -> str:
    """The stage in which a person lets a commit into an environment."""
    return "Approval" if len(app.settings.environments) == 2 else f"Approve-{environment.title()}"


def _source(settings: Pipeline, connection: Parameter) -> Stages:
    return Stages(
        Name="Source",
        Actions=[
            Action(
                Name="Source",
                ActionTypeId=_type("Source", "CodeStarSourceConnection"),
                Configuration={
                    "ConnectionArn": Ref(connection),
                    "FullRepositoryId": settings.repository,
                    "BranchName": settings.branch,
                    "OutputArtifactFormat": "CODE_ZIP",
                    # The trigger below says which pushes count.
                    "DetectChanges": "false",
                },
                OutputArtifacts=[OutputArtifacts(Name=SOURCE)],
                Namespace="SourceVariables",
            )
        ],
    )


def _trigger(app: App, settings: Pipeline) -> PipelineTriggerDeclaration:
    push = GitPushFilter(Branches=GitBranchFilterCriteria(Includes=[settings.branch]))
    folders = sorted({app.in_repository(), app.in_repository(app.settings.build.context)})
    if "." not in folders:
        push.FilePaths = GitFilePathFilterCriteria(Includes=[f"{folder}/**" for folder in folders])
    return PipelineTriggerDeclaration(
        ProviderType="CodeStarSourceConnection",
        GitConfiguration=GitConfiguration(SourceActionName="Source", Push=[push]),
    )


def _build(app: App) -> Stages:
    return Stages(
        Name="Build",
        Actions=[
            Action(
                Name="Build",
                ActionTypeId=_type("Build", "CodeBuild"),
                Configuration={"ProjectName": ImportValue(build_project_export(app))},
                InputArtifacts=[InputArtifacts(Name=SOURCE)],
                OutputArtifacts=[OutputArtifacts(Name=BUILT)],
                Namespace="BuildVariables",
            )
        ],
    )


def _deployments(app: App, deploy_roles: dict[str, Role]) -> list[Stages]:
    made: list[Stages] = []
    before = ""
    for environment, role in deploy_roles.items():
        if before:
            made.append(
                Stages(
                    Name=approval(app, environment),
                    Actions=[
                        Action(
                            Name="Approve",
                            ActionTypeId=_type("Approval", "Manual"),
                            Configuration={
                                # Not its message: that may be longer than a configuration.
                                "CustomData": f"Commit #{{SourceVariables.CommitId}} runs in {before} "
                                f"and is to run in {environment}.",
                            },
                        )
                    ],
                )
            )
        made.append(Stages(Name=environment.title(), Actions=[_deploy(app, environment, role)]))
        before = environment
    return made


def _deploy(app: App, environment: str, role: Role) -> Action:
    return Action(
        Name="Deploy",
        ActionTypeId=_type("Deploy", "CloudFormation"),
        Configuration={
            "ActionMode": "CREATE_UPDATE",
            "StackName": app.service_stack(environment),
            "TemplatePath": f"{SOURCE}::{app.service_template(environment)}",
            "ParameterOverrides": json.dumps({"Tag": {"Fn::GetParam": [BUILT, "build.json", "tag"]}}),
            "Capabilities": "CAPABILITY_IAM",
            "RoleArn": GetAtt(role, "Arn"),
        },
        InputArtifacts=[InputArtifacts(Name=SOURCE), InputArtifacts(Name=BUILT)],
    )


def _type(category: str, provider: str) -> ActionTypeId:
    return ActionTypeId(Category=category, Owner="AWS", Provider=provider, Version="1")


def _bucket() -> Bucket:
    return Bucket(
        "Artifacts",
        VersioningConfiguration=VersioningConfiguration(Status="Enabled"),
        BucketEncryption=BucketEncryption(
            ServerSideEncryptionConfiguration=[
                ServerSideEncryptionRule(
                    ServerSideEncryptionByDefault=ServerSideEncryptionByDefault(SSEAlgorithm="AES256")
                )
            ]
        ),
        PublicAccessBlockConfiguration=PublicAccessBlockConfiguration(
            BlockPublicAcls=True, BlockPublicPolicy=True, IgnorePublicAcls=True, RestrictPublicBuckets=True
        ),
        LifecycleConfiguration=LifecycleConfiguration(
            Rules=[
                LifecycleRule(
                    Id="old-artifacts",
                    Status="Enabled",
                    ExpirationInDays=ARTIFACT_DAYS,
                    NoncurrentVersionExpiration=NoncurrentVersionExpiration(NoncurrentDays=1),
                    AbortIncompleteMultipartUpload=AbortIncompleteMultipartUpload(DaysAfterInitiation=1),
                )
            ]
        ),
    )


def _tls_only(bucket: Bucket) -> BucketPolicy:
    return BucketPolicy(
        "ArtifactsPolicy",
        Bucket=Ref(bucket),
        PolicyDocument={
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "OnlyOverTls",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [GetAtt(bucket, "Arn"), Sub("${Arn}/*", Arn=GetAtt(bucket, "Arn"))],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ],
        },
    )

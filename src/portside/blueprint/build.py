"""The build stack: a CodeBuild project that makes one image of one commit, once.

The image's tag is the commit. If the registry has that tag already, for the same commit was built before, nothing
is built again, so that every environment runs what the first one ran. `pipeline.py` starts the project and lets
its role into the artifact bucket.
"""

from __future__ import annotations

import shlex

from troposphere import Export, GetAtt, ImportValue, Output, Parameter, Ref, Sub, Template
from troposphere.codebuild import Artifacts, CloudWatchLogs, Environment, LogsConfig, Project, Source
from troposphere.codebuild import EnvironmentVariable as Variable
from troposphere.iam import Role
from troposphere.logs import LogGroup

from portside.blueprint import roles
from portside.blueprint.app import App, build_project_export, build_role_export, repository_export
from portside.blueprint.repository import MOVING

BUILD_IMAGE = "aws/codebuild/amazonlinux-x86_64-standard:5.0"
TIMEOUT_MINUTES = 30
# What an engine may have pushed. Without the list the registry would answer in the oldest form.
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


def specification(app: App) -> str:
    """The build specification, version 0.2, as text."""
    build = app.settings.build
    context = app.in_repository(build.context)
    arguments = " ".join(
        f"--build-arg {shlex.quote(f'{name}={value}')}" for name, value in sorted(build.args.items())
    )
    command = f"docker build {arguments} " if arguments else "docker build "
    command += f'"$@" --file {shlex.quote(app.in_repository(build.context, build.dockerfile))}'
    return f"""\
version: 0.2
env:
  exported-variables:
    - TAG
phases:
  pre_build:
    on-failure: ABORT
    commands:
      - TAG="$CODEBUILD_RESOLVED_SOURCE_VERSION"
      - test -n "$TAG"
      - printf '{{"tag":"%s"}}' "$TAG" > build.json
      - aws ecr get-login-password | docker login --username AWS --password-stdin "${{REPOSITORY_URI%%/*}}"
      - if docker pull "$REPOSITORY_URI:$TAG" > /dev/null 2>&1; then FOUND=yes; else FOUND=; fi
  build:
    on-failure: ABORT
    commands:
      - |
        if [ -z "$FOUND" ]; then
          (
            set --
            for argument in $BUILD_ARGUMENTS; do set -- "$@" --build-arg "$argument"; done
            {command} --tag "$REPOSITORY_URI:$TAG" {shlex.quote(context)}
          ) && docker push "$REPOSITORY_URI:$TAG"
        else
          echo "$REPOSITORY_URI:$TAG is there already and is not built again"
        fi
  post_build:
    on-failure: ABORT
    commands:
      - >-
        IMAGE=$(aws ecr batch-get-image --repository-name "$REPOSITORY_NAME" --image-ids "imageTag=$TAG"
        --accepted-media-types {" ".join(MANIFESTS)}
        --query 'images[0].[imageManifestMediaType, imageManifest]' --output text)
      - TAB=$(printf '\\t')
      - >-
        ANSWER=$(aws ecr put-image --repository-name "$REPOSITORY_NAME" --image-tag {MOVING}
        --image-manifest-media-type "${{IMAGE%%"$TAB"*}}" --image-manifest "${{IMAGE#*"$TAB"}}" 2>&1)
        || case "$ANSWER" in *ImageAlreadyExistsException*) true ;; *) echo "$ANSWER" >&2; false ;; esac
artifacts:
  files:
    - build.json
"""


def template(app: App) -> Template:
    made = Template()
    made.set_version("2010-09-09")
    made.set_description("Builds one app's image, once for each commit.")
    arguments = made.add_parameter(
        Parameter(
            "BuildArguments",
            Type="String",
            Default="",
            Description="More build arguments, NAME=VALUE with blanks between them, for where a base image cannot "
            "be pulled.",
        )
    )
    repository = ImportValue(repository_export(app))
    logs = made.add_resource(LogGroup("LogGroup", RetentionInDays=app.settings.service.log_retention))
    role = made.add_resource(_role(logs, repository))
    project = made.add_resource(
        Project(
            "Project",
            Name=Ref("AWS::StackName"),
            Description=f"Builds the image of {app.name}.",
            ServiceRole=GetAtt(role, "Arn"),
            TimeoutInMinutes=TIMEOUT_MINUTES,
            Source=Source(Type="CODEPIPELINE", BuildSpec=specification(app)),
            Artifacts=Artifacts(Type="CODEPIPELINE"),
            Environment=Environment(
                Type="LINUX_CONTAINER",
                ComputeType="BUILD_GENERAL1_SMALL",
                Image=BUILD_IMAGE,
                # Today's build images run no engine without it.
                PrivilegedMode=True,
                EnvironmentVariables=[
                    Variable(Name="REPOSITORY_NAME", Value=repository),
                    Variable(
                        Name="REPOSITORY_URI",
                        Value=Sub(
                            "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/${Repository}",
                            Repository=repository,
                        ),
                    ),
                    Variable(Name="BUILD_ARGUMENTS", Value=Ref(arguments)),
                ],
            ),
            LogsConfig=LogsConfig(CloudWatchLogs=CloudWatchLogs(Status="ENABLED", GroupName=Ref(logs))),
        )
    )
    made.add_output(
        Output(
            "Project",
            Description="Name of the project.",
            Value=Ref(project),
            Export=Export(build_project_export(app)),
        )
    )
    made.add_output(
        Output(
            "Role",
            Description="Name of the role that builds have.",
            Value=Ref(role),
            Export=Export(build_role_export(app)),
        )
    )
    return made


def _role(logs: LogGroup, repository: ImportValue) -> Role:
    """Write this log, push into this repository. A build runs whatever the repository says."""
    return Role(
        "Role",
        AssumeRolePolicyDocument=roles.own_trust("codebuild.amazonaws.com"),
        Policies=[
            roles.policy(
                "build-image",
                roles.allow(["ecr:GetAuthorizationToken"], "*"),
                roles.allow(
                    [
                        "ecr:BatchCheckLayerAvailability",
                        "ecr:BatchGetImage",
                        "ecr:CompleteLayerUpload",
                        "ecr:GetDownloadUrlForLayer",
                        "ecr:InitiateLayerUpload",
                        "ecr:PutImage",
                        "ecr:UploadLayerPart",
                    ],
                    Sub(
                        "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/${Repository}",
                        Repository=repository,
                    ),
                ),
                roles.allow(["logs:CreateLogStream", "logs:PutLogEvents"], GetAtt(logs, "Arn")),
            )
        ],
    )

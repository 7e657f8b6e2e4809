"""The roles of delivery: what the pipeline itself may do, and what its deployments may.

One deploy role per environment, each for the service stack of that environment and nothing else: whoever may push
to the repository can do what these roles can.
"""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, ImportValue, Parameter, Ref, Sub
from troposphere.iam import Policy, PolicyType, Role
from troposphere.s3 import Bucket

from portside.blueprint import roles
from portside.blueprint.app import App, build_project_export, build_role_export

ARN = "arn:${AWS::Partition}:"
HERE = "${AWS::Region}:${AWS::AccountId}:"


def objects(bucket: Bucket) -> Sub:
    return Sub("${Arn}/*", Arn=GetAtt(bucket, "Arn"))


def artifact_access(app: App, bucket: Bucket) -> PolicyType:
    """Lets builds read what the pipeline hands them and write what they make. Here, for here the bucket is."""
    return PolicyType(
        "BuildArtifacts",
        PolicyName=Sub("${AWS::StackName}-artifacts"),
        Roles=[ImportValue(build_role_export(app))],
        PolicyDocument={
            "Version": "2012-10-17",
            "Statement": [
                roles.allow(["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"], objects(bucket)),
                roles.allow(["s3:GetBucketAcl", "s3:GetBucketLocation"], GetAtt(bucket, "Arn")),
            ],
        },
    )


def pipeline_role(app: App, bucket: Bucket, connection: Parameter, deploy_roles: list[Role]) -> Role:
    stacks = [
        Sub(f"{ARN}cloudformation:{HERE}stack/{app.service_stack(environment)}/*")
        for environment in app.settings.environments
    ]
    return Role(
        "PipelineRole",
        AssumeRolePolicyDocument=roles.own_trust("codepipeline.amazonaws.com"),
        Policies=[
            roles.policy(
                "deliver",
                roles.allow(
                    ["codeconnections:UseConnection", "codestar-connections:UseConnection"], Ref(connection)
                ),
                roles.allow(["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"], objects(bucket)),
                roles.allow(
                    ["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:GetBucketVersioning"], GetAtt(bucket, "Arn")
                ),
                roles.allow(
                    ["codebuild:BatchGetBuilds", "codebuild:StartBuild", "codebuild:StopBuild"],
                    Sub(
                        f"{ARN}codebuild:{HERE}project/${{Project}}",
                        Project=ImportValue(build_project_export(app)),
                    ),
                ),
                roles.allow(
                    [
                        "cloudformation:CreateStack",
                        "cloudformation:DescribeStackEvents",
                        "cloudformation:DescribeStacks",
                        "cloudformation:UpdateStack",
                    ],
                    stacks,
                ),
                roles.allow(
                    ["iam:PassRole"],
                    [GetAtt(role, "Arn") for role in deploy_roles],
                    {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}},
                ),
            )
        ],
    )


def deploy_role(app: App, environment: str) -> Role:
    """What CloudFormation may do for one service stack: what its template's resources take, on its own names."""
    return Role(
        f"{environment.title()}DeployRole",
        AssumeRolePolicyDocument=roles.own_trust("cloudformation.amazonaws.com"),
        Policies=[_deploy_policy(app.service_stack(environment))],
    )


def _deploy_policy(stack: str) -> Policy:
    own_roles = Sub(f"{ARN}iam::${{AWS::AccountId}}:role/{stack}-*")
    groups = [Sub(f"{ARN}logs:{HERE}log-group:{stack}-*"), Sub(f"{ARN}logs:{HERE}log-group:{stack}-*:*")]
    service: Any = Sub(f"{ARN}ecs:{HERE}service/*/{stack}-*")
    return roles.policy(
        "deploy-service",
        roles.allow(
            [
                "ecs:CreateService",
                "ecs:DeleteService",
                "ecs:DescribeServiceDeployments",
                "ecs:DescribeServices",
                "ecs:ListServiceDeployments",
                "ecs:ListTagsForResource",
                "ecs:TagResource",
                "ecs:UntagResource",
                "ecs:UpdateService",
            ],
            service,
        ),
        # Of these, some know no resource to be limited to.
        roles.allow(["ecs:DeregisterTaskDefinition", "ecs:DescribeTaskDefinition"], "*"),
        roles.allow(
            ["ecs:ListTagsForResource", "ecs:RegisterTaskDefinition", "ecs:TagResource", "ecs:UntagResource"],
            Sub(f"{ARN}ecs:{HERE}task-definition/{stack}:*"),
        ),
        roles.allow(["logs:DescribeLogGroups"], "*"),
        roles.allow(
            [
                "logs:CreateLogGroup",
                "logs:DeleteLogGroup",
                "logs:DeleteRetentionPolicy",
                "logs:ListTagsForResource",
                "logs:PutRetentionPolicy",
                "logs:TagResource",
                "logs:UntagResource",
            ],
            groups,
        ),
        roles.allow(
            [
                "iam:CreateRole",
                "iam:DeleteRole",
                "iam:DeleteRolePolicy",
                "iam:GetRole",
                "iam:GetRolePolicy",
                "iam:ListAttachedRolePolicies",
                "iam:ListRolePolicies",
                "iam:PutRolePolicy",
                "iam:TagRole",
                "iam:UntagRole",
                "iam:UpdateAssumeRolePolicy",
                "iam:UpdateRole",
                "iam:UpdateRoleDescription",
            ],
            own_roles,
        ),
        roles.allow(
            ["iam:PassRole"], own_roles, {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
        ),
        roles.allow(
            ["iam:CreateServiceLinkedRole"],
            Sub(f"{ARN}iam::${{AWS::AccountId}}:role/aws-service-role/ecs.amazonaws.com/*"),
            {"StringEquals": {"iam:AWSServiceName": "ecs.amazonaws.com"}},
        ),
    )

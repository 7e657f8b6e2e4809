"""Which permission a call needs, and on what. Source: the Service Authorization Reference."""

import pytest

from portside.cloud.services.iam import actions

HERE = ("123456789012", "eu-west-1")
PREFIX = "eu-west-1:123456789012"


@pytest.mark.parametrize(
    ("service", "operation", "params", "action", "resources"),
    [
        ("s3", "PutObject", {"Bucket": "b", "Key": "k/l"}, "s3:PutObject", ["arn:aws:s3:::b/k/l"]),
        ("s3", "HeadObject", {"Bucket": "b", "Key": "k"}, "s3:GetObject", ["arn:aws:s3:::b/k"]),
        (
            "s3", "GetObject", {"Bucket": "b", "Key": "k", "VersionId": "1"},
            "s3:GetObjectVersion", ["arn:aws:s3:::b/k"],
        ),
        ("s3", "ListObjectsV2", {"Bucket": "b"}, "s3:ListBucket", ["arn:aws:s3:::b"]),
        ("s3", "ListBuckets", {}, "s3:ListAllMyBuckets", ["*"]),
        ("s3", "DeleteObjects", {"Bucket": "b"}, "s3:DeleteObject", ["arn:aws:s3:::b/*"]),
        (
            "s3", "DeleteObjects", {"Bucket": "b", "Delete": {"Objects": [{"Key": "x"}, {"Key": "y"}]}},
            "s3:DeleteObject", ["arn:aws:s3:::b/x", "arn:aws:s3:::b/y"],
        ),
        ("ecr", "GetAuthorizationToken", {}, "ecr:GetAuthorizationToken", ["*"]),
        ("ecr", "PutImage", {"repositoryName": "a/b"}, "ecr:PutImage", [f"arn:aws:ecr:{PREFIX}:repository/a/b"]),
        (
            "ecs", "UpdateService", {"cluster": f"arn:aws:ecs:{PREFIX}:cluster/c", "service": "s"},
            "ecs:UpdateService", [f"arn:aws:ecs:{PREFIX}:service/c/s"],
        ),
        (
            "ecs", "RegisterTaskDefinition", {"family": "f"},
            "ecs:RegisterTaskDefinition", [f"arn:aws:ecs:{PREFIX}:task-definition/f:*"],
        ),
        ("ecs", "DescribeTaskDefinition", {"taskDefinition": "f"}, "ecs:DescribeTaskDefinition", ["*"]),
        (
            "cloudformation", "CreateStack", {"StackName": "s"},
            "cloudformation:CreateStack", [f"arn:aws:cloudformation:{PREFIX}:stack/s/*"],
        ),
        (
            "codebuild", "StartBuild", {"projectName": "p"},
            "codebuild:StartBuild", [f"arn:aws:codebuild:{PREFIX}:project/p"],
        ),
        (
            "codebuild", "BatchGetBuilds", {"ids": ["p:1", "q:2", "p:3"]},
            "codebuild:BatchGetBuilds",
            [f"arn:aws:codebuild:{PREFIX}:project/p", f"arn:aws:codebuild:{PREFIX}:project/q"],
        ),
        (
            "codepipeline", "PutApprovalResult", {"pipelineName": "p", "stageName": "s", "actionName": "a"},
            "codepipeline:PutApprovalResult", [f"arn:aws:codepipeline:{PREFIX}:p/s/a"],
        ),
        (
            "logs", "PutLogEvents", {"logGroupName": "/g", "logStreamName": "s"},
            "logs:PutLogEvents", [f"arn:aws:logs:{PREFIX}:log-group:/g:log-stream:s"],
        ),
        (
            "logs", "DescribeIndexPolicies", {"logGroupIdentifiers": [f"arn:aws:logs:{PREFIX}:log-group:/g"]},
            "logs:DescribeIndexPolicies", [f"arn:aws:logs:{PREFIX}:log-group:/g:*"],
        ),
        ("logs", "PutIndexPolicy", {"logGroupIdentifier": "/g"}, "logs:PutIndexPolicy", [f"arn:aws:logs:{PREFIX}:log-group:/g:*"]),
        ("logs", "CreateLogGroup", {"logGroupName": "/g"}, "logs:CreateLogGroup", [f"arn:aws:logs:{PREFIX}:log-group:/g:*"]),
        ("ssm", "GetParameters", {"Names": ["/a/b", "c:2"]}, "ssm:GetParameters",
         [f"arn:aws:ssm:{PREFIX}:parameter/a/b", f"arn:aws:ssm:{PREFIX}:parameter/c"]),
        ("ssm", "GetParameter", {"Name": "/aws/service/ecs/x"}, "ssm:GetParameter",
         ["arn:aws:ssm:eu-west-1::parameter/aws/service/ecs/x"]),
        ("secretsmanager", "GetSecretValue", {"SecretId": "s"}, "secretsmanager:GetSecretValue",
         [f"arn:aws:secretsmanager:{PREFIX}:secret:s-??????"]),
        ("iam", "CreateRole", {"RoleName": "r", "Path": "/p/"}, "iam:CreateRole", ["arn:aws:iam::123456789012:role/p/r"]),
        ("elbv2", "DescribeRules", {}, "elasticloadbalancing:DescribeRules", ["*"]),
        ("ec2", "DescribeVpcs", {}, "ec2:DescribeVpcs", [""]),
    ],
)  # fmt: skip
def test_what_a_call_needs(service, operation, params, action, resources):
    assert actions.action(service, operation, params) == action
    assert actions.resources(service, operation, params, *HERE) == resources


def test_a_copy_reads_its_source():
    params = {"Bucket": "b", "Key": "k", "CopySource": "c/d%20e?versionId=1"}
    assert actions.also("s3", "CopyObject", params, []) == [("s3:GetObject", "arn:aws:s3:::c/d e")]


def test_unmasked_events_need_a_permission_more():
    params = {"logGroupName": "/g", "logStreamName": "s", "unmask": True}
    assert actions.also("logs", "GetLogEvents", params, ["arn"]) == [("logs:Unmask", "arn")]
    assert actions.also("logs", "GetLogEvents", params | {"unmask": False}, ["arn"]) == []


def test_roles_that_are_passed():
    assert actions.passed_roles(
        "ecs", "RegisterTaskDefinition", {"taskRoleArn": "t", "executionRoleArn": "e"}
    ) == [
        ("t", "ecs-tasks.amazonaws.com"),
        ("e", "ecs-tasks.amazonaws.com"),
    ]
    assert actions.passed_roles("cloudformation", "CreateStack", {"RoleARN": "r"}) == [
        ("r", "cloudformation.amazonaws.com")
    ]
    pipeline = {"roleArn": "p", "stages": [{"actions": [{"roleArn": "a"}, {}]}]}
    assert actions.passed_roles("codepipeline", "CreatePipeline", {"pipeline": pipeline}) == [
        ("p", "codepipeline.amazonaws.com"),
        ("a", "codepipeline.amazonaws.com"),
    ]
    assert actions.passed_roles("ecs", "UpdateService", {"role": "x"}) == []

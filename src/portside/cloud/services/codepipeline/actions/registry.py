"""Which provider runs which action. Every action that `offered.py` lists has one."""

from __future__ import annotations

from portside.cloud.machine.repositories import Bound, Repositories
from portside.cloud.services.codepipeline import offered
from portside.cloud.services.codepipeline.actions.approval import Manual
from portside.cloud.services.codepipeline.actions.cloudformation import CloudFormation
from portside.cloud.services.codepipeline.actions.codebuild import CodeBuild
from portside.cloud.services.codepipeline.actions.codedeploy import CodeDeploy
from portside.cloud.services.codepipeline.actions.ecs import Ecs
from portside.cloud.services.codepipeline.actions.git_source import GitSource, Permit
from portside.cloud.services.codepipeline.actions.job import Provider
from portside.cloud.services.codepipeline.actions.s3_deploy import S3Deploy
from portside.cloud.services.codepipeline.actions.stored_source import EcrSource, S3Source

_GIT = frozenset({"CodeStarSourceConnection", "GitHub", "CodeCommit"})


def providers(
    repositories: Repositories, bound: Bound, permit: Permit | None = None
) -> dict[tuple[str, str, str], Provider]:
    git = GitSource(repositories, bound, permit)
    others: dict[tuple[str, str], Provider] = {
        ("Source", "S3"): S3Source(),
        ("Source", "ECR"): EcrSource(),
        ("Build", "CodeBuild"): CodeBuild(),
        ("Test", "CodeBuild"): CodeBuild(),
        ("Deploy", "CloudFormation"): CloudFormation(),
        ("Deploy", "CodeDeploy"): CodeDeploy(),
        ("Deploy", "CodeDeployToECS"): CodeDeploy(),
        ("Deploy", "ECS"): Ecs(),
        ("Deploy", "S3"): S3Deploy(),
        ("Approval", "Manual"): Manual(),
    }
    return {key: git if key[2] in _GIT else others[key[0], key[2]] for key in offered.ACTIONS}

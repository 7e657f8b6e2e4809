"""Roles: who may do what, and the managed policies that this takes."""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Sub
from troposphere.iam import InstanceProfile, Policy, Role

# The four that a container instance needs: join the cluster, pull images, be reached without SSH, send metrics.
INSTANCE_POLICIES = (
    "service-role/AmazonEC2ContainerServiceforEC2Role",
    "AmazonEC2ContainerRegistryReadOnly",
    "AmazonSSMManagedInstanceCore",
    "CloudWatchAgentServerPolicy",
)


def trust(service: str) -> dict[str, Any]:
    """A trust policy for one AWS service."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": [service]}, "Action": ["sts:AssumeRole"]},
        ],
    }


def own_trust(service: str) -> dict[str, Any]:
    """A trust policy for one AWS service, as long as it works for this account and no other."""
    made = trust(service)
    made["Statement"][0]["Condition"] = {"StringEquals": {"aws:SourceAccount": Ref("AWS::AccountId")}}
    return made


def allow(actions: list[str], resource: Any, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    """One statement of a policy."""
    made = {"Effect": "Allow", "Action": actions, "Resource": resource}
    return made | {"Condition": condition} if condition else made


def policy(name: str, *statements: dict[str, Any]) -> Policy:
    return Policy(PolicyName=name, PolicyDocument={"Version": "2012-10-17", "Statement": list(statements)})


def managed(name: str) -> Sub:
    return Sub("arn:${AWS::Partition}:iam::aws:policy/" + name)


def instance_role() -> Role:
    return Role(
        "InstanceRole",
        AssumeRolePolicyDocument=trust("ec2.amazonaws.com"),
        ManagedPolicyArns=[managed(name) for name in INSTANCE_POLICIES],
    )


def instance_profile(role: Role) -> InstanceProfile:
    return InstanceProfile("InstanceProfile", Roles=[Ref(role)])


def execution_role(log_group: Any, repository: Any) -> Role:
    """What ECS itself needs to start the app's tasks: pull its image, write its log. Nothing else."""
    return Role(
        "ExecutionRole",
        AssumeRolePolicyDocument=trust("ecs-tasks.amazonaws.com"),
        Policies=[
            Policy(
                PolicyName="start-tasks",
                PolicyDocument={
                    "Version": "2012-10-17",
                    "Statement": [
                        {"Effect": "Allow", "Action": ["ecr:GetAuthorizationToken"], "Resource": "*"},
                        {
                            "Effect": "Allow",
                            "Action": [
                                "ecr:BatchCheckLayerAvailability",
                                "ecr:BatchGetImage",
                                "ecr:GetDownloadUrlForLayer",
                            ],
                            "Resource": repository,
                        },
                        {
                            "Effect": "Allow",
                            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                            "Resource": GetAtt(log_group, "Arn"),
                        },
                    ],
                },
            )
        ],
    )


def task_role() -> Role:
    """What the app's containers need so that commands can be run in them: a channel to Session Manager."""
    channels = ["CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel"]
    return Role(
        "TaskRole",
        AssumeRolePolicyDocument=trust("ecs-tasks.amazonaws.com"),
        Policies=[policy("run-commands", allow([f"ssmmessages:{each}" for each in channels], "*"))],
    )

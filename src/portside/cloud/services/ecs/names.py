"""ARNs and the ways in which callers refer to things.

Pure. A cluster is named by name or ARN, a service by name or ARN, a task by id or ARN, a task definition by
family, `family:revision` or ARN.
"""

from __future__ import annotations

import re

from portside.cloud.services.calls import Caller

DEFAULT_CLUSTER = "default"
NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


def arn(caller: Caller, kind: str, name: str) -> str:
    return f"arn:aws:ecs:{caller.region}:{caller.account}:{kind}/{name}"


def role_arn(account: str, reference: str) -> str:
    """Roles may be given by their names."""
    return reference if reference.startswith("arn:") else f"arn:aws:iam::{account}:role/{reference.lstrip('/')}"


def last(reference: str) -> str:
    """The name or id at the end of an ARN, or the reference itself."""
    return reference.rpartition("/")[2] if reference.startswith("arn:") else reference


def cluster_name(reference: str | None) -> str:
    return last(reference) if reference else DEFAULT_CLUSTER


def service_arn(caller: Caller, cluster: str, reference: str) -> str:
    return arn(caller, "service", f"{cluster}/{last(reference)}")


def task_arn(caller: Caller, cluster: str, reference: str) -> str:
    return arn(caller, "task", f"{cluster}/{last(reference)}")


def instance_arn(caller: Caller, cluster: str, reference: str) -> str:
    return arn(caller, "container-instance", f"{cluster}/{last(reference)}")


def cluster_arn(caller: Caller, name: str) -> str:
    return arn(caller, "cluster", name)


def sibling(of: str, kind: str, name: str) -> str:
    """Another ARN of the same account and region."""
    return ":".join([*of.split(":")[:5], f"{kind}/{name}"])


def account_of(any_arn: str) -> str:
    return any_arn.split(":")[4]


def family_and_revision(reference: str) -> tuple[str, int | None]:
    """`web`, `web:3` and `arn:...:task-definition/web:3`."""
    name = last(reference)
    family, colon, revision = name.partition(":")
    return family, int(revision) if colon and revision.isdigit() else None


def service_role_caller(any_arn: str) -> Caller:
    """Who calls other services on behalf of the task or service with this ARN: the service-linked role of ECS."""
    account = account_of(any_arn)
    role = f"arn:aws:iam::{account}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
    return Caller(account, any_arn.split(":")[3], role)


def kind_of(any_arn: str) -> str:
    """`service` of `arn:aws:ecs:...:service/...`."""
    return any_arn.split(":")[5].partition("/")[0] if any_arn.count(":") >= 5 else ""

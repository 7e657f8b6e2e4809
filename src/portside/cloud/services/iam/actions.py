"""What an API call asks of IAM: the action's name, the resource's ARN, the roles that are passed.

Pure. Source: the Service Authorization Reference. Resources are worked out for the services of this system; of any
other call only the action is decided (its resource is left empty, see `policy.Request`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from portside.cloud.services.calls import Params

# IAM's prefix, where it is not botocore's name of the service.
_PREFIXES = {
    "elb": "elasticloadbalancing",
    "elbv2": "elasticloadbalancing",
    "emr": "elasticmapreduce",
    "application-autoscaling": "application-autoscaling",
    "stepfunctions": "states",
    "opensearch": "es",
    "sesv2": "ses",
    "efs": "elasticfilesystem",
    "servicediscovery": "servicediscovery",
    "codestar-connections": "codestar-connections",
}

# Operations of S3 whose action has another name.
_S3 = {
    "HeadObject": "GetObject",
    "SelectObjectContent": "GetObject",
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListBuckets": "ListAllMyBuckets",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "ListParts": "ListMultipartUploadParts",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "DeleteObjects": "DeleteObject",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketCors": "GetBucketCORS",
    "PutBucketCors": "PutBucketCORS",
    "DeleteBucketCors": "PutBucketCORS",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "DeleteBucketTagging": "PutBucketTagging",
    "GetBucketReplication": "GetReplicationConfiguration",
    "PutBucketReplication": "PutReplicationConfiguration",
}
_VERSIONED = {"GetObject": "GetObjectVersion", "DeleteObject": "DeleteObjectVersion"}
# Needs no permission at all.
FREE = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken"})

Passed = tuple[str, str]


def action(service: str, operation: str, params: Params) -> str:
    """`s3:GetObject`, `elasticloadbalancing:DescribeRules`."""
    if service == "s3":
        name = _S3.get(operation, operation)
        if params.get("VersionId") and name in _VERSIONED:
            name = _VERSIONED[name]
        return f"s3:{name}"
    return f"{_PREFIXES.get(service, service)}:{operation}"


def resources(service: str, operation: str, params: Params, account: str, region: str) -> list[str]:
    """The ARNs that the call touches; `*` for calls on no resource of their own, empty where it is not known."""
    here = f"{region}:{account}"
    found = _FINDERS.get(service)
    return [*dict.fromkeys(found(operation, params, here))] if found is not None else [""]


def also(service: str, operation: str, params: Params, touched: list[str]) -> list[tuple[str, str]]:
    """Further (action, resource) pairs that the call needs: a copy reads its source. `touched` are the resources
    that it is about itself."""
    if service == "logs" and params.get("unmask"):
        return [("logs:Unmask", each) for each in touched]
    if service == "s3" and operation in ("CopyObject", "UploadPartCopy"):
        source = params.get("CopySource") or ""
        text = f"{source.get('Bucket')}/{source.get('Key')}" if isinstance(source, dict) else str(source)
        return [("s3:GetObject", f"arn:aws:s3:::{unquote(text).lstrip('/').split('?')[0]}")]
    return []


def passed_roles(service: str, operation: str, params: Params) -> list[Passed]:
    """(role, service it is passed to) for each role that the call hands over, which needs iam:PassRole."""
    return [(role, principal) for role, principal in _passed(service, operation, params) if role]


def _passed(service: str, operation: str, params: Params) -> Iterator[tuple[Any, str]]:
    match service, operation:
        case "ecs", "RegisterTaskDefinition":
            yield params.get("taskRoleArn"), "ecs-tasks.amazonaws.com"
            yield params.get("executionRoleArn"), "ecs-tasks.amazonaws.com"
        case "ecs", "RunTask":
            overrides = params.get("overrides") or {}
            yield overrides.get("taskRoleArn"), "ecs-tasks.amazonaws.com"
            yield overrides.get("executionRoleArn"), "ecs-tasks.amazonaws.com"
        case "ecs", "CreateService":
            yield params.get("role"), "ecs.amazonaws.com"
        case "codebuild", "CreateProject" | "UpdateProject":
            yield params.get("serviceRole"), "codebuild.amazonaws.com"
        case "codebuild", "StartBuild":
            yield params.get("serviceRoleOverride"), "codebuild.amazonaws.com"
        case "codepipeline", "CreatePipeline" | "UpdatePipeline":
            pipeline = params.get("pipeline") or {}
            yield pipeline.get("roleArn"), "codepipeline.amazonaws.com"
            for stage in pipeline.get("stages") or ():
                for each in stage.get("actions") or ():
                    yield each.get("roleArn"), "codepipeline.amazonaws.com"
        case "cloudformation", _ if "RoleARN" in params:
            yield params.get("RoleARN"), "cloudformation.amazonaws.com"
        case "application-autoscaling", "RegisterScalableTarget":
            yield params.get("RoleARN"), "application-autoscaling.amazonaws.com"


# Resources, by service. `here` is REGION:ACCOUNT.


def _s3(operation: str, params: Params, here: str) -> Iterator[str]:
    bucket = params.get("Bucket")
    if not bucket:
        yield "*"
    elif params.get("Key"):
        yield f"arn:aws:s3:::{bucket}/{params['Key']}"
    elif operation == "DeleteObjects":
        # Which objects is in the body, which is not read where a request is only passed on.
        for each in (params.get("Delete") or {}).get("Objects") or ({"Key": "*"},):
            yield f"arn:aws:s3:::{bucket}/{each.get('Key', '')}"
    else:
        yield f"arn:aws:s3:::{bucket}"


def _ecr(operation: str, params: Params, here: str) -> Iterator[str]:
    names = params.get("repositoryNames") or [params.get("repositoryName")]
    arn = params.get("resourceArn")
    if arn:
        yield arn
        return
    for name in names:
        yield f"arn:aws:ecr:{here}:repository/{name}" if name else "*"


def _named(kind: str, here: str, name: Any, prefix: str = "") -> str:
    """The ARN of something that may be given by ARN or by name."""
    text = str(name)
    return text if text.startswith("arn:") else f"arn:aws:{kind}:{here}:{prefix}{text}"


def _cluster_name(params: Params) -> str:
    return str(params.get("cluster") or "default").rpartition("/")[2]


def _ecs(operation: str, params: Params, here: str) -> Iterator[str]:
    cluster = _cluster_name(params)
    if operation == "RegisterTaskDefinition":
        yield f"arn:aws:ecs:{here}:task-definition/{params.get('family', '')}:*"
    elif "TaskDefinition" in operation:
        yield "*"
    elif operation in ("RunTask", "StartTask"):
        yield _named("ecs", here, params.get("taskDefinition"), "task-definition/")
    elif operation in ("CreateCluster",):
        yield f"arn:aws:ecs:{here}:cluster/{params.get('clusterName') or 'default'}"
    elif "resourceArn" in params:
        yield params["resourceArn"]
    elif params.get("services"):
        for each in params["services"]:
            yield _named("ecs", here, each, f"service/{cluster}/")
    elif params.get("service") or params.get("serviceName"):
        yield _named("ecs", here, params.get("service") or params.get("serviceName"), f"service/{cluster}/")
    elif params.get("tasks"):
        for each in params["tasks"]:
            yield _named("ecs", here, each, f"task/{cluster}/")
    elif params.get("task"):
        yield _named("ecs", here, params["task"], f"task/{cluster}/")
    elif params.get("clusters"):
        for each in params["clusters"]:
            yield _named("ecs", here, each, "cluster/")
    elif "cluster" in params:
        yield _named("ecs", here, params["cluster"], "cluster/")
    else:
        yield "*"


def _stack(operation: str, params: Params, here: str) -> Iterator[str]:
    name = params.get("StackName")
    if name:
        given = str(name)
        yield given if given.startswith("arn:") else f"arn:aws:cloudformation:{here}:stack/{given}/*"
    elif str(params.get("ChangeSetName", "")).startswith("arn:"):
        # A change set's ARN does not tell the stack's.
        yield ""
    else:
        yield "*"


def _build(operation: str, params: Params, here: str) -> Iterator[str]:
    if operation.startswith("List") and "projectName" not in params and "reportGroupArn" not in params:
        yield "*"
        return
    names = [params.get("projectName") or params.get("name") or params.get("id"), *(params.get("names") or ())]
    names += params.get("ids") or ()
    for each in names:
        if each:
            project = str(each).rpartition("/")[2].split(":")[0]
            yield f"arn:aws:codebuild:{here}:project/{project}"
    for each in (*(params.get("reportGroupArns") or ()), params.get("reportGroupArn"), params.get("arn")):
        if each:
            yield str(each)
    if operation.startswith(("CreateReport", "BatchPut", "UpdateReport")) and not params.get("reportGroupArn"):
        yield f"arn:aws:codebuild:{here}:report-group/{params.get('name', '*')}"


def _pipeline(operation: str, params: Params, here: str) -> Iterator[str]:
    name = params.get("pipelineName") or params.get("name") or (params.get("pipeline") or {}).get("name")
    if not name or operation == "ListPipelines":
        yield params.get("resourceArn") or "*"
        return
    stage, within = params.get("stageName"), params.get("actionName")
    arn = f"arn:aws:codepipeline:{here}:{name}"
    yield arn + (f"/{stage}" if stage else "") + (f"/{within}" if stage and within else "")


def _connection(operation: str, params: Params, here: str) -> Iterator[str]:
    yield params.get("ConnectionArn") or params.get("ResourceArn") or "*"


def _logs(operation: str, params: Params, here: str) -> Iterator[str]:
    identifiers = params.get("logGroupIdentifiers") or [params.get("logGroupIdentifier")]
    group = params.get("logGroupName") or str(identifiers[0] or "").rpartition(":log-group:")[2].removesuffix(":*")
    if group and params.get("logStreamName"):
        yield f"arn:aws:logs:{here}:log-group:{group}:log-stream:{params['logStreamName']}"
    elif group:
        yield f"arn:aws:logs:{here}:log-group:{group}:*"
    elif params.get("resourceArn"):
        yield str(params["resourceArn"])
    else:
        yield f"arn:aws:logs:{here}:log-group:{params.get('logGroupNamePrefix', '')}*"


def _parameters(operation: str, params: Params, here: str) -> Iterator[str]:
    names = params.get("Names") or [params.get("Name") or params.get("Path") or params.get("ResourceId")]
    if operation == "DescribeParameters":
        names = [None]
    for each in names:
        if not each:
            yield "*"
        elif str(each).startswith("arn:"):
            yield str(each)
        else:
            bare = str(each).split(":")[0].removeprefix("/")
            # Public parameters belong to no account.
            owner = here.split(":")[0] + ":" if bare.startswith("aws/service/") else here
            yield f"arn:aws:ssm:{owner}:parameter/{bare}"


def _secret(operation: str, params: Params, here: str) -> Iterator[str]:
    given = params.get("SecretId") or params.get("Name")
    if not given:
        yield "*"
    elif str(given).startswith("arn:"):
        yield str(given)
    else:
        # Policies name a secret with the six characters that AWS appends.
        yield f"arn:aws:secretsmanager:{here}:secret:{given}-??????"


def _topic(operation: str, params: Params, here: str) -> Iterator[str]:
    given = params.get("TopicArn") or params.get("TargetArn") or params.get("ResourceArn")
    yield str(given) if given else _named("sns", here, params["Name"]) if params.get("Name") else "*"


def _identity(operation: str, params: Params, here: str) -> Iterator[str]:
    account = here.split(":")[1]
    for member, kind in (
        ("InstanceProfileName", "instance-profile"),
        ("RoleName", "role"),
        ("UserName", "user"),
        ("GroupName", "group"),
    ):
        if params.get(member):
            path = str(params.get("Path") or "/") if operation.startswith("Create") else "/"
            yield f"arn:aws:iam::{account}:{kind}{path}{params[member]}"
            return
    if operation == "CreatePolicy":
        yield f"arn:aws:iam::{account}:policy{params.get('Path') or '/'}{params.get('PolicyName', '')}"
        return
    yield str(params.get("PolicyArn") or "*")


def _assumed(operation: str, params: Params, here: str) -> Iterator[str]:
    yield str(params.get("RoleArn") or "*")


def _rule(operation: str, params: Params, here: str) -> Iterator[str]:
    given = params.get("Rule") or params.get("Name")
    bus = str(params.get("EventBusName") or "default").rpartition("/")[2]
    yield f"arn:aws:events:{here}:rule/{'' if bus == 'default' else bus + '/'}{given}" if given else "*"


def _group(operation: str, params: Params, here: str) -> Iterator[str]:
    name = params.get("AutoScalingGroupName")
    if operation.startswith("Describe") or not name:
        yield "*" if operation.startswith("Describe") else ""
        return
    yield f"arn:aws:autoscaling:{here}:autoScalingGroup:*:autoScalingGroupName/{name}"


def _balancer(operation: str, params: Params, here: str) -> Iterator[str]:
    if operation.startswith("Describe"):
        yield "*"
        return
    for member in ("RuleArn", "ListenerArn", "TargetGroupArn", "LoadBalancerArn"):
        if params.get(member):
            yield str(params[member])
            return
    if params.get("ResourceArns"):
        yield from (str(each) for each in params["ResourceArns"])
    elif operation == "CreateLoadBalancer":
        kind = "net" if params.get("Type") == "network" else "app"
        yield f"arn:aws:elasticloadbalancing:{here}:loadbalancer/{kind}/{params.get('Name')}/*"
    elif operation == "CreateTargetGroup":
        yield f"arn:aws:elasticloadbalancing:{here}:targetgroup/{params.get('Name')}/*"
    else:
        yield ""


def _key(operation: str, params: Params, here: str) -> Iterator[str]:
    given = str(params.get("KeyId") or "")
    yield given if given.startswith("arn:") else f"arn:aws:kms:{here}:key/{given}" if given else "*"


_FINDERS: dict[str, Callable[[str, Params, str], Iterator[str]]] = {
    "s3": _s3,
    "ecr": _ecr,
    "ecs": _ecs,
    "cloudformation": _stack,
    "codebuild": _build,
    "codepipeline": _pipeline,
    "codeconnections": _connection,
    "codestar-connections": _connection,
    "logs": _logs,
    "ssm": _parameters,
    "secretsmanager": _secret,
    "sns": _topic,
    "iam": _identity,
    "sts": _assumed,
    "events": _rule,
    "autoscaling": _group,
    "elbv2": _balancer,
    "kms": _key,
}

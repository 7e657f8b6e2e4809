"""What a resource really is now: the service's description in CloudFormation's spelling, by type.

Owns the readings that drift detection and imports look at. A reading only lists what the service tells; a property
that it knows to be unset is listed as None. A type without a reading is not checked. The comparison is `drift.py`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources import registry
from portside.cloud.services.cloudformation.resources.handler import Work, optional
from portside.cloud.services.cloudformation.resources.live_network import NETWORK
from portside.cloud.services.cloudformation.resources.messages import delivery_logging
from portside.cloud.services.cloudformation.resources.s3_lists import LISTS

Reading = Callable[[Work], Awaitable[Params | None]]


def checked(kind: str) -> bool:
    """Whether drift of the type can be seen."""
    return kind in READINGS


async def read(kind: str, work: Work) -> Params | None:
    """The live properties of `work.physical_id`; None if it is gone."""
    try:
        return await READINGS[kind](work)
    except AwsError as error:
        if registry.handler(kind).missing(error):
            return None
        raise


def first(found: Any, status: str = "") -> Params | None:
    """The one item of an answer, unless it is only remembered."""
    for each in found or []:
        item: Params = each
        if not status or item.get("status") != status:
            return item
    return None


def renamed(found: Mapping[str, Any], names: Mapping[str, str]) -> Params:
    """With the service's names in the place of CloudFormation's; those of `names` that are missing are unset."""
    shown = dict(found)
    for property_name, name in names.items():
        shown[property_name] = shown.pop(name, None)
    return shown


def pairs(tags: Iterable[Mapping[str, Any]] | Mapping[str, Any] | None) -> list[Params]:
    """Tags of any spelling as a list of Key and Value."""
    if isinstance(tags, Mapping):
        return [{"Key": key, "Value": value} for key, value in tags.items()]
    return [{part.capitalize(): value for part, value in each.items()} for each in tags or []]


async def _repository(work: Work) -> Params | None:
    name = {"repositoryName": work.physical_id}
    found = await work.call("ecr", "DescribeRepositories", {"repositoryNames": [work.physical_id]})
    shown = dict(found["repositories"][0])
    shown |= {"LifecyclePolicy": None, "RepositoryPolicyText": None}
    lifecycle = (await optional(work, "ecr", "GetLifecyclePolicy", name)).get("lifecyclePolicyText")
    if lifecycle:
        shown["LifecyclePolicy"] = {"LifecyclePolicyText": lifecycle}
    shown["RepositoryPolicyText"] = (await optional(work, "ecr", "GetRepositoryPolicy", name)).get("policyText")
    tags = await work.call("ecr", "ListTagsForResource", {"resourceArn": shown["repositoryArn"]})
    return shown | {"Tags": pairs(tags.get("tags"))}


async def _cluster(work: Work) -> Params | None:
    include = ["SETTINGS", "CONFIGURATIONS", "TAGS"]
    found = await work.call("ecs", "DescribeClusters", {"clusters": [work.physical_id], "include": include})
    one = first(found.get("clusters"), "INACTIVE")
    if one is None:
        return None
    return renamed(one, {"ClusterSettings": "settings"}) | {"tags": pairs(one.get("tags"))}


async def _definition(work: Work) -> Params | None:
    params = {"taskDefinition": work.physical_id, "include": ["TAGS"]}
    found = await work.call("ecs", "DescribeTaskDefinition", params)
    one = first([found["taskDefinition"]], "INACTIVE")
    if one is None:
        return None
    shown = dict(one) | {"tags": pairs(found.get("tags"))}
    proxy = one.get("proxyConfiguration")
    if proxy:
        shown["proxyConfiguration"] = renamed(proxy, {"ProxyConfigurationProperties": "properties"})
    return shown


async def _service(work: Work) -> Params | None:
    cluster = work.physical_id.split("/")[-2] if work.physical_id.count("/") > 1 else ""
    params: Params = {"services": [work.physical_id], "include": ["TAGS"]}
    found = await work.call("ecs", "DescribeServices", params | ({"cluster": cluster} if cluster else {}))
    one = first(found.get("services"), "INACTIVE")
    if one is None:
        return None
    shown = renamed(one, {"Cluster": "clusterArn", "PlacementStrategies": "placementStrategy"})
    if one.get("schedulingStrategy") == "DAEMON":
        shown.pop("desiredCount", None)
    return shown | {"tags": pairs(one.get("tags"))}


async def _group(work: Work) -> Params | None:
    params = {"AutoScalingGroupNames": [work.physical_id]}
    one = first((await work.call("autoscaling", "DescribeAutoScalingGroups", params)).get("AutoScalingGroups"))
    if one is None:
        return None
    shown = renamed(one, {"Cooldown": "DefaultCooldown"})
    shown["VPCZoneIdentifier"] = [each for each in (one.get("VPCZoneIdentifier") or "").split(",") if each]
    given = work.properties.get("Tags") or []
    kept = {"Key", "Value", "PropagateAtLaunch"} if any("PropagateAtLaunch" in each for each in given) else {"Key"}
    shown["Tags"] = [
        {name: value for name, value in each.items() if name in kept | {"Value"}} for each in one.get("Tags") or []
    ]
    return shown


async def _launch_configuration(work: Work) -> Params | None:
    params = {"LaunchConfigurationNames": [work.physical_id]}
    found = await work.call("autoscaling", "DescribeLaunchConfigurations", params)
    one = first(found.get("LaunchConfigurations"))
    if one is None:
        return None
    return dict(one) | {"InstanceMonitoring": (one.get("InstanceMonitoring") or {}).get("Enabled")}


async def _group_policy(work: Work) -> Params | None:
    params = {"AutoScalingGroupName": work.properties["AutoScalingGroupName"]}
    found = await work.call("autoscaling", "DescribePolicies", params)
    for each in found.get("ScalingPolicies") or []:
        if work.physical_id in (each.get("PolicyARN"), each.get("PolicyName")):
            one: Params = each
            return one
    return None


async def _scalable_target(work: Work) -> Params | None:
    resource, dimension, namespace = work.physical_id.split("|")
    params = {"ServiceNamespace": namespace, "ResourceIds": [resource], "ScalableDimension": dimension}
    found = await work.call("application-autoscaling", "DescribeScalableTargets", params)
    return first(found.get("ScalableTargets"))


async def _target_policy(work: Work) -> Params | None:
    namespace = work.properties.get("ServiceNamespace") or str(work.properties["ScalingTargetId"]).split("|")[2]
    params = {"ServiceNamespace": namespace, "PolicyNames": [work.properties["PolicyName"]]}
    found = await work.call("application-autoscaling", "DescribeScalingPolicies", params)
    for each in found.get("ScalingPolicies") or []:
        if each.get("PolicyARN") == work.physical_id:
            one: Params = each
            return one
    return None


async def _alarm(work: Work) -> Params | None:
    params = {"AlarmNames": [work.physical_id], "AlarmTypes": ["MetricAlarm"]}
    one = first((await work.call("cloudwatch", "DescribeAlarms", params)).get("MetricAlarms"))
    if one is None:
        return None
    unset = dict.fromkeys(("AlarmDescription", "TreatMissingData", "Unit", "Threshold"))
    tags = await work.call("cloudwatch", "ListTagsForResource", {"ResourceARN": one["AlarmArn"]})
    return unset | one | {"Tags": pairs(tags.get("Tags"))}


async def _log_group(work: Work) -> Params | None:
    params = {"logGroupNamePrefix": work.physical_id}
    while True:
        found = await work.call("logs", "DescribeLogGroups", params)
        for each in found.get("logGroups") or []:
            if each["logGroupName"] == work.physical_id:
                arn = {"resourceArn": str(each["arn"]).removesuffix(":*")}
                tags = (await work.call("logs", "ListTagsForResource", arn)).get("tags")
                shown: Params = {"RetentionInDays": each.get("retentionInDays"), "Tags": pairs(tags)}
                shown |= {"KmsKeyId": each.get("kmsKeyId")} | await _group_policies(work, arn)
                unset = {"retentionInDays", "kmsKeyId"}
                return shown | {name: value for name, value in each.items() if name not in unset}
        if not found.get("nextToken"):
            return None
        params["nextToken"] = found["nextToken"]


async def _group_policies(work: Work, arn: Params) -> Params:
    """Those of a log group."""
    policies = (await work.call("logs", "DescribeResourcePolicies", arn)).get("resourcePolicies")
    named = {"logGroupIdentifiers": [work.physical_id]}
    indexes = (await work.call("logs", "DescribeIndexPolicies", named)).get("indexPolicies")
    group = {"logGroupIdentifier": work.physical_id}
    protection = await work.call("logs", "GetDataProtectionPolicy", group)
    return {
        "ResourcePolicyDocument": policies[0]["policyDocument"] if policies else None,
        "DataProtectionPolicy": protection.get("policyDocument"),
        "FieldIndexPolicies": [json.loads(each["policyDocument"]) for each in indexes or []] or None,
    }


async def _project(work: Work) -> Params | None:
    found = await work.call("codebuild", "BatchGetProjects", {"names": [work.physical_id]})
    one = first(found.get("projects"))
    return None if one is None else dict(one) | {"tags": pairs(one.get("tags"))}


async def _pipeline(work: Work) -> Params | None:
    found = await work.call("codepipeline", "GetPipeline", {"name": work.physical_id})
    one: Params = dict(found["pipeline"])
    # Stores by region are a list in a template.
    one.pop("artifactStores", None)
    return one


async def _role(work: Work) -> Params | None:
    name = {"RoleName": work.physical_id}
    role = (await work.call("iam", "GetRole", name))["Role"]
    attached = await work.call("iam", "ListAttachedRolePolicies", name)
    policies = []
    for each in (await work.call("iam", "ListRolePolicies", name)).get("PolicyNames") or []:
        found = await work.call("iam", "GetRolePolicy", name | {"PolicyName": each})
        policies.append({"PolicyName": each, "PolicyDocument": _document(found["PolicyDocument"])})
    listed = await work.call("iam", "ListRoleTags", name)
    boundary = (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
    return {
        "RoleName": role["RoleName"],
        "Path": role["Path"],
        "Description": role.get("Description"),
        "MaxSessionDuration": role.get("MaxSessionDuration", 3600),
        "PermissionsBoundary": boundary,
        "AssumeRolePolicyDocument": _document(role["AssumeRolePolicyDocument"]),
        "ManagedPolicyArns": [each["PolicyArn"] for each in attached.get("AttachedPolicies") or []],
        "Policies": policies,
        "Tags": pairs(listed.get("Tags")),
    }


def _document(found: Any) -> Any:
    return unquote(found) if isinstance(found, str) else found


async def _managed_policy(work: Work) -> Params | None:
    arn = {"PolicyArn": work.physical_id}
    policy = (await work.call("iam", "GetPolicy", arn))["Policy"]
    version = await work.call("iam", "GetPolicyVersion", arn | {"VersionId": policy["DefaultVersionId"]})
    return {
        "ManagedPolicyName": policy["PolicyName"],
        "Path": policy["Path"],
        "PolicyDocument": _document(version["PolicyVersion"]["Document"]),
    }


async def _instance_profile(work: Work) -> Params | None:
    found = await work.call("iam", "GetInstanceProfile", {"InstanceProfileName": work.physical_id})
    profile = found["InstanceProfile"]
    return dict(profile) | {"Roles": [each["RoleName"] for each in profile.get("Roles") or []]}


async def _bucket(work: Work) -> Params | None:
    bucket = {"Bucket": work.physical_id}
    await work.call("s3", "HeadBucket", bucket)
    shown: Params = {"BucketName": work.physical_id, "VersioningConfiguration": None, "BucketEncryption": None}
    versioning = await work.call("s3", "GetBucketVersioning", bucket)
    if versioning.get("Status"):
        shown["VersioningConfiguration"] = {"Status": versioning["Status"]}
    found = await optional(work, "s3", "GetBucketEncryption", bucket)
    rules = (found.get("ServerSideEncryptionConfiguration") or {}).get("Rules")
    if rules:
        names = {"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"}
        shown["BucketEncryption"] = {"ServerSideEncryptionConfiguration": [renamed(each, names) for each in rules]}
    blocked = await optional(work, "s3", "GetPublicAccessBlock", bucket)
    shown["PublicAccessBlockConfiguration"] = blocked.get("PublicAccessBlockConfiguration")
    shown["Tags"] = pairs((await optional(work, "s3", "GetBucketTagging", bucket)).get("TagSet"))
    for name, listed in LISTS.items():
        if name in work.properties:
            items = (await work.call("s3", listed.lists, bucket)).get(f"{listed.name}List")
            shown[name] = [listed.shown(each) for each in items or []]
    return shown


async def _parameter(work: Work) -> Params | None:
    found = await work.call("ssm", "GetParameter", {"Name": work.physical_id, "WithDecryption": True})
    target = {"ResourceType": "Parameter", "ResourceId": work.physical_id}
    tags = (await work.call("ssm", "ListTagsForResource", target)).get("TagList") or []
    one: Params = found["Parameter"]
    return {
        "Name": one["Name"],
        "Type": one["Type"],
        "Value": one["Value"],
        "DataType": one.get("DataType", "text"),
        "Tags": {each["Key"]: each["Value"] for each in tags},
    }


async def _topic(work: Work) -> Params | None:
    found = await work.call("sns", "GetTopicAttributes", {"TopicArn": work.physical_id})
    tags = await work.call("sns", "ListTagsForResource", {"ResourceArn": work.physical_id})
    shown: Params = dict.fromkeys(("DisplayName", "KmsMasterKeyId", "TracingConfig", "MaximumMessageSize"))
    shown |= {name: value for name, value in (found.get("Attributes") or {}).items() if value != ""}
    shown["DeliveryStatusLogging"] = delivery_logging(shown)
    return shown | {"TopicName": work.physical_id.rpartition(":")[2], "Tags": pairs(tags.get("Tags"))}


async def _queue(work: Work) -> Params | None:
    url = {"QueueUrl": work.physical_id}
    found = (await work.call("sqs", "GetQueueAttributes", url | {"AttributeNames": ["All"]})).get(
        "Attributes"
    ) or {}
    shown: Params = dict.fromkeys(("RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId", "FifoQueue"))
    for name, value in found.items():
        # Numbers, truths and documents are all told as text.
        plain = name == "KmsMasterKeyId" or not (value.isdigit() or value in ("true", "false") or value[:1] == "{")
        shown[name] = value if plain else json.loads(value)
    tags = (await work.call("sqs", "ListQueueTags", url)).get("Tags")
    return shown | {"QueueName": work.physical_id.rpartition("/")[2], "Tags": pairs(tags)}


async def _certificate(work: Work) -> Params | None:
    arn = {"CertificateArn": work.physical_id}
    one: Params = (await work.call("acm", "DescribeCertificate", arn))["Certificate"]
    options = one.get("Options") or {}
    given = work.properties.get("SubjectAlternativeNames") or []
    # The certificate's own name is always among them.
    names = [
        each for each in one.get("SubjectAlternativeNames") or [] if each != one["DomainName"] or each in given
    ]
    return {
        "DomainName": one["DomainName"],
        "SubjectAlternativeNames": names,
        "KeyAlgorithm": str(one.get("KeyAlgorithm", "")).replace("-", "_"),
        "CertificateTransparencyLoggingPreference": options.get("CertificateTransparencyLoggingPreference"),
        "CertificateExport": options.get("Export"),
        "Tags": pairs((await work.call("acm", "ListTagsForCertificate", arn)).get("Tags")),
    }


async def _server_certificate(work: Work) -> Params | None:
    name = {"ServerCertificateName": work.physical_id}
    one: Params = (await work.call("iam", "GetServerCertificate", name))["ServerCertificate"]
    return dict(one["ServerCertificateMetadata"]) | {"Tags": pairs(one.get("Tags"))}


async def _secret(work: Work) -> Params | None:
    """What it holds is not looked at."""
    one = await work.call("secretsmanager", "DescribeSecret", {"SecretId": work.physical_id})
    if one.get("DeletedDate"):
        return None
    names = ("Region", "KmsKeyId")
    replicas = [{name: each.get(name) for name in names} for each in one.get("ReplicationStatus") or []]
    shown: Params = {"Description": one.get("Description"), "KmsKeyId": one.get("KmsKeyId")}
    return shown | {"Name": one["Name"], "ReplicaRegions": replicas, "Tags": pairs(one.get("Tags"))}


READINGS: dict[str, Reading] = {
    "AWS::ECR::Repository": _repository,
    "AWS::ECS::Cluster": _cluster,
    "AWS::ECS::TaskDefinition": _definition,
    "AWS::ECS::Service": _service,
    "AWS::AutoScaling::AutoScalingGroup": _group,
    "AWS::AutoScaling::LaunchConfiguration": _launch_configuration,
    "AWS::AutoScaling::ScalingPolicy": _group_policy,
    "AWS::ApplicationAutoScaling::ScalableTarget": _scalable_target,
    "AWS::ApplicationAutoScaling::ScalingPolicy": _target_policy,
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::CodeBuild::Project": _project,
    "AWS::CodePipeline::Pipeline": _pipeline,
    "AWS::IAM::Role": _role,
    "AWS::IAM::ManagedPolicy": _managed_policy,
    "AWS::IAM::InstanceProfile": _instance_profile,
    "AWS::S3::Bucket": _bucket,
    "AWS::CertificateManager::Certificate": _certificate,
    "AWS::IAM::ServerCertificate": _server_certificate,
    "AWS::SecretsManager::Secret": _secret,
    "AWS::SSM::Parameter": _parameter,
    "AWS::SNS::Topic": _topic,
    "AWS::SQS::Queue": _queue,
    **NETWORK,
}

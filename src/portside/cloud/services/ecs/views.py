"""Records in the form of the API's answers.

Reads, never writes. Counts (running, pending) are taken from the tasks at the moment of asking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from portside.cloud.services.calls import Params
from portside.cloud.services.ecs import capacity, fargate, names, provider_records, store
from portside.cloud.services.ecs.names import sibling
from portside.cloud.services.ecs.records import (
    Cluster,
    Container,
    Definition,
    Deployment,
    HealthStatus,
    Instance,
    Service,
    ServiceStatus,
    Task,
    TaskStatus,
)

PENDING = (TaskStatus.PROVISIONING, TaskStatus.PENDING, TaskStatus.ACTIVATING)
INSTANCE_RESERVED = list(capacity.RESERVED_PORTS)


def running(tasks: list[Task]) -> int:
    """Tasks that run, those on their way out included until they have stopped."""
    return sum(1 for task in tasks if task.status in (TaskStatus.RUNNING, TaskStatus.DEACTIVATING))


def pending(tasks: list[Task]) -> int:
    return sum(1 for task in tasks if task.status in PENDING)


def cluster(reader: store.Reader, each: Cluster, include: Collection[str] = ()) -> Params:
    tasks = store.tasks.count(reader, each.region, each.name)
    services = store.services.count(reader, each.region, each.name)
    instances = store.instances.count(reader, each.region, each.name)
    tags = store.tags_of(reader, each.arn) if "TAGS" in include else []
    return _cluster(each, tasks, services, instances, tags, include)


def first_cluster(each: Cluster, tags: list[dict[str, str]]) -> Params:
    """The first of its name, when it has just been made: nothing is in it."""
    return _cluster(each, Counter(), Counter(), Counter(), tags, ("TAGS", "CONFIGURATIONS"))


def _cluster(
    each: Cluster,
    tasks: Counter[str],
    services: Counter[str],
    instances: Counter[str],
    tags: list[dict[str, str]],
    include: Collection[str],
) -> Params:
    ran = tasks[TaskStatus.RUNNING] + tasks[TaskStatus.DEACTIVATING]
    waits = sum(tasks[status] for status in PENDING)
    shown: Params = {
        "clusterArn": each.arn,
        "clusterName": each.name,
        "status": each.status,
        "registeredContainerInstancesCount": instances.total() - instances["INACTIVE"],
        "runningTasksCount": ran,
        "pendingTasksCount": waits,
        "activeServicesCount": services[ServiceStatus.ACTIVE],
        "statistics": [],
        "tags": tags,
        "settings": each.spec.get("settings") or [{"name": "containerInsights", "value": "disabled"}],
        "capacityProviders": each.spec.get("capacityProviders") or [],
        "defaultCapacityProviderStrategy": each.spec.get("defaultCapacityProviderStrategy") or [],
    }
    if "CONFIGURATIONS" in include and each.spec.get("configuration"):
        shown["configuration"] = each.spec["configuration"]
    if each.spec.get("serviceConnectDefaults"):
        shown["serviceConnectDefaults"] = each.spec["serviceConnectDefaults"]
    if "STATISTICS" in include:
        shown["statistics"] = [
            {"name": "runningEC2TasksCount", "value": str(ran)},
            {"name": "pendingEC2TasksCount", "value": str(waits)},
            {"name": "activeEC2ServiceCount", "value": str(shown["activeServicesCount"])},
            {
                "name": "drainingEC2ServiceCount",
                "value": str(services[ServiceStatus.DRAINING]),
            },
        ]
    return shown


def definition(each: Definition) -> Params:
    return each.spec | {
        "taskDefinitionArn": each.arn,
        "family": each.family,
        "revision": each.revision,
        "status": each.status,
        "compatibilities": _compatibilities(each.spec),
        "registeredAt": each.registered_at,
        "registeredBy": each.registered_by,
        "deregisteredAt": each.deregistered_at,
    }


def _compatibilities(spec: Params) -> list[str]:
    if spec.get("networkMode") == "awsvpc":
        return ["EC2", "FARGATE"] if spec.get("cpu") and spec.get("memory") else ["EC2"]
    return ["EXTERNAL", "EC2"]


def instance(reader: store.Reader, each: Instance, include: Collection[str] = ()) -> Params:
    tasks = store.live_tasks_of_instance(reader, each.arn)
    cpu, memory = capacity.free(each, tasks)
    ports = {"tcp": list(INSTANCE_RESERVED), "udp": []}
    for port in (port for task in tasks for port in task.ports):
        number, _, protocol = port.partition("/")
        ports[protocol].append(number)
    shown: Params = {
        "containerInstanceArn": each.arn,
        "ec2InstanceId": each.ec2_id,
        "version": each.version,
        "versionInfo": {"agentVersion": capacity.AGENT_VERSION},
        "registeredResources": _resources(each.cpu, each.memory, {"tcp": INSTANCE_RESERVED, "udp": []}),
        "remainingResources": _resources(cpu, memory, ports),
        "status": each.status,
        "agentConnected": each.connected,
        "runningTasksCount": running(tasks),
        "pendingTasksCount": pending(tasks),
        "attributes": [{"name": name, "value": value} for name, value in sorted(each.attributes.items())],
        "registeredAt": each.registered_at,
        "capacityProviderName": provider_records.of_group(reader, each.region, each.group_name) or None,
        "attachments": [],
        "tags": store.tags_of(reader, each.arn) if "TAGS" in include else [],
    }
    if "CONTAINER_INSTANCE_HEALTH" in include:
        status = "OK" if each.connected else "IMPAIRED"
        shown["healthStatus"] = {"overallStatus": status, "details": []}
    return shown


def _resources(cpu: int, memory: int, ports: dict[str, list[str]]) -> list[Params]:
    zero: Params = {"doubleValue": 0.0, "longValue": 0, "integerValue": 0}
    return [
        {"name": "CPU", "type": "INTEGER", **zero, "integerValue": cpu},
        {"name": "MEMORY", "type": "INTEGER", **zero, "integerValue": memory},
        {"name": "PORTS", "type": "STRINGSET", **zero, "stringSetValue": ports["tcp"]},
        {"name": "PORTS_UDP", "type": "STRINGSET", **zero, "stringSetValue": ports["udp"]},
    ]


def service(reader: store.Reader, each: Service, include: Collection[str] = ()) -> Params:
    tasks = store.live_tasks_of_service(reader, each.arn)
    spec = each.spec
    shown: Params = {
        "serviceArn": each.arn,
        "serviceName": each.name,
        "clusterArn": sibling(each.arn, "cluster", each.cluster),
        "loadBalancers": spec.get("loadBalancers") or [],
        "serviceRegistries": spec.get("serviceRegistries") or [],
        "status": each.status,
        "desiredCount": each.desired,
        "runningCount": running(tasks),
        "pendingCount": pending(tasks),
        **launch(spec),
        "taskDefinition": each.definition,
        "deploymentConfiguration": spec.get("deploymentConfiguration"),
        "deployments": [_deployment(spec, d, tasks) for d in store.current_deployments(reader, each.arn)],
        "roleArn": _role(each.arn, spec.get("role")),
        "events": [
            {"id": event.id, "createdAt": event.at, "message": event.message}
            for event in store.events_of(reader, each.arn)
        ],
        "createdAt": each.created_at,
        "placementConstraints": spec.get("placementConstraints") or [],
        "placementStrategy": spec.get("placementStrategy") or [],
        "healthCheckGracePeriodSeconds": spec.get("healthCheckGracePeriodSeconds"),
        "schedulingStrategy": spec.get("schedulingStrategy") or "REPLICA",
        "deploymentController": {"type": "ECS"},
        "createdBy": each.created_by,
        "enableECSManagedTags": bool(spec.get("enableECSManagedTags")),
        "propagateTags": spec.get("propagateTags") or "NONE",
        "enableExecuteCommand": bool(spec.get("enableExecuteCommand")),
        "availabilityZoneRebalancing": spec.get("availabilityZoneRebalancing") or "DISABLED",
    }
    if spec.get("networkConfiguration"):
        shown["networkConfiguration"] = spec["networkConfiguration"]
    if "TAGS" in include:
        shown["tags"] = store.tags_of(reader, each.arn)
    return shown


def _role(arn: str, given: str | None) -> str:
    """A service's own role may have been given by its name."""
    if not given:
        return sibling_role(arn)
    return names.role_arn(arn.split(":")[4], given)


def sibling_role(arn: str) -> str:
    account = arn.split(":")[4]
    return f"arn:aws:iam::{account}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"


def launch(spec: Params, *, resolved: bool = False) -> Params:
    """How the tasks of a service or a deployment are launched; `resolved`: with LATEST as what it stands for."""
    strategy = spec.get("capacityProviderStrategy")
    shown: Params = (
        {"capacityProviderStrategy": strategy} if strategy else {"launchType": spec.get("launchType") or "EC2"}
    )
    if spec.get("networkConfiguration"):
        shown["networkConfiguration"] = spec["networkConfiguration"]
    if fargate.uses_fargate(spec):
        shown |= {
            "platformVersion": fargate.PLATFORM_VERSION if resolved else spec.get("platformVersion") or "LATEST",
            "platformFamily": fargate.PLATFORM_FAMILY,
        }
    return shown


def _deployment(service: Params, each: Deployment, tasks: list[Task]) -> Params:
    own = [task for task in tasks if task.deployment == each.id]
    return {
        "id": each.id,
        "status": each.status,
        "taskDefinition": each.definition,
        "desiredCount": each.desired,
        "pendingCount": pending(own),
        "runningCount": running(own),
        "failedTasks": each.failed,
        "createdAt": each.created_at,
        "updatedAt": each.updated_at,
        **launch(service | each.spec, resolved=True),
        "rolloutState": each.rollout,
        "rolloutStateReason": each.reason,
    }


def task(reader: store.Reader, each: Task, include: Collection[str] = ()) -> Params:
    containers = store.containers_of(reader, each.arn)
    zone = next((i.zone for i in [store.instances.get(reader, each.instance)] if i is not None), None)
    shown: Params = {
        "attachments": [_attachment(each)] if each.network.get("eni") else [],
        "attributes": [],
        "availabilityZone": each.zone or zone,
        "clusterArn": sibling(each.arn, "cluster", each.cluster),
        "connectivity": "CONNECTED",
        "connectivityAt": each.pull_started_at,
        "containerInstanceArn": each.instance or None,
        "capacityProviderName": each.provider or None,
        "containers": [container(one, each) for one in containers],
        "cpu": str(each.cpu),
        "memory": str(each.memory),
        "createdAt": each.created_at,
        "desiredStatus": each.desired,
        "enableExecuteCommand": bool(each.network.get("execute")),
        "executionStoppedAt": each.execution_stopped_at,
        "group": each.group_name,
        "healthStatus": each.health,
        "lastStatus": each.status,
        "launchType": each.launch_type,
        "overrides": {"containerOverrides": [], "inferenceAcceleratorOverrides": []}
        | (each.spec.get("overrides") or {}),
        "pullStartedAt": each.pull_started_at,
        "pullStoppedAt": each.pull_stopped_at,
        "startedAt": each.started_at,
        "startedBy": each.started_by or None,
        "stopCode": each.stop_code or None,
        "stoppedAt": each.stopped_at,
        "stoppedReason": each.stop_reason or None,
        "stoppingAt": each.stopping_at,
        "tags": store.tags_of(reader, each.arn) if "TAGS" in include else [],
        "taskArn": each.arn,
        "taskDefinitionArn": each.definition,
        "version": each.version,
    }
    if each.launch_type == "FARGATE":
        shown |= {
            "platformVersion": fargate.PLATFORM_VERSION,
            "platformFamily": fargate.PLATFORM_FAMILY,
        }
    return shown


def _attachment(each: Task) -> Params:
    network = each.network
    details = {
        "subnetId": network.get("subnet"),
        "networkInterfaceId": network["eni"],
        "macAddress": network.get("mac"),
        "privateIPv4Address": network.get("address"),
    }
    return {
        "id": network["attachment"],
        "type": "ElasticNetworkInterface",
        "status": "DELETED" if each.status is TaskStatus.STOPPED else "ATTACHED",
        "details": [{"name": name, "value": value} for name, value in details.items() if value],
    }


def _agents(each: Container, owner: Task) -> list[Params]:
    """What ECS Exec needs is in the container as soon as it runs."""
    if not owner.network.get("execute") or each.status not in ("RUNNING", "STOPPED"):
        return []
    agent = {"name": "ExecuteCommandAgent", "lastStatus": each.status}
    return [agent | ({"lastStartedAt": each.started_at} if each.started_at else {})]


def container(each: Container, owner: Task) -> Params:
    interfaces = []
    if owner.network.get("address"):
        attachment = owner.network["attachment"]
        interfaces = [{"attachmentId": attachment, "privateIpv4Address": owner.network["address"]}]
    return {
        "managedAgents": _agents(each, owner),
        "containerArn": each.arn,
        "taskArn": owner.arn,
        "name": each.name,
        "image": each.image,
        "imageDigest": each.digest or None,
        "runtimeId": each.engine_id or None,
        "lastStatus": "PENDING" if each.status == "CREATED" else each.status,
        "exitCode": each.exit_code,
        "reason": each.reason or None,
        "networkBindings": each.bindings,
        "networkInterfaces": interfaces,
        "healthStatus": each.health or HealthStatus.UNKNOWN,
    }

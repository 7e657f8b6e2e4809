"""AWS::ECS::Cluster, TaskDefinition and Service.

A service is complete when the deployment that the stack made has rolled out: one that was undone (by the circuit
breaker, by alarms, by a person, or because its traffic could not be shifted) is a failure of the resource,
although the service itself is stable again.
"""

from __future__ import annotations

from typing import Any, ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.naming import FAMILY, PLAIN, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request

BREAKER = "Error occurred during operation 'ECS Deployment Circuit Breaker was triggered'."
OTHERWISE = "Error occurred during operation 'ECS Deployment failed': {}"
BREAKER_EVENT = "tasks failed to start."
STABLE_WITHIN = 3 * 3600.0


async def retag(work: Work, arn: str) -> None:
    """Give what has that ARN the tags that it should have, and no others."""
    wanted = work.all_tags()
    present = await work.call("ecs", "ListTagsForResource", {"resourceArn": arn})
    before = {each["key"]: each.get("value", "") for each in present.get("tags", [])}
    if wanted and wanted != before:
        await work.call(
            "ecs", "TagResource", {"resourceArn": arn, "tags": work.tag_list(key="key", value="value")}
        )
    stale = [key for key in before if key not in wanted]
    if stale:
        await work.call("ecs", "UntagResource", {"resourceArn": arn, "tagKeys": stale})


class Cluster(Handler):
    type = "AWS::ECS::Cluster"
    name_property = "ClusterName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True
    _RENAMED: ClassVar = {"ClusterSettings": "settings"}

    async def find(self, work: Work) -> str | None:
        found = await self._describe(work, work.name)
        return None if found is None or found.get("status") == "INACTIVE" else work.name

    async def _describe(self, work: Work, name: str) -> Params | None:
        found = await work.call("ecs", "DescribeClusters", {"clusters": [name]})
        clusters: list[Params] = found.get("clusters", [])
        return clusters[0] if clusters else None

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request("ecs", "CreateCluster", work.properties, self._RENAMED)
        params |= {"clusterName": work.name, "tags": work.tag_list(key="key", value="value")}
        made = (await work.call("ecs", "CreateCluster", params))["cluster"]
        return work.name, {"made": made["clusterArn"]} if made["status"] == "ACTIVE" else {}

    def known(self, work: Work) -> Params | None:
        return {"Arn": work.state["made"]} if "made" in work.state else None

    async def read(self, work: Work) -> Params:
        found = await self._describe(work, work.physical_id)
        if found is None:
            raise Failure(f"Cluster {work.physical_id} not found.", "NotFound")
        return {"Arn": found["clusterArn"]}

    async def update(self, work: Work) -> Params:
        given, old = work.properties, work.old
        changed = {key for key in {*given, *old} if given.get(key) != old.get(key)}
        if changed & {"ClusterSettings", "Configuration", "ServiceConnectDefaults"}:
            params = request("ecs", "UpdateCluster", given, self._RENAMED)
            await work.call("ecs", "UpdateCluster", params | {"cluster": work.physical_id})
        if changed & {"CapacityProviders", "DefaultCapacityProviderStrategy"}:
            params = {"capacityProviders": [], "defaultCapacityProviderStrategy": []}
            params |= request("ecs", "PutClusterCapacityProviders", given)
            await work.call("ecs", "PutClusterCapacityProviders", params | {"cluster": work.physical_id})
        await retag(work, (await self.read(work))["Arn"])
        return {}

    async def settled(self, work: Work) -> bool:
        found = await self._describe(work, work.physical_id)
        return bool(found is not None and found.get("status") == "ACTIVE")

    async def delete(self, work: Work) -> None:
        try:
            await work.call("ecs", "DeleteCluster", {"cluster": work.physical_id})
        except AwsError as error:
            found = await self._describe(work, work.physical_id)
            # Instances of a capacity provider go by themselves, once the last task has.
            emptied = found is not None and found.get("capacityProviders")
            if error.code != "ClusterContainsContainerInstancesException" or not emptied:
                raise

    async def gone(self, work: Work) -> bool:
        found = await self._describe(work, work.physical_id)
        if found is not None and found.get("status") == "ACTIVE":
            await self.delete(work)
            found = await self._describe(work, work.physical_id)
        return found is None or found.get("status") == "INACTIVE"


class TaskDefinition(Handler):
    type = "AWS::ECS::TaskDefinition"
    name_property = "Family"
    name_is_unique = False
    name_style: ClassVar[NameStyle | None] = FAMILY
    tagged = True
    _RENAMED: ClassVar = {"ProxyConfigurationProperties": "properties"}

    async def baseline(self, work: Work) -> Params:
        return {"newest": await self._newest(work)}

    async def _newest(self, work: Work) -> int:
        try:
            found = await work.call("ecs", "DescribeTaskDefinition", {"taskDefinition": work.name})
        except AwsError:
            return 0
        definition = found["taskDefinition"]
        return int(definition["revision"]) if definition.get("family") == work.name else 0

    async def find(self, work: Work) -> str | None:
        # A family may be shared, by other stacks at the same time too: of the revisions that are newer than the
        # newest one before our call, ours is the one with our tags.
        if "newest" not in work.state:
            return None
        for revision in range(await self._newest(work), int(work.state["newest"]), -1):
            named = {"taskDefinition": f"{work.name}:{revision}", "include": ["TAGS"]}
            try:
                found = await work.call("ecs", "DescribeTaskDefinition", named)
            except AwsError as error:
                if self.missing(error):
                    continue
                raise
            tags = {each["key"]: each.get("value") for each in found.get("tags", [])}
            if tags.get("aws:cloudformation:stack-id", work.stack_id) == work.stack_id:
                return str(found["taskDefinition"]["taskDefinitionArn"])
        return None

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request("ecs", "RegisterTaskDefinition", work.properties, self._RENAMED)
        params |= {"family": work.name, "tags": work.tag_list(key="key", value="value")}
        params.setdefault("containerDefinitions", [])
        made = await work.call("ecs", "RegisterTaskDefinition", params)
        return str(made["taskDefinition"]["taskDefinitionArn"]), {}

    def known(self, work: Work) -> Params | None:
        return {"TaskDefinitionArn": work.physical_id}

    async def read(self, work: Work) -> Params:
        return {"TaskDefinitionArn": work.physical_id}

    async def update(self, work: Work) -> Params:
        await retag(work, work.physical_id)
        return {}

    async def delete(self, work: Work) -> None:
        await work.call("ecs", "DeregisterTaskDefinition", {"taskDefinition": work.physical_id})

    def missing(self, error: AwsError) -> bool:
        text = error.message.lower()
        return super().missing(error) or (
            error.code == "ClientException"
            and ("unable to describe" in text or "not found" in text or "not exist" in text)
        )


class Service(Handler):
    type = "AWS::ECS::Service"
    name_property = "ServiceName"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True
    stable_within = STABLE_WITHIN
    _RENAMED: ClassVar = {"PlacementStrategies": "placementStrategy"}

    def replaces(self, old: Params, new: Params) -> bool:
        return bool(old.get("LaunchType", "EC2") != new.get("LaunchType", "EC2"))

    async def find(self, work: Work) -> str | None:
        found = await self._describe(work, work.name)
        return None if found is None or found.get("status") == "INACTIVE" else str(found["serviceArn"])

    async def _describe(self, work: Work, service: str) -> Params | None:
        try:
            found = await work.call("ecs", "DescribeServices", self._cluster(work) | {"services": [service]})
        except AwsError as error:
            if error.code == "ClusterNotFoundException":
                return None
            raise
        services: list[Params] = found.get("services", [])
        return services[0] if services else None

    def _cluster(self, work: Work) -> Params:
        cluster = work.properties.get("Cluster")
        return {"cluster": cluster} if cluster else {}

    def _params(self, work: Work, operation: str) -> Params:
        given = dict(work.properties)
        forced = given.pop("ForceNewDeployment", None)
        params = request("ecs", operation, given, self._RENAMED)
        if operation == "UpdateService" and isinstance(forced, dict):
            changed = forced != (work.old.get("ForceNewDeployment") or {})
            if changed and forced.get("EnableForceNewDeployment"):
                params["forceNewDeployment"] = True
        return params

    async def create(self, work: Work) -> tuple[str, Params]:
        params = self._params(work, "CreateService")
        if params.get("schedulingStrategy", "REPLICA") != "DAEMON":
            params.setdefault("desiredCount", 1)
        params |= {
            "serviceName": work.name,
            "clientToken": work.token[:36],
            "tags": work.tag_list(key="key", value="value"),
        }
        made = (await work.call("ecs", "CreateService", params))["service"]
        return str(made["serviceArn"]), {"deployment": _primary_id(made)}

    async def update(self, work: Work) -> Params:
        params = self._params(work, "UpdateService")
        # Members that were taken out of the template go back to their defaults only if they are sent empty.
        for name, member in (
            ("LoadBalancers", "loadBalancers"),
            ("ServiceRegistries", "serviceRegistries"),
            ("PlacementConstraints", "placementConstraints"),
            ("PlacementStrategies", "placementStrategy"),
            ("CapacityProviderStrategy", "capacityProviderStrategy"),
        ):
            if name in work.old and name not in work.properties:
                params[member] = []
            elif work.old.get(name) == work.properties.get(name):
                params.pop(member, None)
        params |= {"service": work.physical_id}
        made = (await work.call("ecs", "UpdateService", params))["service"]
        await retag(work, work.physical_id)
        return {"deployment": _primary_id(made)}

    async def settled(self, work: Work) -> bool:
        service = await self._describe(work, work.physical_id)
        if service is None or service.get("status") != "ACTIVE":
            raise Failure(f"Service {work.physical_id} is no longer active.", "NotFound")
        deployments = service.get("deployments", [])
        if not deployments:
            return bool(service.get("runningCount", 0) >= service.get("desiredCount", 0))
        ours = work.state.get("deployment", "")
        mine = next((each for each in deployments if each["id"] == ours), None)
        primary = next((each for each in deployments if each.get("status") == "PRIMARY"), deployments[0])
        # The events tell why even when nothing is left of the deployment.
        why = _given_up(service, ours) if ours else ""
        if why:
            raise Failure(BREAKER if why == BREAKER_EVENT else OTHERWISE.format(why))
        if mine is not None and mine.get("rolloutState") == "FAILED":
            raise Failure(BREAKER)
        if ours and primary["id"] != ours and _other_definition(work, primary):
            raise Failure(BREAKER)
        if primary.get("rolloutState") == "FAILED":
            raise Failure(BREAKER)
        state = primary.get("rolloutState")
        if state is None:
            return bool(len(deployments) == 1 and primary.get("runningCount", 0) >= primary.get("desiredCount", 0))
        return bool(state == "COMPLETED")

    async def read(self, work: Work) -> Params:
        return {"ServiceArn": work.physical_id, "Name": work.physical_id.rpartition("/")[2]}

    async def delete(self, work: Work) -> None:
        found = await self._describe(work, work.physical_id)
        if found is None or found.get("status") != "ACTIVE":
            return
        target = self._cluster(work) | {"service": work.physical_id}
        if found.get("schedulingStrategy", "REPLICA") == "REPLICA":
            await work.call("ecs", "UpdateService", target | {"desiredCount": 0})
        await work.call("ecs", "DeleteService", target | {"force": True})

    async def gone(self, work: Work) -> bool:
        found = await self._describe(work, work.physical_id)
        return found is None or found.get("status") == "INACTIVE"


def _primary_id(service: Params) -> str:
    for each in service.get("deployments", []):
        if each.get("status") == "PRIMARY":
            return str(each["id"])
    return ""


def _given_up(service: Params, deployment: str) -> str:
    """Why a deployment failed, empty if it has not."""
    for event in service.get("events", []):
        _, found, why = str(event.get("message", "")).partition(f"(deployment {deployment}) deployment failed: ")
        if found:
            return why
    return ""


def _other_definition(work: Work, deployment: Params) -> bool:
    """Whether a deployment runs something else than the template wants: the breaker went back."""
    wanted: Any = work.properties.get("TaskDefinition", "")
    running = str(deployment.get("taskDefinition", ""))
    if not wanted or not running:
        return False
    if ":task-definition/" in str(wanted):
        return bool(running != wanted)
    tail = running.rpartition("/")[2]
    return tail not in (wanted, wanted.rpartition("/")[2]) and tail.split(":")[0] != wanted

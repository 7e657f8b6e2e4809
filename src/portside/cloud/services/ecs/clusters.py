"""Clusters, their container instances and attributes, and the account's settings: the operations on them."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.ecs import capacity, errors, expressions, names, placement, store, views
from portside.cloud.services.ecs.capacity_loop import CapacityLoop, deregister
from portside.cloud.services.ecs.launching import association
from portside.cloud.services.ecs.pages import page
from portside.cloud.services.ecs.records import (
    Cluster,
    ClusterStatus,
    Instance,
    InstanceStatus,
    Service,
    TaskStatus,
)
from portside.cloud.services.ecs.wakes import Wakes

DESCRIBE_LIMIT = 100
MOST_ATTRIBUTES = 10
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_./\\-]{1,128}")
_ATTRIBUTE_VALUE = re.compile(r"[A-Za-z0-9_.@:/\\ -]{1,128}")


class ClusterApi:
    def __init__(self, database: Database, clock: Clock, wakes: Wakes, capacity: CapacityLoop) -> None:
        self._database = database
        self._clock = clock
        self._wakes = wakes
        self._capacity = capacity

    # Clusters

    @operation("CreateCluster")
    async def create_cluster(self, caller: Caller, params: Params) -> Params:
        name = params.get("clusterName") or names.DEFAULT_CLUSTER
        if not names.NAME.fullmatch(name):
            raise errors.invalid(
                "Identifier was of invalid length or contains unsupported characters. Up to 255 letters "
                "(uppercase and lowercase), numbers, hyphens, and underscores are allowed."
            )
        arn = names.cluster_arn(caller, name)

        def create(tx: Transaction) -> Params:
            present = store.clusters.get(tx, arn)
            if present is None or present.status is not ClusterStatus.ACTIVE:
                spec = {
                    key: params[key]
                    for key in ("settings", "configuration", "serviceConnectDefaults")
                    if params.get(key)
                }
                wanted = [names.last(each) for each in params.get("capacityProviders") or []]
                strategy = params.get("defaultCapacityProviderStrategy") or []
                if wanted or strategy:
                    spec["defaultCapacityProviderStrategy"] = association(tx, caller, wanted, strategy)
                    spec["capacityProviders"] = wanted
                    tx.after_commit(lambda: self._wakes.providers(caller.region))
                first = present is None
                if not first:
                    store.drop_tags(tx, arn)
                present = Cluster(arn, caller.region, name, ClusterStatus.ACTIVE, self._clock.now(), spec)
                store.clusters.save(tx, present)
                tags = store.set_tags(tx, arn, params.get("tags") or [])
                tx.after_commit(lambda: self._capacity.cluster_made(caller.region, name))
                if first:
                    return views.first_cluster(present, tags)
            return views.cluster(tx, present, ("TAGS", "CONFIGURATIONS"))

        return {"cluster": await self._database.commit(create)}

    @operation("DescribeClusters")
    def describe_clusters(self, caller: Caller, params: Params) -> Params:
        asked = params.get("clusters") or [names.DEFAULT_CLUSTER]
        if len(asked) > DESCRIBE_LIMIT:
            raise errors.invalid(f"Clusters cannot have more than {DESCRIBE_LIMIT} items.")
        found, failures = [], []
        for reference in asked:
            arn = names.cluster_arn(caller, names.cluster_name(reference))
            each = store.clusters.get(self._database, arn)
            if each is None:
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(views.cluster(self._database, each, params.get("include") or ()))
        return {"clusters": found, "failures": failures}

    @operation("ListClusters")
    def list_clusters(self, caller: Caller, params: Params) -> Params:
        found = store.clusters.where(
            self._database, "region = ? AND status = ? ORDER BY name", caller.region, ClusterStatus.ACTIVE
        )
        arns, token = page([each.arn for each in found], params)
        return {"clusterArns": arns, "nextToken": token}

    @operation("UpdateCluster")
    def update_cluster(self, caller: Caller, params: Params) -> Params:
        return self._update(caller, params, ("settings", "configuration", "serviceConnectDefaults"))

    @operation("UpdateClusterSettings")
    def update_cluster_settings(self, caller: Caller, params: Params) -> Params:
        return self._update(caller, params, ("settings",))

    def _update(self, caller: Caller, params: Params, keys: tuple[str, ...]) -> Params:
        with self._database.write() as tx:
            each = active_cluster(tx, caller, params.get("cluster"))
            changed = {key: params[key] for key in keys if params.get(key) is not None}
            each = replace(each, spec=each.spec | changed)
            store.clusters.save(tx, each)
        return {"cluster": views.cluster(self._database, each, ("TAGS", "CONFIGURATIONS"))}

    @operation("DeleteCluster")
    async def delete_cluster(self, caller: Caller, params: Params) -> Params:
        each = active_cluster(self._database, caller, params.get("cluster"))
        if store.instances_of(self._database, each.region, each.name):
            # Those that have just been terminated must not stand in the way; if EC2 does not say, they do.
            with contextlib.suppress(AwsError):
                await self._capacity.turn(caller.region)
        with self._database.write() as tx:
            each = active_cluster(tx, caller, params.get("cluster"))
            if store.instances_of(tx, each.region, each.name):
                raise _contains("ContainerInstances", "container instances are still registered")
            if store.services_of(tx, each.region, each.name):
                raise _contains("Services", "services are still active")
            tasks = store.live_tasks_of_cluster(tx, each.region, each.name)
            if any(task.desired is not TaskStatus.STOPPED for task in tasks):
                raise _contains("Tasks", "tasks are still running")
            each = replace(each, status=ClusterStatus.INACTIVE)
            store.clusters.save(tx, each)
        return {"cluster": views.cluster(self._database, each)}

    # Container instances

    @operation("ListContainerInstances")
    def list_container_instances(self, caller: Caller, params: Params) -> Params:
        each = active_cluster(self._database, caller, params.get("cluster"))
        found = store.instances_of(self._database, caller.region, each.name)
        status = params.get("status")
        if status:
            found = [one for one in found if one.status == status]
        if params.get("filter"):
            found = self._matching(caller.region, each.name, found, params["filter"])
        arns, token = page([one.arn for one in found], params)
        return {"containerInstanceArns": arns, "nextToken": token}

    def _matching(self, region: str, cluster: str, found: list[Instance], query: str) -> list[Instance]:
        """Those that satisfy an expression of the cluster query language."""
        try:
            asked = expressions.compiled(query)
        except ValueError as error:
            raise errors.invalid(f"Invalid filter '{query}': {error}.") from None
        pool = {each.arn: each for each in capacity.candidates(self._database, Ids(0), region, cluster)}
        return [each for each in found if asked(placement.subject(pool[each.arn]))]

    @operation("DescribeContainerInstances")
    def describe_container_instances(self, caller: Caller, params: Params) -> Params:
        found, failures = self._instances(caller, params)
        include = params.get("include") or ()
        return {
            "containerInstances": [views.instance(self._database, one, include) for one in found],
            "failures": failures,
        }

    @operation("UpdateContainerInstancesState")
    def update_container_instances_state(self, caller: Caller, params: Params) -> Params:
        status = params["status"]
        if status not in (InstanceStatus.ACTIVE, InstanceStatus.DRAINING):
            raise errors.invalid(f"Container instance state cannot be set to {status}.")
        found, failures = self._instances(caller, params)
        changed = []
        with self._database.write() as tx:
            for one in found:
                if one.status is InstanceStatus.INACTIVE:
                    failures.append({"arn": one.arn, "reason": "INACTIVE"})
                    continue
                after = replace(one, status=InstanceStatus(status), version=one.version + 1)
                store.instances.save(tx, after)
                changed.append(after)
            for service in self._services(found):
                arn = service.arn
                tx.after_commit(lambda arn=arn: self._wakes.service(arn))  # type: ignore[misc]
        return {
            "containerInstances": [views.instance(self._database, one) for one in changed],
            "failures": failures,
        }

    @operation("DeregisterContainerInstance")
    def deregister_container_instance(self, caller: Caller, params: Params) -> Params:
        each = active_cluster(self._database, caller, params.get("cluster"))
        arn = names.instance_arn(caller, each.name, params["containerInstance"])
        with self._database.write() as tx:
            one = store.instances.get(tx, arn)
            if one is None or one.status is InstanceStatus.INACTIVE:
                raise errors.client("Referenced container instance not found.")
            running = [t for t in store.live_tasks_of_instance(tx, arn) if t.desired is not TaskStatus.STOPPED]
            if running and not params.get("force"):
                raise errors.invalid("Found running tasks on the instance.")
            deregister(tx, one, self._clock.now(), self._wakes, terminated=False)
        after = store.instances.get(self._database, arn)
        assert after is not None
        return {"containerInstance": views.instance(self._database, after)}

    def _instances(self, caller: Caller, params: Params) -> tuple[list[Instance], list[Params]]:
        each = active_cluster(self._database, caller, params.get("cluster"))
        asked = params["containerInstances"]
        if not asked:
            raise errors.invalid("Container instances cannot be empty.")
        if len(asked) > DESCRIBE_LIMIT:
            raise errors.invalid(f"Container instances cannot have more than {DESCRIBE_LIMIT} items.")
        found: list[Instance] = []
        failures: list[Params] = []
        for reference in asked:
            arn = names.instance_arn(caller, each.name, reference)
            one = store.instances.get(self._database, arn)
            if one is None:
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(one)
        return found, failures

    def _services(self, instances: list[Instance]) -> list[Service]:
        places = {(one.region, one.cluster) for one in instances}
        return [service for place in places for service in store.services_of(self._database, *place)]

    # Attributes

    @operation("PutAttributes")
    def put_attributes(self, caller: Caller, params: Params) -> Params:
        return self._attributes(caller, params, remove=False)

    @operation("DeleteAttributes")
    def delete_attributes(self, caller: Caller, params: Params) -> Params:
        return self._attributes(caller, params, remove=True)

    def _attributes(self, caller: Caller, params: Params, *, remove: bool) -> Params:
        each = active_cluster(self._database, caller, params.get("cluster"))
        with self._database.write() as tx:
            for given in params["attributes"]:
                arn = names.instance_arn(caller, each.name, given.get("targetId") or "")
                one = store.instances.get(tx, arn)
                if one is None or one.status is InstanceStatus.INACTIVE:
                    raise _target_not_found(given.get("targetId"))
                if given["name"].startswith("ecs."):
                    raise errors.invalid("Attributes that begin with 'ecs.' belong to Amazon ECS.")
                problem = _bad_attribute(given["name"], given.get("value") or "")
                if problem:
                    raise errors.invalid(problem)
                attributes = dict(one.attributes)
                if remove:
                    attributes.pop(given["name"], None)
                else:
                    attributes[given["name"]] = given.get("value") or ""
                    own = [each for each in attributes if not each.startswith("ecs.")]
                    if len(own) > MOST_ATTRIBUTES:
                        raise AwsError(
                            "AttributeLimitExceededException",
                            f"A container instance can have at most {MOST_ATTRIBUTES} custom attributes.",
                        )
                store.instances.save(tx, replace(one, attributes=attributes, version=one.version + 1))
            for service in store.services_of(tx, caller.region, each.name):
                arn = service.arn
                tx.after_commit(lambda arn=arn: self._wakes.service(arn))  # type: ignore[misc]
        return {"attributes": params["attributes"]}

    @operation("ListAttributes")
    def list_attributes(self, caller: Caller, params: Params) -> Params:
        each = active_cluster(self._database, caller, params.get("cluster"))
        name, value = params.get("attributeName"), params.get("attributeValue")
        found = [
            {"name": key, "value": text, "targetType": "container-instance", "targetId": one.arn}
            for one in store.instances_of(self._database, caller.region, each.name)
            for key, text in sorted(one.attributes.items())
            if name in (None, key) and value in (None, text)
        ]
        keys = [f"{each['targetId']} {each['name']}" for each in found]
        shown, token = page(keys, params)
        return {"attributes": [found[keys.index(key)] for key in shown], "nextToken": token}


def _bad_attribute(name: str, value: str) -> str:
    """What is wrong with a custom attribute, empty if nothing is."""
    if not _ATTRIBUTE_NAME.fullmatch(name):
        return "The name of an attribute must have 1 to 128 letters, digits, or any of - _ . / \\."
    if value and (not _ATTRIBUTE_VALUE.fullmatch(value) or value != value.strip()):
        return "The value of an attribute is too long, or has characters that are not allowed."
    return ""


def active_cluster(reader: store.Reader, caller: Caller, reference: str | None) -> Cluster:
    """The cluster that a call names; ClusterNotFoundException if it is not there any more."""
    found = store.clusters.get(reader, names.cluster_arn(caller, names.cluster_name(reference)))
    if found is None or found.status is not ClusterStatus.ACTIVE:
        raise errors.cluster_not_found()
    return found


def _contains(what: str, why: str) -> Exception:
    return AwsError(f"ClusterContains{what}Exception", f"The Cluster cannot be deleted while {why}.")


def _target_not_found(target: str | None) -> Exception:
    return AwsError("TargetNotFoundException", f"The target {target} was not found.")

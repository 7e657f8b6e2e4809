"""Capacity providers: the operations on them, and on a cluster's association with them.

A provider stands for an Auto Scaling group. What follows from it (the group's size, protection, draining) is done
by `provider_loop.py`. FARGATE and FARGATE_SPOT are there without being made.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params, operation
from portside.cloud.services.ecs import (
    errors,
    group_marks,
    launching,
    names,
    provider_records,
    store,
    strategies,
    views,
)
from portside.cloud.services.ecs.clusters import active_cluster
from portside.cloud.services.ecs.pages import page
from portside.cloud.services.ecs.provider_records import Provider, ProviderStatus
from portside.cloud.services.ecs.records import Cluster
from portside.cloud.services.ecs.wakes import Wakes

DESCRIBED = 100
UNPROTECTED = (
    "The managed termination protection setting for the capacity provider is invalid. To enable managed "
    "termination protection for a capacity provider, the Auto Scaling group must have instance protection from "
    "scale in enabled."
)
DEFAULTS: Params = {
    "managedScaling": {
        "status": "DISABLED",
        "targetCapacity": 100,
        "minimumScalingStepSize": 1,
        "maximumScalingStepSize": 10_000,
        "instanceWarmupPeriod": 300,
    },
    "managedTerminationProtection": "DISABLED",
    "managedDraining": "ENABLED",
}


class ProviderApi:
    def __init__(self, database: Database, clock: Clock, calls: Calls, wakes: Wakes) -> None:
        database.migrate("ecs-providers", provider_records.MIGRATIONS)
        self._database = database
        self._clock = clock
        self._calls = calls
        self._wakes = wakes

    @operation("CreateCapacityProvider")
    async def create_capacity_provider(self, caller: Caller, params: Params) -> Params:
        name = params["name"]
        if not names.NAME.fullmatch(name):
            raise errors.invalid("The capacity provider name is of invalid length or has unsupported characters.")
        if name.lower().startswith(("aws", "ecs", "fargate")):
            raise errors.invalid(
                "The specified capacity provider name is invalid. Capacity provider names cannot begin with "
                "'aws', 'ecs' or 'fargate'."
            )
        if params.get("managedInstancesProvider"):
            raise errors.client("The local cloud does not offer 'managedInstancesProvider'.")
        given = params.get("autoScalingGroupProvider")
        if not given:
            raise errors.invalid("A capacity provider needs an autoScalingGroupProvider.")
        if params.get("cluster"):
            raise errors.invalid("'cluster' is for capacity providers of managed instances only.")
        spec = _settings(given, DEFAULTS)
        group = await self._group(caller, given["autoScalingGroupArn"])
        spec["autoScalingGroupArn"] = group["AutoScalingGroupARN"]
        _check_protection(spec, group)
        arn = names.arn(caller, "capacity-provider", name)
        with self._database.write() as tx:
            if provider_records.named(tx, caller.region, name) is not None:
                raise errors.client(
                    "A capacity provider with the specified name already exists. Specify a different name."
                )
            for each in provider_records.active(tx, caller.region):
                if each.group_name == group["AutoScalingGroupName"]:
                    raise errors.client(
                        "The specified Auto Scaling group ARN is already being used by another capacity provider. "
                        "Specify a unique Auto Scaling group ARN and try again."
                    )
            made = Provider(
                arn=arn,
                region=caller.region,
                name=name,
                status=ProviderStatus.ACTIVE,
                group_name=group["AutoScalingGroupName"],
                created_at=self._clock.now(),
                update_status="CREATE_IN_PROGRESS",
                spec=spec,
            )
            provider_records.providers.save(tx, made)
            store.drop_tags(tx, arn)
            store.set_tags(tx, arn, params.get("tags") or [])
        made = await self._marked(caller, made)
        return {"capacityProvider": self._shown(made, ("TAGS",))}

    @operation("UpdateCapacityProvider")
    async def update_capacity_provider(self, caller: Caller, params: Params) -> Params:
        if params.get("managedInstancesProvider"):
            raise errors.client("The local cloud does not offer 'managedInstancesProvider'.")
        before = self._named(caller, params["name"])
        spec = _settings(params.get("autoScalingGroupProvider") or {}, before.spec)
        group = await self._group(caller, before.group_name)
        _check_protection(spec, group)
        with self._database.write() as tx:
            fresh = provider_records.providers.get(tx, before.arn)
            assert fresh is not None
            after = replace(fresh, spec=spec, update_status="UPDATE_IN_PROGRESS", idle_since=None)
            provider_records.providers.save(tx, after)
        after = await self._marked(caller, after)
        return {"capacityProvider": self._shown(after)}

    @operation("DeleteCapacityProvider")
    async def delete_capacity_provider(self, caller: Caller, params: Params) -> Params:
        name = names.last(params["capacityProvider"])
        if name in strategies.BUILT_IN:
            raise errors.client(
                "The specified capacity provider is reserved and cannot be deleted. Disassociate it from the "
                "cluster."
            )
        provider = self._named(caller, name)
        with self._database.write() as tx:
            used = provider_records.clusters_with(tx, caller.region, name)
            if used:
                raise errors.client(
                    "The capacity provider cannot be deleted because it is associated with cluster: "
                    f"{', '.join(used)}. Remove the capacity provider from the cluster and try again."
                )
            after = replace(provider, status=ProviderStatus.INACTIVE, update_status="DELETE_COMPLETE")
            provider_records.providers.save(tx, after)
        await group_marks.unmark(self._calls, caller, provider)
        return {"capacityProvider": self._shown(after)}

    @operation("DescribeCapacityProviders")
    def describe_capacity_providers(self, caller: Caller, params: Params) -> Params:
        asked = params.get("capacityProviders") or []
        if len(asked) > DESCRIBED:
            raise errors.invalid(f"Capacity providers cannot have more than {DESCRIBED} items.")
        include = params.get("include") or ()
        own = {each.name: each for each in provider_records.active(self._database, caller.region)}
        known = [*strategies.BUILT_IN, *own]
        if params.get("cluster"):
            cluster = active_cluster(self._database, caller, params["cluster"])
            known = [each for each in known if each in (cluster.spec.get("capacityProviders") or [])]
        wanted = [names.last(each) for each in asked] or known
        failures = [
            {"arn": names.arn(caller, "capacity-provider", each), "reason": "MISSING"}
            for each in wanted
            if each not in known
        ]
        shown, token = page([each for each in wanted if each in known], params)
        found = [self._shown(own[each], include) if each in own else _built_in(caller, each) for each in shown]
        return {"capacityProviders": found, "failures": failures, "nextToken": token}

    @operation("PutClusterCapacityProviders")
    def put_cluster_capacity_providers(self, caller: Caller, params: Params) -> Params:
        wanted = [names.last(each) for each in params["capacityProviders"]]
        with self._database.write() as tx:
            cluster = active_cluster(tx, caller, params["cluster"])
            strategy = launching.association(tx, caller, wanted, params["defaultCapacityProviderStrategy"])
            gone = set(cluster.spec.get("capacityProviders") or []) - set(wanted)
            self._check_unused(tx, cluster, gone)
            spec = cluster.spec | {"capacityProviders": wanted, "defaultCapacityProviderStrategy": strategy}
            cluster = replace(cluster, spec=spec)
            store.clusters.save(tx, cluster)
            tx.after_commit(lambda: self._wakes.providers(caller.region))
        return {"cluster": views.cluster(self._database, cluster, ("TAGS", "CONFIGURATIONS"))}

    def _check_unused(self, reader: store.Reader, cluster: Cluster, gone: set[str]) -> None:
        for service in store.services_of(reader, cluster.region, cluster.name):
            strategy = service.spec.get("capacityProviderStrategy") or []
            if any(each["capacityProvider"] in gone for each in strategy):
                raise _in_use()
        for task in store.live_tasks_of_cluster(reader, cluster.region, cluster.name):
            if task.provider in gone:
                raise _in_use()

    def _named(self, caller: Caller, name: str) -> Provider:
        found = provider_records.named(self._database, caller.region, name)
        if found is None:
            raise errors.client("The specified capacity provider does not exist.")
        return found

    def _shown(self, each: Provider, include: tuple[str, ...] | list[str] = ()) -> Params:
        tags = store.tags_of(self._database, each.arn) if "TAGS" in include else []
        return {
            "capacityProviderArn": each.arn,
            "name": each.name,
            "status": each.status,
            "autoScalingGroupProvider": each.spec,
            "updateStatus": each.update_status,
            "tags": tags,
            "type": "EC2_AUTOSCALING",
        }

    # The group

    async def _marked(self, caller: Caller, provider: Provider) -> Provider:
        """The provider once its group shows it; what is cut off here, the loop completes."""
        await group_marks.mark(self._calls, caller, provider)
        with self._database.write() as tx:
            after = provider_records.complete(tx, provider.arn)
        self._wakes.providers(caller.region)
        return after

    async def _group(self, caller: Caller, reference: str) -> Params:
        name = reference.rpartition("autoScalingGroupName/")[2]
        answer = await self._calls(
            "autoscaling", "DescribeAutoScalingGroups", {"AutoScalingGroupNames": [name]}, caller
        )
        groups: list[Params] = answer.get("AutoScalingGroups") or []
        if not groups:
            raise errors.client(
                "The specified Auto Scaling group does not exist. Specify a valid one and try again."
            )
        return groups[0]


def _settings(given: Params, before: Params) -> Params:
    """A provider's settings in full; raises InvalidParameterException."""
    made = before | {key: value for key, value in given.items() if value is not None and key != "managedScaling"}
    scaling = before["managedScaling"] | {
        key: value for key, value in (given.get("managedScaling") or {}).items() if value is not None
    }
    if given.get("managedScaling") is not None and "status" not in given["managedScaling"]:
        scaling["status"] = "ENABLED"
    for key, low, high in (
        ("targetCapacity", 1, 100),
        ("minimumScalingStepSize", 1, 10_000),
        ("maximumScalingStepSize", 1, 10_000),
        ("instanceWarmupPeriod", 0, 10_000),
    ):
        if not low <= scaling[key] <= high:
            raise errors.invalid(f"The value of {key} must be between {low} and {high}.")
    if scaling["minimumScalingStepSize"] > scaling["maximumScalingStepSize"]:
        raise errors.invalid("minimumScalingStepSize must not be above maximumScalingStepSize.")
    if made["managedTerminationProtection"] == "ENABLED" and scaling["status"] != "ENABLED":
        raise errors.invalid(
            "The managed termination protection setting for the capacity provider is invalid. To enable managed "
            "termination protection for a capacity provider, enable managed scaling."
        )
    return made | {"managedScaling": scaling}


def _check_protection(spec: Params, group: Params) -> None:
    if spec["managedTerminationProtection"] == "ENABLED" and not group.get("NewInstancesProtectedFromScaleIn"):
        raise errors.client(UNPROTECTED)


def _built_in(caller: Caller, name: str) -> Params:
    return {
        "capacityProviderArn": names.arn(caller, "capacity-provider", name),
        "name": name,
        "status": ProviderStatus.ACTIVE,
        "tags": [],
        "type": name,
    }


def _in_use() -> AwsError:
    return AwsError(
        "ResourceInUseException",
        "The specified capacity provider is in use and cannot be removed.",
    )

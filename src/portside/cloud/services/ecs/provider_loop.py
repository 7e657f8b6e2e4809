"""Gives capacity providers the instances that their tasks need, and their waiting tasks a place.

Places tasks that wait in PROVISIONING as soon as an instance has room; publishes CapacityProviderReservation and
sets the group's desired capacity by it; keeps instances with tasks protected from scale-in; drains those that the
group is about to terminate. The group itself is asked and told through Auto Scaling's own API only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.ecs import (
    blueprints,
    capacity,
    group_marks,
    placement,
    provider_records,
    provider_scaling,
    store,
    tasks_made,
)
from portside.cloud.services.ecs.board import Board
from portside.cloud.services.ecs.group_marks import DRAINING_HOOK
from portside.cloud.services.ecs.placement import Placement
from portside.cloud.services.ecs.placer import waits_for_room
from portside.cloud.services.ecs.provider_records import Provider
from portside.cloud.services.ecs.provider_scaling import Need
from portside.cloud.services.ecs.records import Instance, InstanceStatus, Task
from portside.cloud.services.ecs.wakes import Wakes

NAMESPACE = "AWS/ECS/ManagedScaling"
METRIC = "CapacityProviderReservation"
PERIOD = 60.0
BUSY = 2.0  # while tasks wait for room, or an instance drains
# The low alarm of a target-tracking policy wants fifteen datapoints in a row.
IDLE = 900.0
TERMINATING = ("Terminating", "Terminating:Wait")


@dataclass(frozen=True, slots=True)
class Load:
    """What is on a provider's group: its container instances, the tasks on each, and the tasks that wait."""

    instances: list[Instance]
    tasks: Mapping[str, list[Task]]  # without those of daemons
    waiting: list[Task]

    def busy(self, instance: Instance) -> bool:
        return bool(self.tasks.get(instance.arn))


class ProviderLoop:
    """Keys are regions."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        pace: Pace,
        calls: Calls,
        log: Log,
        account: str,
        wakes: Wakes,
    ) -> None:
        self._database = database
        self._ids = ids
        self._clock = clock
        self._pace = pace
        self._calls = calls
        self._log = log.bind(service="ecs")
        self._account = account
        self._wakes = wakes
        self.loop = Loop("ecs-providers", self.turn, clock, log, workers=4)

    def resume(self) -> None:
        for provider in provider_records.providers.where(self._database, "status = 'ACTIVE'"):
            self.loop.wake(provider.region)

    async def turn(self, key: str) -> TurnResult:
        providers = provider_records.active(self._database, key)
        if not providers:
            return Done()
        self._place(key)
        caller = Caller.root(self._account, key)
        groups = await self._groups(caller, [each.group_name for each in providers])
        urgent = False
        for provider in providers:
            if provider.update_status.endswith("_IN_PROGRESS"):
                await group_marks.mark(self._calls, caller, provider)
                with self._database.write() as tx:
                    provider_records.complete(tx, provider.arn)
            group = groups.get(provider.group_name)
            clusters = provider_records.clusters_with(self._database, key, provider.name)
            if group is None or not clusters:
                continue
            urgent = await self._drain(caller, provider, group) or urgent
            if provider.managed:
                urgent = await self._scale(caller, provider, group, clusters) or urgent
        return After(min(BUSY, self._pace.wait(PERIOD)) if urgent else self._pace.wait(PERIOD))

    async def _groups(self, caller: Caller, wanted: list[str]) -> dict[str, Params]:
        answer = await self._calls(
            "autoscaling", "DescribeAutoScalingGroups", {"AutoScalingGroupNames": wanted}, caller
        )
        return {each["AutoScalingGroupName"]: each for each in answer.get("AutoScalingGroups") or []}

    # Tasks that wait

    def _place(self, region: str) -> None:
        for cluster in store.clusters.where(self._database, "region = ? AND status = 'ACTIVE'", region):
            with self._database.write() as tx:
                waiting = [
                    each for each in store.live_tasks_of_cluster(tx, region, cluster.name) if waits_for_room(each)
                ]
                if waiting:
                    self._place_here(tx, region, cluster.name, waiting)

    def _place_here(self, tx: Transaction, region: str, cluster: str, waiting: list[Task]) -> None:
        board = Board(capacity.candidates(tx, self._ids, region, cluster))
        demands: dict[tuple[str, str, str], placement.Demand] = {}
        for task in waiting:
            provider = provider_records.named(tx, region, task.provider)
            if provider is None:
                continue
            key = (task.definition, task.group_name, provider.group_name)
            # Overrides change what a task needs, so that it has a demand of its own.
            if task.spec.get("overrides") or key not in demands:
                demands[key] = replace(self._demand(tx, task), fleet=provider.group_name)
            choice = board.place(demands[key])
            if isinstance(choice, Placement):
                store.tasks.save(tx, replace(task, instance=choice.arn, version=task.version + 1))
                _after(tx, self._wakes, task.arn)

    def _demand(self, reader: store.Reader, task: Task) -> placement.Demand:
        definition = store.definitions.get(reader, task.definition)
        assert definition is not None  # definitions in use are never deleted
        service = store.services.get(reader, task.service) if task.service else None
        wishes = service.spec if service is not None else task.spec
        default = placement.DEFAULT_SERVICE_STRATEGY if service is not None else placement.DEFAULT_TASK_STRATEGY
        plan = blueprints.read(definition.spec, task.spec.get("overrides"))
        return tasks_made.demand(definition, plan, task.group_name, wishes, default)

    # The size of the group

    def _load(self, provider: Provider, clusters: list[str]) -> Load:
        instances: list[Instance] = []
        tasks: dict[str, list[Task]] = {}
        waiting: list[Task] = []
        for cluster in clusters:
            own = [
                each
                for each in store.instances_of(self._database, provider.region, cluster)
                if each.group_name == provider.group_name
            ]
            instances += own
            daemons = {
                each.arn
                for each in store.services_of(self._database, provider.region, cluster)
                if each.spec.get("schedulingStrategy") == "DAEMON"
            }
            for task in store.live_tasks_of_cluster(self._database, provider.region, cluster):
                if waits_for_room(task) and task.provider == provider.name:
                    waiting.append(task)
                elif task.instance and task.service not in daemons:
                    tasks.setdefault(task.instance, []).append(task)
        return Load(instances, tasks, waiting)

    async def _scale(self, caller: Caller, provider: Provider, group: Params, clusters: list[str]) -> bool:
        load = self._load(provider, clusters)
        extra = 0
        if load.waiting:
            cpu, memory = await self._size(caller, load, group)
            extra = provider_scaling.additional([self._need(each) for each in load.waiting], cpu, memory)
        present = [e for e in group.get("Instances") or [] if e["LifecycleState"] not in TERMINATING]
        needed = sum(1 for each in load.instances if load.busy(each)) + extra
        await self._publish(caller, provider, clusters, provider_scaling.reservation(needed, len(present)))
        settings = provider_scaling.Settings(
            provider.scaling["targetCapacity"],
            provider.scaling["minimumScalingStepSize"],
            provider.scaling["maximumScalingStepSize"],
        )
        goal, desired = provider_scaling.wanted(needed, settings), int(group["DesiredCapacity"])
        now = self._clock.now()
        after = replace(provider, idle_since=None if goal >= desired else provider.idle_since or now)
        target = desired
        if now >= provider.warm_until:
            target = provider_scaling.step_out(desired, goal, int(group["MaxSize"]), settings)
            if target > desired:
                warmup = float(provider.scaling["instanceWarmupPeriod"])
                after = replace(after, warm_until=now + self._pace.wait(warmup))
            elif after.idle_since is not None and now - after.idle_since >= self._pace.wait(IDLE):
                target = provider_scaling.step_in(desired, goal, int(group["MinSize"]), settings)
        await self._protect(caller, provider, group, load, desired - target)
        if target != desired:
            await self._calls(
                "autoscaling",
                "SetDesiredCapacity",
                {"AutoScalingGroupName": provider.group_name, "DesiredCapacity": target, "HonorCooldown": False},
                caller,
            )
            self._log.info("group scaled", provider=provider.name, before=desired, now=target, needed=needed)
        self._save(provider, after)
        return bool(load.waiting)

    def _save(self, before: Provider, after: Provider) -> None:
        if (after.warm_until, after.idle_since) == (before.warm_until, before.idle_since):
            return
        with self._database.write() as tx:
            fresh = provider_records.providers.get(tx, before.arn)
            assert fresh is not None
            kept = replace(fresh, warm_until=after.warm_until, idle_since=after.idle_since)
            provider_records.providers.save(tx, kept)

    def _need(self, task: Task) -> Need:
        demand = self._demand(self._database, task)
        alone = any(each.get("type") == "distinctInstance" for each in demand.constraints)
        return Need(demand.cpu, demand.memory, demand.ports, demand.group if alone else "")

    async def _size(self, caller: Caller, load: Load, group: Params) -> tuple[int, int]:
        """CPU units and MiB of the next instance: like those that are there, or as the launch template says."""
        if load.instances:
            newest = load.instances[-1]
            return newest.cpu, newest.memory
        kind = await self._kind(caller, group)
        if not kind:
            return 0, 0
        answer = await self._calls("ec2", "DescribeInstanceTypes", {"InstanceTypes": [kind]}, caller)
        found = (answer.get("InstanceTypes") or [{}])[0]
        if not found:
            return 0, 0
        memory = capacity.registered_memory(int(found["MemoryInfo"]["SizeInMiB"]))
        return int(found["VCpuInfo"]["DefaultVCpus"]) * capacity.UNITS_PER_CPU, memory

    async def _kind(self, caller: Caller, group: Params) -> str:
        mixed = (group.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
        for override in mixed.get("Overrides") or []:
            if override.get("InstanceType"):
                return str(override["InstanceType"])
        template = group.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification")
        if template:
            asked: Params = {"Versions": [template.get("Version") or "$Default"]}
            key = "LaunchTemplateId" if template.get("LaunchTemplateId") else "LaunchTemplateName"
            answer = await self._calls(
                "ec2", "DescribeLaunchTemplateVersions", asked | {key: template[key]}, caller
            )
            for version in answer.get("LaunchTemplateVersions") or []:
                return str((version.get("LaunchTemplateData") or {}).get("InstanceType") or "")
        if group.get("LaunchConfigurationName"):
            name = group["LaunchConfigurationName"]
            answer = await self._calls(
                "autoscaling", "DescribeLaunchConfigurations", {"LaunchConfigurationNames": [name]}, caller
            )
            for each in answer.get("LaunchConfigurations") or []:
                return str(each.get("InstanceType") or "")
        return ""

    async def _publish(self, caller: Caller, provider: Provider, clusters: list[str], value: float) -> None:
        data = [
            {
                "MetricName": METRIC,
                "Dimensions": [
                    {"Name": "CapacityProviderName", "Value": provider.name},
                    {"Name": "ClusterName", "Value": cluster},
                ],
                "Timestamp": self._clock.now(),
                "Unit": "Percent",
                "Value": value,
            }
            for cluster in clusters
        ]
        await self._calls("cloudwatch", "PutMetricData", {"Namespace": NAMESPACE, "MetricData": data}, caller)

    # Protection and draining

    async def _protect(self, caller: Caller, provider: Provider, group: Params, load: Load, surplus: int) -> None:
        """Instances with tasks are protected; of the empty ones as many are not as are to go."""
        if provider.spec["managedTerminationProtection"] != "ENABLED":
            return
        by_id = {each.ec2_id: each for each in load.instances}
        change: dict[bool, list[str]] = {True: [], False: []}
        for each in group.get("Instances") or []:
            if each["LifecycleState"] in TERMINATING:
                continue
            instance = by_id.get(each["InstanceId"])
            empty = instance is not None and not load.busy(instance)
            wanted = not (empty and surplus > 0)
            surplus -= not wanted
            if bool(each.get("ProtectedFromScaleIn")) is not wanted:
                change[wanted].append(each["InstanceId"])
        for protected, ids in change.items():
            if ids:
                params = {
                    "AutoScalingGroupName": provider.group_name,
                    "InstanceIds": ids,
                    "ProtectedFromScaleIn": protected,
                }
                await self._calls("autoscaling", "SetInstanceProtection", params, caller)

    async def _drain(self, caller: Caller, provider: Provider, group: Params) -> bool:
        """Instances that wait for their end are DRAINING; those without tasks may go. True while one drains."""
        if provider.spec["managedDraining"] != "ENABLED":
            return False
        leaving = {e["InstanceId"] for e in group.get("Instances") or [] if e["LifecycleState"] in TERMINATING}
        draining = False
        for ec2_id in sorted(leaving):
            found = store.instances.where(
                self._database, "region = ? AND ec2_id = ? AND status <> 'INACTIVE'", provider.region, ec2_id
            )
            if found and not self._evacuated(found[0]):
                draining = True
                continue
            params = {
                "LifecycleHookName": DRAINING_HOOK,
                "AutoScalingGroupName": provider.group_name,
                "InstanceId": ec2_id,
                "LifecycleActionResult": "CONTINUE",
            }
            try:
                await self._calls("autoscaling", "CompleteLifecycleAction", params, caller)
            except AwsError as error:
                if error.status >= 500:
                    raise
                self._log.info("no action to complete", instance=ec2_id, reason=error.message)
        return draining

    def _evacuated(self, instance: Instance) -> bool:
        """Has the last task left the instance? It is told to drain if it has not been."""
        with self._database.write() as tx:
            fresh = store.instances.get(tx, instance.arn)
            assert fresh is not None
            if fresh.status is InstanceStatus.ACTIVE:
                store.instances.save(tx, replace(fresh, status=InstanceStatus.DRAINING, version=fresh.version + 1))
                for service in store.services_of(tx, fresh.region, fresh.cluster):
                    _after_service(tx, self._wakes, service.arn)
            tasks = store.live_tasks_of_instance(tx, instance.arn)
            return not tasks


def _after(tx: Transaction, wakes: Wakes, task: str) -> None:
    tx.after_commit(lambda: wakes.task(task))


def _after_service(tx: Transaction, wakes: Wakes, service: str) -> None:
    tx.after_commit(lambda: wakes.service(service))

"""Makes container instances of EC2 instances, and takes back those that are gone.

An EC2 instance that runs and whose user data names an ECS cluster is a slice of this machine's capacity, as large
as its instance type. EC2 and the Auto Scaling groups themselves are ancillary services; they are asked only when
something there may have changed (`wake`), and now and then as long as there are instances or groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services import user_data
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.ecs import joining, names, store
from portside.cloud.services.ecs.capacity import UNITS_PER_CPU, registered_memory
from portside.cloud.services.ecs.records import (
    Cluster,
    ClusterStatus,
    Instance,
    InstanceStatus,
    StopCode,
)
from portside.cloud.services.ecs.task_loop import halted
from portside.cloud.services.ecs.wakes import Wakes

RECHECK = 30.0
GROUP_TAG = "aws:autoscaling:groupName"
_ARCHITECTURES = {"x86_64": "x86_64", "arm64": "arm64", "x86_64_mac": "x86_64", "arm64_mac": "arm64"}


@dataclass(frozen=True, slots=True)
class Size:
    """What an instance type offers."""

    cpus: int
    memory: int


@dataclass(frozen=True, slots=True)
class Host:
    """A running EC2 instance that has an ECS agent."""

    ec2_id: str
    cluster: str
    instance_type: str
    zone: str
    group_name: str
    size: Size
    attributes: Mapping[str, str]


class CapacityLoop:
    """Keys are regions."""

    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        calls: Calls,
        log: Log,
        account: str,
        region: str,
        wakes: Wakes,
    ) -> None:
        self._database = database
        self._ids = ids
        self._clock = clock
        self._calls = calls
        self._log = log.bind(service="ecs")
        self._account = account
        self._region = region
        self._wakes = wakes
        self._user_data: dict[str, str] = {}
        self._metadata: dict[tuple[str, str], str] = {}
        self._sizes: dict[tuple[str, str], Size] = {}
        self._orphans: set[tuple[str, str]] = set()  # (region, cluster) that instances ask for in vain
        self._looked: set[str] = set()
        self.loop = Loop("ecs-capacity", self.turn, clock, log, workers=4)

    def wake(self, region: str | None = None) -> None:
        """Something may have changed in EC2 or Auto Scaling."""
        self.loop.wake(region or self._region)

    def cluster_made(self, region: str, name: str) -> None:
        """Instances that wait for this cluster may join it now; or some that were there before ECS was in use."""
        if (region, name) in self._orphans or region not in self._looked:
            self.loop.wake(region)

    def resume(self) -> None:
        regions = {cluster.region for cluster in store.clusters.where(self._database, "1 = 1")}
        for region in regions | {each.region for each in self._registered()}:
            self.loop.wake(region)

    def _registered(self, region: str | None = None) -> list[Instance]:
        if region is None:
            return store.instances.where(self._database, "status <> ?", InstanceStatus.INACTIVE)
        return store.instances.where(self._database, "region = ? AND status <> ?", region, InstanceStatus.INACTIVE)

    async def turn(self, key: str) -> TurnResult:
        caller = Caller.root(self._account, key)
        groups = await self._groups(caller)
        described = await self._running(caller)
        hosts = [host for each in described if (host := await self._host(each, caller)) is not None]
        self._apply(key, hosts)
        self._looked.add(key)
        alive = {str(each["InstanceId"]) for each in described}
        for gone in [ec2_id for ec2_id in self._user_data if ec2_id not in alive]:
            del self._user_data[gone]
        # A stack may have been updated, or made again, before the next instance comes.
        self._metadata.clear()
        return After(RECHECK) if groups or described or self._registered(key) else Done()

    # What EC2 says

    async def _groups(self, caller: Caller) -> bool:
        answer = await self._calls("autoscaling", "DescribeAutoScalingGroups", {}, caller)
        return bool(answer.get("AutoScalingGroups"))

    async def _running(self, caller: Caller) -> list[Params]:
        found: list[Params] = []
        params: Params = {"Filters": [{"Name": "instance-state-name", "Values": ["running"]}]}
        while True:
            answer = await self._calls("ec2", "DescribeInstances", params, caller)
            for reservation in answer.get("Reservations") or []:
                for each in reservation.get("Instances") or []:
                    if (each.get("State") or {}).get("Name") == "running":
                        found.append(each)
            if not answer.get("NextToken"):
                return found
            params = params | {"NextToken": answer["NextToken"]}

    async def _host(self, described: Params, caller: Caller) -> Host | None:
        ec2_id = str(described["InstanceId"])
        if ec2_id not in self._user_data:
            answer = await self._calls(
                "ec2", "DescribeInstanceAttribute", {"InstanceId": ec2_id, "Attribute": "userData"}, caller
            )
            self._user_data[ec2_id] = user_data.decoded(str((answer.get("UserData") or {}).get("Value") or ""))
        cluster = await self._cluster(ec2_id, caller)
        if cluster is None:
            return None
        kind = str(described.get("InstanceType") or "")
        tags = {each["Key"]: each["Value"] for each in described.get("Tags") or []}
        zone = str((described.get("Placement") or {}).get("AvailabilityZone") or "")
        attributes = {
            "ecs.ami-id": described.get("ImageId"),
            "ecs.availability-zone": zone,
            "ecs.instance-type": kind,
            "ecs.os-type": "linux",
            "ecs.os-family": "LINUX",
            "ecs.cpu-architecture": _ARCHITECTURES.get(str(described.get("Architecture")), "x86_64"),
            "ecs.vpc-id": described.get("VpcId"),
            "ecs.subnet-id": described.get("SubnetId"),
        }
        return Host(
            ec2_id=ec2_id,
            cluster=cluster,
            instance_type=kind,
            zone=zone,
            group_name=tags.get(GROUP_TAG, ""),
            size=await self._size(kind, caller),
            attributes={key: str(value) for key, value in attributes.items() if value},
        )

    async def _cluster(self, ec2_id: str, caller: Caller) -> str | None:
        """As the user data says; where it has `cfn-init` do the work, as the stack's metadata says."""
        script = self._user_data[ec2_id]
        named = joining.cluster_named(script)
        source = joining.initialised_from(script)
        if source is None or named not in (None, "default"):
            return named
        if source not in self._metadata:
            asked = {"StackName": source[0], "LogicalResourceId": source[1]}
            try:
                answer = await self._calls("cloudformation", "DescribeStackResource", asked, caller)
            except AwsError as error:
                if error.code == "ValidationError":  # no such stack or resource: cfn-init would fail
                    return named
                raise
            self._metadata[source] = str((answer.get("StackResourceDetail") or {}).get("Metadata") or "")
        return joining.cluster_in_metadata(self._metadata[source]) or named

    async def _size(self, kind: str, caller: Caller) -> Size:
        known = self._sizes.get((caller.region, kind))
        if known is None:
            answer = await self._calls("ec2", "DescribeInstanceTypes", {"InstanceTypes": [kind]}, caller)
            types = answer.get("InstanceTypes") or []
            if not types:
                raise AwsError("InvalidInstanceType", f"EC2 does not know the instance type {kind}.")
            known = Size(int(types[0]["VCpuInfo"]["DefaultVCpus"]), int(types[0]["MemoryInfo"]["SizeInMiB"]))
            self._sizes[caller.region, kind] = known
        return known

    # What follows from it

    def _apply(self, region: str, hosts: list[Host]) -> None:
        now = self._clock.now()
        with self._database.write() as tx:
            present = store.instances.where(tx, "region = ? AND status <> ?", region, InstanceStatus.INACTIVE)
            running = {host.ec2_id: host for host in hosts}
            for instance in present:
                host = running.get(instance.ec2_id)
                if host is None:
                    deregister(tx, instance, now, self._wakes)
                    self._log.info("container instance gone", instance=instance.ec2_id)
            known = {instance.ec2_id for instance in store.instances.where(tx, "region = ?", region)}
            self._orphans = {pair for pair in self._orphans if pair[0] != region}
            for host in hosts:
                # One that was deregistered by hand does not come back: its agent has been told to go.
                if host.ec2_id not in known:
                    self._register(tx, region, host, now)
        if hosts:
            self._wakes.engine("engine")
        self._wakes.providers(region)

    def _register(self, tx: Transaction, region: str, host: Host, now: float) -> None:
        arn = f"arn:aws:ecs:{region}:{self._account}:cluster/{host.cluster}"
        cluster = store.clusters.get(tx, arn)
        if cluster is None or cluster.status is not ClusterStatus.ACTIVE:
            if host.cluster != names.DEFAULT_CLUSTER:
                self._orphans.add((region, host.cluster))
                return
            # The agent makes the default cluster if there is none.
            cluster = Cluster(arn, region, host.cluster, ClusterStatus.ACTIVE, now)
            store.clusters.save(tx, cluster)
        instance = Instance(
            arn=names.sibling(arn, "container-instance", f"{host.cluster}/{self._ids.hex(32)}"),
            region=region,
            cluster=host.cluster,
            ec2_id=host.ec2_id,
            status=InstanceStatus.ACTIVE,
            connected=False,  # until the engine has been seen to answer
            cpu=host.size.cpus * UNITS_PER_CPU,
            memory=registered_memory(host.size.memory),
            instance_type=host.instance_type,
            zone=host.zone,
            group_name=host.group_name,
            registered_at=now,
            attributes=dict(host.attributes),
        )
        store.instances.save(tx, instance)
        _after(tx, self._wakes.metrics, region)
        self._log.info("container instance registered", instance=host.ec2_id, cluster=host.cluster)


def deregister(tx: Transaction, instance: Instance, now: float, wakes: Wakes, *, terminated: bool = True) -> None:
    """The instance is INACTIVE from now on. Its host is gone: its tasks end at once and are replaced. Deregistered
    by hand: standalone tasks run on, and those of services are replaced."""
    store.instances.save(tx, replace(instance, status=InstanceStatus.INACTIVE, connected=False))
    for task in store.live_tasks_of_instance(tx, instance.arn):
        if not terminated and not task.service:
            continue
        code = StopCode.TERMINATION if terminated else StopCode.SCHEDULER
        reason = (
            f"Host EC2 (instance {instance.ec2_id}) terminated."
            if terminated
            else f"Container instance {names.last(instance.arn)} was deregistered."
        )
        store.tasks.save(tx, halted(task, code, reason, now, kill=terminated))
        _after(tx, wakes.task, task.arn)
    for service in store.services_of(tx, instance.region, instance.cluster):
        _after(tx, wakes.service, service.arn)


def _after(tx: Transaction, wake: Callable[[str], None], key: str) -> None:
    tx.after_commit(lambda: wake(key))

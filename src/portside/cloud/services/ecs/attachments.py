"""What a task has of its own besides containers: its network holder and its volumes.

The calls only, on behalf of `task_loop.py`. `attach` finds or makes the holder and says what the task's `network`
is from then on; `detach` removes what lives no longer than the task. A holder of an instance stays for its next
task.
"""

from __future__ import annotations

from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.machine.addresses import Addresses
from portside.cloud.machine.engine import Conflict, Engine, EngineError, Unavailable
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Calls, Params
from portside.cloud.services.ecs import store
from portside.cloud.services.ecs.blueprints import TaskBlueprint
from portside.cloud.services.ecs.holders import Holders
from portside.cloud.services.ecs.names import service_role_caller
from portside.cloud.services.ecs.outside import Outside
from portside.cloud.services.ecs.records import Task
from portside.cloud.services.ecs.specification import holder_name
from portside.cloud.services.ecs.starter import StartFailed
from portside.cloud.services.ecs.volumes import engine_volumes


class Attachments:
    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        calls: Calls,
        engine: Engine,
        holders: Holders,
        outside: Outside,
        addresses: Addresses,
        cloud: str,
    ) -> None:
        self._database = database
        self._ids = ids
        self._calls = calls
        self._engine = engine
        self._holders = holders
        self._outside = outside
        self._addresses = addresses
        self._cloud = cloud

    async def attach(self, task: Task, plan: TaskBlueprint) -> Params:
        """The task's `network` with its holder running. Raises StartFailed, or Unavailable."""
        if plan.network in ("awsvpc", "host") and not self._outside.bridge():
            raise StartFailed(
                f"ResourceInitializationError: the local cloud cannot offer network mode {plan.network} here, "
                "because the container engine's bridge is not on this machine, so that tasks could not be reached"
            )
        try:
            if plan.network == "host":
                return await self._of_instance(task, plan)
            return await self._of_task(task, plan)
        except Unavailable:
            raise
        except EngineError as error:
            raise StartFailed(f"ResourceInitializationError: the network holder: {error.reason}") from None
        except ValueError as error:
            raise StartFailed(f"ResourceInitializationError: the network holder: {error}") from None

    async def _of_task(self, task: Task, plan: TaskBlueprint) -> Params:
        own = plan.network == "awsvpc"
        also, hosts = await self._link(task, plan) if own else ((), {})
        sysctls = {key: value for each in plan.containers for key, value in each.sysctls.items() if _of_net(key)}
        state = await self._holders.ensure(
            task.arn, holder_name(task), also=also, hosts=hosts, sysctls=sysctls if own else {}
        )
        found = dict(task.network) | {"holder": state.id}
        if own:
            number = self._ids.hex(17)
            found |= {
                "address": state.address,
                "subnet": await self._subnet(task),
                "eni": found.get("eni") or f"eni-{number}",
                "attachment": found.get("attachment") or self._ids.uuid(),
                "mac": found.get("mac") or ":".join(["02", *(number[n : n + 2] for n in range(0, 10, 2))]),
            }
        return found

    async def _of_instance(self, task: Task, plan: TaskBlueprint) -> Params:
        instance = store.instances.get(self._database, task.instance)
        assert instance is not None
        also, hosts = await self._link(task, plan)
        state = await self._holders.ensure(instance.arn, f"ecs-holder-{instance.ec2_id}", also=also, hosts=hosts)
        for port in (each for container in plan.containers for each in container.ports):
            self._addresses.redirect(instance.ec2_id, port.container_port, state.address)
        # The holder is the instance's, not the task's: it is not removed with the task.
        return dict(task.network) | {"joined": state.id}

    async def _link(self, task: Task, plan: TaskBlueprint) -> tuple[tuple[str, ...], dict[str, str]]:
        """Additional networks, and names, that must be the holder's because containers share its network."""
        endpoint = await self._outside.endpoint()
        # Containers in host mode share one holder, whichever of their tasks has a role.
        if plan.network != "host" and not plan.task_role:
            return (), dict(endpoint.hosts)
        return ((await self._outside.credentials()).network,), dict(endpoint.hosts)

    async def _subnet(self, task: Task) -> str:
        """The subnet in the zone of the task's instance, of those that were given."""
        if task.network.get("subnet"):
            return str(task.network["subnet"])
        given: list[str] = task.network.get("subnets") or []
        instance = store.instances.get(self._database, task.instance)
        zone = instance.zone if instance is not None else task.zone
        caller = service_role_caller(task.arn)
        try:
            answer = await self._calls("ec2", "DescribeSubnets", {"SubnetIds": given}, caller)
        except AwsError as error:
            raise StartFailed(f"ResourceInitializationError: {error.code}: {error.message}") from None
        for each in answer.get("Subnets") or []:
            if each.get("AvailabilityZone") == zone:
                return str(each["SubnetId"])
        raise StartFailed(
            f"ResourceInitializationError: none of the subnets {', '.join(given)} is in the Availability Zone "
            f"{zone} of the container instance"
        )

    async def detach(self, task: Task, plan: TaskBlueprint) -> Params:
        """Remove the task's own holder and volumes; what is left of its `network`."""
        holder = task.network.get("holder")
        if holder:
            await self._holders.remove(str(holder))
        for volume in engine_volumes(task, plan, self._cloud).values():
            if volume.owner == task.arn:
                try:
                    await self._engine.remove_volume(volume.name)
                except Conflict:
                    continue  # somebody else has put a container on it
        if plan.network == "host":
            self._withdraw(task, plan)
        kept = {key: value for key, value in task.network.items() if key not in ("holder", "joined")}
        return kept | {"detached": True}

    def _withdraw(self, task: Task, plan: TaskBlueprint) -> None:
        instance = store.instances.get(self._database, task.instance)
        if instance is not None:
            for port in (each for container in plan.containers for each in container.ports):
                self._addresses.withdraw(instance.ec2_id, port.container_port)

    async def holds(self, task: Task) -> bool:
        """Whether the holder that the task's containers have joined still runs."""
        holder = task.network.get("holder") or task.network.get("joined")
        return not holder or await self._holders.runs(str(holder))


def _of_net(name: str) -> bool:
    return name.startswith("net.")

"""A task's entries in service registries (AWS Cloud Map).

The calls only, on behalf of `task_loop.py`, which knows when. An entry has the address at which other containers
reach the task: its own in awsvpc mode, its instance's holder's in host mode, its container's on the bridge.
Source: the ECS Developer Guide, "Service discovery".
"""

from __future__ import annotations

from collections.abc import Mapping

from portside.cloud.kernel.log import Log
from portside.cloud.machine.engine import Engine, Missing
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Calls, Params
from portside.cloud.services.ecs.names import family_and_revision, last, service_role_caller
from portside.cloud.services.ecs.records import Container, Task


class Discovery:
    def __init__(self, engine: Engine, calls: Calls, log: Log) -> None:
        self._engine = engine
        self._calls = calls
        self._log = log

    async def announce(self, task: Task, registry: str, records: Mapping[str, Container]) -> str:
        """Returns why it could not be done, empty when it was."""
        entry = next(each for each in task.network["registries"] if each["registryArn"] == registry)
        address = await self._address(task, entry, records)
        if not address:
            return "the task has no address"
        attributes = {
            "AWS_INSTANCE_IPV4": address,
            "AVAILABILITY_ZONE": task.zone,
            "REGION": task.region,
            "ECS_SERVICE_NAME": last(task.service),
            "ECS_CLUSTER_NAME": task.cluster,
            "ECS_TASK_DEFINITION_FAMILY": family_and_revision(task.definition)[0],
        }
        port = entry.get("port") or entry.get("containerPort")
        if port:
            attributes["AWS_INSTANCE_PORT"] = str(port)
        params: Params = {
            "ServiceId": last(registry),
            "InstanceId": last(task.arn),
            "Attributes": {key: value for key, value in attributes.items() if value},
        }
        try:
            await self._calls("servicediscovery", "RegisterInstance", params, service_role_caller(task.arn))
        except AwsError as error:
            if error.status >= 500:
                raise
            return f"{error.code}: {error.message}"
        return ""

    async def withdraw(self, task: Task, registries: tuple[str, ...]) -> None:
        for registry in registries:
            params: Params = {"ServiceId": last(registry), "InstanceId": last(task.arn)}
            try:
                await self._calls("servicediscovery", "DeregisterInstance", params, service_role_caller(task.arn))
            except AwsError as error:
                if error.status >= 500:
                    raise
                self._log.info("registry entry was gone already", task=task.arn, reason=error.message)

    async def _address(self, task: Task, entry: Params, records: Mapping[str, Container]) -> str:
        if task.network.get("address"):
            return str(task.network["address"])
        joined = task.network.get("joined")
        name = entry.get("containerName")
        record = records.get(name) if name else next(iter(records.values()), None)
        container = joined or (record.engine_id if record is not None else "")
        if not container:
            return ""
        try:
            return (await self._engine.inspect(container)).address
        except Missing:
            return ""

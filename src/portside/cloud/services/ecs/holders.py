"""The containers that hold the address of a task (awsvpc) or of a container instance (host mode).

Owns their making, finding and removal. A holder does nothing; the task's containers join its network namespace.
Its label says whose it is, so that the engine loop can tell one that nobody needs.
"""

from __future__ import annotations

from collections.abc import Mapping

from portside.cloud.machine import holder
from portside.cloud.machine.engine import Conflict, ContainerSpec, ContainerState, Engine, Missing, Phase
from portside.cloud.services.ecs.outside import Outside

CLOUD_LABEL = "portside.cloud"
HOLDER_LABEL = "portside.holder"


class Holders:
    """`cloud` is the id that the containers are labelled with."""

    def __init__(self, engine: Engine, outside: Outside, cloud: str) -> None:
        self._engine = engine
        self._outside = outside
        self._cloud = cloud

    async def ensure(
        self,
        owner: str,
        name: str,
        *,
        also: tuple[str, ...] = (),
        hosts: Mapping[str, str] | None = None,
        sysctls: Mapping[str, str] | None = None,
    ) -> ContainerState:
        """The running holder of `owner`, made if need be. Raises EngineError."""
        if await self._engine.image_id(holder.NAME) is None:
            info = await self._engine.info()
            await self._engine.load(holder.archive(info.architecture))
        server = self._outside.name_server()
        spec = ContainerSpec(
            name=name,
            image=holder.NAME,
            labels={CLOUD_LABEL: self._cloud, HOLDER_LABEL: owner},
            dns=(server,) if server else (),
            also=also,
            extra_hosts=hosts or {},
            sysctls=sysctls or {},
            ipc_namespace="shareable",
        )
        try:
            made = await self._engine.create(spec)
        except Conflict:
            found = await self._engine.inspect(name)
            if found.phase is Phase.EXITED:
                await self._engine.remove(found.id)
                return await self.ensure(owner, name, also=also, hosts=hosts, sysctls=sysctls)
            made = found.id
        await self._engine.start(made)
        return await self._engine.inspect(made)

    async def runs(self, container: str) -> bool:
        try:
            return (await self._engine.inspect(container)).phase is Phase.RUNNING
        except Missing:
            return False

    async def remove(self, container: str) -> None:
        await self._engine.remove(container)

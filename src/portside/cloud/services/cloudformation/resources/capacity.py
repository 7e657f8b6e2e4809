"""AWS::ECS::CapacityProvider and AWS::ECS::ClusterCapacityProviderAssociations.

An association cannot be taken back while a task or a service uses one of its providers, and nothing in a template
says that the service goes first: so it is tried again until it can be.
"""

from __future__ import annotations

from typing import ClassVar

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.resources.ecs import retag
from portside.cloud.services.cloudformation.resources.handler import Failure, Handler, Work
from portside.cloud.services.cloudformation.resources.naming import PLAIN, NameStyle
from portside.cloud.services.cloudformation.resources.shapes import request


class CapacityProvider(Handler):
    type = "AWS::ECS::CapacityProvider"
    name_property = "Name"
    name_style: ClassVar[NameStyle | None] = PLAIN
    tagged = True

    unoffered: ClassVar = {"ClusterName": "it is for managed instances, which are not offered."}

    async def find(self, work: Work) -> str | None:
        return work.name if await self._describe(work, work.name) is not None else None

    async def _describe(self, work: Work, name: str) -> Params | None:
        found = await work.call("ecs", "DescribeCapacityProviders", {"capacityProviders": [name]})
        providers: list[Params] = found.get("capacityProviders", [])
        return next((each for each in providers if each.get("status") == "ACTIVE"), None)

    async def create(self, work: Work) -> tuple[str, Params]:
        params = request("ecs", "CreateCapacityProvider", work.properties)
        params |= {"name": work.name, "tags": work.tag_list(key="key", value="value")}
        await work.call("ecs", "CreateCapacityProvider", params)
        return work.name, {}

    async def update(self, work: Work) -> Params:
        if work.properties.get("AutoScalingGroupProvider") != work.old.get("AutoScalingGroupProvider"):
            params = request("ecs", "UpdateCapacityProvider", work.properties) | {"name": work.physical_id}
            await work.call("ecs", "UpdateCapacityProvider", params)
        found = await self._describe(work, work.physical_id)
        if found is None:
            raise Failure(f"Capacity provider {work.physical_id} not found.", "NotFound")
        await retag(work, found["capacityProviderArn"])
        return {}

    async def delete(self, work: Work) -> None:
        await work.call("ecs", "DeleteCapacityProvider", {"capacityProvider": work.physical_id})

    async def gone(self, work: Work) -> bool:
        return await self._describe(work, work.physical_id) is None

    def missing(self, error: AwsError) -> bool:
        return super().missing(error) or "does not exist" in error.message


class Associations(Handler):
    type = "AWS::ECS::ClusterCapacityProviderAssociations"

    async def create(self, work: Work) -> tuple[str, Params]:
        await self._put(work, work.properties["Cluster"], work.properties)
        return str(work.properties["Cluster"]).rpartition("/")[2], {}

    async def update(self, work: Work) -> Params:
        await self._put(work, work.physical_id, work.properties)
        return {}

    async def _put(self, work: Work, cluster: str, properties: Params) -> None:
        params: Params = {"capacityProviders": [], "defaultCapacityProviderStrategy": []}
        params |= request("ecs", "PutClusterCapacityProviders", properties)
        await work.call("ecs", "PutClusterCapacityProviders", params | {"cluster": cluster})

    async def delete(self, work: Work) -> None:
        await self.gone(work)

    async def gone(self, work: Work) -> bool:
        try:
            await self._put(work, work.physical_id, {})
        except AwsError as error:
            if error.code == "ResourceInUseException":
                return False
            if not self.missing(error):
                raise
        return True

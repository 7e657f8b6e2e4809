"""Amazon ECS as its clients see it: the operations of all its nouns, put together.

The operations themselves are with their nouns: `clusters.py` (and container instances), `definitions.py`,
`services.py`, `deployments.py`, `tasks.py`, `providers.py`, `protection.py`. Tags and account settings are here.
What follows from a call is done by the loops, which `orchestrator.py` builds.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.machine.engine import Engine
from portside.cloud.services.calls import Caller, Calls, Params, Service, operation, operations_of
from portside.cloud.services.ecs import errors, names, provider_records, shift_records, store
from portside.cloud.services.ecs.capacity_loop import CapacityLoop
from portside.cloud.services.ecs.clusters import ClusterApi
from portside.cloud.services.ecs.definitions import DefinitionApi
from portside.cloud.services.ecs.deployments import DeploymentApi
from portside.cloud.services.ecs.execute import ExecApi
from portside.cloud.services.ecs.fargate import Room
from portside.cloud.services.ecs.outside import Outside
from portside.cloud.services.ecs.protection import ProtectionApi
from portside.cloud.services.ecs.providers import ProviderApi
from portside.cloud.services.ecs.records import MIGRATIONS
from portside.cloud.services.ecs.services import ServiceApi
from portside.cloud.services.ecs.tasks import TaskApi
from portside.cloud.services.ecs.wakes import Wakes

_TAGGABLE = ("cluster", "service", "task", "task-definition", "container-instance", "capacity-provider")
# How this cloud behaves; it cannot be told to behave otherwise.
_SETTINGS = {
    "serviceLongArnFormat": "enabled",
    "taskLongArnFormat": "enabled",
    "containerInstanceLongArnFormat": "enabled",
    "awsvpcTrunking": "disabled",
    "containerInsights": "disabled",
}


class EcsApi:
    def __init__(
        self,
        *,
        database: Database,
        ids: Ids,
        clock: Clock,
        calls: Calls,
        wakes: Wakes,
        capacity: CapacityLoop,
        room: Room,
        outside: Outside,
        engine: Engine,
        log: Log,
    ) -> None:
        self.execute = ExecApi(database, ids, clock, engine, log)
        database.migrate("ecs", MIGRATIONS)
        database.migrate("ecs-shifts", shift_records.MIGRATIONS)
        self._database = database
        self._nouns = (
            ClusterApi(database, clock, wakes, capacity),
            DefinitionApi(database, clock),
            ServiceApi(database, ids, clock, calls, wakes, outside),
            DeploymentApi(database, clock, wakes),
            TaskApi(database, ids, clock, wakes, calls, room),
            ProviderApi(database, clock, calls, wakes),
            ProtectionApi(database, clock, wakes),
            self.execute,
            self,
        )

    def service(self) -> Service:
        operations = {name: handler for noun in self._nouns for name, handler in operations_of(noun).items()}
        return Service("ecs", operations, errors.invalid_shape)

    @operation("TagResource")
    def tag_resource(self, caller: Caller, params: Params) -> Params:
        arn = self._taggable(params["resourceArn"])
        with self._database.write() as tx:
            store.set_tags(tx, arn, params["tags"])
        return {}

    @operation("UntagResource")
    def untag_resource(self, caller: Caller, params: Params) -> Params:
        arn = self._taggable(params["resourceArn"])
        with self._database.write() as tx:
            store.drop_tags(tx, arn, params["tagKeys"])
        return {}

    @operation("ListTagsForResource")
    def list_tags_for_resource(self, caller: Caller, params: Params) -> Params:
        return {"tags": store.tags_of(self._database, self._taggable(params["resourceArn"]))}

    def _taggable(self, arn: str) -> str:
        kind = names.kind_of(arn)
        if kind not in _TAGGABLE:
            raise errors.invalid("The specified resource ARN is not valid or cannot have tags.")
        found: object
        match kind:
            case "cluster":
                found = store.clusters.get(self._database, arn)
            case "service":
                found = store.services.get(self._database, arn)
            case "task":
                found = store.tasks.get(self._database, arn)
            case "task-definition":
                found = store.definitions.get(self._database, arn)
            case "capacity-provider":
                found = provider_records.providers.get(self._database, arn)
            case _:
                found = store.instances.get(self._database, arn)
        if found is None:
            raise errors.invalid("The specified resource is not found.")
        return arn

    @operation("ListAccountSettings")
    def list_account_settings(self, caller: Caller, params: Params) -> Params:
        name, value = params.get("name"), params.get("value")
        root = f"arn:aws:iam::{caller.account}:root"
        return {
            "settings": [
                {"name": key, "value": text, "principalArn": root}
                for key, text in _SETTINGS.items()
                if name in (None, key) and value in (None, text)
            ]
        }

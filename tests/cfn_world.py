"""A small world for CloudFormation: a few services in memory, virtual time, a real database.

The services keep what they are told, refuse what AWS refuses, and can be made to fail or to take their time.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params
from portside.cloud.services.cloudformation.api import CloudFormationApi
from portside.testing.clock import VirtualClock
from portside.testing.server import quiet_log

CALLER = Caller.root("000000000000", "us-east-1", endpoint="http://127.0.0.1:4566")


class FakeServices:
    """Implements `Calls` for SSM parameters, SNS topics, log groups, ECR and a rudimentary ECS."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.parameters: dict[str, Params] = {}
        # What parameters held: by their names, then by version.
        self.versions: dict[str, dict[str, str]] = {}
        self.topics: dict[str, Params] = {}
        self.groups: dict[str, Params] = {}
        self.repositories: dict[str, Params] = {}
        self.clusters: dict[str, Params] = {}
        self.definitions: list[Params] = []
        self.services: dict[str, Params] = {}
        self.alarms: dict[str, str] = {}
        self.objects: dict[str, str] = {}
        self.published: list[Params] = []
        # CloudFormation itself, which stacks call for the stacks inside them.
        self.own: Callable[[str], Any] | None = None
        self.made: list[tuple[str, str, Params]] = []
        # (service, operation) -> what happens instead of the call.
        self.broken: dict[tuple[str, str], Callable[[Params], None]] = {}
        # The number of the call after which the process dies: the service has acted, nobody hears of it.
        self.die_after = 0
        self.dead = False
        self.rollout_seconds = 2.0
        self.bad_images: set[str] = set()

    async def __call__(self, service: str, operation: str, params: Params, caller: Caller) -> Params:
        self.made.append((service, operation, params))
        number = len(self.made)
        if self.dead:
            await self._die()
        broken = self.broken.get((service, operation))
        try:
            if broken is not None:
                broken(params)
            if service == "cloudformation" and self.own is not None:
                answer: Params = self.own(operation)(caller, params)
                if hasattr(answer, "__await__"):
                    answer = await answer
            else:
                # Tags are taken and forgotten, except where a method says otherwise.
                default = _forgotten if "Tag" in operation else None
                answer = getattr(self, f"{service}_{operation}", default)(params, caller) or {}
        finally:
            if number == self.die_after:
                await self._die()
        # Let the other resources of the turn move on, as real calls would.
        await asyncio.sleep(0)
        return answer

    async def _die(self) -> None:
        """As after kill -9: whoever called never hears of it."""
        self.dead = True
        await asyncio.get_running_loop().create_future()

    def asked(self, service: str, operation: str) -> list[Params]:
        return [params for s, o, params in self.made if (s, o) == (service, operation)]

    # S3

    def s3_GetObject(self, params: Params, caller: Caller) -> Params:
        found = self.objects.get(f"{params['Bucket']}/{params['Key']}")
        if found is None:
            raise AwsError("NoSuchKey", "The specified key does not exist.", 404)
        return {"Body": found.encode()}

    # CloudWatch

    def cloudwatch_DescribeAlarms(self, params: Params, caller: Caller) -> Params:
        found = [{"AlarmName": n, "StateValue": self.alarms[n]} for n in params["AlarmNames"] if n in self.alarms]
        return {"MetricAlarms": found if "MetricAlarm" in params["AlarmTypes"] else []}

    # SSM

    def ssm_GetParameter(self, params: Params, caller: Caller) -> Params:
        name, _, version = params["Name"].rpartition(":")
        found = self.parameters.get(params["Name"])
        if version.isdigit() and version in self.versions.get(name, {}):
            found = self.parameters[name] | {"Value": self.versions[name][version]}
        if found is None:
            raise AwsError("ParameterNotFound", "")
        return {"Parameter": found}

    def ssm_PutParameter(self, params: Params, caller: Caller) -> None:
        if params["Name"] in self.parameters and not params.get("Overwrite"):
            raise AwsError("ParameterAlreadyExists", "The parameter already exists.")
        self.parameters[params["Name"]] = {
            "Name": params["Name"],
            "Type": params.get("Type", "String"),
            "Value": params["Value"],
        }

    def ssm_DeleteParameter(self, params: Params, caller: Caller) -> None:
        if params["Name"] not in self.parameters:
            raise AwsError("ParameterNotFound", "")
        del self.parameters[params["Name"]]

    def ssm_AddTagsToResource(self, params: Params, caller: Caller) -> None: ...
    def ssm_RemoveTagsFromResource(self, params: Params, caller: Caller) -> None: ...

    # SNS

    def sns_GetTopicAttributes(self, params: Params, caller: Caller) -> Params:
        if params["TopicArn"] not in self.topics:
            raise AwsError("NotFound", "Topic does not exist", 404)
        return {"Attributes": self.topics[params["TopicArn"]]}

    def sns_CreateTopic(self, params: Params, caller: Caller) -> Params:
        arn = f"arn:aws:sns:{caller.region}:{caller.account}:{params['Name']}"
        self.topics[arn] = dict(params.get("Attributes") or {})
        return {"TopicArn": arn}

    def sns_SetTopicAttributes(self, params: Params, caller: Caller) -> None:
        self.topics[params["TopicArn"]][params["AttributeName"]] = params["AttributeValue"]

    def sns_DeleteTopic(self, params: Params, caller: Caller) -> None:
        self.topics.pop(params["TopicArn"], None)

    def sns_Publish(self, params: Params, caller: Caller) -> Params:
        if params["TopicArn"] not in self.topics:
            raise AwsError("NotFound", "Topic does not exist", 404)
        self.published.append(params)
        return {"MessageId": str(len(self.published))}

    def sns_TagResource(self, params: Params, caller: Caller) -> None: ...
    def sns_UntagResource(self, params: Params, caller: Caller) -> None: ...

    # Logs

    def logs_DescribeLogGroups(self, params: Params, caller: Caller) -> Params:
        return {"logGroups": [g for n, g in self.groups.items() if n.startswith(params["logGroupNamePrefix"])]}

    def logs_CreateLogGroup(self, params: Params, caller: Caller) -> None:
        name = params["logGroupName"]
        if name in self.groups:
            raise AwsError("ResourceAlreadyExistsException", "The specified log group already exists")
        arn = f"arn:aws:logs:{caller.region}:{caller.account}:log-group:{name}:*"
        self.groups[name] = {"logGroupName": name, "arn": arn}

    def logs_DescribeResourcePolicies(self, params: Params, caller: Caller) -> Params:
        return {"resourcePolicies": []}

    def logs_GetDataProtectionPolicy(self, params: Params, caller: Caller) -> Params:
        return {"logGroupIdentifier": params["logGroupIdentifier"]}

    def logs_DescribeIndexPolicies(self, params: Params, caller: Caller) -> Params:
        return {"indexPolicies": []}

    def logs_PutRetentionPolicy(self, params: Params, caller: Caller) -> None:
        self.groups[params["logGroupName"]]["retentionInDays"] = params["retentionInDays"]

    def logs_DeleteRetentionPolicy(self, params: Params, caller: Caller) -> None:
        self.groups[params["logGroupName"]].pop("retentionInDays", None)

    def logs_DeleteLogGroup(self, params: Params, caller: Caller) -> None:
        if self.groups.pop(params["logGroupName"], None) is None:
            raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")

    # ECR

    def ecr_DescribeRepositories(self, params: Params, caller: Caller) -> Params:
        name = params["repositoryNames"][0]
        if name not in self.repositories:
            raise AwsError("RepositoryNotFoundException", f"The repository with name '{name}' does not exist")
        return {"repositories": [self.repositories[name]]}

    def ecr_CreateRepository(self, params: Params, caller: Caller) -> Params:
        name = params["repositoryName"]
        if name in self.repositories:
            raise AwsError("RepositoryAlreadyExistsException", f"The repository with name '{name}' already exists")
        arn = f"arn:aws:ecr:{caller.region}:{caller.account}:repository/{name}"
        self.repositories[name] = {
            "repositoryName": name,
            "repositoryArn": arn,
            "images": [],
            "repositoryUri": f"{caller.account}.dkr.ecr.{caller.region}.amazonaws.com/{name}",
        }
        return {"repository": self.repositories[name]}

    def ecr_DeleteRepository(self, params: Params, caller: Caller) -> None:
        found = self.repositories.get(params["repositoryName"])
        if found is None:
            raise AwsError("RepositoryNotFoundException", "The repository does not exist")
        if found["images"] and not params.get("force"):
            raise AwsError(
                "RepositoryNotEmptyException", "The repository cannot be deleted because it still contains images"
            )
        del self.repositories[params["repositoryName"]]

    # ECS

    def ecs_DescribeClusters(self, params: Params, caller: Caller) -> Params:
        names = [each.rpartition("/")[2] for each in params["clusters"]]
        return {"clusters": [self.clusters[each] for each in names if each in self.clusters]}

    def ecs_CreateCluster(self, params: Params, caller: Caller) -> Params:
        name = params["clusterName"]
        arn = f"arn:aws:ecs:{caller.region}:{caller.account}:cluster/{name}"
        self.clusters[name] = {"clusterName": name, "clusterArn": arn, "status": "ACTIVE"}
        return {"cluster": self.clusters[name]}

    def ecs_DeleteCluster(self, params: Params, caller: Caller) -> None:
        self.clusters[params["cluster"]]["status"] = "INACTIVE"

    def ecs_RegisterTaskDefinition(self, params: Params, caller: Caller) -> Params:
        family = params["family"]
        revision = 1 + sum(each["family"] == family for each in self.definitions)
        arn = f"arn:aws:ecs:{caller.region}:{caller.account}:task-definition/{family}:{revision}"
        made = {"family": family, "revision": revision, "taskDefinitionArn": arn, "status": "ACTIVE"}
        self.definitions.append(
            made | {"containerDefinitions": params["containerDefinitions"], "tags": params.get("tags", [])}
        )
        return {"taskDefinition": self.definitions[-1]}

    def ecs_DescribeTaskDefinition(self, params: Params, caller: Caller) -> Params:
        wanted = params["taskDefinition"]
        for each in reversed(self.definitions):
            names = (each["family"], f"{each['family']}:{each['revision']}", each["taskDefinitionArn"])
            if wanted in names and each["status"] == "ACTIVE":
                return {"taskDefinition": each, "tags": each["tags"]}
        raise AwsError("ClientException", "Unable to describe task definition.")

    def ecs_DeregisterTaskDefinition(self, params: Params, caller: Caller) -> None:
        for each in self.definitions:
            if each["taskDefinitionArn"] == params["taskDefinition"]:
                each["status"] = "INACTIVE"

    def ecs_DescribeServices(self, params: Params, caller: Caller) -> Params:
        return {
            "services": [
                self._rolled(self.services[each.rpartition("/")[2]])
                for each in params["services"]
                if each.rpartition("/")[2] in self.services
            ]
        }

    def _rolled(self, service: Params) -> Params:
        """Let the newest deployment finish when its time has come; a bad image trips the breaker."""
        newest = service["deployments"][0]
        if newest["rolloutState"] == "IN_PROGRESS" and self.clock.now() >= newest["done"]:
            definition = next(d for d in self.definitions if d["taskDefinitionArn"] == newest["taskDefinition"])
            if definition["containerDefinitions"][0]["image"] in self.bad_images:
                newest["rolloutState"] = "FAILED"
                if len(service["deployments"]) > 1:
                    newest["status"] = "ACTIVE"
                    old = service["deployments"][1] | {"id": f"ecs-svc/{len(self.made)}", "status": "PRIMARY"}
                    service["deployments"] = [old | {"rolloutState": "COMPLETED"}, newest]
                    service["taskDefinition"] = old["taskDefinition"]
            else:
                newest["rolloutState"] = "COMPLETED"
                service["deployments"] = [newest]
        return service

    def _deploy(self, service: Params) -> None:
        deployment = {
            "id": f"ecs-svc/{len(self.made)}",
            "status": "PRIMARY",
            "taskDefinition": service["taskDefinition"],
            "rolloutState": "IN_PROGRESS",
            "done": self.clock.now() + self.rollout_seconds,
        }
        older = [each | {"status": "ACTIVE"} for each in service.get("deployments", [])]
        service["deployments"] = [deployment, *older]

    def ecs_CreateService(self, params: Params, caller: Caller) -> Params:
        name = params["serviceName"]
        if name in self.services and self.services[name]["status"] == "ACTIVE":
            raise AwsError("InvalidParameterException", "Creation of service was not idempotent.")
        cluster = params.get("cluster", "default").rpartition("/")[2]
        arn = f"arn:aws:ecs:{caller.region}:{caller.account}:service/{cluster}/{name}"
        service = {
            "serviceName": name,
            "serviceArn": arn,
            "status": "ACTIVE",
            "schedulingStrategy": "REPLICA",
            "taskDefinition": params["taskDefinition"],
            "desiredCount": params.get("desiredCount", 0),
        }
        self._deploy(service)
        self.services[name] = service
        return {"service": service}

    def ecs_UpdateService(self, params: Params, caller: Caller) -> Params:
        service = self.services[params["service"].rpartition("/")[2]]
        service["desiredCount"] = params.get("desiredCount", service["desiredCount"])
        wanted = params.get("taskDefinition", service["taskDefinition"])
        if wanted != service["taskDefinition"] or params.get("forceNewDeployment"):
            service["taskDefinition"] = wanted
            self._deploy(service)
        return {"service": service}

    def ecs_DeleteService(self, params: Params, caller: Caller) -> None:
        self.services[params["service"].rpartition("/")[2]]["status"] = "INACTIVE"

    def ecs_ListTagsForResource(self, params: Params, caller: Caller) -> Params:
        return {"tags": []}


def _forgotten(params: Params, caller: Caller) -> Params:
    return {"tags": [], "Tags": []}


class Killed(BaseException):
    """Not an Exception: nothing in the cloud may handle it."""


class MortalDatabase(Database):
    """Dies after a given number of commits, or as soon as the services have. In memory, with what an earlier one
    held as `image`, where there is no path."""

    def __init__(self, path: Path | None, fake: FakeServices, die_at: int, image: bytes = b"") -> None:
        super().__init__(path or ":memory:")
        if image:
            self._connection.deserialize(image)
        self.fake = fake
        self.left = die_at

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        if self.fake.dead:
            raise Killed
        with super().write() as tx:
            yield tx
        self.left -= 1
        if self.left == 0:
            self.fake.dead = True
            raise Killed

    def image(self) -> bytes:
        return self._connection.serialize()


async def _bury() -> None:
    """What a dead process leaves running here: cancelled, collected now, and not complained about."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)
    others = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
    for each in others:
        if each.get_name().startswith(("cloudformation", "Task-")) and each.get_coro().__qualname__ in _OURS:  # type: ignore[union-attr]
            each.cancel()
            await asyncio.gather(each, return_exceptions=True)
    gc.collect()


_OURS = frozenset(
    {"Beginnings.begin", "Steps.advance", "Undo.remove", "Undo._restore", "CleanUp._discard", "Loop._work"}
)


class World:
    """One cloud's CloudFormation over `FakeServices`. `async with World(...).running() as world`. Without a path
    its state is kept in memory from one `running` to the next."""

    def __init__(self, path: Path | None = None, *, seed: int = 1) -> None:
        self.path = path
        self.image = b""
        self.seed = seed
        self.clock = VirtualClock()
        self.fake = FakeServices(self.clock)
        self.api: CloudFormationApi
        self.database: MortalDatabase

    @asynccontextmanager
    async def running(self, die_at_commit: int = 0) -> AsyncIterator[World]:
        self.fake.dead = False
        self.fake.die_after = 0
        self.database = MortalDatabase(self.path, self.fake, die_at_commit, self.image)
        self._make()
        try:
            async with AsyncExitStack() as self._life:
                await self._life.enter_async_context(self.api)
                yield self
                await self._life.aclose()
        finally:
            if self.path is None:
                self.image = self.database.image()
            self.database.close()
            if self.fake.dead:
                await _bury()

    def _make(self) -> None:
        self.seed += 1
        self.api = CloudFormationApi(
            database=self.database, ids=Ids(self.seed), clock=self.clock, calls=self.fake, log=quiet_log()
        )
        self.operations = self.api.service().operations
        self.fake.own = self.operations.__getitem__

    def copy(self) -> World:
        """Another world with the same past, to go on in differently. Only without a path, and not while running."""
        other = World(seed=self.seed)
        other.image = self.image
        other.clock = VirtualClock(self.clock.now())
        other.fake.clock = other.clock
        for name, value in vars(self.fake).items():
            if name not in ("clock", "broken", "own") and not callable(value):
                setattr(other.fake, name, copy.deepcopy(value))
        other.fake.broken = dict(self.fake.broken)
        return other

    async def restart(self) -> None:
        """Another process over the same state."""
        await self._life.aclose()
        self._make()
        await self._life.enter_async_context(self.api)

    async def call(self, operation: str, **params: Any) -> Params:
        result: Any = self.operations[operation](CALLER, params)
        if hasattr(result, "__await__"):
            result = await result
        return result  # type: ignore[no-any-return]

    async def refused(self, operation: str, **params: Any) -> AwsError:
        try:
            await self.call(operation, **params)
        except AwsError as error:
            return error
        raise AssertionError(f"{operation} was not refused")

    async def stack(self, name: str) -> Params:
        return (await self.call("DescribeStacks", StackName=name))["Stacks"][0]  # type: ignore[no-any-return]

    def status(self, name: str) -> str:
        rows = self.database.read(
            "SELECT status FROM cfn_stack WHERE name = ? OR id = ? ORDER BY rowid DESC", (name, name)
        )
        return rows[0]["status"] if rows else ""

    async def settle(self, name: str, limit: float = 4 * 3600.0) -> str:
        """Let time pass until the stack's operation has ended; its status."""

        def at_rest() -> bool:
            if self.fake.dead:
                return True
            status = self.status(name)
            return not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS"

        await self.until(at_rest, limit)
        return self.status(name)

    async def until(self, reached: Callable[[], bool], limit: float = 3600.0) -> None:
        """As `VirtualClock.until`, but patient: a turn with many calls takes many steps without time passing."""
        end = self.clock.now() + limit
        idle = 0
        while not reached():
            due = self.clock._next()
            if due is not None and due <= end:
                idle = 0
                await self.clock._jump(due)
                continue
            idle += 1
            if idle > 50:
                raise AssertionError(f"not reached within {limit} virtual seconds")
            await self.clock.idle()

    async def at(self, name: str, status: str) -> None:
        """Let time pass until the stack has that status."""
        await self.until(lambda: self.status(name) == status)

    async def create(self, name: str, template: Any, **params: Any) -> str:
        await self.call("CreateStack", StackName=name, TemplateBody=body(template), **params)
        return await self.settle(name)

    async def update(self, name: str, template: Any, **params: Any) -> str:
        await self.call("UpdateStack", StackName=name, TemplateBody=body(template), **params)
        return await self.settle(name)

    async def delete(self, name: str, **params: Any) -> str:
        stack_id = (await self.stack(name))["StackId"]
        await self.call("DeleteStack", StackName=name, **params)
        return await self.settle(stack_id)

    async def events(self, name: str) -> list[tuple[str, str, str]]:
        """(logical id, status, reason), oldest first."""
        found = (await self.call("DescribeStackEvents", StackName=name))["StackEvents"]
        return [
            (each["LogicalResourceId"], each["ResourceStatus"], each["ResourceStatusReason"] or "")
            for each in reversed(found)
        ]

    async def resources(self, name: str) -> dict[str, tuple[str, str]]:
        found = (await self.call("DescribeStackResources", StackName=name))["StackResources"]
        return {each["LogicalResourceId"]: (each["ResourceStatus"], each["PhysicalResourceId"]) for each in found}


def body(template: Any) -> str:
    return template if isinstance(template, str) else json.dumps(template)


def parameter(value: Any, **more: Any) -> Params:
    """An SSM parameter, the simplest resource there is."""
    properties = {"Type": "String", "Value": value} | more.pop("Properties", {})
    return {"Type": "AWS::SSM::Parameter", "Properties": properties} | more

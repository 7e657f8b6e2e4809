"""Tasks: the operations on them.

RunTask places and writes tasks, StopTask tells one to stop; `task_loop.py` does both.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params, operation
from portside.cloud.services.ecs import (
    blueprints,
    capacity,
    definitions,
    errors,
    fargate,
    launching,
    names,
    networks,
    offered,
    placement,
    store,
    tasks_made,
    views,
)
from portside.cloud.services.ecs.board import Board
from portside.cloud.services.ecs.clusters import active_cluster
from portside.cloud.services.ecs.fargate import Room
from portside.cloud.services.ecs.pages import page
from portside.cloud.services.ecs.placement import NoRoom
from portside.cloud.services.ecs.placer import Launch, Placer
from portside.cloud.services.ecs.records import Definition, StopCode, Task, TaskStatus
from portside.cloud.services.ecs.task_loop import SHOWN_SECONDS, halted
from portside.cloud.services.ecs.wakes import Wakes

MOST_TASKS = 10
DESCRIBE_LIMIT = 100
STOPPED_BY_USER = "Task stopped by user"


class TaskApi:
    def __init__(self, database: Database, ids: Ids, clock: Clock, wakes: Wakes, calls: Calls, room: Room) -> None:
        self._calls = calls
        self._room = room
        self._database = database
        self._ids = ids
        self._clock = clock
        self._wakes = wakes

    @operation("RunTask")
    async def run_task(self, caller: Caller, params: Params) -> Params:
        offered.check_call(params)
        count = params.get("count", 1)
        if not 1 <= count <= MOST_TASKS:
            raise errors.invalid(f"Tasks cannot be started in a number other than 1 to {MOST_TASKS}.")
        wrong = placement.check_constraints(
            params.get("placementConstraints") or [], params.get("placementStrategy") or []
        )
        if wrong:
            raise errors.invalid(wrong)
        token = _token(params)
        await launching.know_subnets(self._database, self._calls, caller, params)
        if params.get("networkConfiguration"):
            await self._room.refresh()
        with self._database.write() as tx:
            cluster = active_cluster(tx, caller, params.get("cluster"))
            repeated = self._repeated(tx, caller, cluster.name, token)
            if repeated:
                return {"tasks": [views.task(tx, each, ("TAGS",)) for each in repeated], "failures": []}
            definition = definitions.usable(tx, caller, params["taskDefinition"])
            offered.check_definition(definition.spec)
            networks.check(params, definition.spec)
            launch = launching.resolve(cluster, params, definition.spec)
            on_fargate = fargate.uses_fargate(launch)
            overrides = _overrides(params, definition)
            nowhere = not store.instances_of(tx, caller.region, cluster.name)
            if nowhere and not launch.get("capacityProviderStrategy") and not on_fargate:
                raise errors.invalid("No Container Instances were found in your cluster.")
            group = params.get("group") or f"family:{definition.family}"
            plan = blueprints.read(definition.spec, overrides)
            demand = tasks_made.demand(definition, plan, group, params, placement.DEFAULT_TASK_STRATEGY)
            placer = Placer(tx, self._ids, caller.region, cluster.name, self._room)
            counts: Counter[str] = Counter()
            kept = {key: params[key] for key in ("placementConstraints", "placementStrategy") if params.get(key)}
            if overrides:
                kept["overrides"] = overrides
            made: list[Task] = []
            failures: list[Params] = []
            for _ in range(count):
                choice = placer.place(demand, Launch.of(launch), counts)
                if isinstance(choice, NoRoom):
                    detail = {"detail": choice.said} if choice.said else {}
                    failures += [
                        {"arn": arn or None, "reason": str(why)} | detail for arn, why in choice.obstacles
                    ]
                    if not choice.obstacles:
                        raise errors.invalid("No Container Instances were found in your cluster.")
                    break
                task = tasks_made.make(
                    tx,
                    self._ids,
                    definition=definition,
                    cluster=cluster.name,
                    spot=choice,
                    group=group,
                    now=self._clock.now(),
                    started_by=params.get("startedBy") or "",
                    token=token,
                    network=networks.asked(params),
                    spec=kept,
                    tags=self._tags(tx, definition, params),
                )
                made.append(task)
                arn = task.arn
                tx.after_commit(lambda arn=arn: self._wakes.task(arn))  # type: ignore[misc]
            tx.after_commit(lambda: self._wakes.providers(caller.region))
            shown = [views.task(tx, each, ("TAGS",)) for each in made]
        return {"tasks": shown, "failures": failures}

    @operation("StartTask")
    async def start_task(self, caller: Caller, params: Params) -> Params:
        """Tasks on the very instances that are named: no strategy, but nothing that does not fit either."""
        offered.check_call(params)
        asked = params["containerInstances"]
        if not 1 <= len(asked) <= MOST_TASKS:
            raise errors.invalid(f"1 to {MOST_TASKS} container instances can be named.")
        await launching.know_subnets(self._database, self._calls, caller, params)
        with self._database.write() as tx:
            cluster = active_cluster(tx, caller, params.get("cluster"))
            definition = definitions.usable(tx, caller, params["taskDefinition"])
            offered.check_definition(definition.spec)
            networks.check(params, definition.spec)
            overrides = _overrides(params, definition)
            group = params.get("group") or f"family:{definition.family}"
            plan = blueprints.read(definition.spec, overrides)
            demand = tasks_made.demand(definition, plan, group, {}, placement.DEFAULT_TASK_STRATEGY)
            board = Board(capacity.candidates(tx, self._ids, caller.region, cluster.name))
            made: list[Task] = []
            failures: list[Params] = []
            for reference in asked:
                instance = names.instance_arn(caller, cluster.name, reference)
                reason = self._unfit(board, instance, demand)
                if reason:
                    failures.append({"arn": instance, "reason": reason})
                    continue
                board.take(instance, demand)
                task = tasks_made.make(
                    tx,
                    self._ids,
                    definition=definition,
                    cluster=cluster.name,
                    instance=instance,
                    group=group,
                    now=self._clock.now(),
                    started_by=params.get("startedBy") or "",
                    network=networks.asked(params),
                    spec={"overrides": overrides} if overrides else {},
                    tags=self._tags(tx, definition, params),
                )
                made.append(task)
                arn = task.arn
                tx.after_commit(lambda arn=arn: self._wakes.task(arn))  # type: ignore[misc]
            shown = [views.task(tx, each, ("TAGS",)) for each in made]
        return {"tasks": shown, "failures": failures}

    def _unfit(self, board: Board, instance: str, demand: placement.Demand) -> str:
        """Why the task cannot be started there, empty if it can."""
        found = board.instances.get(instance)
        if found is None:
            return "MISSING"
        if not found.accepting:
            return "INACTIVE"
        return str(placement.obstacle(demand, found) or "")

    def _repeated(self, reader: store.Reader, caller: Caller, cluster: str, token: str) -> list[Task]:
        """The tasks that the same call has made before; ConflictException if it was another one."""
        if not token:
            return []
        name = token.rpartition(" ")[0]
        found = store.tasks.where(
            reader, "region = ? AND cluster = ? AND token LIKE ?", caller.region, cluster, f"{name} %"
        )
        if any(each.token != token for each in found):
            raise AwsError(
                "ConflictException",
                "The client token was used before in a call with other parameters.",
                extra={"resourceIds": [each.arn for each in found]},
            )
        return found

    def _tags(self, reader: store.Reader, definition: Definition, params: Params) -> list[Params]:
        tags = {}
        if params.get("propagateTags") == "TASK_DEFINITION":
            tags = {tag["key"]: tag["value"] for tag in store.tags_of(reader, definition.arn)}
        tags |= {tag["key"]: tag.get("value", "") for tag in params.get("tags") or []}
        return [{"key": key, "value": value} for key, value in tags.items()]

    @operation("StopTask")
    def stop_task(self, caller: Caller, params: Params) -> Params:
        with self._database.write() as tx:
            cluster = active_cluster(tx, caller, params.get("cluster"))
            arn = names.task_arn(caller, cluster.name, params["task"])
            task = store.tasks.get(tx, arn)
            if task is None:
                raise errors.invalid("The referenced task was not found.")
            if task.status is not TaskStatus.STOPPED:
                task = halted(task, StopCode.USER, params.get("reason") or STOPPED_BY_USER, self._clock.now())
                store.tasks.save(tx, task)
                tx.after_commit(lambda: self._wakes.task(arn))
                if task.service:
                    service = task.service
                    tx.after_commit(lambda: self._wakes.service(service))
            return {"task": views.task(tx, task)}

    @operation("DescribeTasks")
    def describe_tasks(self, caller: Caller, params: Params) -> Params:
        cluster = active_cluster(self._database, caller, params.get("cluster"))
        asked = params["tasks"]
        if not asked:
            raise errors.invalid("Tasks cannot be empty.")
        if len(asked) > DESCRIBE_LIMIT:
            raise errors.invalid(f"Tasks cannot have more than {DESCRIBE_LIMIT} items.")
        found, failures = [], []
        for reference in asked:
            arn = names.task_arn(caller, cluster.name, reference)
            task = store.tasks.get(self._database, arn)
            if task is None or _forgotten(task, self._clock.now()):
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(views.task(self._database, task, params.get("include") or ()))
        return {"tasks": found, "failures": failures}

    @operation("ListTasks")
    def list_tasks(self, caller: Caller, params: Params) -> Params:
        cluster = active_cluster(self._database, caller, params.get("cluster"))
        status = params.get("desiredStatus") or TaskStatus.RUNNING
        now = self._clock.now()
        service = None
        if params.get("serviceName"):
            service = names.service_arn(caller, cluster.name, params["serviceName"])
            if store.services.get(self._database, service) is None:
                raise errors.service_not_found()
        instance = params.get("containerInstance")
        instance = names.instance_arn(caller, cluster.name, instance) if instance else None
        family, started_by = params.get("family"), params.get("startedBy")
        found = [
            task.arn
            for task in store.tasks.where(
                self._database,
                "region = ? AND cluster = ? AND desired = ? ORDER BY created_at, arn",
                caller.region,
                cluster.name,
                status,
            )
            if not _forgotten(task, now)
            and service in (None, task.service)
            and instance in (None, task.instance)
            and family in (None, names.family_and_revision(task.definition)[0])
            and started_by in (None, task.started_by)
            and params.get("launchType") in (None, task.launch_type)
        ]
        shown, next_token = page(found, params)
        return {"taskArns": shown, "nextToken": next_token}


def _forgotten(task: Task, now: float) -> bool:
    return task.stopped_at is not None and now - task.stopped_at > SHOWN_SECONDS


def _token(params: Params) -> str:
    """The client's token with a digest of what was asked under it."""
    token = params.get("clientToken")
    if not token:
        return ""
    asked = {key: value for key, value in params.items() if key != "clientToken"}
    return f"{token} {hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()}"


def _overrides(params: Params, definition: Definition) -> Params:
    overrides: Params = dict(params.get("overrides") or {})
    known = {each["name"] for each in definition.spec["containerDefinitions"]}
    for each in overrides.get("containerOverrides") or []:
        if each.get("name") not in known:
            raise errors.invalid(
                f"Override for container named {each.get('name')} is not a container in the TaskDefinition."
            )
        for feature in ("resourceRequirements",):
            if each.get(feature):
                raise errors.client(f"The local cloud does not offer '{feature}' in overrides.")
    for feature in ("inferenceAcceleratorOverrides", "ephemeralStorage"):
        if overrides.get(feature):
            raise errors.client(f"The local cloud does not offer '{feature}' in overrides.")
    return overrides

"""A task's targets in its load balancers' target groups.

The calls only, on behalf of `task_loop.py`, which knows when. A target is the task's own address and the
container's port in awsvpc mode, else its EC2 instance and the host port that the container has there.
"""

from __future__ import annotations

from collections.abc import Mapping

from portside.cloud.kernel.database import Database
from portside.cloud.kernel.log import Log
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Calls, Params
from portside.cloud.services.ecs import store
from portside.cloud.services.ecs.names import service_role_caller
from portside.cloud.services.ecs.records import Container, ContainerStatus, Task, TaskStatus

Records = Mapping[str, Container]


class Targets:
    """`records` are the task's containers by name."""

    def __init__(self, database: Database, calls: Calls, log: Log) -> None:
        self._database = database
        self._calls = calls
        self._log = log

    async def register(self, task: Task, group: str, records: Records) -> str:
        """Returns why it could not be done, empty when it was."""
        target = self._target(task, group, records)
        if target is None:
            return "the container publishes no such port"
        try:
            await self._ask("RegisterTargets", task, group, target)
        except AwsError as error:
            return f"{error.code}: {error.message}"
        return ""

    async def deregister(self, task: Task, groups: tuple[str, ...], records: Records) -> None:
        for group in groups:
            target = self._target(task, group, records)
            if target is None or self._taken_over(task, target["Port"]):
                continue
            try:
                await self._ask("DeregisterTargets", task, group, target)
            except AwsError as error:
                if error.status >= 500:
                    raise
                self._log.info("target was gone already", task=task.arn, group=group, reason=error.message)

    async def take_back(self, task: Task) -> None:
        """Deregister whatever its status; for the end of the whole cloud."""
        records = {each.name: each for each in store.containers_of(self._database, task.arn)}
        try:
            await self.deregister(task, tuple(each["targetGroupArn"] for each in task.balancers), records)
        except Exception as error:
            # Whatever the load balancers say while everything ends: the containers must go.
            self._log.warning("targets stay registered", task=task.arn, error=repr(error))

    async def draining(self, task: Task, groups: tuple[str, ...], records: Records) -> bool:
        """Is one of the targets still draining?"""
        for group in groups:
            target = self._target(task, group, records)
            if target is None:
                continue
            try:
                answer = await self._ask("DescribeTargetHealth", task, group, target)
            except AwsError as error:
                if error.status >= 500:
                    raise
                continue
            for each in answer.get("TargetHealthDescriptions") or []:
                if (each.get("TargetHealth") or {}).get("State") == "draining":
                    return True
        return False

    async def _ask(self, operation: str, task: Task, group: str, target: Params) -> Params:
        params: Params = {"TargetGroupArn": group, "Targets": [target]}
        return await self._calls("elbv2", operation, params, service_role_caller(task.arn))

    def _target(self, task: Task, group: str, records: Records) -> Params | None:
        return target_of(self._database, task, group, records)

    def _taken_over(self, task: Task, port: object) -> bool:
        """Has the engine given the port to another task, after this one's container had ended?"""
        if not task.instance or task.network.get("address"):
            return False
        for other in store.live_tasks_of_instance(self._database, task.instance):
            if other.arn != task.arn and other.desired is not TaskStatus.STOPPED:
                for container in store.containers_of(self._database, other.arn):
                    running = container.status is ContainerStatus.RUNNING
                    if running and any(binding["hostPort"] == port for binding in container.bindings):
                        return True
        return False


def target_of(reader: store.Reader, task: Task, group: str, records: Records) -> Params | None:
    """The task as a target of this group; None as long as the container has no such port."""
    instance = store.instances.get(reader, task.instance)
    for balancer in task.balancers:
        if balancer["targetGroupArn"] != group:
            continue
        if task.network.get("address"):
            return {"Id": task.network["address"], "Port": balancer["containerPort"]}
        if instance is None:
            return None
        for binding in records[balancer["containerName"]].bindings:
            if binding["containerPort"] == balancer["containerPort"]:
                return {"Id": instance.ec2_id, "Port": binding["hostPort"]}
    return None

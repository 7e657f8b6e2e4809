"""What a cluster has to place tasks on: its instances with what is free on them now.

Reads records, decides nothing. Used by the API (RunTask, what DescribeContainerInstances shows) and by the
service loop; the choice is made in `placement.py`.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from portside.cloud.kernel.ids import Ids
from portside.cloud.services.ecs import store
from portside.cloud.services.ecs.placement import Candidate
from portside.cloud.services.ecs.records import Instance, InstanceStatus, Task, TaskStatus

RESERVED_PORTS = ("22", "2375", "2376", "51678", "51679", "51680")
# The operating system and the agent keep a part of an instance's memory, as on AWS: what registers is about
# five per cent less than the instance type's size.
REGISTERED_SHARE = 0.95
UNITS_PER_CPU = 1024
AGENT_VERSION = "1.86.0"


RUNNING = (TaskStatus.RUNNING, TaskStatus.DEACTIVATING)
PENDING = (TaskStatus.PROVISIONING, TaskStatus.PENDING, TaskStatus.ACTIVATING)


def moment(at: float) -> str:
    """As the cluster query language has it: 2026-01-01T00:00:00Z."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def registered_memory(size: int) -> int:
    """MiB that an instance of `size` MiB offers to tasks."""
    return int(size * REGISTERED_SHARE)


def free(instance: Instance, tasks: list[Task]) -> tuple[int, int]:
    """CPU units and MiB that no task on the instance has reserved."""
    return (
        instance.cpu - sum(task.cpu for task in tasks),
        instance.memory - sum(task.memory for task in tasks),
    )


def candidates(reader: store.Reader, ids: Ids, region: str, cluster: str) -> list[Candidate]:
    """Every registered instance, as placement sees it."""
    by_instance: dict[str, list[Task]] = {}
    for task in store.live_tasks_of_cluster(reader, region, cluster):
        by_instance.setdefault(task.instance, []).append(task)
    found = []
    for instance in store.instances_of(reader, region, cluster):
        tasks = by_instance.get(instance.arn, [])
        cpu, memory = free(instance, tasks)
        found.append(
            Candidate(
                arn=instance.arn,
                ec2_id=instance.ec2_id,
                connected=instance.connected,
                accepting=instance.status is InstanceStatus.ACTIVE,
                free_cpu=cpu,
                free_memory=memory,
                ports=frozenset(port for task in tasks for port in task.ports)
                | {f"{port}/tcp" for port in RESERVED_PORTS},
                attributes=instance.attributes,
                groups=Counter(task.group_name for task in tasks),
                key=ids.shuffle_key(),
                fleet=instance.group_name,
                facts={
                    "agentVersion": AGENT_VERSION,
                    "registeredAt": moment(instance.registered_at),
                    "runningTasksCount": str(sum(1 for task in tasks if task.status in RUNNING)),
                    "pendingTasksCount": str(sum(1 for task in tasks if task.status in PENDING)),
                },
            )
        )
    return found

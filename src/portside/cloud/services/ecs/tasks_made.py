"""New tasks: a record with its containers, written before anything is started.

Owns how a task is put together from its definition, where it was placed and who wanted it. Used by RunTask and by
the service loop; `task_loop.py` takes it from there.
"""

from __future__ import annotations

from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.calls import Params
from portside.cloud.services.ecs import blueprints, lifecycle, store
from portside.cloud.services.ecs.blueprints import TaskBlueprint
from portside.cloud.services.ecs.names import sibling
from portside.cloud.services.ecs.placement import Demand
from portside.cloud.services.ecs.placer import Spot
from portside.cloud.services.ecs.records import (
    Container,
    ContainerStatus,
    Definition,
    Task,
    TaskStatus,
)

_ARCHITECTURES = {"X86_64": "x86_64", "ARM64": "arm64"}


def demand(
    definition: Definition, plan: TaskBlueprint, group: str, placement: Params, default: list[Params]
) -> Demand:
    """What a task of `definition` needs; `placement` has the call's constraints and strategy."""
    constraints = [*(placement.get("placementConstraints") or []), *(definition.spec["placementConstraints"])]
    return Demand(
        cpu=plan.cpu,
        memory=plan.memory,
        ports=frozenset(plan.host_ports),
        group=group,
        constraints=tuple(constraints),
        strategy=tuple(placement.get("placementStrategy") or default),
        architecture=_ARCHITECTURES.get(
            str((definition.spec.get("runtimePlatform") or {}).get("cpuArchitecture")), ""
        ),
        gpus=sum(
            int(each.get("value") or 0)
            for container in definition.spec["containerDefinitions"]
            for each in container.get("resourceRequirements") or []
            if each.get("type") == "GPU"
        ),
    )


def make(
    tx: Transaction,
    ids: Ids,
    *,
    definition: Definition,
    cluster: str,
    instance: str = "",
    group: str,
    now: float,
    service: str = "",
    deployment: str = "",
    started_by: str = "",
    token: str = "",
    balancers: list[Params] | None = None,
    network: Params | None = None,
    spec: Params | None = None,
    tags: list[Params] | None = None,
    spot: Spot | None = None,
) -> Task:
    """Write a task with its containers: in PENDING, or in PROVISIONING if it gets a network of its own first or
    waits for an instance. `spot` is where it was placed."""
    where = spot or Spot(instance)
    wanted = spec or {}
    plan = blueprints.read(definition.spec, wanted.get("overrides"))
    task_id = ids.hex(32)
    task = Task(
        arn=sibling(definition.arn, "task", f"{cluster}/{task_id}"),
        region=definition.region,
        cluster=cluster,
        instance=where.arn,
        definition=definition.arn,
        status=TaskStatus.PROVISIONING if lifecycle.needs(plan) else where.status,
        desired=TaskStatus.RUNNING,
        group_name=group,
        created_at=now,
        service=service,
        deployment=deployment,
        started_by=started_by,
        token=token,
        cpu=plan.cpu,
        memory=plan.memory,
        launch_type=where.launch_type,
        provider=where.provider,
        zone=where.zone,
        ports=plan.host_ports if where.launch_type == "EC2" else [],
        balancers=balancers or [],
        network=(network or {}) | where.network,
        spec=wanted | {key: definition.spec[key] for key in ("cpu", "memory") if definition.spec.get(key)},
    )
    store.tasks.save(tx, task)
    for position, each in enumerate(plan.containers):
        stream = ""
        if each.logs is not None:
            # Without a prefix the stream is named after the container, whose id is not known yet.
            stream = each.logs.stream(each.name, task_id) if each.logs.prefix else ""
        store.containers.save(
            tx,
            Container(
                arn=sibling(definition.arn, "container", f"{cluster}/{task_id}/{ids.uuid()}"),
                task=task.arn,
                name=each.name,
                position=position,
                status=ContainerStatus.PENDING,
                image=each.image,
                logged=each.logs is None,
                log_stream=stream,
            ),
        )
    store.set_tags(tx, task.arn, [{"key": t["key"], "value": t.get("value", "")} for t in tags or []])
    return task

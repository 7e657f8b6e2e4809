"""What ECS keeps: clusters, task definitions, container instances, services, deployments, tasks, containers.

Owns the record types, the transition tables of their lifecycles and the tables' migrations. `store.py` holds
the SQL. A `spec` is what the user asked for, in the API's names, and is never altered; everything else is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from portside.cloud.services.calls import Params


class ClusterStatus(StrEnum):
    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


class DefinitionStatus(StrEnum):
    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"


class InstanceStatus(StrEnum):
    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    INACTIVE = "INACTIVE"


class ServiceStatus(StrEnum):
    ACTIVE = "ACTIVE"
    DRAINING = "DRAINING"
    INACTIVE = "INACTIVE"


class DeploymentStatus(StrEnum):
    PRIMARY = "PRIMARY"
    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


class Rollout(StrEnum):
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class TaskStatus(StrEnum):
    PROVISIONING = "PROVISIONING"
    PENDING = "PENDING"
    ACTIVATING = "ACTIVATING"
    RUNNING = "RUNNING"
    DEACTIVATING = "DEACTIVATING"
    STOPPING = "STOPPING"
    DEPROVISIONING = "DEPROVISIONING"
    STOPPED = "STOPPED"


class ContainerStatus(StrEnum):
    PENDING = "PENDING"
    CREATED = "CREATED"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"


class HealthStatus(StrEnum):
    UNKNOWN = "UNKNOWN"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"


class StopCode(StrEnum):
    FAILED_TO_START = "TaskFailedToStart"
    ESSENTIAL_EXITED = "EssentialContainerExited"
    USER = "UserInitiated"
    SCHEDULER = "ServiceSchedulerInitiated"
    TERMINATION = "TerminationNotice"


_T = TaskStatus
# Who moves a task from one status to another. Tasks never go back; they are replaced.
TASK_TRANSITIONS: Mapping[tuple[TaskStatus, TaskStatus], str] = {
    (_T.PROVISIONING, _T.PENDING): "task_loop",
    (_T.PENDING, _T.RUNNING): "task_loop",
    (_T.PENDING, _T.STOPPING): "task_loop",
    (_T.RUNNING, _T.DEACTIVATING): "task_loop",
    (_T.RUNNING, _T.STOPPING): "task_loop",
    (_T.DEACTIVATING, _T.STOPPING): "task_loop",
    (_T.STOPPING, _T.DEPROVISIONING): "task_loop",
    (_T.DEPROVISIONING, _T.STOPPED): "task_loop",
}

SERVICE_TRANSITIONS: Mapping[tuple[ServiceStatus, ServiceStatus], str] = {
    (ServiceStatus.ACTIVE, ServiceStatus.DRAINING): "api",
    (ServiceStatus.DRAINING, ServiceStatus.INACTIVE): "service_loop",
}

DEPLOYMENT_TRANSITIONS: Mapping[tuple[DeploymentStatus, DeploymentStatus], str] = {
    (DeploymentStatus.PRIMARY, DeploymentStatus.ACTIVE): "api, service_loop",
    (DeploymentStatus.ACTIVE, DeploymentStatus.INACTIVE): "service_loop",
    (DeploymentStatus.PRIMARY, DeploymentStatus.INACTIVE): "service_loop",
}

INSTANCE_TRANSITIONS: Mapping[tuple[InstanceStatus, InstanceStatus], str] = {
    (InstanceStatus.ACTIVE, InstanceStatus.DRAINING): "api",
    (InstanceStatus.DRAINING, InstanceStatus.ACTIVE): "api",
    (InstanceStatus.ACTIVE, InstanceStatus.INACTIVE): "api, capacity_loop",
    (InstanceStatus.DRAINING, InstanceStatus.INACTIVE): "api, capacity_loop",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    arn: str
    region: str
    name: str
    status: ClusterStatus
    created_at: float
    spec: Params = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Definition:
    """A revision of a task definition."""

    arn: str
    region: str
    family: str
    revision: int
    status: DefinitionStatus
    registered_at: float
    registered_by: str
    deregistered_at: float | None = None
    spec: Params = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Instance:
    """A container instance: a slice of this machine's capacity, as large as its EC2 instance type."""

    arn: str
    region: str
    cluster: str
    ec2_id: str
    status: InstanceStatus
    connected: bool
    cpu: int
    memory: int
    instance_type: str
    zone: str
    group_name: str
    registered_at: float
    version: int = 1
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Service:
    arn: str
    region: str
    cluster: str
    name: str
    status: ServiceStatus
    desired: int
    definition: str
    created_at: float
    created_by: str
    steady_at: float | None = None
    spec: Params = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deployment:
    """One revision of a service on its way in or out. `images` pins container names to image references by
    digest; `failed` counts failures in a row, `throttled_until` is when the next start may be tried. `previous` is
    the one that it takes over from, `rollback_of` the failed one that it was made to undo."""

    id: str
    service: str
    status: DeploymentStatus
    definition: str
    desired: int
    rollout: Rollout
    reason: str
    created_at: float
    updated_at: float
    public_id: str
    failed: int = 0
    impaired: int = 0
    throttled_until: float = 0.0
    rollback_of: str = ""
    previous: str = ""
    finished_at: float | None = None
    images: dict[str, str] = field(default_factory=dict)
    spec: Params = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """`registered` are the target groups that hold this task; `kill` means that its host is gone, so nothing
    is waited for. `accounted`: its end has been counted by its service. `instance` is empty on Fargate; `provider`
    is the capacity provider, if one was asked for. `protected_until`: scaling in leaves it alone until then.
    `network` is what an awsvpc task has of its own (`subnet`, `address`, ...); `discovered` are the service
    registries that hold it."""

    arn: str
    region: str
    cluster: str
    instance: str
    definition: str
    status: TaskStatus
    desired: TaskStatus
    group_name: str
    created_at: float
    service: str = ""
    deployment: str = ""
    started_by: str = ""
    token: str = ""
    cpu: int = 0
    memory: int = 0
    health: HealthStatus = HealthStatus.UNKNOWN
    stop_code: str = ""
    stop_reason: str = ""
    pull_started_at: float | None = None
    pull_stopped_at: float | None = None
    started_at: float | None = None
    stopping_at: float | None = None
    execution_stopped_at: float | None = None
    stopped_at: float | None = None
    was_healthy: bool = False
    kill: bool = False
    accounted: bool = False
    waiting_for: str = ""
    version: int = 1
    launch_type: str = "EC2"
    provider: str = ""
    zone: str = ""
    protected_until: float | None = None
    network: Params = field(default_factory=dict)
    discovered: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    balancers: list[Params] = field(default_factory=list)
    registered: list[str] = field(default_factory=list)
    spec: Params = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a task. `logged`: all of its output is in CloudWatch Logs, or none has to be."""

    arn: str
    task: str
    name: str
    position: int
    status: ContainerStatus
    image: str
    engine_id: str = ""
    digest: str = ""
    exit_code: int | None = None
    reason: str = ""
    health: HealthStatus = HealthStatus.UNKNOWN
    started_at: float | None = None
    stopped_at: float | None = None
    logged: bool = False
    log_stream: str = ""
    bindings: list[Params] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    service: str
    at: float
    message: str


MIGRATIONS = (
    """
    CREATE TABLE ecs_cluster (
        arn TEXT PRIMARY KEY, region TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL,
        created_at REAL NOT NULL, spec TEXT NOT NULL
    );
    CREATE TABLE ecs_family (
        region TEXT NOT NULL, family TEXT NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (region, family)
    );
    CREATE TABLE ecs_definition (
        arn TEXT PRIMARY KEY, region TEXT NOT NULL, family TEXT NOT NULL, revision INTEGER NOT NULL,
        status TEXT NOT NULL, registered_at REAL NOT NULL, registered_by TEXT NOT NULL, deregistered_at REAL,
        spec TEXT NOT NULL
    );
    CREATE INDEX ecs_definition_family ON ecs_definition (region, family, revision);
    CREATE TABLE ecs_instance (
        arn TEXT PRIMARY KEY, region TEXT NOT NULL, cluster TEXT NOT NULL, ec2_id TEXT NOT NULL,
        status TEXT NOT NULL, connected INTEGER NOT NULL, cpu INTEGER NOT NULL, memory INTEGER NOT NULL,
        instance_type TEXT NOT NULL, zone TEXT NOT NULL, group_name TEXT NOT NULL, registered_at REAL NOT NULL,
        version INTEGER NOT NULL, attributes TEXT NOT NULL
    );
    CREATE INDEX ecs_instance_cluster ON ecs_instance (region, cluster);
    CREATE TABLE ecs_service (
        arn TEXT PRIMARY KEY, region TEXT NOT NULL, cluster TEXT NOT NULL, name TEXT NOT NULL,
        status TEXT NOT NULL, desired INTEGER NOT NULL, definition TEXT NOT NULL, created_at REAL NOT NULL,
        created_by TEXT NOT NULL, steady_at REAL, spec TEXT NOT NULL
    );
    CREATE INDEX ecs_service_cluster ON ecs_service (region, cluster);
    CREATE TABLE ecs_deployment (
        id TEXT PRIMARY KEY, service TEXT NOT NULL, status TEXT NOT NULL, definition TEXT NOT NULL,
        desired INTEGER NOT NULL, rollout TEXT NOT NULL, reason TEXT NOT NULL, created_at REAL NOT NULL,
        updated_at REAL NOT NULL, public_id TEXT NOT NULL, failed INTEGER NOT NULL, impaired INTEGER NOT NULL,
        throttled_until REAL NOT NULL, rollback_of TEXT NOT NULL, previous TEXT NOT NULL,
        finished_at REAL,
        images TEXT NOT NULL, spec TEXT NOT NULL
    );
    CREATE INDEX ecs_deployment_service ON ecs_deployment (service, created_at);
    CREATE TABLE ecs_task (
        arn TEXT PRIMARY KEY, region TEXT NOT NULL, cluster TEXT NOT NULL, instance TEXT NOT NULL,
        definition TEXT NOT NULL, status TEXT NOT NULL, desired TEXT NOT NULL, group_name TEXT NOT NULL,
        created_at REAL NOT NULL, service TEXT NOT NULL, deployment TEXT NOT NULL, started_by TEXT NOT NULL,
        token TEXT NOT NULL, cpu INTEGER NOT NULL, memory INTEGER NOT NULL, health TEXT NOT NULL,
        stop_code TEXT NOT NULL, stop_reason TEXT NOT NULL, pull_started_at REAL, pull_stopped_at REAL,
        started_at REAL, stopping_at REAL, execution_stopped_at REAL, stopped_at REAL,
        was_healthy INTEGER NOT NULL, kill INTEGER NOT NULL, accounted INTEGER NOT NULL,
        waiting_for TEXT NOT NULL, version INTEGER NOT NULL,
        ports TEXT NOT NULL, balancers TEXT NOT NULL, registered TEXT NOT NULL, spec TEXT NOT NULL
    );
    CREATE INDEX ecs_task_cluster ON ecs_task (region, cluster, status);
    CREATE INDEX ecs_task_service ON ecs_task (service, status);
    CREATE INDEX ecs_task_instance ON ecs_task (instance, status);
    CREATE INDEX ecs_task_stopped ON ecs_task (stopped_at);
    CREATE TABLE ecs_container (
        arn TEXT PRIMARY KEY, task TEXT NOT NULL, name TEXT NOT NULL, position INTEGER NOT NULL,
        status TEXT NOT NULL, image TEXT NOT NULL, engine_id TEXT NOT NULL, digest TEXT NOT NULL,
        exit_code INTEGER, reason TEXT NOT NULL, health TEXT NOT NULL, started_at REAL, stopped_at REAL,
        logged INTEGER NOT NULL, log_stream TEXT NOT NULL, bindings TEXT NOT NULL
    );
    CREATE UNIQUE INDEX ecs_container_task ON ecs_container (task, name);
    CREATE TABLE ecs_event (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, service TEXT NOT NULL, at REAL NOT NULL,
        message TEXT NOT NULL
    );
    CREATE INDEX ecs_event_service ON ecs_event (service, number);
    CREATE TABLE ecs_tag (arn TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (arn, key));
    """,
    """
    ALTER TABLE ecs_task ADD COLUMN launch_type TEXT NOT NULL DEFAULT 'EC2';
    ALTER TABLE ecs_task ADD COLUMN provider TEXT NOT NULL DEFAULT '';
    ALTER TABLE ecs_task ADD COLUMN zone TEXT NOT NULL DEFAULT '';
    ALTER TABLE ecs_task ADD COLUMN protected_until REAL;
    ALTER TABLE ecs_task ADD COLUMN network TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE ecs_task ADD COLUMN discovered TEXT NOT NULL DEFAULT '[]';
    """,
)

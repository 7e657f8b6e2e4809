"""A task definition's containers in typed form, with any overrides applied.

Pure. Reads a definition's `spec` once and gives the loops plain values; what AWS accepts is checked in
`validate.py`, what the local cloud can run in `offered.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from portside.cloud.services.calls import Params

DEFAULT_STOP_TIMEOUT = 30


@dataclass(frozen=True, slots=True)
class Dependency:
    container: str
    condition: str


@dataclass(frozen=True, slots=True)
class Port:
    container_port: int
    host_port: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Check:
    command: tuple[str, ...]
    interval: int = 30
    timeout: int = 5
    retries: int = 3
    start_period: int = 0


@dataclass(frozen=True, slots=True)
class AwsLogs:
    group: str
    region: str
    prefix: str
    create_group: bool

    def stream(self, container: str, task_id: str) -> str:
        return f"{self.prefix}/{container}/{task_id}"


@dataclass(frozen=True, slots=True)
class ContainerBlueprint:
    """One container as it is to run. Memory in MiB, CPU in units of 1/1024 vCPU."""

    name: str
    image: str
    essential: bool = True
    cpu: int = 0
    memory: int | None = None
    memory_reservation: int | None = None
    command: tuple[str, ...] | None = None
    entry_point: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    depends_on: tuple[Dependency, ...] = ()
    start_timeout: int | None = None
    stop_timeout: int = DEFAULT_STOP_TIMEOUT
    working_directory: str | None = None
    user: str | None = None
    hostname: str | None = None
    read_only: bool = False
    init: bool = False
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    ulimits: tuple[tuple[str, int, int], ...] = ()
    check: Check | None = None
    logs: AwsLogs | None = None


@dataclass(frozen=True, slots=True)
class TaskBlueprint:
    containers: tuple[ContainerBlueprint, ...]
    cpu: int
    memory: int
    network: str

    def container(self, name: str) -> ContainerBlueprint:
        return next(each for each in self.containers if each.name == name)

    @property
    def host_ports(self) -> list[str]:
        """Static host ports as `80/tcp`."""
        return sorted(
            f"{port.host_port}/{port.protocol}"
            for each in self.containers
            for port in each.ports
            if port.host_port
        )


def read(spec: Params, overrides: Params | None = None) -> TaskBlueprint:
    """The blueprint of a registered definition; `overrides` as in RunTask."""
    changed = overrides or {}
    by_name = {each["name"]: each for each in changed.get("containerOverrides") or [] if each.get("name")}
    containers = tuple(
        _container(each, by_name.get(each["name"], {})) for each in spec.get("containerDefinitions") or []
    )
    cpu = changed.get("cpu") or spec.get("cpu")
    memory = changed.get("memory") or spec.get("memory")
    return TaskBlueprint(
        containers,
        int(cpu) if cpu else sum(each.cpu for each in containers),
        int(memory) if memory else sum(each.memory_reservation or each.memory or 0 for each in containers),
        spec.get("networkMode") or "bridge",
    )


def _container(spec: Params, override: Params) -> ContainerBlueprint:
    environment = {each["name"]: each.get("value", "") for each in spec.get("environment") or []}
    environment |= {each["name"]: each.get("value", "") for each in override.get("environment") or []}
    command = override.get("command") or spec.get("command")
    entry_point = spec.get("entryPoint")
    return ContainerBlueprint(
        name=spec["name"],
        image=spec["image"],
        essential=spec.get("essential", True),
        cpu=_first(override.get("cpu"), spec.get("cpu")) or 0,
        memory=_first(override.get("memory"), spec.get("memory")),
        memory_reservation=_first(override.get("memoryReservation"), spec.get("memoryReservation")),
        command=tuple(command) if command else None,
        entry_point=tuple(entry_point) if entry_point else None,
        environment=environment,
        secrets={each["name"]: each["valueFrom"] for each in spec.get("secrets") or []},
        ports=tuple(
            Port(each["containerPort"], each.get("hostPort") or 0, each.get("protocol") or "tcp")
            for each in spec.get("portMappings") or []
        ),
        depends_on=tuple(
            Dependency(each["containerName"], each["condition"]) for each in spec.get("dependsOn") or []
        ),
        start_timeout=spec.get("startTimeout"),
        stop_timeout=_first(spec.get("stopTimeout"), DEFAULT_STOP_TIMEOUT) or 0,
        working_directory=spec.get("workingDirectory") or None,
        user=spec.get("user") or None,
        hostname=spec.get("hostname") or None,
        read_only=bool(spec.get("readonlyRootFilesystem")),
        init=bool((spec.get("linuxParameters") or {}).get("initProcessEnabled")),
        extra_hosts={each["hostname"]: each["ipAddress"] for each in spec.get("extraHosts") or []},
        labels=spec.get("dockerLabels") or {},
        ulimits=tuple((u["name"], u["softLimit"], u["hardLimit"]) for u in spec.get("ulimits") or []),
        check=_check(spec.get("healthCheck")),
        logs=_logs(spec.get("logConfiguration")),
    )


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _check(spec: Params | None) -> Check | None:
    if not spec:
        return None
    return Check(
        tuple(spec["command"]),
        spec.get("interval") or 30,
        spec.get("timeout") or 5,
        spec.get("retries") or 3,
        spec.get("startPeriod") or 0,
    )


def _logs(spec: Params | None) -> AwsLogs | None:
    if not spec or spec.get("logDriver") != "awslogs":
        return None
    options = spec.get("options") or {}
    return AwsLogs(
        options.get("awslogs-group", ""),
        options.get("awslogs-region", ""),
        options.get("awslogs-stream-prefix", ""),
        str(options.get("awslogs-create-group", "false")).lower() == "true",
    )

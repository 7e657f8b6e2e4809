"""A task definition's containers in typed form, with any overrides applied.

Pure. Reads a definition's `spec` once and gives the loops plain values; what AWS accepts is checked in
`validate.py`, what the local cloud can run in `offered.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from portside.cloud.machine.engine import PortBinding
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
class Mount:
    """A volume of the task in a container."""

    volume: str
    path: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of a task. `source` is a path on the container instance, empty if there is none; `shared` volumes
    outlive the task."""

    name: str
    source: str = ""
    shared: bool = False
    driver: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Linux:
    """`linuxParameters`, sizes in MiB. `tmpfs` maps a path to its options."""

    init: bool = False
    shared_memory: int | None = None
    swap: int | None = None
    swappiness: int | None = None
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)


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
    linux: Linux = field(default_factory=Linux)
    environment_files: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    volumes_from: tuple[tuple[str, bool], ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    security_options: tuple[str, ...] = ()
    interactive: bool = False
    terminal: bool = False
    isolated: bool = False
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    ulimits: tuple[tuple[str, int, int], ...] = ()
    check: Check | None = None
    logs: AwsLogs | None = None

    @property
    def fixed_ports(self) -> tuple[PortBinding, ...]:
        """The ports of a container in host mode, which the engine does not publish."""
        return tuple(PortBinding(p.container_port, "", p.container_port, p.protocol) for p in self.ports)


@dataclass(frozen=True, slots=True)
class TaskBlueprint:
    """`network` is the mode. The roles are ARNs, empty if there is none."""

    containers: tuple[ContainerBlueprint, ...]
    cpu: int
    memory: int
    network: str
    volumes: tuple[Volume, ...] = ()
    task_role: str = ""
    execution_role: str = ""
    process_namespace: str = ""
    ipc_namespace: str = ""

    def container(self, name: str) -> ContainerBlueprint:
        return next(each for each in self.containers if each.name == name)

    @property
    def host_ports(self) -> list[str]:
        """Static host ports as `80/tcp`; none in awsvpc mode, where each task has its own."""
        if self.network == "awsvpc":
            return []
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
        tuple(_volume(each) for each in spec.get("volumes") or []),
        changed.get("taskRoleArn") or spec.get("taskRoleArn") or "",
        changed.get("executionRoleArn") or spec.get("executionRoleArn") or "",
        spec.get("pidMode") or "",
        spec.get("ipcMode") or "",
    )


def _volume(spec: Params) -> Volume:
    docker = spec.get("dockerVolumeConfiguration") or {}
    return Volume(
        spec["name"],
        (spec.get("host") or {}).get("sourcePath") or "",
        docker.get("scope") == "shared",
        docker.get("driver") or "",
        docker.get("driverOpts") or {},
        docker.get("labels") or {},
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
        depends_on=_dependencies(spec),
        start_timeout=spec.get("startTimeout"),
        stop_timeout=_first(spec.get("stopTimeout"), DEFAULT_STOP_TIMEOUT) or 0,
        working_directory=spec.get("workingDirectory") or None,
        user=spec.get("user") or None,
        hostname=spec.get("hostname") or None,
        read_only=bool(spec.get("readonlyRootFilesystem")),
        linux=_linux(spec.get("linuxParameters") or {}),
        environment_files=tuple(
            each["value"] for each in override.get("environmentFiles") or spec.get("environmentFiles") or []
        ),
        mounts=tuple(
            Mount(each["sourceVolume"], each["containerPath"], bool(each.get("readOnly")))
            for each in spec.get("mountPoints") or []
        ),
        volumes_from=tuple(
            (each["sourceContainer"], bool(each.get("readOnly"))) for each in spec.get("volumesFrom") or []
        ),
        sysctls={each["namespace"]: each["value"] for each in spec.get("systemControls") or []},
        dns=tuple(spec.get("dnsServers") or ()),
        dns_search=tuple(spec.get("dnsSearchDomains") or ()),
        links=tuple(spec.get("links") or ()),
        security_options=tuple(spec.get("dockerSecurityOptions") or ()),
        interactive=bool(spec.get("interactive")),
        terminal=bool(spec.get("pseudoTerminal")),
        isolated=bool(spec.get("disableNetworking")),
        extra_hosts={each["hostname"]: each["ipAddress"] for each in spec.get("extraHosts") or []},
        labels=spec.get("dockerLabels") or {},
        ulimits=tuple((u["name"], u["softLimit"], u["hardLimit"]) for u in spec.get("ulimits") or []),
        check=_check(spec.get("healthCheck")),
        logs=_logs(spec.get("logConfiguration")),
    )


def _dependencies(spec: Params) -> tuple[Dependency, ...]:
    """What is said, and what follows from links and from the volumes of other containers."""
    said = [Dependency(each["containerName"], each["condition"]) for each in spec.get("dependsOn") or []]
    others = [link.partition(":")[0] for link in spec.get("links") or []]
    others += [each["sourceContainer"] for each in spec.get("volumesFrom") or []]
    known = {each.container for each in said}
    return (*said, *(Dependency(name, "START") for name in dict.fromkeys(others) if name not in known))


def _linux(spec: Params) -> Linux:
    capabilities = spec.get("capabilities") or {}
    return Linux(
        bool(spec.get("initProcessEnabled")),
        spec.get("sharedMemorySize"),
        spec.get("maxSwap"),
        spec.get("swappiness"),
        tuple(capabilities.get("add") or ()),
        tuple(capabilities.get("drop") or ()),
        {
            each["containerPath"]: ",".join([*(each.get("mountOptions") or []), f"size={each['size']}m"])
            for each in spec.get("tmpfs") or []
        },
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

"""portside.toml: what the user says about an app.

Owns the shape of the file and its error messages: each names file, line, key, what is wrong and the nearest
valid key. `app.py` turns settings into names; the templates take both.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

FILE_NAME = "portside.toml"

AppName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]
# No hyphen: a stack finds its environment by the first word of its own name.
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,14}$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class SettingsError(Exception):
    """portside.toml cannot be used. `path`, `line` and `key` say where; `remedy` what to do."""

    def __init__(self, path: Path, line: int | None, key: str, problem: str, remedy: str) -> None:
        place = f"{path}:{line}" if line else str(path)
        where = f"{place}: {key}: " if key else f"{place}: "
        super().__init__(f"{where}{problem}")
        self.path = path
        self.line = line
        self.key = key
        self.problem = problem
        self.remedy = remedy


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Build(_Table):
    """How the image is made."""

    dockerfile: str = Field(default="Dockerfile", description="Path of the Dockerfile, relative to the context.")
    context: str = Field(default=".", description="Directory that is sent to the build, relative to this file.")
    args: dict[str, str] = Field(default_factory=dict, description="Build arguments (--build-arg).")
    node_base_argument: str | None = Field(
        default=None,
        description="Build argument that names a Node base image. Where that image cannot be pulled, portside "
        "makes one of Debian packages and passes its name here.",
    )


class HealthCheck(_Table):
    """When the load balancer believes that a copy of the app works."""

    path: Annotated[str, StringConstraints(pattern=r"^/")] = Field(default="/", description="Asked with GET.")
    success_codes: str = Field(default="200", description="Codes or ranges, such as 200-299.")
    interval: Annotated[int, Field(ge=5, le=300)] = Field(default=10, description="Seconds between checks.")
    timeout: Annotated[int, Field(ge=2, le=120)] = Field(default=5, description="Seconds that one check may take.")
    healthy: Annotated[int, Field(ge=2, le=10)] = Field(
        default=2, description="Successes in a row to be healthy again."
    )
    unhealthy: Annotated[int, Field(ge=2, le=10)] = Field(
        default=3, description="Failures in a row to be unhealthy."
    )
    grace_period: Annotated[int, Field(ge=0, le=7200)] = Field(
        default=60, description="Seconds after a start during which failed checks do not count."
    )


class Scaling(_Table):
    """How many copies run under which load."""

    min: Annotated[int, Field(ge=0, le=1000)] = Field(default=1, description="Fewest copies.")
    max: Annotated[int, Field(ge=1, le=1000)] = Field(default=4, description="Most copies.")
    cpu: Annotated[int, Field(ge=1, le=400)] | None = Field(
        default=60, description="Per cent of the reserved CPU that copies should use on average."
    )
    requests: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Requests a minute that each copy should get."
    )

    @model_validator(mode="after")
    def _check(self) -> Scaling:
        if self.min > self.max:
            raise ValueError("should have a min that is not above its max")
        return self


class Service(_Table):
    """How the app runs."""

    port: Port = Field(default=3000, description="The port that the container listens on.")
    cpu: Annotated[int, Field(ge=128, le=10240)] = Field(default=256, description="CPU units; 1024 are one core.")
    memory: Annotated[int, Field(ge=32)] = Field(default=256, description="MiB at which the container is killed.")
    memory_reservation: Annotated[int, Field(ge=16)] = Field(
        default=128, description="MiB set aside on the instance."
    )
    count: Annotated[int, Field(ge=0, le=1000)] = Field(default=1, description="Copies of the app.")
    environment: dict[str, str] = Field(default_factory=dict, description="Environment variables; no secrets.")
    exec: bool = Field(
        default=False, description="Whether `portside exec` may run commands in the containers (ECS Exec)."
    )
    log_retention: int = Field(default=30, description="Days for which CloudWatch keeps the output.")
    health_check: HealthCheck = Field(default_factory=lambda: HealthCheck(), description="See below.")
    scaling: Scaling | None = Field(
        default=None, description="How copies follow the load. Without this table there are always `count`."
    )


class Cluster(_Table):
    """The machines below."""

    instance_type: str = Field(default="t3.small", description="EC2 instance type.")
    min_size: Annotated[int, Field(ge=0)] = Field(default=1, description="Fewest instances.")
    max_size: Annotated[int, Field(ge=1)] = Field(default=5, description="Most instances.")


class LoadBalancer(_Table):
    port: Port = Field(default=3000, description="The port that people connect to.")


class Environment(_Table):
    """What one environment has differently. Whatever is left out comes from [service] and [cluster]."""

    count: Annotated[int, Field(ge=0, le=1000)] | None = Field(default=None, description="Copies of the app here.")
    instance_type: str | None = Field(default=None, description="EC2 instance type here.")
    environment: dict[str, str] = Field(default_factory=dict, description="Added to [service.environment].")


RepositoryName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")]
# Below the repository's root; never above it.
FolderName = Annotated[str, StringConstraints(pattern=r"^(\.|\.?[\w-][\w .-]*(/\.?[\w-][\w .-]*)*)$")]


class Pipeline(_Table):
    """Continuous delivery: a commit is built once and goes through the environments in their order."""

    repository: RepositoryName = Field(description="OWNER/REPO that the pipeline takes its commits from.")
    branch: Annotated[str, StringConstraints(pattern=r"^[\w./-]+$")] = Field(
        default="main", description="The branch whose commits are delivered."
    )
    directory: FolderName = Field(
        default=".",
        description="The app's directory in that repository; commits that touch nothing there are left out.",
    )
    templates: FolderName = Field(
        default="templates",
        description="Directory of the committed templates, relative to this file (`portside synth -o`).",
    )
    execution_mode: Literal["QUEUED", "SUPERSEDED"] = Field(
        default="QUEUED",
        description="QUEUED: each commit waits for its turn. SUPERSEDED: a newer commit replaces one that waits.",
    )


class Settings(_Table):
    """The whole of portside.toml."""

    name: AppName = Field(description="The app: part of every stack's name, and the repository's name.")
    build: Build = Field(default_factory=lambda: Build(), description="How the image is made.")
    service: Service = Field(default_factory=lambda: Service(), description="How the app runs.")
    cluster: Cluster = Field(default_factory=lambda: Cluster(), description="The machines it runs on.")
    load_balancer: LoadBalancer = Field(default_factory=lambda: LoadBalancer(), description="The way in.")
    environments: dict[EnvironmentName, Environment] = Field(
        default_factory=lambda: {"staging": Environment(), "production": Environment()},
        description="Where the app runs; each has its own cluster and load balancer.",
    )
    pipeline: Pipeline | None = Field(
        default=None, description="How commits get there. Without this table there is no pipeline."
    )


def load(directory: Path) -> Settings:
    """Read `directory/portside.toml`. Raises SettingsError for the first thing that is wrong."""
    path = directory / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(
            path, None, "", "there is no such file", f"Run `portside init {directory}` to write one."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(path, None, "", f"cannot be read: {error}", "Make it a readable UTF-8 file.") from None
    return parse(text, path)


def parse(text: str, path: Path) -> Settings:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise SettingsError(
            path,
            int(line[1]) if line else len(text.splitlines()),
            "",
            f"is not valid TOML: {error}",
            "Correct the line.",
        ) from None
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise _explain(error.errors()[0], text, path) from None


def _explain(found: Any, text: str, path: Path) -> SettingsError:
    location = [str(part) for part in found["loc"] if part != "[key]"]
    key = ".".join(location)
    line = line_of(text, location)
    if found["type"] == "extra_forbidden":
        known = _keys_at(location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        where = f"[{'.'.join(location[:-1])}]" if location[:-1] else "The file"
        remedy = f"Did you mean `{near[0]}`? " if near else ""
        return SettingsError(path, line, key, "unknown key", f"{remedy}{where} may hold: {', '.join(known)}.")
    if found["type"] == "missing":
        return SettingsError(path, line, key, "is required but missing", f"Add `{location[-1]} = …`.")
    message = str(found["msg"]).replace("Input should", "should")
    given = found["input"]
    shown = f"{given!r} ({_type_name(given)})" if isinstance(given, (str, int, float, bool)) else _type_name(given)
    if location == ["name"] and isinstance(given, str):
        message = "must be 2 to 32 lower-case letters, digits and hyphens, beginning with a letter"
        return SettingsError(path, line, key, f"{message}, not {shown}", "Choose a lower-case name.")
    if location[:1] == ["environments"] and len(location) == 2 and isinstance(given, str):
        message = (
            f"{given!r} cannot name an environment: a stack finds its environment by the first word of its name"
        )
        return SettingsError(
            path, line, key, message, "Choose up to 15 lower-case letters and digits, without a hyphen."
        )
    return SettingsError(
        path, line, key, f"{message}, not {shown}", "Correct the value; docs/reference/settings.md describes it."
    )


def _type_name(value: object) -> str:
    names = {bool: "boolean", int: "integer", float: "float", str: "string", list: "array", dict: "table"}
    return next((name for kind, name in names.items() if type(value) is kind), type(value).__name__)


def _keys_at(location: list[str]) -> list[str]:
    model: Any = Settings
    for part in location:
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        if field is None:
            model = Environment  # below [environments.NAME]
            continue
        inner = {"pipeline": Pipeline, "scaling": Scaling}.get(part, field.annotation)
        model = inner if hasattr(inner, "model_fields") else Environment
    return sorted(model.model_fields)


def line_of(text: str, location: list[str]) -> int | None:
    """The line on which a key stands, or else that of its table."""
    table: list[str] = []
    best: int | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        header = re.match(r"\[\[?\s*([^\]]+?)\s*\]", line)
        if header:
            table = [part.strip().strip("\"'") for part in header[1].split(".")]
            if table == location:
                return number
            if location[: len(table)] == table:
                best = number
            continue
        pair = re.match(r"([A-Za-z0-9_.\-\"' ]+?)\s*=", line)
        if pair:
            keys = table + [part.strip().strip("\"'") for part in pair[1].split(".")]
            if keys == location:
                return number
            if location[: len(keys)] == keys:
                best = number
    return best

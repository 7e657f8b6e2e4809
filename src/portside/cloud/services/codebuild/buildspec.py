"""What a build specification says: YAML of version 0.1 or 0.2 to one plain value.

Pure. Owns the rules of the document and the words in which a mistake is told, with the place where it stands. What
is done with it is decided in `driver.py` (commands), `artifacts.py`, `junit.py` (reports) and `environment.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

PHASES = ("install", "pre_build", "build", "post_build")
SHELLS = {"": "/bin/sh", "sh": "/bin/sh", "/bin/sh": "/bin/sh", "bash": "bash", "/bin/bash": "bash"}
FORMATS = (
    "CUCUMBERJSON", "JUNITXML", "NUNITXML", "NUNIT3XML", "TESTNGXML", "VISUALSTUDIOTRX", "CLOVERXML",
    "COBERTURAXML", "JACOCOXML", "SIMPLECOV",
)  # fmt: skip
MOST_REPORTS = 5
MOST_RETRIES = 100
DEFAULT_RETRIES = 3
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class BuildspecError(Exception):
    """The document cannot be used. The text names the place."""


@dataclass(frozen=True, slots=True)
class Phase:
    """The commands of one phase. `on_failure` is empty for the default; `retries` is how often it may run
    again."""

    name: str
    commands: tuple[str, ...] = ()
    finally_: tuple[str, ...] = ()
    run_as: str = ""
    on_failure: str = ""
    retries: int = 0
    runtimes: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        return self.name.upper()


@dataclass(frozen=True, slots=True)
class Artifact:
    """Which files of the build are kept. Text may hold variables and shell expressions."""

    files: tuple[str, ...]
    base_directory: str = ""
    discard_paths: bool = False
    name: str = ""
    exclude: tuple[str, ...] = ()
    symlinks: bool = False
    s3_prefix: str = ""
    identifier: str = ""


@dataclass(frozen=True, slots=True)
class ReportSpec:
    """Test reports to read: `group` is a name, or the ARN of a report group."""

    group: str
    files: tuple[str, ...]
    base_directory: str = ""
    discard_paths: bool = False
    format: str = "JUNITXML"


@dataclass(frozen=True, slots=True)
class Buildspec:
    """The whole document."""

    version: str
    phases: tuple[Phase, ...]
    declared: tuple[str, ...] = ()
    run_as: str = ""
    shell: str = "/bin/sh"
    variables: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    exported: tuple[str, ...] = ()
    artifacts: Artifact | None = None
    secondary: tuple[Artifact, ...] = ()
    reports: tuple[ReportSpec, ...] = ()
    cache_paths: tuple[str, ...] = ()

    @property
    def shared_shell(self) -> bool:
        return self.version == "0.2"

    def user(self, phase: Phase) -> str:
        return phase.run_as or self.run_as


def parse(text: str) -> Buildspec:
    """Raises BuildspecError."""
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise BuildspecError(f"invalid YAML{where}: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(document, dict):
        raise BuildspecError("the document must be a mapping with the keys version and phases")
    return _Reader(_version(document)).read(document)


class _Loader(yaml.SafeLoader):
    """YAML 1.2 in the one point that matters: `yes`, `no`, `on` and `off` stay what they look like, for a key or a
    value of a variable is text. Numbers stay text too."""


_KEPT = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}  # fmt: skip


def _version(document: Mapping[Any, Any]) -> str:
    version = document.get("version")
    if version is None:
        raise BuildspecError("the key version is missing; it must be 0.1 or 0.2")
    if str(version) not in ("0.1", "0.2"):
        raise BuildspecError(f"version: invalid version {version}; it must be 0.1 or 0.2")
    return str(version)


class _Reader:
    def __init__(self, version: str) -> None:
        self._version = version

    def read(self, document: Mapping[Any, Any]) -> Buildspec:
        known = {"version", "phases", "artifacts", "cache", "reports", "proxy", "run-as", "env", "batch"}
        if self._version == "0.1":
            known |= {"environment_variables"}
        _keys(document, known, "")
        if document.get("batch") is not None:
            raise BuildspecError("batch: portside's local cloud does not offer batch builds")
        _keys(_mapping(document.get("proxy"), "proxy"), {"upload-artifacts", "logs"}, "proxy")
        env = _mapping(document.get("env"), "env")
        _keys(
            env,
            {
                "shell",
                "variables",
                "parameter-store",
                "secrets-manager",
                "exported-variables",
                "git-credential-helper",
            },
            "env",
        )
        old = _mapping(document.get("environment_variables"), "environment_variables")
        _keys(old, {"plaintext"}, "environment_variables")
        shell = str(env.get("shell") or "")
        if shell not in SHELLS:
            raise BuildspecError(f"env.shell: {shell} is not offered here; use bash or /bin/sh")
        phases = _mapping(document.get("phases"), "phases")
        if "phases" not in document:
            raise BuildspecError("the key phases is missing")
        unknown = [name for name in phases if name not in PHASES]
        if unknown:
            raise BuildspecError(f"phases: unknown phase {unknown[0]}; known are {', '.join(PHASES)}")
        plain = _texts_by_name(old.get("plaintext"), "environment_variables.plaintext")
        artifacts, secondary = self._artifacts(document.get("artifacts"))
        reports = _mapping(document.get("reports"), "reports")
        if len(reports) > MOST_REPORTS:
            raise BuildspecError(f"reports: at most {MOST_REPORTS} report groups are possible")
        cache = _mapping(document.get("cache"), "cache")
        _keys(cache, {"paths", "key", "fallback-keys", "action"}, "cache")
        for key in ("key", "fallback-keys", "action"):
            if cache.get(key) is not None:
                raise BuildspecError(f"cache.{key}: portside's local cloud does not offer this")
        return Buildspec(
            version=self._version,
            phases=tuple(self._phase(name, phases.get(name)) for name in PHASES),
            declared=tuple(name for name in PHASES if name in phases),
            run_as=_text(document.get("run-as"), "run-as"),
            shell=SHELLS[shell],
            variables=plain | _texts_by_name(env.get("variables"), "env.variables"),
            parameters=_texts_by_name(env.get("parameter-store"), "env.parameter-store"),
            secrets=_texts_by_name(env.get("secrets-manager"), "env.secrets-manager"),
            exported=_names(env.get("exported-variables"), "env.exported-variables"),
            artifacts=artifacts,
            secondary=secondary,
            reports=tuple(_report(str(name), each) for name, each in reports.items()),
            cache_paths=_list(cache.get("paths"), "cache.paths"),
        )

    def _phase(self, name: str, given: Any) -> Phase:
        place = f"phases.{name}"
        if given is None:
            return Phase(name)
        given = _mapping(given, place)
        known = {"commands", "finally", "run-as", "on-failure"}
        if name == "install":
            known |= {"runtime-versions"}
        _keys(given, known, place)
        if name != "install" and given.get("commands") is None:
            raise BuildspecError(f"{place}: commands is missing")
        on_failure, retries = _on_failure(_text(given.get("on-failure"), f"{place}.on-failure"), place)
        runtimes = _mapping(given.get("runtime-versions"), f"{place}.runtime-versions")
        return Phase(
            name,
            commands=_list(given.get("commands"), f"{place}.commands"),
            finally_=_list(given.get("finally"), f"{place}.finally"),
            run_as=_text(given.get("run-as"), f"{place}.run-as"),
            on_failure=on_failure,
            retries=retries,
            runtimes=tuple(f"{key}: {value}" for key, value in runtimes.items()),
        )

    def _artifacts(self, given: Any) -> tuple[Artifact | None, tuple[Artifact, ...]]:
        if given is None:
            return None, ()
        given = _mapping(given, "artifacts")
        own = {key: value for key, value in given.items() if key != "secondary-artifacts"}
        others = _mapping(given.get("secondary-artifacts"), "artifacts.secondary-artifacts")
        secondary = tuple(
            _artifact(each, f"artifacts.secondary-artifacts.{name}", str(name)) for name, each in others.items()
        )
        if not own and secondary:
            return None, secondary
        return _artifact(own, "artifacts", ""), secondary


def _artifact(given: Any, place: str, identifier: str) -> Artifact:
    given = _mapping(given, place)
    _keys(
        given,
        {
            "files", "name", "discard-paths", "base-directory", "exclude-paths", "enable-symlinks", "s3-prefix",
            "type",
        },
        place,
    )  # fmt: skip
    if given.get("files") is None:
        raise BuildspecError(f"{place}: files is missing")
    return Artifact(
        files=_list(given["files"], f"{place}.files"),
        base_directory=_text(given.get("base-directory"), f"{place}.base-directory"),
        discard_paths=_flag(given.get("discard-paths"), f"{place}.discard-paths"),
        name=_text(given.get("name"), f"{place}.name"),
        exclude=_list(given.get("exclude-paths"), f"{place}.exclude-paths"),
        symlinks=_flag(given.get("enable-symlinks"), f"{place}.enable-symlinks"),
        s3_prefix=_text(given.get("s3-prefix"), f"{place}.s3-prefix"),
        identifier=identifier,
    )


def _report(name: str, given: Any) -> ReportSpec:
    place = f"reports.{name}"
    given = _mapping(given, place)
    _keys(given, {"files", "base-directory", "discard-paths", "file-format"}, place)
    if given.get("files") is None:
        raise BuildspecError(f"{place}: files is missing")
    kind = (_text(given.get("file-format"), f"{place}.file-format") or "JUNITXML").upper()
    if kind not in FORMATS:
        raise BuildspecError(f"{place}.file-format: unknown format {kind}")
    if kind != "JUNITXML":
        raise BuildspecError(f"{place}.file-format: portside's local cloud reads JUNITXML only, not {kind}")
    return ReportSpec(
        group=name,
        files=_list(given["files"], f"{place}.files"),
        base_directory=_text(given.get("base-directory"), f"{place}.base-directory"),
        discard_paths=_flag(given.get("discard-paths"), f"{place}.discard-paths"),
        format=kind,
    )


def _on_failure(text: str, place: str) -> tuple[str, int]:
    if text in ("", "ABORT", "CONTINUE"):
        return text, 0
    kind, _, rest = text.partition("-")
    if kind == "RETRY" and (not rest or (rest.isdigit() and int(rest) <= MOST_RETRIES)):
        return "", int(rest) if rest else DEFAULT_RETRIES
    if kind == "RETRY":
        raise BuildspecError(f"{place}.on-failure: portside's local cloud offers RETRY and RETRY-n, not {text}")
    raise BuildspecError(f"{place}.on-failure: must be ABORT, CONTINUE or RETRY, not {text}")


def _keys(given: Mapping[Any, Any], known: set[str], place: str) -> None:
    for key in given:
        if key not in known:
            where = f"{place}: " if place else ""
            raise BuildspecError(f"{where}unknown key {key}; known are {', '.join(sorted(known))}")


def _mapping(given: Any, place: str) -> Mapping[Any, Any]:
    if given is None or given == "":
        return {}
    if not isinstance(given, dict):
        raise BuildspecError(f"{place}: must be a mapping")
    return given


def _text(given: Any, place: str) -> str:
    if given is None:
        return ""
    if isinstance(given, (dict, list)):
        raise BuildspecError(f"{place}: must be text")
    return str(given)


def _list(given: Any, place: str) -> tuple[str, ...]:
    if given is None or given == "":
        return ()
    if isinstance(given, str):  # one command or path, as AWS takes it
        return (given,)
    if not isinstance(given, Sequence):
        raise BuildspecError(f"{place}: must be a list")
    for index, each in enumerate(given):
        if isinstance(each, dict):
            key = next(iter(each), "")
            raise BuildspecError(
                f"{place}[{index}]: must be text, but is a mapping; put quotes around it, for it has a colon "
                f"after {key}"
            )
        if not isinstance(each, str):
            raise BuildspecError(f"{place}[{index}]: must be text")
    return tuple(given)


def _names(given: Any, place: str) -> tuple[str, ...]:
    found = _list(given, place)
    for name in found:
        if not _NAME.fullmatch(name):
            raise BuildspecError(f"{place}: {name} is no name of a variable")
        if name.startswith("AWS_"):
            raise BuildspecError(f"{place}: {name} cannot be exported; names that start with AWS_ are reserved")
    return found


def _texts_by_name(given: Any, place: str) -> dict[str, str]:
    found = {}
    for name, value in _mapping(given, place).items():
        if not _NAME.fullmatch(str(name)):
            raise BuildspecError(f"{place}: {name} is no name of a variable")
        if str(name).startswith("CODEBUILD_"):
            raise BuildspecError(f"{place}: {name} cannot be set; names that start with CODEBUILD_ are reserved")
        found[str(name)] = _text(value, f"{place}.{name}")
    return found


def _flag(given: Any, place: str) -> bool:
    match str(given if given is not None else "no").lower():
        case "yes" | "true":
            return True
        case "no" | "false" | "":
            return False
    raise BuildspecError(f"{place}: must be yes or no")

"""What a pipeline's declaration says, as values.

Pure. Owns `Structure` and its parts, read from a declaration that `validation.py` has accepted. The declaration
itself stays as it was sent: it is what GetPipeline answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from portside.cloud.services.calls import Params

# Configuration keys whose values are never shown again.
SECRET_KEYS = frozenset({"OAuthToken"})
MASK = "****"


class Mode(StrEnum):
    SUPERSEDED = "SUPERSEDED"
    QUEUED = "QUEUED"
    PARALLEL = "PARALLEL"


class Check(StrEnum):
    """When the conditions of a stage are looked at."""

    ENTRY = "BEFORE_ENTRY"
    SUCCESS = "ON_SUCCESS"
    FAILURE = "ON_FAILURE"


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    category: str
    owner: str
    provider: str
    run_order: int = 1
    configuration: dict[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    namespace: str = ""
    role: str = ""
    region: str = ""
    timeout: int | None = None
    """In minutes."""

    @property
    def type_id(self) -> Params:
        return {"category": self.category, "owner": self.owner, "provider": self.provider, "version": "1"}


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    provider: str
    configuration: dict[str, str] = field(default_factory=dict)
    role: str = ""
    region: str = ""
    timeout: int | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """`result` is what happens if a rule does not hold."""

    result: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """`failure` is what happens when an action fails: FAIL, ROLLBACK, RETRY, SKIP."""

    name: str
    actions: tuple[Action, ...]
    conditions: dict[Check, Condition] = field(default_factory=dict)
    failure: str = "FAIL"
    retry_mode: str = "ALL_ACTIONS"

    def action(self, name: str) -> Action | None:
        return next((each for each in self.actions if each.name == name), None)


@dataclass(frozen=True, slots=True)
class Structure:
    name: str
    role: str
    bucket: str
    stages: tuple[Stage, ...]
    mode: Mode = Mode.SUPERSEDED
    kind: str = "V1"
    key: str = ""
    """The KMS key of the artifacts; empty for the default."""
    variables: dict[str, str | None] = field(default_factory=dict)
    """Defaults of the pipeline's variables."""
    triggers: tuple[Params, ...] = ()

    def stage(self, name: str) -> Stage | None:
        return next((each for each in self.stages if each.name == name), None)

    @property
    def sources(self) -> tuple[Action, ...]:
        return self.stages[0].actions


def parse(declaration: Params) -> Structure:
    store: Params = declaration.get("artifactStore") or next(
        iter((declaration.get("artifactStores") or {}).values()), {}
    )
    return Structure(
        name=declaration["name"],
        role=declaration["roleArn"],
        bucket=store.get("location", ""),
        key=(store.get("encryptionKey") or {}).get("id", ""),
        stages=tuple(_stage(each) for each in declaration["stages"]),
        mode=Mode(declaration.get("executionMode") or "SUPERSEDED"),
        kind=declaration.get("pipelineType") or "V1",
        variables={each["name"]: each.get("defaultValue") for each in declaration.get("variables") or ()},
        triggers=tuple(declaration.get("triggers") or ()),
    )


_MEMBERS = ((Check.ENTRY, "beforeEntry"), (Check.SUCCESS, "onSuccess"), (Check.FAILURE, "onFailure"))


def _stage(given: Params) -> Stage:
    conditions: dict[Check, Condition] = {}
    for check, member in _MEMBERS:
        for each in (given.get(member) or {}).get("conditions") or ():
            rules = tuple(_rule(rule) for rule in each.get("rules") or ())
            conditions[check] = Condition(each.get("result") or "FAIL", rules)
    failure = given.get("onFailure") or {}
    return Stage(
        name=given["name"],
        actions=tuple(_action(each) for each in given["actions"]),
        conditions=conditions,
        failure=failure.get("result") or "FAIL",
        retry_mode=(failure.get("retryConfiguration") or {}).get("retryMode") or "ALL_ACTIONS",
    )


def _rule(given: Params) -> Rule:
    return Rule(
        name=given["name"],
        provider=given["ruleTypeId"]["provider"],
        configuration=dict(given.get("configuration") or {}),
        role=given.get("roleArn") or "",
        region=given.get("region") or "",
        timeout=given.get("timeoutInMinutes"),
    )


def _action(given: Params) -> Action:
    kind = given["actionTypeId"]
    return Action(
        name=given["name"],
        category=kind["category"],
        owner=kind["owner"],
        provider=kind["provider"],
        run_order=given.get("runOrder") or 1,
        configuration=dict(given.get("configuration") or {}),
        inputs=tuple(each["name"] for each in given.get("inputArtifacts") or ()),
        outputs=tuple(each["name"] for each in given.get("outputArtifacts") or ()),
        namespace=given.get("namespace") or "",
        role=given.get("roleArn") or "",
        region=given.get("region") or "",
        timeout=given.get("timeoutInMinutes"),
    )


def complete(declaration: Params) -> Params:
    """The declaration with the defaults that AWS writes into it."""
    made = dict(declaration)
    made["pipelineType"] = declaration.get("pipelineType") or "V1"
    made["executionMode"] = declaration.get("executionMode") or "SUPERSEDED"
    made["stages"] = [
        stage
        | {
            "actions": [
                action
                | {
                    "runOrder": action.get("runOrder") or 1,
                    "configuration": action.get("configuration") or {},
                    "inputArtifacts": action.get("inputArtifacts") or [],
                    "outputArtifacts": action.get("outputArtifacts") or [],
                }
                for action in stage["actions"]
            ]
        }
        for stage in declaration["stages"]
    ]
    return made


Secrets = dict[str, str]


def part_secrets(declaration: Params, before: Secrets) -> tuple[Params, Secrets]:
    """The declaration with its secrets masked, and the secrets by `stage/action/key`. A mask that comes back in an
    update stands for the secret that is known already."""
    secrets: Secrets = {}
    stages = []
    for stage in declaration["stages"]:
        actions = []
        for action in stage["actions"]:
            configuration = dict(action.get("configuration") or {})
            for key in SECRET_KEYS & configuration.keys():
                place = f"{stage['name']}/{action['name']}/{key}"
                given = configuration[key]
                secrets[place] = before.get(place, MASK) if given == MASK else str(given)
                configuration[key] = MASK
            actions.append(action | {"configuration": configuration})
        stages.append(stage | {"actions": actions})
    return declaration | {"stages": stages}, secrets


def without_none(value: Any) -> Any:
    """A parsed request without the members that were not given."""
    if isinstance(value, dict):
        return {key: without_none(member) for key, member in value.items() if member is not None}
    return [without_none(member) for member in value] if isinstance(value, list) else value

"""Whether a pipeline's declaration is one that can run.

Pure. `check` raises AwsError with the exception that AWS has for the part that is wrong, naming stage and action.
Shapes and enumerations are checked before, by botocore's model; what each provider takes is in `offered.py`,
its configuration is checked in `configuration.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.codepipeline import offered, windows
from portside.cloud.services.codepipeline.configuration import action_fault, check_configuration
from portside.cloud.services.codepipeline.structure import Action as DeclaredAction
from portside.cloud.services.codepipeline.structure import Check, Stage, Structure, parse

MOST_STAGES = 50
MOST_ACTIONS = 500
_NAMESPACE = re.compile(r"#\{([^}.#]+)\.([^}]+)\}")
RESERVED = frozenset({"codepipeline", "variables"})


def structure_fault(message: str) -> AwsError:
    return AwsError("InvalidStructureException", message)


def stage_fault(message: str) -> AwsError:
    return AwsError("InvalidStageDeclarationException", message)


def check(declaration: Params, region: str) -> Structure:
    """The structure, if it is sound; raises AwsError otherwise."""
    _stores(declaration, region)
    for stage in declaration["stages"]:
        _declared(stage, region)
    structure = parse(declaration)
    _stages(structure)
    for each in structure.stages:
        _conditions(structure, each)
    _artifacts(structure)
    _namespaces(structure)
    _version_two(declaration, structure)
    _triggers(structure)
    return structure


def _stores(declaration: Params, region: str) -> None:
    one, many = declaration.get("artifactStore"), declaration.get("artifactStores")
    if bool(one) == bool(many):
        raise structure_fault(
            "Exactly one of artifactStore and artifactStores must be given for pipeline "
            f"{declaration['name']}: artifactStore for a pipeline in one Region."
        )
    if many and set(many) != {region}:
        raise structure_fault(
            f"Pipeline {declaration['name']} has artifact stores in {', '.join(sorted(many))}; portside's "
            "local "
            f"cloud runs all actions of a pipeline in its own Region, {region}."
        )


def _declared(stage: Params, region: str) -> None:
    """What `parse` would drop."""
    for blocker in stage.get("blockers") or ():
        raise AwsError(
            "InvalidBlockerDeclarationException",
            f"Blocker {blocker.get('name')} of stage {stage['name']}: blockers are reserved for future use.",
        )
    for action in stage["actions"]:
        where = f"Action {action['name']} in stage {stage['name']}"
        for member in ("commands", "outputVariables", "environmentVariables"):
            if action.get(member):
                raise action_fault(f"{where}: portside's local cloud does not offer {member}.")
        for artifact in action.get("outputArtifacts") or ():
            if artifact.get("files"):
                raise action_fault(f"{where}: files of an output artifact belong to the Commands action.")
        if action.get("region") and action["region"] != region:
            raise action_fault(
                f"{where} is in Region {action['region']}; portside's local cloud runs all actions of a pipeline "
                "in "
                f"its own Region, {region}."
            )
    for member in ("beforeEntry", "onSuccess", "onFailure"):
        for condition in (stage.get(member) or {}).get("conditions") or ():
            for rule in condition.get("rules") or ():
                for unoffered in ("commands", "inputArtifacts"):
                    if rule.get(unoffered):
                        raise stage_fault(
                            f"Rule {rule['name']} in stage {stage['name']}: portside's local cloud does not offer "
                            f"{unoffered}."
                        )


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _stages(structure: Structure) -> None:
    if len(structure.stages) < 2:
        raise structure_fault(
            f"Pipeline should have at least 2 stages, {structure.name} has {len(structure.stages)}."
        )
    if len(structure.stages) > MOST_STAGES:
        raise AwsError("LimitExceededException", f"A pipeline may have {MOST_STAGES} stages at most.")
    for name in _repeated(each.name for each in structure.stages):
        raise stage_fault(f"Stage names must be unique within a pipeline; {name} is there more than once.")
    if sum(len(each.actions) for each in structure.stages) > MOST_ACTIONS:
        raise AwsError("LimitExceededException", f"A pipeline may have {MOST_ACTIONS} actions at most.")
    for index, stage in enumerate(structure.stages):
        if not stage.actions:
            raise stage_fault(f"Stage {stage.name} must have at least one action.")
        if len(stage.actions) > MOST_STAGES:
            raise AwsError("LimitExceededException", f"Stage {stage.name} may have {MOST_STAGES} actions at most.")
        for name in _repeated(each.name for each in stage.actions):
            raise action_fault(
                f"Action names must be unique within a stage; {name} is in stage {stage.name} more than once."
            )
        for action in stage.actions:
            if (action.category == "Source") != (index == 0):
                raise structure_fault(
                    "The first stage of a pipeline must contain source actions only, and no other stage may "
                    "contain "
                    f"any: action {action.name} in stage {stage.name} has category {action.category}."
                )
            _action(stage, action)


def _action(stage: Stage, action: DeclaredAction) -> None:
    where = f"Action {action.name} in stage {stage.name}"
    offer = offered.ACTIONS.get((action.category, action.owner, action.provider))
    if offer is None:
        kind = f"category {action.category}, owner {action.owner}, provider {action.provider}"
        if action.provider in offered.UNOFFERED or action.owner == "Custom":
            raise action_fault(f"{where}: portside's local cloud does not offer actions of {kind}.")
        raise action_fault(f"{where}: there is no action type of {kind}, version 1.")
    for noun, given, (least, most) in (
        ("input", action.inputs, offer.inputs),
        ("output", action.outputs, offer.outputs),
    ):
        if not least <= len(given) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise action_fault(
                f"{where} has {len(given)} {noun} artifacts; {action.provider} takes {wanted} {noun} artifacts."
            )
        for name in _repeated(given):
            raise action_fault(f"{where} names {noun} artifact {name} more than once.")
    check_configuration(where, action, offer)


def _conditions(structure: Structure, stage: Stage) -> None:
    first = stage.name == structure.stages[0].name
    # In the source stage nothing has been done yet that could be rolled back or held up.
    if first and (stage.failure == "ROLLBACK" or Check.ENTRY in stage.conditions):
        raise stage_fault(f"Stage {stage.name}: rollback and entry conditions are not for the source stage.")
    results = {
        Check.ENTRY: ("FAIL", "SKIP"),
        Check.SUCCESS: ("FAIL", "ROLLBACK"),
        Check.FAILURE: ("FAIL", "ROLLBACK", "RETRY", "SKIP"),
    }
    for check_at, condition in stage.conditions.items():
        if condition.result not in results[check_at]:
            raise stage_fault(
                f"Stage {stage.name}: result {condition.result} is not for {check_at} conditions; it takes "
                f"{', '.join(results[check_at])}."
            )
        for name in _repeated(rule.name for rule in condition.rules):
            raise stage_fault(f"Stage {stage.name}: rule {name} is there more than once.")
        for rule in condition.rules:
            where = f"Rule {rule.name} in stage {stage.name}"
            offer = offered.RULES.get(rule.provider)
            if offer is None:
                if rule.provider in offered.UNOFFERED_RULES:
                    raise stage_fault(f"{where}: portside's local cloud does not offer {rule.provider} rules.")
                raise stage_fault(f"{where}: there is no rule type {rule.provider}.")
            missing = sorted(key for key in offer.required if not rule.configuration.get(key))
            unknown = sorted(rule.configuration.keys() - offer.known)
            if missing:
                raise stage_fault(f"{where} is missing required configuration: {', '.join(missing)}.")
            if unknown:
                raise stage_fault(f"{where} has unknown configuration: {', '.join(unknown)}.")
            operator = rule.configuration.get("Operator")
            if operator is not None and operator not in offered.OPERATORS:
                raise stage_fault(f"{where}: Operator must be one of {', '.join(sorted(offered.OPERATORS))}.")
            if rule.provider == "DeploymentWindow":
                fault = windows.fault(rule.configuration["Cron"], rule.configuration.get("TimeZone", "UTC"))
                if fault:
                    raise stage_fault(f"{where}: {fault}")


def _artifacts(structure: Structure) -> None:
    made: dict[str, tuple[int, int, str]] = {}
    for index, stage in enumerate(structure.stages):
        for action in stage.actions:
            for name in action.outputs:
                if name in made:
                    raise action_fault(
                        f"Output artifact {name} of action {action.name} in stage {stage.name} is already an "
                        "output of "
                        f"action {made[name][2]}; names of output artifacts must be unique within a pipeline."
                    )
                made[name] = (index, action.run_order, action.name)
    for index, stage in enumerate(structure.stages):
        for action in stage.actions:
            for name in action.inputs:
                maker = made.get(name)
                if maker is None:
                    raise action_fault(
                        f"Input artifact {name} of action {action.name} in stage {stage.name} is not the output "
                        "of any "
                        "action."
                    )
                if maker[:2] >= (index, action.run_order):
                    raise action_fault(
                        f"Input artifact {name} of action {action.name} in stage {stage.name} must be the output "
                        "of an "
                        f"action that runs before it; {maker[2]} does not."
                    )


def _namespaces(structure: Structure) -> None:
    known: dict[str, tuple[int, int]] = {}
    for index, stage in enumerate(structure.stages):
        for action in stage.actions:
            if not action.namespace:
                continue
            where = f"Action {action.name} in stage {stage.name}"
            if action.namespace in RESERVED:
                raise action_fault(f"{where}: namespace {action.namespace} is reserved.")
            if action.namespace in known:
                raise action_fault(f"{where}: namespace {action.namespace} is used by another action already.")
            known[action.namespace] = (index, action.run_order)
    for index, stage in enumerate(structure.stages):
        for action in stage.actions:
            for value in action.configuration.values():
                for namespace, key in _NAMESPACE.findall(value):
                    _reference(
                        structure, known, f"Action {action.name} in stage {stage.name}", namespace, key,
                        (index, action.run_order),
                    )  # fmt: skip


def _reference(
    structure: Structure,
    known: dict[str, tuple[int, int]],
    where: str,
    namespace: str,
    key: str,
    at: tuple[int, int],
) -> None:
    if namespace == "codepipeline":
        return
    if namespace == "variables":
        if key not in structure.variables:
            raise action_fault(f"{where} refers to pipeline variable {key}, which is not declared.")
        return
    if namespace not in known:
        raise action_fault(f"{where} refers to namespace {namespace}, which no action of the pipeline has.")
    if known[namespace] >= at:
        raise action_fault(f"{where} refers to namespace {namespace} of an action that does not run before it.")


def _version_two(declaration: Params, structure: Structure) -> None:
    if structure.kind == "V2":
        return
    used = [name for name in ("variables", "triggers") if declaration.get(name)]
    if structure.mode != "SUPERSEDED":
        used.append(f"executionMode {structure.mode}")
    for stage in declaration["stages"]:
        used += [
            f"{name} of stage {stage['name']}"
            for name in ("beforeEntry", "onSuccess", "onFailure")
            if stage.get(name)
        ]
        used += [
            f"timeoutInMinutes of action {each['name']}"
            for each in stage["actions"]
            if each.get("timeoutInMinutes") and each["actionTypeId"]["category"] != "Approval"
        ]
    if used:
        raise structure_fault(f"Pipeline {structure.name} of type V1 uses features of type V2: {', '.join(used)}.")


def _triggers(structure: Structure) -> None:
    sources = {each.name: each for each in structure.sources}
    seen: set[str] = set()
    for trigger in structure.triggers:
        git = trigger["gitConfiguration"]
        name = git["sourceActionName"]
        if name not in sources or sources[name].provider != "CodeStarSourceConnection":
            raise structure_fault(
                f"A trigger names {name}, which is no source action of provider CodeStarSourceConnection."
            )
        if name in seen:
            raise structure_fault(f"Source action {name} has more than one trigger.")
        seen.add(name)
        if git.get("pullRequest"):
            raise structure_fault(
                f"The trigger of {name} filters pull requests. A local checkout has none; portside's local cloud "
                "does "
                "not offer them."
            )
        for push in git.get("push") or ():
            if push.get("tags") and (push.get("branches") or push.get("filePaths")):
                raise structure_fault(
                    f"The trigger of {name} filters tags together with branches or file paths; give them "
                    "separately."
                )
            if not any(push.get(key) for key in ("tags", "branches", "filePaths")):
                raise structure_fault(f"The trigger of {name} has a push filter without any criteria.")

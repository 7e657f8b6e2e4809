"""Whether a pipeline's declaration is one that can run.

Pure. `check` raises AwsError with the exception that AWS has for the part that is wrong, naming stage and action.
Shapes and enumerations are checked before, by botocore's model; what each provider takes is in `offered.py`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.codepipeline import offered, windows
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


def action_fault(message: str) -> AwsError:
    return AwsError("InvalidActionDeclarationException", message)


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
    _configuration(where, action, offer)
    _provider(where, action)


def _configuration(where: str, action: DeclaredAction, offer: offered.Offer) -> None:
    given = action.configuration
    missing = sorted(key for key in offer.required if not given.get(key))
    if missing:
        raise action_fault(f"{where} is missing required configuration: {', '.join(missing)}.")
    unknown = sorted(given.keys() - offer.known)
    if unknown:
        raise action_fault(f"{where} has unknown configuration: {', '.join(unknown)}.")
    for key, value in given.items():
        longest = offered.LONGEST_LONG_VALUE if key in offered.LONG_VALUES else offered.LONGEST_VALUE
        if len(value) > longest:
            raise action_fault(f"{where}: configuration {key} is longer than {longest} characters.")
        if "#{" in value:
            continue
        choices = offered.CHOICES.get((action.provider, key))
        if choices is not None and value not in choices:
            raise action_fault(f"{where}: {key} must be one of {', '.join(sorted(choices))}, not {value}.")
        if key in offered.BOOLEANS and value.lower() not in ("true", "false"):
            raise action_fault(f"{where}: {key} must be true or false, not {value}.")


def _provider(where: str, action: DeclaredAction) -> None:
    given = action.configuration
    match action.provider:
        case "CodeBuild":
            if len(action.inputs) > 1 and given.get("PrimarySource") not in action.inputs:
                raise action_fault(
                    f"{where} has more than one input artifact: PrimarySource must name one of "
                    f"{', '.join(action.inputs)}."
                )
            if given.get("BatchEnabled", "false").lower() == "true":
                raise action_fault(f"{where}: portside's local cloud does not offer batch builds.")
            if given.get("EnvironmentVariables") and not isinstance(_json(given["EnvironmentVariables"]), list):
                raise action_fault(f"{where}: EnvironmentVariables must be a JSON array.")
        case "CloudFormation":
            _cloudformation(where, action)
        case "ECS":
            minutes = given.get("DeploymentTimeout", "60")
            if "#{" not in minutes and not (minutes.isdigit() and 1 <= int(minutes) <= 60):
                raise action_fault(f"{where}: DeploymentTimeout must be 1 to 60 minutes, not {minutes}.")
        case "S3" if action.category == "Deploy":
            if given["Extract"].lower() == "false" and not given.get("ObjectKey"):
                raise action_fault(f"{where}: ObjectKey is required when Extract is false.")
        case "CodeStarSourceConnection":
            if not re.fullmatch(r"[^/\s]+(/[^/\s]+)+", given["FullRepositoryId"]):
                raise action_fault(f"{where}: FullRepositoryId must have the form owner/repository.")


def _cloudformation(where: str, action: DeclaredAction) -> None:
    given = action.configuration
    mode = given["ActionMode"]
    if "#{" in mode:
        return
    needed = {
        "CREATE_UPDATE": ("RoleArn", "TemplatePath"),
        "REPLACE_ON_FAILURE": ("RoleArn", "TemplatePath"),
        "CHANGE_SET_REPLACE": ("RoleArn", "TemplatePath", "ChangeSetName"),
        "CHANGE_SET_EXECUTE": ("ChangeSetName",),
        "DELETE_ONLY": ("RoleArn",),
    }[mode]
    missing = [key for key in needed if not given.get(key)]
    if missing:
        raise action_fault(f"{where} is missing configuration that {mode} needs: {', '.join(missing)}.")
    for key in ("TemplatePath", "TemplateConfiguration"):
        value = given.get(key, "")
        if not value or "#{" in value:
            continue
        artifact, found, path = value.partition("::")
        if not found or not path:
            raise action_fault(f"{where}: {key} must have the form ArtifactName::path/in/artifact, not {value}.")
        if artifact not in action.inputs:
            raise action_fault(
                f"{where}: {key} names artifact {artifact}, which is no input artifact of the action."
            )
    overrides = given.get("ParameterOverrides", "")
    if overrides:
        read = _json(overrides)
        if not isinstance(read, dict):
            raise action_fault(f"{where}: ParameterOverrides must be a JSON object.")
        for name, value in read.items():
            _function(where, action, name, value)
    if given.get("OutputFileName") and not action.outputs:
        raise action_fault(f"{where}: OutputFileName needs an output artifact.")


def _function(where: str, action: DeclaredAction, name: str, value: object) -> None:
    if not isinstance(value, dict):
        return
    (function, arguments) = next(iter(value.items()), ("", None)) if len(value) == 1 else ("", None)
    counts = {"Fn::GetParam": 3, "Fn::GetArtifactAtt": 2}
    if function not in counts or not isinstance(arguments, list) or len(arguments) != counts[function]:
        raise action_fault(
            f"{where}: parameter {name} must be text, "
            '{"Fn::GetParam": [artifact, file, key]} or {"Fn::GetArtifactAtt": [artifact, attribute]}.'
        )
    if arguments[0] not in action.inputs:
        raise action_fault(
            f"{where}: {function} of parameter {name} names artifact {arguments[0]}, which is no input artifact "
            "of the "
            "action."
        )


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


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

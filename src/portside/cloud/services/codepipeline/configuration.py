"""Whether an action's configuration is one that its provider takes.

Pure. Keys and values by the tables of `offered.py`, and what goes together by provider. Values that refer to
variables are not known yet: they are left to the action.
"""

from __future__ import annotations

import json
import re

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.codepipeline import offered
from portside.cloud.services.codepipeline.structure import Action


def action_fault(message: str) -> AwsError:
    return AwsError("InvalidActionDeclarationException", message)


def check_configuration(where: str, action: Action, offer: offered.Offer) -> None:
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
    _provider(where, action)


def _provider(where: str, action: Action) -> None:
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


def _cloudformation(where: str, action: Action) -> None:
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


def _function(where: str, action: Action, name: str, value: object) -> None:
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

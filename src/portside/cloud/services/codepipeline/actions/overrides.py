"""Parameters, tags and outputs of the CloudFormation action: the configuration file, overrides and their
functions.

What is read from artifacts is read through the `Job`; the rest is pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from portside.cloud.services.calls import Params
from portside.cloud.services.codepipeline.actions.job import ActionFailure, Job


@dataclass(frozen=True, slots=True)
class Settings:
    """What goes along with the template."""

    parameters: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    policy: str = ""

    def params(self) -> Params:
        made: Params = {
            "Parameters": [
                {"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()
            ]
        }
        if self.tags:
            made["Tags"] = [{"Key": key, "Value": value} for key, value in self.tags.items()]
        if self.policy:
            made["StackPolicyBody"] = self.policy
        return made


async def settings(job: Job) -> Settings:
    """The template configuration, if there is one, under the overrides."""
    parameters: dict[str, str] = {}
    tags: dict[str, str] = {}
    policy = ""
    place = job.configuration.get("TemplateConfiguration")
    if place:
        artifact, path = split(job, "TemplateConfiguration", place)
        document = await _json(job, artifact, path, "template configuration file")
        if unknown := sorted(document.keys() - {"Parameters", "Tags", "StackPolicy"}):
            raise ActionFailure(
                f"The template configuration file {path} in artifact {artifact} of {job.where} has unknown "
                "members: "
                f"{', '.join(unknown)}.",
                "ConfigurationError",
            )
        parameters |= _texts(job, document.get("Parameters"), f"Parameters of {path}")
        tags |= _texts(job, document.get("Tags"), f"Tags of {path}")
        if document.get("StackPolicy"):
            policy = json.dumps(document["StackPolicy"])
    overrides = job.configuration.get("ParameterOverrides")
    if overrides:
        parameters |= await _overrides(job, overrides)
    return Settings(parameters, tags, policy)


def split(job: Job, key: str, place: str) -> tuple[str, str]:
    """`Artifact::path`."""
    artifact, found, path = place.partition("::")
    if not found or not artifact or not path:
        raise ActionFailure(
            f"{key} of {job.where} must have the form ArtifactName::path/in/artifact, not {place}.",
            "ConfigurationError",
        )
    return artifact, path


async def _overrides(job: Job, text: str) -> dict[str, str]:
    try:
        given: Any = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise ActionFailure(f"ParameterOverrides of {job.where} is not a JSON object.", "ConfigurationError")
    return {str(name): await _value(job, str(name), value) for name, value in given.items()}


async def _value(job: Job, name: str, value: Any) -> str:
    if isinstance(value, dict) and len(value) == 1:
        ((function, arguments),) = value.items()
        if function == "Fn::GetParam" and isinstance(arguments, list) and len(arguments) == 3:
            return await _from_file(job, name, *(str(each) for each in arguments))
        if function == "Fn::GetArtifactAtt" and isinstance(arguments, list) and len(arguments) == 2:
            return _attribute(job, name, *(str(each) for each in arguments))
    return _text(job, value, f"parameter {name}")


async def _from_file(job: Job, name: str, artifact: str, path: str, key: str) -> str:
    document = await _json(job, artifact, path, "file")
    if key not in document:
        raise ActionFailure(
            f"Fn::GetParam of parameter {name}: file {path} in artifact {artifact} of {job.where} has no key "
            f"{key}.",
            "ConfigurationError",
        )
    return _text(job, document[key], f"key {key} of {path}")


def _attribute(job: Job, name: str, artifact: str, attribute: str) -> str:
    found = job.input(artifact)
    values = {
        "BucketName": found.bucket,
        "ObjectKey": found.key,
        "URL": f"https://{found.bucket}.s3.amazonaws.com/{found.key}",
    }
    if attribute not in values:
        raise ActionFailure(
            f"Fn::GetArtifactAtt of parameter {name} in {job.where}: an artifact has no attribute {attribute}, "
            "only "
            f"{', '.join(values)}.",
            "ConfigurationError",
        )
    return values[attribute]


async def _json(job: Job, artifact: str, path: str, noun: str) -> Params:
    data = await job.file(artifact, path)
    try:
        document: Any = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ActionFailure(
            f"The {noun} {path} in artifact {artifact} of {job.where} is not a JSON object.", "ConfigurationError"
        )
    return document


def _texts(job: Job, given: Any, what: str) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ActionFailure(f"{what} for {job.where} is not a JSON object.", "ConfigurationError")
    return {str(key): _text(job, value, f"{key} in {what}") for key, value in given.items()}


def _text(job: Job, value: Any, what: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, list) and all(isinstance(each, (str, int)) for each in value):
        return ",".join(str(each) for each in value)
    raise ActionFailure(f"The value of {what} for {job.where} is not text.", "ConfigurationError")

"""From properties in CloudFormation's spelling to the parameters of an API operation.

Pure. The operation's botocore shape tells the spelling (`ContainerDefinitions` -> `containerDefinitions`) and
the type of every value, so that no type needs a table of its own but for the few names that really differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from botocore.model import Shape

from portside.cloud.protocol.models import model
from portside.cloud.services.calls import Params


def request(
    service: str, operation: str, properties: Mapping[str, Any], renamed: Mapping[str, str] | None = None
) -> Params:
    """The properties that the operation takes, as it takes them. `renamed` maps CloudFormation's names, at any
    depth, to the API's."""
    described = model(service)
    assert described is not None
    shape = described.operation_model(operation).input_shape
    assert shape is not None
    found: Params = _convert(shape, properties, renamed or {})
    return found


def _convert(shape: Shape, value: Any, renamed: Mapping[str, str]) -> Any:
    if getattr(shape, "is_document_type", False):
        return value
    match shape.type_name:
        case "structure" if isinstance(value, Mapping):
            spelling = _spelling(shape)
            found = {}
            for name, member in value.items():
                target = spelling.get(renamed.get(name, name).lower())
                if target is not None:
                    found[target] = _convert(shape.members[target], member, renamed)
            return found
        case "list" if isinstance(value, list):
            return [_convert(shape.member, member, renamed) for member in value]
        case "map" if isinstance(value, Mapping):
            return {str(key): _convert(shape.value, member, renamed) for key, member in value.items()}
        case "string":
            return text(value)
        case "integer" | "long":
            return int(value)
        case "float" | "double":
            return float(value)
        case "boolean" if isinstance(value, str):
            return value.lower() == "true"
    return value


def lost(
    service: str, operation: str, properties: Mapping[str, Any], renamed: Mapping[str, str] | None = None
) -> list[str]:
    """The paths in `properties` that the operation does not take, `LoggingConfig/LogGroup`."""
    described = model(service)
    assert described is not None
    shape = described.operation_model(operation).input_shape
    return list(properties) if shape is None else _lost(shape, properties, renamed or {}, "")


def _lost(shape: Shape, value: Any, renamed: Mapping[str, str], path: str) -> list[str]:
    found: list[str] = []
    if getattr(shape, "is_document_type", False):
        return found
    if shape.type_name == "structure" and isinstance(value, Mapping):
        spelling = _spelling(shape)
        for name, member in value.items():
            target = spelling.get(renamed.get(name, name).lower())
            below = f"{path}/{name}" if path else name
            found += [below] if target is None else _lost(shape.members[target], member, renamed, below)
    elif shape.type_name == "list" and isinstance(value, list):
        for member in value:
            found += _lost(shape.member, member, renamed, path)
    elif shape.type_name == "map" and isinstance(value, Mapping):
        for key, member in value.items():
            found += _lost(shape.value, member, renamed, f"{path}/{key}")
    return list(dict.fromkeys(found))


@lru_cache(maxsize=256)
def _spelling(shape: Shape) -> dict[str, str]:
    return {name.lower(): name for name in shape.members}


def text(value: Any) -> str:
    """Documents (policies, for instance) as JSON, scalars as CloudFormation writes them."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def versioned(policy: Mapping[str, Any]) -> Params:
    """A policy that says no version, or the first one, with the second.

    To IAM the two are the same; the ancillary services take none but the second, and no policy without variables
    means anything else in it.
    """
    if policy.get("Version", "2008-10-17") != "2008-10-17":
        return dict(policy)
    return {"Version": "2012-10-17"} | {key: value for key, value in policy.items() if key != "Version"}

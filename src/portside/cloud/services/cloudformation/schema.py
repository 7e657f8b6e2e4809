"""What is known of a resource type: the registry schema that cfn-lint ships, loaded one type at a time.

Owns the loading and the facts drawn from it: which properties are create-only (their change replaces the
resource), which attributes GetAtt knows, what identifies it. Whether properties fit is `properties.py`. The JSON
files are read directly, for importing cfn-lint costs more than all of this service.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# The provider index of this region names the schema of every type; schemas hardly differ between regions.
_INDEX_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Schema:
    """The facts of one type. Paths are split: `("EncryptionConfiguration", "KmsKey")`."""

    type: str
    document: dict[str, Any]
    create_only: tuple[tuple[str, ...], ...]
    conditional: tuple[tuple[str, ...], ...]
    attributes: frozenset[str]
    identifier: tuple[str, ...] = ()
    # Whether it may have any property, and any attribute.
    open: bool = False

    @property
    def permissions(self) -> frozenset[str]:
        """The IAM actions that AWS itself needs for the type; empty where the registry does not say."""
        handlers = self.document.get("handlers", {})
        return frozenset(each for one in handlers.values() for each in one.get("permissions", ()))

    @property
    def properties(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document.get("properties", {})
        return found

    @property
    def tag_property(self) -> str:
        """The property that holds the resource's own tags; there need not be one."""
        tagging = self.document.get("tagging", {})
        path = tagging.get("tagProperty", "/properties/Tags") if isinstance(tagging, dict) else "/properties/Tags"
        return str(path).rpartition("/")[2]

    def has_attribute(self, name: str) -> bool:
        """Registry types answer GetAtt for their read-only properties, and for those that were set as well."""
        return self.open or name in self.attributes or name.split(".")[0] in self.properties

    def resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        """The node behind a `$ref`."""
        while "$ref" in node:
            target: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node


@cache
def _folder() -> Path:
    # find_spec of a top-level package does not import it.
    spec = find_spec("cfnlint")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("cfn-lint, which holds the registry schemas, is not installed")
    return Path(spec.submodule_search_locations[0]) / "data" / "schemas"


@cache
def known_types() -> dict[str, str]:
    """Every type of the registry, with the name of its schema file."""
    found: dict[str, str] = json.loads((_folder() / "providers" / f"{_INDEX_REGION}.json").read_text("utf-8"))
    return found


def _without_prose(node: dict[str, Any]) -> dict[str, Any]:
    if isinstance(node.get("description"), str):
        del node["description"]
    return node


@lru_cache(maxsize=64)
def load(kind: str) -> Schema | None:
    """The schema of a type, None if the registry has none of that name."""
    name = known_types().get(kind)
    if name is None:
        return None
    text = (_folder() / "resources" / f"{name}.json").read_text("utf-8")
    document = json.loads(text, object_hook=_without_prose)
    return Schema(
        type=kind,
        document=document,
        create_only=_paths(document, "createOnlyProperties"),
        conditional=_paths(document, "conditionalCreateOnlyProperties"),
        attributes=frozenset(".".join(path) for path in _paths(document, "readOnlyProperties")),
        identifier=tuple("/".join(path) for path in _paths(document, "primaryIdentifier")),
    )


def custom(kind: str) -> Schema:
    """That of a custom resource, whose properties only those know who make it."""
    known = {
        "ServiceToken": {"type": "string"},
        "ServiceTimeout": {"type": "integer", "minimum": 1, "maximum": 3600},
    }
    document = {"type": "object", "properties": known, "required": ["ServiceToken"], "additionalProperties": True}
    return Schema(kind, document, (("ServiceToken",),), (), frozenset(), open=True)


def _paths(document: dict[str, Any], key: str) -> tuple[tuple[str, ...], ...]:
    return tuple(
        tuple(part for part in path.removeprefix("/properties/").split("/") if part != "properties")
        for path in document.get(key, [])
    )

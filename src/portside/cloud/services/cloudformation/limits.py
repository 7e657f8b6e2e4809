"""How large a template may be, and each of its parts.

Pure. Owns the quotas of CloudFormation and the texts of their violation; how they are counted after a transform
is the same, for only the processed template counts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from portside.cloud.services.cloudformation.documents import invalid

RESOURCES = 500
PARAMETERS = 200
OUTPUTS = 200
MAPPINGS = 200
MAPPING_ATTRIBUTES = 200
DYNAMIC_REFERENCES = 60
NAME_CHARACTERS = 255
DESCRIPTION_BYTES = 1024
PARAMETER_DESCRIPTION_CHARACTERS = 4000
PARAMETER_VALUE_BYTES = 4096
BODY_BYTES = 51_200
STORED_BYTES = 1_048_576
STACK_TAGS = 50


def check(document: dict[str, Any]) -> None:
    """The number of members in each section, and how long their names are."""
    for section, noun, most in (
        ("Resources", "resources", RESOURCES),
        ("Parameters", "parameters", PARAMETERS),
        ("Outputs", "outputs", OUTPUTS),
        ("Mappings", "mappings", MAPPINGS),
    ):
        members = document.get(section)
        if isinstance(members, dict):
            count(noun, members, most)
            for name in members:
                if len(name) > NAME_CHARACTERS:
                    raise invalid(
                        f"Template format error: {section} name {name[:40]}... is longer than "
                        f"{NAME_CHARACTERS} characters."
                    )
    mappings = document.get("Mappings")
    for name, mapping in mappings.items() if isinstance(mappings, dict) else ():
        if isinstance(mapping, dict):
            count(f"mapping attributes in {name}", mapping, MAPPING_ATTRIBUTES)


def count(noun: str, members: Collection[Any], most: int) -> None:
    if len(members) > most:
        raise invalid(
            f"Template format error: Number of {noun}, {len(members)}, is greater than maximum allowed, {most}"
        )

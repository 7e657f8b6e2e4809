"""Later versions of launch templates, whose user data moto does not read as it reads that of the first.

Owns the correction: without it no instance can be launched from such a version. It changes nothing where moto has
learned to read it.
"""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def install() -> None:
    """Before the first request for EC2."""
    from moto.ec2.models.launch_templates import LaunchTemplate
    from moto.ec2.utils import parse_user_data

    create = LaunchTemplate.create_version

    def create_version(self: LaunchTemplate, data: dict[str, Any], description: str) -> Any:
        if isinstance(data.get("UserData"), str):
            data = data | {"UserData": parse_user_data(data["UserData"])}
        return create(self, data, description)

    LaunchTemplate.create_version = create_version

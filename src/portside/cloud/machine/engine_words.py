"""Logins, progress and refusals in the forms in which the engine's API has them.

Pure. Used by all that stand between a client and the engine.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any


def message_of(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def reason_of(body: bytes) -> str:
    return str(message_of(body).get("message") or body.decode("utf-8", "replace").strip())


def decoded_login(header: str) -> dict[str, Any]:
    """A client's X-Registry-Auth or X-Registry-Config."""
    try:
        return message_of(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (binascii.Error, ValueError):
        return {}


def logins_of(header: str) -> dict[str, dict[str, Any]]:
    found = {}
    for server, login in decoded_login(header).items():
        if isinstance(login, dict):
            found[server.split("://", 1)[-1].partition("/")[0]] = login
    return found


def addressed(login: dict[str, Any], server: str) -> dict[str, str]:
    """The client's login, addressed to where the engine finds the registry. Without one the header is there too:
    engines want it for a push, and would speak of it instead of the missing login."""
    content = login and {
        "username": login.get("username") or "",
        "password": login.get("password") or "",
        "auth": login.get("auth") or "",
        "serveraddress": server,
    }
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(content).encode()).decode()}

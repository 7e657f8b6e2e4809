"""portside connect: which local checkout stands for OWNER/REPO on the local cloud.

Asks the local cloud's own page, which is no part of the AWS API, for on AWS a repository is where it is.
"""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from portside.cli.terminal import Terminal
from portside.cloud.process import Running
from portside.deploy.errors import DeployError, NotAccepted, Unreachable

PAGE = "/_portside/repositories"
LIMIT = 30


def listed(running: Running) -> dict[str, str]:
    """Name -> path of everything that is bound."""
    answer = _ask(running, "GET", PAGE)
    return {row["name"]: row["path"] for row in answer["repositories"]}


def bind(running: Running, name: str, path: Path) -> str:
    """The path as the cloud knows it."""
    answer = _ask(running, "PUT", f"{PAGE}/{quote(name)}", {"path": str(path.resolve())})
    return str(answer["path"])


def unbind(running: Running, name: str) -> None:
    _ask(running, "DELETE", f"{PAGE}/{quote(name)}")


def connect(
    terminal: Terminal, running: Running, name: str | None, path: Path | None, remove: bool, as_json: bool
) -> None:
    if name is None:
        if remove:
            raise DeployError("there is nothing to remove", "no repository is named", "Name one: OWNER/REPO.")
        _list(terminal, running, as_json)
        return
    if remove:
        unbind(running, name)
        terminal.say(f"{name} is no longer bound to a checkout.")
        return
    if path is None:
        bound = listed(running).get(name)
        if bound is None:
            raise DeployError(f"{name} is bound to no checkout", "", f"Bind it: `portside connect {name} PATH`.")
        terminal.data(bound)
        return
    terminal.say(f"{name} is now {bind(running, name, path)}.")
    terminal.say("A commit on a branch that a pipeline follows starts it. The checkout is only read.")


def _list(terminal: Terminal, running: Running, as_json: bool) -> None:
    found = listed(running)
    if as_json:
        terminal.json([{"name": name, "path": path} for name, path in sorted(found.items())])
        return
    if not found:
        terminal.say("No repository is bound. Bind one: `portside connect OWNER/REPO PATH`.")
    width = max((len(name) for name in found), default=0)
    for name, path in sorted(found.items()):
        terminal.data(f"{name:<{width}}  {path}")


def _ask(running: Running, method: str, path: str, body: dict[str, str] | None = None) -> Any:
    connection = http.client.HTTPConnection(running.address, running.port, timeout=LIMIT)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    except OSError as error:
        raise Unreachable("the local cloud does not answer", str(error), "See `portside cloud status`.") from error
    finally:
        connection.close()
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        found = {}
    if answer.status >= 300:
        why = found.get("message", "") if isinstance(found, dict) else ""
        raise NotAccepted(
            "the repository cannot be bound" if method == "PUT" else "the local cloud refused",
            why or f"it answered {answer.status}",
            "Name a git checkout: `portside connect OWNER/REPO PATH`.",
        )
    return found

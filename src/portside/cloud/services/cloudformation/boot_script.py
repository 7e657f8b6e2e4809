"""What an instance's user data would tell CloudFormation, if it ran.

Pure. Finds calls of `cfn-signal` and of the API's own command in shell scripts. Who reports, and when, is
`instances.py`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from portside.cloud.services import user_data

_COMMAND = re.compile(r"(?:cfn-signal(?:\.exe)?|cloudformation\s+signal-resource)\s+([^\n;|&]*)")
_LONG = {
    "--stack": "stack", "--stack-name": "stack", "--resource": "resource", "--logical-resource-id": "resource",
    "--region": "region", "--success": "success", "--status": "success", "--exit-code": "exit", "-e": "exit",
    "-s": "s", "-r": "r", "--reason": "", "--data": "", "-d": "", "--id": "", "-i": "", "--unique-id": "",
    "--role": "", "--url": "", "--credential-file": "", "-f": "", "--access-key": "", "--secret-key": "",
    "--http-proxy": "", "--https-proxy": "", "--profile": "", "--output": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One signal that a script sends: to a resource of a stack, or to the URL of a handle."""

    stack: str = ""
    resource: str = ""
    region: str = ""
    url: str = ""
    success: bool = True


def calls(script: str) -> tuple[Call, ...]:
    return tuple(_call(found[1]) for found in _COMMAND.finditer(user_data.commands(script)))


def _call(text: str) -> Call:
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.replace('"', " ").replace("'", " ").split()
    given: dict[str, str] = {}
    url = ""
    position = 0
    while position < len(words):
        name, equals, value = words[position].partition("=")
        position += 1
        if name in _LONG:
            if not equals and position < len(words):
                value = words[position]
                position += 1
            given.setdefault(_LONG[name] or name, value)
        elif words[position - 1].startswith(("http://", "https://")):
            url = words[position - 1]
    stack, resource, success = given.get("stack", ""), given.get("resource", ""), given.get("success", "true")
    # By cfn-signal's own help -s is the success and -r the reason; scripts that mean stack and resource are read
    # as they were meant.
    if given.get("s", "").lower() in ("true", "false"):
        success = given["s"]
    else:
        stack = stack or given.get("s", "")
    resource = resource or given.get("r", "")
    exit_code = given.get("exit", "0")
    failed = success.lower() in ("false", "failure") or (exit_code.isdigit() and exit_code != "0")
    return Call(stack, resource, given.get("region", ""), url or given.get("--url", ""), not failed)

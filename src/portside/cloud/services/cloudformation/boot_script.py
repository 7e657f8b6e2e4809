"""What an instance's user data would tell CloudFormation, if it ran.

Pure. Finds calls of `cfn-signal` and of the API's own command in shell scripts and the cluster that the container
agent is told to join. Who reports, and when, is `instances.py`.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import re
import shlex
from dataclasses import dataclass

_COMMAND = re.compile(r"(?:cfn-signal(?:\.exe)?|cloudformation\s+signal-resource)\s+([^\n;|&]*)")
_CLUSTER = re.compile(r"""ECS_CLUSTER\s*=\s*["']?([A-Za-z0-9_-]{1,255})""")
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


def decoded(encoded: str) -> str:
    """User data as EC2 gives it: base64, perhaps gzipped inside."""
    raw = encoded.encode()
    for _ in range(2):
        if not re.fullmatch(rb"[A-Za-z0-9+/\s]{8,}={0,2}\s*", raw):
            break
        try:
            raw = base64.b64decode(raw)
        except (binascii.Error, ValueError):
            break
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except OSError:
            return ""
    return raw.decode("utf-8", "replace")


def cluster(script: str) -> str:
    """The cluster that the script's agent joins, empty if it names none."""
    found = _CLUSTER.findall(_without_comments(script))
    return str(found[-1]) if found else ""


def calls(script: str) -> tuple[Call, ...]:
    joined = re.sub(r"\\\r?\n", " ", _without_comments(script))
    return tuple(_call(found[1]) for found in _COMMAND.finditer(joined))


def _without_comments(script: str) -> str:
    return "\n".join(line for line in script.splitlines() if not line.lstrip().startswith("#") or "#!" in line[:2])


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

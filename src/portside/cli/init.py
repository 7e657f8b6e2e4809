"""portside init: write a commented portside.toml from what the Dockerfile says."""

from __future__ import annotations

import re
from pathlib import Path

from portside.blueprint.settings import FILE_NAME, parse
from portside.cli.terminal import Terminal
from portside.deploy.errors import DeployError

DEFAULT_PORT = 3000
USUAL_PLACES = ("Dockerfile", "docker/Dockerfile", "build/Dockerfile", "deploy/Dockerfile")


def init(terminal: Terminal, directory: Path, name: str | None, force: bool) -> None:
    path = directory / FILE_NAME
    if path.exists() and not force:
        raise DeployError(f"{path} exists already", "", "Edit it, or write it anew with --force.")
    dockerfile = find_dockerfile(directory)
    text = (directory / dockerfile).read_text(encoding="utf-8", errors="replace")
    port = exposed_port(text)
    app = name or app_name(directory.resolve().name)
    content = render(app, dockerfile, port or DEFAULT_PORT, node_argument(text))
    parse(content, path)
    path.write_text(content, encoding="utf-8")
    terminal.say(f"Wrote {path}: app {app}, {dockerfile}, port {port or DEFAULT_PORT}.")
    if port is None:
        terminal.say(
            f"{dockerfile} exposes no port, so {DEFAULT_PORT} is a guess: correct service.port if need be."
        )
    terminal.say("Next: `portside up`.")


def find_dockerfile(directory: Path) -> str:
    """Relative to the directory. Raises DeployError if there is none, or more than one and none at the top."""
    for usual in USUAL_PLACES:
        if (directory / usual).is_file():
            return usual
    found = sorted(
        path.relative_to(directory).as_posix()
        for path in directory.glob("*/Dockerfile")
        if not path.parts[-2].startswith((".", "node_modules"))
    )
    if len(found) == 1:
        return found[0]
    if found:
        raise DeployError(
            f"{directory} has several Dockerfiles",
            ", ".join(found),
            "Run `portside init` in the directory of the one you mean.",
        )
    raise DeployError(f"there is no Dockerfile in {directory}", "", "Write one, or name the app's directory.")


def exposed_port(dockerfile: str) -> int | None:
    """The first TCP port of the last stage's EXPOSE lines. Arguments and ranges count if they have a number."""
    arguments: dict[str, str] = {}
    port: int | None = None
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        words = line.strip().split()
        if not words:
            continue
        match words[0].upper():
            case "FROM":
                port = None
            case "ARG" | "ENV" if len(words) > 1:
                key, found, value = words[1].partition("=")
                arguments[key] = value.strip("\"'") if found else " ".join(words[2:])
            case "EXPOSE" if port is None:
                for word in words[1:]:
                    number, _, protocol = word.partition("/")
                    number = re.sub(r"\$\{?(\w+)\}?", lambda m: arguments.get(m[1], ""), number).split("-")[0]
                    if protocol.lower() in ("", "tcp") and number.isdigit() and 0 < int(number) < 65536:
                        port = int(number)
                        break
    return port


def node_argument(dockerfile: str) -> str | None:
    """The build argument that names a Node base image, if the Dockerfile has one."""
    for line in dockerfile.splitlines():
        if re.match(r"(?i)\s*FROM\s", line):
            return None
        found = re.match(r"(?i)\s*ARG\s+(\w+)\s*=\s*[\"']?(?:[\w.\-:]+/)*node[:@\"'\s]?", line)
        if found:
            return found[1]
    return None


def app_name(directory: str) -> str:
    """A name that stacks and repositories may have, from that of a directory."""
    made = re.sub(r"[^a-z0-9]+", "-", directory.lower()).strip("-")
    made = made if made[:1].isalpha() else f"app-{made}".strip("-")
    return made[:32].strip("-") if len(made) > 1 else "app"


def render(name: str, dockerfile: str, port: int, node: str | None) -> str:
    context = Path(dockerfile).parent.as_posix()
    file = Path(dockerfile).name
    offline = (
        f"\n# Build argument that names the Node base image; where it cannot be pulled, portside makes one.\n"
        f'node_base_argument = "{node}"\n'
        if node
        else ""
    )
    return f"""\
# What portside needs to know about this app. Every key is described in docs/reference/settings.md.

# Part of every stack's name, and the name of the image repository.
name = "{name}"

[build]
# Both relative to this file; the Dockerfile to the context.
context = "{context}"
dockerfile = "{file}"
{offline}
[service]
# The port that the container listens on.
port = {port}
# CPU units (1024 are one core) and MiB. The container is killed above `memory`.
cpu = 256
memory = 256
memory_reservation = 128
# Copies of the app.
count = 1

[service.health_check]
# Asked with GET; the load balancer sends requests only to copies that answer with these codes.
path = "/"
success_codes = "200"

# Variables for the app. No secrets: they would be readable in the template.
[service.environment]

[load_balancer]
# The port that people connect to.
port = 3000

[cluster]
instance_type = "t3.small"

# Each environment has its own cluster and load balancer, and may set count, instance_type and environment.
[environments.staging]

[environments.production]
count = 2
"""

"""portside logs: what the app's containers print."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from portside.cli.context import Work
from portside.cli.terminal import Terminal
from portside.deploy import logs as reading
from portside.deploy.errors import DeployError
from portside.deploy.logs import Line

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def logs(terminal: Terminal, work: Work, follow: bool, since: str, as_json: bool) -> None:
    group = reading.group(work.aws, work.app.service_stack(work.environment))
    start = int((time.time() - seconds(since)) * 1000)  # noqa: TID251 - a person's "ten minutes ago"
    lines = reading.follow(work.aws, group, start) if follow else iter(reading.read(work.aws, group, start))
    for line in lines:
        if as_json:
            terminal.data(render_json(line))
        else:
            terminal.data(render(line))


def seconds(text: str) -> int:
    """`90s`, `10m`, `2h`, `1d`."""
    found = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if not found:
        raise DeployError(f"{text!r} is no span of time", "", "Write 90s, 10m, 2h or 1d.")
    return int(found[1]) * UNITS[found[2]]


def render(line: Line) -> str:
    at = datetime.fromtimestamp(line.at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return f"{at} {line.task[:8]} {line.text}"


def render_json(line: Line) -> str:
    import json

    return json.dumps({"at": line.at, "task": line.task, "stream": line.stream, "message": line.text})

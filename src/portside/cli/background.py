"""What the quick commands do: start, stop and env of the local cloud.

Loads nothing but what they need, for they are to take no longer than the cloud itself. `entry.py` calls them
directly, `cloud.py` makes them commands with help.
"""

from __future__ import annotations

import os

from portside import engines
from portside.cli import variables
from portside.cli.context import place
from portside.cli.exits import UNREACHABLE, Failure
from portside.cli.terminal import Terminal
from portside.cloud import process
from portside.cloud import settings as cloud_settings


def start() -> None:
    terminal = Terminal()
    home = place()
    running = process.find(home)
    if running is not None:
        terminal.say(f"The local cloud already runs at {running.endpoint}.")
        return
    running = process.start(home, cloud_settings.read(home, os.environ))
    terminal.say(f"The local cloud runs at {running.endpoint}.")
    terminal.say('`eval "$(portside cloud env)"` points AWS clients and docker at it.')


def stop() -> None:
    home = place()
    stopped = process.stop(home, cloud_settings.read(home, os.environ))
    terminal = Terminal()
    terminal.say("The local cloud is stopped." if stopped else "The local cloud does not run.")
    for line in variables.leave_docker(os.environ):
        terminal.say(f"docker in this shell still looks for it: `{line}`.")


def env() -> bool:
    """False if there is no cloud to point at."""
    terminal = Terminal()
    home = place()
    running = process.find(home)
    if running is None:
        next_step = "Start it with `portside cloud start`."
        terminal.fail(Failure(UNREACHABLE, "the local cloud does not run", "", next_step))
        for line in variables.leave_docker(os.environ):
            terminal.data(line)
        return False
    docker = f"unix://{home.docker_socket}"
    if not home.docker_socket.exists() or not engines.answers(docker):
        docker = ""
    path = str(home.docker_socket)
    if len(path) > engines.LONGEST_SOCKET_PATH:
        terminal.say(f"docker is not pointed at the local cloud: no socket can have a path as long as {path}.")
        terminal.say("Set PORTSIDE_HOME to a shorter one, and start the cloud there.")
    engine = variables.named_engine(os.environ, cloud_settings.read(home, os.environ).engine)
    for line in variables.lines(running, os.environ, docker, engine):
        terminal.data(line)
    return True

"""What the quick commands do: start, stop and env of the local cloud.

Loads nothing but what they need, for they are to take no longer than the cloud itself. `entry.py` calls them
directly, `cloud.py` makes them commands with help.
"""

from __future__ import annotations

import os
import shlex

from portside.cli.context import LOCAL_ACCESS_KEY, LOCAL_SECRET_KEY, place
from portside.cli.exits import UNREACHABLE, Failure
from portside.cli.terminal import Terminal
from portside.cloud import process
from portside.cloud import settings as cloud_settings
from portside.cloud.process import Running


def start() -> None:
    terminal = Terminal()
    home = place()
    running = process.find(home)
    if running is not None:
        terminal.say(f"The local cloud already runs at {running.endpoint}.")
        return
    running = process.start(home, cloud_settings.read(home, os.environ))
    terminal.say(f"The local cloud runs at {running.endpoint}.")
    terminal.say('`eval "$(portside cloud env)"` points AWS clients at it.')


def stop() -> None:
    home = place()
    stopped = process.stop(home, cloud_settings.read(home, os.environ))
    Terminal().say("The local cloud is stopped." if stopped else "The local cloud does not run.")


def env() -> bool:
    """False if there is no cloud to point at."""
    terminal = Terminal()
    running = process.find(place())
    if running is None:
        next_step = "Start it with `portside cloud start`."
        terminal.fail(Failure(UNREACHABLE, "the local cloud does not run", "", next_step))
        return False
    for name, value in variables(running).items():
        terminal.data(f"export {name}={shlex.quote(value)}")
    # A profile that is set would win over the keys above.
    terminal.data("unset AWS_PROFILE AWS_SESSION_TOKEN")
    return True


def variables(running: Running) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": running.endpoint,
        "AWS_REGION": running.region,
        "AWS_DEFAULT_REGION": running.region,
        "AWS_ACCESS_KEY_ID": LOCAL_ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": LOCAL_SECRET_KEY,
    }

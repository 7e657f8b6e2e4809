"""What a command works on: the app, the environment, and the target that it is deployed to.

Imports what is heavy when it is used: `portside cloud start` needs none of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from portside.cli.terminal import Terminal
from portside.cloud import process
from portside.cloud import settings as cloud_settings
from portside.cloud.process import Running
from portside.cloud.settings import Home
from portside.deploy.errors import DeployError, Unreachable

if TYPE_CHECKING:
    from portside.blueprint.app import App
    from portside.deploy.api import Aws, Target

LOCAL = "local"
AWS = "aws"
# Any key pair will do on the local cloud. These are the names that people know from AWS's documentation.
LOCAL_ACCESS_KEY = "portside"
LOCAL_SECRET_KEY = "portside"  # noqa: S105 - not a secret: the local cloud takes any


def place() -> Home:
    return cloud_settings.home(os.environ)


def has_state() -> bool:
    """Whether a local cloud runs, or has ever stored anything."""
    home = place()
    return process.find(home) is not None or (home.state / "state.db").exists()


def local_target(running: Running) -> Target:
    from portside.deploy.api import Target

    return Target(
        name="the local cloud",
        endpoint=running.endpoint,
        region=running.region,
        access_key=LOCAL_ACCESS_KEY,
        secret_key=LOCAL_SECRET_KEY,
        poll=0.15,
    )


@dataclass(frozen=True, slots=True)
class Work:
    """One app in one environment on one target. `running` is the local cloud, None for AWS."""

    directory: Path
    app: App
    environment: str
    aws: Aws
    running: Running | None


def open_app(directory: Path, environment: str | None) -> App:
    from portside.blueprint.app import App
    from portside.blueprint.settings import load

    app = App(load(directory))
    if environment is not None and environment not in app.settings.environments:
        known = ", ".join(sorted(app.settings.environments))
        raise DeployError(
            f"{app.name} has no environment {environment}",
            f"portside.toml names {known}",
            f"Add [environments.{environment}] or choose one of them with --env.",
        )
    return app


def open_work(terminal: Terminal, directory: Path, environment: str, target: str, *, start: bool) -> Work:
    """`start`: start the local cloud if it does not run."""
    from portside.deploy.api import Aws, Target

    app = open_app(directory, environment)
    if target == AWS:
        return Work(directory, app, environment, Aws(Target(name="AWS")), None)
    running = running_cloud(terminal, start=start)
    return Work(directory, app, environment, Aws(local_target(running)), running)


def open_delivery(terminal: Terminal, directory: Path, target: str) -> Work:
    """For the commands about an app's pipeline, which belongs to no environment."""
    app = open_app(directory, None)
    if app.settings.pipeline is None:
        raise DeployError(
            f"{app.name} has no pipeline",
            "portside.toml has no table [pipeline]",
            'Add [pipeline] with repository = "OWNER/REPO", and run `portside up`.',
        )
    return open_work(terminal, directory, next(iter(app.settings.environments)), target, start=False)


def running_cloud(terminal: Terminal, *, start: bool) -> Running:
    home = place()
    running = process.find(home)
    if running is None:
        if not start:
            raise Unreachable("the local cloud does not run", "", "Start it with `portside cloud start`.")
        running = process.start(home, cloud_settings.read(home, os.environ))
        terminal.say(f"Started the local cloud at {running.endpoint}.")
    return running

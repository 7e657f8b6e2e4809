"""How a deployment fails: what happened, why, and the next command to run.

One tree. The command line prints `str(error)` and `error.next` and exits with `error.exit_code`.
"""

from __future__ import annotations


class DeployError(Exception):
    """`what`: one sentence on what happened; `why`: the reason, if known; `next`: what to do about it."""

    exit_code = 1

    def __init__(self, what: str, why: str = "", next_step: str = "") -> None:
        super().__init__(f"{what}: {why}" if why else what)
        self.what = what
        self.why = why
        self.next = next_step


class StackFailed(DeployError):
    """A stack operation ended in a failed or rolled-back state."""

    exit_code = 3


class NotAccepted(DeployError):
    """AWS refused the request before anything was changed."""

    exit_code = 4


class Unreachable(DeployError):
    """The endpoint does not answer, or there are no credentials."""

    exit_code = 5


class TimedOut(DeployError):
    """The limit of a wait was reached. `why` names what was still being waited for."""

    exit_code = 6


class ImageFailed(DeployError):
    """The image could not be built or pushed."""

    exit_code = 7

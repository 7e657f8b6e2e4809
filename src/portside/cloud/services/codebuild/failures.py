"""How a phase of a build fails: the code and the text that a client finds in the phase's context."""

from __future__ import annotations

YAML_FILE_ERROR = "YAML_FILE_ERROR"
CLIENT_ERROR = "CLIENT_ERROR"
ACCESS_DENIED = "ACCESS_DENIED"
NO_IMAGE = "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE"
TIMED_OUT = "BUILD_TIMED_OUT"
INTERNAL = "INTERNAL_SERVICE_ERROR"


class PhaseFailed(Exception):
    """The phase ends as FAILED, for a reason that the user can do something about."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class BuildLost(Exception):
    """The build ends as FAULT: something of its own was taken away from it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

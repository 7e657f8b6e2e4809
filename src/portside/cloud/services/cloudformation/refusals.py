"""How a step fails, in AWS's words, and how long to wait before the next look.

Pure. Shared by what creates, updates and deletes.
"""

from __future__ import annotations

from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.cloudformation.resources.handler import Failure, PlainFailure, error_code, is_existing

FIRST_POLL = 0.15
LONGEST_POLL = 15.0
# How often something is tried that fails for a reason of its own.
CLEANUP_ATTEMPTS = 3


class Rejected(Exception):
    """The step failed; the text is the event's reason. `made` says that something may have been made."""

    def __init__(self, reason: str, *, made: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.made = made


def pause(polls: int) -> float:
    """Seconds before the next look: local things are fast, AWS-like ones need not be asked often."""
    return float(min(LONGEST_POLL, FIRST_POLL * 1.5 ** min(polls, 20)))


def told(message: str, token: str, code: str) -> str:
    return f'Resource handler returned message: "{message}" (RequestToken: {token}, HandlerErrorCode: {code})'


def failed(error: Failure, token: str) -> str:
    return error.message if isinstance(error, PlainFailure) else told(error.message, token, error.code)


def said(error: AwsError, token: str) -> str:
    code = error_code(error)
    if is_existing(error):
        code = "AlreadyExists"
    return told(f"{error.message} (Error Code: {error.code}, Status Code: {error.status})", token, code)

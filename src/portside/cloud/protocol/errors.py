"""The one error type that reaches AWS clients.

Raised anywhere in the cloud, turned into bytes only in `serialise.py`. `code` is the wire code, i.e. what
botocore puts into `error.response["Error"]["Code"]`; blame is the sender's unless the status is 5xx.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AwsError(Exception):
    """An answer of an AWS service that says no."""

    def __init__(self, code: str, message: str, status: int = 400, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.extra: Mapping[str, Any] = extra or {}

    @property
    def fault(self) -> str:
        return "Sender" if self.status < 500 else "Receiver"

"""The cloud's own log: JSON lines to one stream, secrets masked.

Owns the configuration of structlog; everything else gets a `Log` passed in and calls `log.info("what", key=...)`.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol, TextIO

SECRET_WORDS = ("password", "secret", "token", "authorization", "credential")
MASK = "****"


class Log(Protocol):
    """The part of structlog's bound logger that the cloud uses."""

    def bind(self, **values: Any) -> Log: ...
    def debug(self, event: str, **values: Any) -> None: ...
    def info(self, event: str, **values: Any) -> None: ...
    def warning(self, event: str, **values: Any) -> None: ...
    def error(self, event: str, **values: Any) -> None: ...


def mask_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the value of every key that names a secret, at any depth."""
    return {
        key: MASK
        if any(word in key.lower() for word in SECRET_WORDS)
        else mask_secrets(value)
        if isinstance(value, Mapping)
        else value
        for key, value in values.items()
    }


def configure(stream: TextIO) -> Log:
    """A logger that writes JSON lines to `stream`."""
    import structlog

    def mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        return mask_secrets(event)

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(stream),
        wrapper_class=structlog.make_filtering_bound_logger(20),
    )
    logger: Log = structlog.get_logger()
    return logger

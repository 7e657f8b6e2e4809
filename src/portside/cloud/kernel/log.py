"""The cloud's own log: JSON lines to one stream, secrets masked.

Owns the configuration of structlog; everything else gets a `Log` passed in and calls `log.info("what", key=...)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
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


class LazyLog:
    """Loads structlog with the first line that is written: it takes a tenth of a second, and an idle cloud has
    nothing to say."""

    def __init__(self, make: Callable[[], Log], values: Mapping[str, Any] | None = None) -> None:
        self._make = make
        self._values = dict(values or {})
        self._logger: Log | None = None

    def bind(self, **values: Any) -> Log:
        return LazyLog(self._make, self._values | values)

    def debug(self, event: str, **values: Any) -> None:
        self._real().debug(event, **values)

    def info(self, event: str, **values: Any) -> None:
        self._real().info(event, **values)

    def warning(self, event: str, **values: Any) -> None:
        self._real().warning(event, **values)

    def error(self, event: str, **values: Any) -> None:
        self._real().error(event, **values)

    def _real(self) -> Log:
        if self._logger is None:
            self._logger = self._make().bind(**self._values)
        return self._logger


def configure(stream: TextIO) -> Log:
    """A logger that writes JSON lines to `stream`."""
    return LazyLog(lambda: _configured(stream))


def _configured(stream: TextIO) -> Log:
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

"""What Envoy writes of each request, and how it is read: one line of JSON in a file that is closed now and then.

Owns the file. Envoy goes on writing to one that was renamed until it is told to open its files again, so a part is
complete only after that; what it had not written by then comes with the next part. Parts that nobody has forgotten
are found again after a crash. Lines that are cut off, as by `kill -9`, are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portside.cloud.machine.proxy import Endpoint, Served

Json = dict[str, Any]

FILE = "requests.log"
_TYPE = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
_FORMAT = {
    "route": "%ROUTE_NAME%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "endpoint": "%UPSTREAM_REMOTE_ADDRESS%",
    "client": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
    "begin": "%START_TIME(%s.%6f)%",
    "whole": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
    "request": "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%",
    "target": "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:us)%",
    "response": "%COMMON_DURATION(US_RX_BEG:DS_TX_BEG:us)%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "received": "%DOWNSTREAM_WIRE_BYTES_RECEIVED%",
    "sent": "%DOWNSTREAM_WIRE_BYTES_SENT%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "agent": "%REQ(USER-AGENT)%",
    "cipher": "%DOWNSTREAM_TLS_CIPHER%",
    "tls": "%DOWNSTREAM_TLS_VERSION%",
    "trace": "%REQ(X-AMZN-TRACE-ID)%",
    "server_name": "%REQUESTED_SERVER_NAME%",
    "location": "%RESP(LOCATION)%",
    "connection": "%CONNECTION_ID%",
}


def config(directory: Path) -> Json:
    """For the access logs of a listener's connection manager."""
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": _TYPE,
            "path": str(directory / FILE),
            "log_format": {"json_format": _FORMAT},
        },
    }


@dataclass(frozen=True, slots=True)
class FilePart:
    """Implements `LogPart`."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def closed_at(self) -> float:
        return float(self.path.name.removesuffix(f".{FILE}"))

    def served(self) -> Iterator[Served]:
        with self.path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                yield _served(found)

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def parts(directory: Path) -> list[FilePart]:
    """Those that are complete, oldest first."""
    return [FilePart(path) for path in sorted(directory.glob(f"*.{FILE}"))]


def set_aside(directory: Path, at: float) -> bool:
    """Rename what is being written; False if there is nothing of it."""
    file = directory / FILE
    if not file.exists() or not file.stat().st_size:
        return False
    file.rename(directory / f"{at:017.6f}.{FILE}")
    return True


def _served(found: Json) -> Served:
    def text(key: str) -> str:
        value = found.get(key)
        return "" if value in (None, "-") else str(value)

    def number(key: str) -> int:
        return int(text(key) or 0)

    def seconds(key: str) -> float | None:
        return int(text(key)) / 1e6 if text(key) else None

    address, _, port = text("endpoint").rpartition(":")
    by_target = text("details") == "via_upstream"
    return Served(
        route=text("route"),
        cluster=text("cluster"),
        endpoint=Endpoint(address, int(port)) if address else None,
        client=text("client"),
        begin=float(text("begin")),
        whole=seconds("whole") or 0.0,
        request=seconds("request"),
        target=seconds("target") if by_target else None,
        response=seconds("response") if by_target else None,
        status=number("status"),
        target_status=number("status") if by_target else None,
        received=number("received"),
        sent=number("sent"),
        method=text("method"),
        host=text("host"),
        path=text("path"),
        protocol=text("protocol"),
        agent=text("agent"),
        cipher=text("cipher"),
        tls=text("tls"),
        trace=text("trace"),
        server_name=text("server_name"),
        location=text("location"),
        connection=text("connection"),
    )

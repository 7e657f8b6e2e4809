"""What is not at the heart of the cloud: IAM, STS, EC2, S3, SSM, CloudWatch, Auto Scaling groups and so on.

Owns the seam behind which they lie: one AWS endpoint, reached over HTTP. By default that is moto in a process
of its own, started when it is first needed; the setting `ancillary_endpoint` puts another one in its place.
`Ancillary` is both `Calls` for the services and `Forwarder` for the gateway.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portside.cloud.kernel.log import Log
from portside.cloud.protocol.asgi import Receive, Send, read_body
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params

if TYPE_CHECKING:
    import aiohttp

START_LIMIT = 120.0
CALL_LIMIT = 60.0
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "content-encoding"})
# The names under which clients sign, where they differ from botocore's.
SIGNED_AS = {"cloudwatch": "monitoring", "elb": "elasticloadbalancing", "elbv2": "elasticloadbalancing"}


class Ancillary:
    """Use: `async with Ancillary(...) as ancillary`. `endpoint` empty: moto, with its journal in `directory`."""

    def __init__(self, *, directory: Path, account: str, endpoint: str, log: Log) -> None:
        self._directory = directory
        self._account = account
        self._endpoint = endpoint.rstrip("/")
        self._log = log.bind(part="ancillary")
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._listeners: dict[str, list[Callable[[str], None]]] = {}

    def subscribe(self, service: str, changed: Callable[[str], None]) -> None:
        """Call `changed` with the region after every call to `service` that may have changed something."""
        self._listeners.setdefault(service, []).append(changed)

    @property
    def has_state(self) -> bool:
        """Whether anything was ever asked of it, in this run or an earlier one."""
        return bool(self._endpoint) or self._journal.exists()

    @property
    def _journal(self) -> Path:
        return self._directory / "ancillary.db"

    async def __aenter__(self) -> Ancillary:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def __call__(self, service: str, operation: str, params: Params, caller: Caller) -> Params:
        from portside.cloud.protocol import client

        request = client.build(service, operation, params)
        signed = client.signing_name(service)
        headers = dict(request.headers)
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={caller.access_key or 'portside'}/20260101/{caller.region}/{signed}"
            "/aws4_request, SignedHeaders=host, Signature=0"
        )
        headers |= _route(signed, caller.region)
        status, answered, body = await self._exchange(request.method, request.target, headers, request.body)
        self._changed(service, operation, caller.region)
        return client.read(service, operation, status, answered, body)

    async def forward(
        self,
        service: str,
        region: str,
        connection: dict[str, Any],
        receive: Receive,
        send: Send,
        body: bytes | None,
    ) -> None:
        """Pass a request on as it is, and its answer back."""
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in connection["headers"]}
        host = headers.get("host", "")
        headers = {k: v for k, v in headers.items() if k not in HOP_BY_HOP and k != "content-length"}
        headers |= _route(SIGNED_AS.get(service, service), region)
        if body is None:
            body = await read_body(receive)
        path = (connection.get("raw_path") or connection["path"].encode()).decode("latin-1")
        query = connection["query_string"].decode("latin-1")
        target = path + (f"?{query}" if query else "")
        headers["host"] = host
        status, answered, content = await self._exchange(connection["method"], target, headers, body)
        if connection["method"] not in ("GET", "HEAD"):
            self._changed(service, "", region)
        kept = [
            (key.encode("latin-1"), value.encode("latin-1"))
            for key, value in answered.items()
            if key.lower() not in HOP_BY_HOP and key.lower() != "date"
        ]
        await send({"type": "http.response.start", "status": status, "headers": kept})
        await send({"type": "http.response.body", "body": content})

    def _changed(self, service: str, operation: str, region: str) -> None:
        if operation.startswith(("Describe", "List", "Get", "Head")):
            return
        for listener in self._listeners.get(service, ()):
            listener(region)

    async def _exchange(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        import aiohttp
        from yarl import URL

        session = await self._connected()
        # A large body as bytes would be written in one go, while nothing else is answered.
        data = io.BytesIO(body) if body else body
        url = URL((self._endpoint or "http://moto") + target, encoded=True)
        try:
            async with session.request(method, url, headers=headers, data=data, allow_redirects=False) as answer:
                return answer.status, dict(answer.headers), await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            where = self._endpoint or "the process of the ancillary services"
            raise AwsError("ServiceUnavailable", f"{where} did not answer: {error!r}", 503) from error

    async def _connected(self) -> aiohttp.ClientSession:
        async with self._starting:
            alive = self._endpoint or (self._process is not None and self._process.returncode is None)
            if self._session is not None and alive:
                return self._session
            import aiohttp

            if self._session is not None:
                await self._session.close()
            connector: aiohttp.BaseConnector
            if self._endpoint:
                connector = aiohttp.TCPConnector(limit=64)
            else:
                connector = aiohttp.UnixConnector(path=str(await self._start()), limit=64)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=CALL_LIMIT),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
            )
            return self._session

    async def _start(self) -> Path:
        socket = self._directory / "moto.sock"
        socket.unlink(missing_ok=True)
        with (self._directory / "moto.log").open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "portside.cloud.moto_server",
                str(socket),
                str(self._journal),
                self._account,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                env={**os.environ, "AWS_DEFAULT_REGION": "us-east-1"},
            )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_LIMIT):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if line != b"ready\n":
            process.kill()
            await process.wait()
            raise AwsError(
                "ServiceUnavailable",
                f"The ancillary services did not start; {self._directory / 'moto.log'} tells why.",
                503,
            )
        self._process = process
        self._log.info("moto started", pid=process.pid)
        return socket


def _route(service: str, region: str) -> dict[str, str]:
    """For moto's process, which serves all services on one socket. Other endpoints ignore it."""
    return {"x-portside-service": service, "x-portside-region": region}

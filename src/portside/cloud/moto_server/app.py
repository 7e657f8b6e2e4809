"""Answers AWS requests with moto, one at a time, and journals those that changed something.

Owns the way into moto: its botocore stubber, which routes by the URL that AWS would have and loads a service's
code when it is first asked for.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from moto.core.botocore_stubber import BotocoreStubber
from moto.moto_api._internal import mock_random

from portside.cloud.kernel.clock import Clock
from portside.cloud.moto_server.journal import Journal, Request
from portside.cloud.protocol import rest, serialise
from portside.cloud.protocol.asgi import Receive, Send, read_body
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.serialise import Response

HOSTS = {"cloudwatch": "monitoring", "elbv2": "elasticloadbalancing", "sagemaker": "api.sagemaker"}
# None of these is the first to need a role, so that moto's part for IAM is not loaded for them.
ROLELESS = frozenset({"s3", "ssm", "secretsmanager", "sns", "sqs", "events", "kms", "codecommit"})
SERVICE_HEADER = "x-portside-service"
REGION_HEADER = "x-portside-region"
FORM = "application/x-www-form-urlencoded"
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([^/]+)/([^/]+)/aws4_request")


class MotoApp:
    """The ASGI application of the process."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._stubber = BotocoreStubber()
        self._touched: set[str] = set()

    def replay(self) -> int:
        """Bring moto back to the journalled state; the number of requests that were run again."""
        self._journal.forget_old_metrics(self._clock.now())
        count = 0
        for seed, request in self._journal.replay():
            self._touched.add(_place(request))
            self._run(seed, request)
            count += 1
        return count

    async def __call__(self, connection: dict[str, Any], receive: Receive, send: Send) -> None:
        if connection["type"] != "http":
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in connection["headers"]}
        try:
            body = await read_body(receive)
        except AwsError:  # nobody is left to be answered, and half a request must not be run
            return
        request = as_request(connection, headers, body)
        response = self._answer(request)
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in response.headers.items()],
            }
        )
        await send({"type": "http.response.body", "body": response.body})

    def _answer(self, request: Request) -> Response:
        # The first request for a service in a region makes moto's defaults there (the default VPC), with
        # identifiers that must be the same after a restart: it is journalled even if it only reads.
        first = _place(request) not in self._touched
        seed = self._journal.next_seed()
        response = self._run(seed, request)
        if first or (request.writes and response.status < 400):
            self._touched.add(_place(request))
            self._journal.append(seed, self._clock.now(), request)
        return response

    def _run(self, seed: int, request: Request) -> Response:
        if request.service not in ROLELESS:
            from portside.cloud.moto_server import retired_policies

            retired_policies.install()
            # Any service but those may load the part for EC2.
            from portside.cloud.moto_server import offerings

            offerings.install()
        if request.service == "s3":
            from portside.cloud.moto_server import bucket_configurations, bucket_policies

            bucket_policies.install()
            try:
                found = bucket_configurations.answer(request)
            except AwsError as error:
                return _refusal(request, error)
            if found is not None:
                return found
        if request.service == "sns":
            from portside.cloud.moto_server import topic_attributes

            topic_attributes.install()
        if request.service == "ec2":
            from portside.cloud.moto_server import launch_versions

            launch_versions.install()
        mock_random.seed(seed)
        headers = HTTPHeaders()
        for key, value in request.headers.items():
            if not (request.uploads and key.lower() == "content-type" and value.startswith(FORM)):
                headers[key] = value
        prepared = AWSPreparedRequest(request.method, request.url, headers, request.body, stream_output=False)
        try:
            answer = self._stubber.process_request(prepared)
        except NotImplementedError as error:
            return _refusal(
                request,
                AwsError(
                    "NotImplemented", f"{request.service} does not offer this here: {error or request.action}", 501
                ),
            )
        except AwsError as error:
            return _refusal(request, error)
        except Exception as error:
            # moto fails on some malformed requests; the sender is told, and nothing was journalled.
            return _refusal(
                request,
                AwsError("ValidationError", f"{request.action or request.method} could not be handled: {error!r}"),
            )
        if answer is None:
            return _refusal(request, AwsError("NotImplemented", f"There is no {request.service} here.", 501))
        status, answered, content = answer
        payload = content.encode("utf-8") if isinstance(content, str) else bytes(content)
        if status == 404 and payload == b"Not yet implemented":
            return _refusal(request, AwsError("NotImplemented", f"There is no {request.service} here.", 501))
        kept = {
            str(key).lower(): str(value)
            for key, value in dict(answered).items()
            if str(key).lower() not in ("content-length", "connection", "transfer-encoding")
        }
        if request.method == "HEAD" and "content-length" in {str(k).lower() for k in answered}:
            kept["content-length"] = str({str(k).lower(): v for k, v in answered.items()}["content-length"])
        else:
            kept["content-length"] = str(len(payload))
        return Response(int(status), kept, payload)


def _place(request: Request) -> str:
    return request.url.split("/", 3)[2]


def as_request(connection: dict[str, Any], headers: dict[str, str], body: bytes) -> Request:
    """The request as AWS's own endpoint would have received it."""
    service = headers.pop(SERVICE_HEADER, "")
    region = headers.pop(REGION_HEADER, "us-east-1")
    path = (connection.get("raw_path") or connection["path"].encode()).decode("latin-1")
    bucket = rest.virtual_bucket(headers.get("host", "")) if service == "s3" else ""
    if bucket:
        path = f"/{bucket}{path}"
    query = connection["query_string"].decode("latin-1")
    host = f"{HOSTS.get(service, service)}.{region}.amazonaws.com"
    headers["host"] = host
    url = f"https://{host}{path}" + (f"?{query}" if query else "")
    return Request(service, _action(headers, query, body), connection["method"], url, headers, body)


def _action(headers: dict[str, str], query: str, body: bytes) -> str:
    target = headers.get("x-amz-target", "")
    if target:
        return target.rpartition(".")[2]
    if headers.get("content-type", "").startswith(FORM):
        return parse_qs(body.decode("utf-8", "replace")).get("Action", [""])[0]
    return parse_qs(query).get("Action", [""])[0] if "Action=" in query else ""


def _refusal(request: Request, error: AwsError) -> Response:
    request_id = "00000000-0000-0000-0000-000000000000"
    if "x-amz-target" in request.headers:
        return serialise.json_error(error, request_id)
    if request.headers.get("smithy-protocol") == "rpc-v2-cbor":
        return serialise.cbor_error(error, request_id)
    if request.service == "s3":
        return serialise.rest_xml_error(error, request_id)
    if request.headers.get("content-type", "").startswith(FORM):
        return serialise.query_error(error, request_id)
    return serialise.json_error(error, request_id)

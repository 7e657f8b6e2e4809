"""Answers of those who make custom resources: how a request is worded, and what its answer must hold.

Owns the table. An answer is kept under the id of the request that it is for, which is a step's token, so that none
of an earlier operation counts. It comes in through `signal_calls.py`.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from portside.cloud.kernel.database import Transaction
from portside.cloud.services.calls import Params
from portside.cloud.services.cloudformation.rows import Reader

PAGE = "/_portside/customresource"
LONGEST = 4096
SUBJECT = "AWS CloudFormation custom resource request"
MIGRATIONS = ("CREATE TABLE cfn_answer (request TEXT PRIMARY KEY, body TEXT NOT NULL);",)


class BadAnswer(Exception):
    """The text is the reason that the resource fails with."""


def url(endpoint: str, stack_id: str, request: str) -> str:
    return f"{endpoint}{PAGE}/{quote(stack_id, safe='/')}?Signature={request}"


def of(db: Reader, request: str) -> str | None:
    found = db.read("SELECT body FROM cfn_answer WHERE request = ?", (request,))
    return str(found[0]["body"]) if found else None


def keep(tx: Transaction, request: str, body: str) -> None:
    """The first one counts."""
    tx.execute("INSERT OR IGNORE INTO cfn_answer VALUES (?, ?)", (request, body))


def request(kind: str, *, resource: Params, properties: Params, address: str, more: Params) -> str:
    """The message: every value below the properties is text, as CloudFormation sends it."""
    said = (
        {"RequestType": kind, "ServiceToken": properties["ServiceToken"], "ResponseURL": address} | resource | more
    )
    said["ResourceProperties"] = texts(properties)
    if "OldResourceProperties" in said:
        said["OldResourceProperties"] = texts(said["OldResourceProperties"])
    return json.dumps(said)


def texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: texts(member) for key, member in value.items()}
    if isinstance(value, list):
        return [texts(member) for member in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def read(body: str, *, deletes: bool = False) -> Params:
    """What an answer says; BadAnswer if it is none, or says that the request failed."""
    if len(body.encode()) > LONGEST:
        raise BadAnswer("Response object is too long.")
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadAnswer("Response is not valid JSON")
    status = found.get("Status")
    if status == "FAILED":
        raise BadAnswer(
            "Received response status [FAILED] from custom resource. Message returned: "
            f"{found.get('Reason') or 'no reason given'} (RequestId: {found.get('RequestId', '')})"
        )
    if status != "SUCCESS":
        raise BadAnswer("Invalid Response object: Value of property Status must be SUCCESS or FAILED")
    if not deletes and not (isinstance(found.get("PhysicalResourceId"), str) and found["PhysicalResourceId"]):
        raise BadAnswer("Invalid PhysicalResourceId")
    data = found.get("Data")
    if data is not None and not isinstance(data, dict):
        raise BadAnswer("Invalid Response object: Value of property Data must be an object")
    return found

"""Resource policies of CloudWatch Logs: which services of AWS may write to the account's log groups.

They are kept and shown. The services of this cloud write to log groups with or without one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Row, Value
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation

MIGRATIONS = (
    """
    CREATE TABLE logs_resource_policy (
        region TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, updated INTEGER NOT NULL,
        PRIMARY KEY (region, name)
    );
    """,
)
MOST = 10
PAGE = 50


class Reader(Protocol):
    """A database, or an open transaction."""

    def read(self, sql: str, params: Sequence[Value] = ()) -> list[Row]: ...


class ResourcePolicies:
    """The operations."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        database.migrate("logs-resource-policies", MIGRATIONS)
        self._db = database
        self._clock = clock

    @operation("PutResourcePolicy")
    def put_resource_policy(self, caller: Caller, params: Params) -> Params:
        _refuse_scoped(params)
        name, document = params.get("policyName"), params.get("policyDocument")
        if not name or not document:
            raise AwsError("InvalidParameterException", "Policy name and policy document must be given.")
        try:
            read = json.loads(document)
        except ValueError:
            read = None
        if not isinstance(read, dict) or not read.get("Statement"):
            raise AwsError("InvalidParameterException", "Policy document is malformed.")
        updated = int(self._clock.now() * 1000)
        with self._db.write() as tx:
            names = {row["name"] for row in _rows(tx, caller.region)}
            if name not in names and len(names) >= MOST:
                raise AwsError("LimitExceededException", "Resource limit exceeded.")
            tx.execute(
                "INSERT OR REPLACE INTO logs_resource_policy VALUES (?, ?, ?, ?)",
                (caller.region, name, document, updated),
            )
        return {"resourcePolicy": _shown(name, document, updated)}

    @operation("DescribeResourcePolicies")
    def describe_resource_policies(self, caller: Caller, params: Params) -> Params:
        _refuse_scoped(params)
        rows = [row for row in _rows(self._db, caller.region) if row["name"] > (params.get("nextToken") or "")]
        size = params.get("limit") or PAGE
        shown = [_shown(row["name"], row["document"], row["updated"]) for row in rows[:size]]
        more = {"nextToken": shown[-1]["policyName"]} if len(rows) > size else {}
        return {"resourcePolicies": shown} | more

    @operation("DeleteResourcePolicy")
    def delete_resource_policy(self, caller: Caller, params: Params) -> Params:
        _refuse_scoped(params)
        name = params.get("policyName")
        with self._db.write() as tx:
            if name not in {row["name"] for row in _rows(tx, caller.region)}:
                raise AwsError("ResourceNotFoundException", f"Policy with name [{name}] does not exist.")
            tx.execute("DELETE FROM logs_resource_policy WHERE region = ? AND name = ?", (caller.region, name))
        return {}


def _refuse_scoped(params: Params) -> None:
    if params.get("resourceArn") or params.get("policyScope") == "RESOURCE":
        raise AwsError(
            "InvalidParameterException",
            "portside's local cloud does not offer policies of a single log group; leave out resourceArn.",
        )


def _rows(reader: Reader, region: str) -> list[Row]:
    return reader.read("SELECT * FROM logs_resource_policy WHERE region = ? ORDER BY name", (region,))


def _shown(name: str, document: str, updated: int) -> Params:
    return {"policyName": name, "policyDocument": document, "lastUpdatedTime": updated, "policyScope": "ACCOUNT"}

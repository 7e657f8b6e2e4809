"""Resource policies of CloudWatch Logs: which services of AWS may write to the account's log groups, or to one.

They are kept and shown. The services of this cloud write to log groups with or without one. A policy of a single
log group has a revision, which whoever changes it must know.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Row, Transaction, Value
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.logs import requests
from portside.cloud.services.logs.records import Group
from portside.cloud.services.logs.requests import bad, name_in

MIGRATIONS = (
    """
    CREATE TABLE logs_resource_policy (
        region TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, updated INTEGER NOT NULL,
        PRIMARY KEY (region, name)
    );
    """,
    """
    CREATE TABLE logs_group_policy (
        region TEXT NOT NULL, group_name TEXT NOT NULL, arn TEXT NOT NULL, name TEXT NOT NULL,
        document TEXT NOT NULL, updated INTEGER NOT NULL, revision TEXT NOT NULL,
        PRIMARY KEY (region, group_name)
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

    def __init__(self, *, database: Database, clock: Clock, ids: Ids) -> None:
        database.migrate("logs-resource-policies", MIGRATIONS)
        self._db = database
        self._clock = clock
        self._ids = ids

    @operation("PutResourcePolicy")
    def put_resource_policy(self, caller: Caller, params: Params) -> Params:
        name, document = params.get("policyName"), params.get("policyDocument")
        scoped = bool(params.get("resourceArn"))
        if not document or not (name or scoped):
            raise bad("Policy name and policy document must be given.")
        _check(document)
        updated = int(self._clock.now() * 1000)
        if scoped:
            return self._put_of_group(caller, params, document, updated)
        with self._db.write() as tx:
            names = {row["name"] for row in _rows(tx, caller.region)}
            if name not in names and len(names) >= MOST:
                raise AwsError("LimitExceededException", "Resource limit exceeded.")
            tx.execute(
                "INSERT OR REPLACE INTO logs_resource_policy VALUES (?, ?, ?, ?)",
                (caller.region, name, document, updated),
            )
        return {"resourcePolicy": _shown(str(name), document, updated)}

    def _put_of_group(self, caller: Caller, params: Params, document: str, updated: int) -> Params:
        group = self._group(caller, params["resourceArn"])
        revision = self._ids.uuid()
        with self._db.write() as tx:
            row = _of_group(tx, group)
            _expect(params, row)
            name = params.get("policyName") or (row["name"] if row is not None else "")
            tx.execute(
                "INSERT OR REPLACE INTO logs_group_policy VALUES (?, ?, ?, ?, ?, ?, ?)",
                (group.region, group.name, group.arn, name, document, updated, revision),
            )
            made = _of_group(tx, group)
        assert made is not None
        return {"resourcePolicy": _shown_of_group(made), "revisionId": revision}

    @operation("DescribeResourcePolicies")
    def describe_resource_policies(self, caller: Caller, params: Params) -> Params:
        if params.get("resourceArn"):
            row = _of_group(self._db, self._group(caller, params["resourceArn"]))
            return {"resourcePolicies": [_shown_of_group(row)] if row is not None else []}
        if params.get("policyScope") == "RESOURCE":
            sql = "SELECT * FROM logs_group_policy WHERE region = ? ORDER BY group_name"
            found = {str(row["group_name"]): _shown_of_group(row) for row in self._db.read(sql, (caller.region,))}
        else:
            found = {
                str(row["name"]): _shown(row["name"], row["document"], row["updated"])
                for row in _rows(self._db, caller.region)
            }
        names = [each for each in found if each > (params.get("nextToken") or "")]
        size = params.get("limit") or PAGE
        more = {"nextToken": names[size - 1]} if len(names) > size else {}
        return {"resourcePolicies": [found[each] for each in names[:size]]} | more

    @operation("DeleteResourcePolicy")
    def delete_resource_policy(self, caller: Caller, params: Params) -> Params:
        if params.get("resourceArn"):
            group = self._group(caller, params["resourceArn"])
            with self._db.write() as tx:
                row = _of_group(tx, group)
                if row is None:
                    raise AwsError(
                        "ResourceNotFoundException", f"The log group {group.name} has no resource policy."
                    )
                _expect(params, row)
                forget(tx, group)
            return {}
        name = params.get("policyName")
        with self._db.write() as tx:
            if name not in {row["name"] for row in _rows(tx, caller.region)}:
                raise AwsError("ResourceNotFoundException", f"Policy with name [{name}] does not exist.")
            tx.execute("DELETE FROM logs_resource_policy WHERE region = ? AND name = ?", (caller.region, name))
        return {}

    def _group(self, caller: Caller, arn: str) -> Group:
        if not arn.startswith("arn:") or ":log-group:" not in arn:
            raise bad(f"A resource policy is attached to a log group by its ARN, which {arn} is not.")
        return requests.group(self._db, caller, name_in(arn))


def forget(tx: Transaction, group: Group) -> None:
    """Take the policy of this one group away, if there is one."""
    tx.execute("DELETE FROM logs_group_policy WHERE region = ? AND group_name = ?", (group.region, group.name))


def _check(document: str) -> None:
    try:
        read = json.loads(document)
    except ValueError:
        read = None
    if not isinstance(read, dict) or not read.get("Statement"):
        raise bad("Policy document is malformed.")


def _expect(params: Params, row: Row | None) -> None:
    """Raises AwsError unless the request knows the revision that is there."""
    expected = params.get("expectedRevisionId")
    if row is None and not expected:
        return
    if not expected:
        raise bad("expectedRevisionId is required to change the resource policy of a log group.")
    if row is None or expected != row["revision"]:
        raise AwsError("OperationAbortedException", "The resource policy has another revision than was expected.")


def _rows(reader: Reader, region: str) -> list[Row]:
    return reader.read("SELECT * FROM logs_resource_policy WHERE region = ? ORDER BY name", (region,))


def _of_group(reader: Reader, group: Group) -> Row | None:
    rows = reader.read(
        "SELECT * FROM logs_group_policy WHERE region = ? AND group_name = ?", (group.region, group.name)
    )
    return rows[0] if rows else None


def _shown(name: str, document: str, updated: int) -> Params:
    return {"policyName": name, "policyDocument": document, "lastUpdatedTime": updated, "policyScope": "ACCOUNT"}


def _shown_of_group(row: Row) -> Params:
    shown = _shown(row["name"], row["document"], row["updated"]) | {
        "policyScope": "RESOURCE",
        "resourceArn": row["arn"],
        "revisionId": row["revision"],
    }
    return shown if row["name"] else shown | {"policyName": None}

"""Field index policies of log groups: which fields of events AWS keeps an index of, for its queries.

They are checked, kept and shown. Nothing here searches by an index, for no query of Logs Insights runs. The
account's own index policies are not offered, and so a group's is the only one that applies to it.
"""

from __future__ import annotations

import json
from typing import Any

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.logs import requests
from portside.cloud.services.logs.records import Group
from portside.cloud.services.logs.requests import bad, name_in

MIGRATIONS = (
    """
    CREATE TABLE logs_index_policy (
        region TEXT NOT NULL, group_name TEXT NOT NULL, document TEXT NOT NULL, updated INTEGER NOT NULL,
        PRIMARY KEY (region, group_name)
    );
    """,
)
MOST_FIELDS = 20
LONGEST_FIELD = 100
TYPES = ("FACET", "FIELD_INDEX")


class FieldIndexes:
    """The operations."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        database.migrate("logs-field-indexes", MIGRATIONS)
        self._db = database
        self._clock = clock

    @operation("PutIndexPolicy")
    def put_index_policy(self, caller: Caller, params: Params) -> Params:
        group = self._group(caller, params["logGroupIdentifier"])
        if group.kind != "STANDARD":
            raise bad(f"Field index policies are not supported for log groups of the class {group.kind}.")
        document = params["policyDocument"]
        check(document)
        updated = int(self._clock.now() * 1000)
        with self._db.write() as tx:
            tx.execute(
                "INSERT OR REPLACE INTO logs_index_policy VALUES (?, ?, ?, ?)",
                (group.region, group.name, document, updated),
            )
        return {"indexPolicy": _shown(group, document, updated)}

    @operation("DescribeIndexPolicies")
    def describe_index_policies(self, caller: Caller, params: Params) -> Params:
        found: list[Params] = []
        for each in params["logGroupIdentifiers"]:
            group = self._group(caller, each)
            rows = self._db.read(
                "SELECT * FROM logs_index_policy WHERE region = ? AND group_name = ?", (group.region, group.name)
            )
            found += [_shown(group, row["document"], row["updated"]) for row in rows]
        return {"indexPolicies": found}

    @operation("DeleteIndexPolicy")
    def delete_index_policy(self, caller: Caller, params: Params) -> Params:
        group = self._group(caller, params["logGroupIdentifier"])
        with self._db.write() as tx:
            if not forget(tx, group):
                raise AwsError(
                    "ResourceNotFoundException", f"The log group {group.name} has no field index policy."
                )
        return {}

    def _group(self, caller: Caller, identifier: str) -> Group:
        return requests.group(self._db, caller, name_in(identifier))


def forget(tx: Transaction, group: Group) -> bool:
    """Take the group's policy away; whether there was one."""
    where, key = "WHERE region = ? AND group_name = ?", (group.region, group.name)
    there = bool(tx.read(f"SELECT 1 FROM logs_index_policy {where}", key))
    tx.execute(f"DELETE FROM logs_index_policy {where}", key)
    return there


def check(document: str) -> None:
    """Raises AwsError unless it is an index policy: `{"Fields": [...], "FieldsV2": {name: {"type": ...}}}`."""
    try:
        read: Any = json.loads(document)
    except ValueError:
        read = None
    if not isinstance(read, dict) or not set(read) <= {"Fields", "FieldsV2"}:
        raise bad("The index policy document must be a JSON object with Fields, FieldsV2 or both.")
    plain, typed = read.get("Fields", []), read.get("FieldsV2", {})
    if not isinstance(plain, list) or not isinstance(typed, dict):
        raise bad("In an index policy document, Fields is a list of names and FieldsV2 an object by names.")
    for name, said in typed.items():
        if not isinstance(said, dict) or set(said) != {"type"} or said["type"] not in TYPES:
            raise bad(f"The type of the field {name} in FieldsV2 must be one of {', '.join(TYPES)}.")
    names = [*plain, *typed]
    if not names:
        raise bad("An index policy document must include at least one field.")
    if len(names) > MOST_FIELDS:
        raise bad(f"An index policy document can include as many as {MOST_FIELDS} fields; there are {len(names)}.")
    wrong = [each for each in names if not isinstance(each, str) or not 0 < len(each) <= LONGEST_FIELD]
    if wrong:
        raise bad(f"A field name is a text of 1 to {LONGEST_FIELD} characters; this one is not: {wrong[0]}.")
    twice = {each for each in names if names.count(each) > 1}
    if twice:
        raise bad(f"A field can be named once, in Fields or in FieldsV2: {', '.join(sorted(twice))}.")


def _shown(group: Group, document: str, updated: int) -> Params:
    return {
        "logGroupIdentifier": group.arn,
        "lastUpdateTime": updated,
        "policyDocument": document,
        "source": "LOG_GROUP",
    }

"""Data protection policies of log groups: what is sensitive in an event is masked when the event is read.

An event is masked by the policy that was in force when it came in, whatever became of the policy later, as on AWS;
so the policies of a group are kept with the times from which they held. What a policy says is in `sensitive.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Row, Transaction
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.logs import requests, sensitive
from portside.cloud.services.logs.records import Group, LogEvent, Reader
from portside.cloud.services.logs.requests import bad, name_in

# An empty document is that there is no policy any more.
MIGRATIONS = (
    """
    CREATE TABLE logs_data_protection (
        region TEXT NOT NULL, group_name TEXT NOT NULL, since INTEGER NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY (region, group_name, since)
    );
    """,
)

Shown = Callable[[LogEvent], str]


class DataProtection:
    """The operations, and the masking for whoever shows events."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        database.migrate("logs-data-protection", MIGRATIONS)
        self._db = database
        self._clock = clock

    @operation("PutDataProtectionPolicy")
    def put_data_protection_policy(self, caller: Caller, params: Params) -> Params:
        group = self._group(caller, params)
        if group.kind != "STANDARD":
            raise bad(f"Data protection policies are not supported for log groups of the class {group.kind}.")
        document = str(params["policyDocument"])
        sensitive.read(document)
        return _answer(params, document, self._set(group, document))

    @operation("GetDataProtectionPolicy")
    def get_data_protection_policy(self, caller: Caller, params: Params) -> Params:
        rows = _history(self._db, self._group(caller, params))
        if not rows or not rows[-1]["document"]:
            return {"logGroupIdentifier": params["logGroupIdentifier"]}
        return _answer(params, rows[-1]["document"], rows[-1]["since"])

    @operation("DeleteDataProtectionPolicy")
    def delete_data_protection_policy(self, caller: Caller, params: Params) -> Params:
        group = self._group(caller, params)
        if status(self._db, group) != "ACTIVATED":
            raise AwsError(
                "ResourceNotFoundException", f"The log group {group.name} has no data protection policy."
            )
        self._set(group, "")
        return {}

    def shower(self, group: Group, *, unmask: bool) -> Shown:
        """How the events of a group are shown: masked, unless the caller is to see everything."""
        rows = [] if unmask else _history(self._db, group)
        if not rows:
            return lambda event: event.message
        since = [row["since"] for row in rows]

        def shown(event: LogEvent) -> str:
            place = bisect_right(since, event.ingested_at) - 1
            document = rows[place]["document"] if place >= 0 else ""
            return sensitive.read(document).masked(event.message) if document else event.message

        return shown

    def _set(self, group: Group, document: str) -> int:
        # Events of the very millisecond in which a policy goes came in before.
        since = int(self._clock.now() * 1000) + (0 if document else 1)
        with self._db.write() as tx:
            rows = _history(tx, group)
            since = max(since, rows[-1]["since"]) if rows else since
            tx.execute(
                "INSERT OR REPLACE INTO logs_data_protection VALUES (?, ?, ?, ?)",
                (group.region, group.name, since, document),
            )
        return since

    def _group(self, caller: Caller, params: Params) -> Group:
        return requests.group(self._db, caller, name_in(params["logGroupIdentifier"]))


def status(reader: Reader, group: Group) -> str | None:
    """Whether the group has a policy, or had one, as DescribeLogGroups shows it."""
    rows = _history(reader, group)
    if not rows:
        return None
    return "ACTIVATED" if rows[-1]["document"] else "DELETED"


def forget(tx: Transaction, group: Group) -> None:
    tx.execute("DELETE FROM logs_data_protection WHERE region = ? AND group_name = ?", (group.region, group.name))


def _history(reader: Reader, group: Group) -> list[Row]:
    return reader.read(
        "SELECT since, document FROM logs_data_protection WHERE region = ? AND group_name = ? ORDER BY since",
        (group.region, group.name),
    )


def _answer(params: Params, document: str, since: int) -> Params:
    return {
        "logGroupIdentifier": params["logGroupIdentifier"],
        "policyDocument": document,
        "lastUpdatedTime": since,
    }

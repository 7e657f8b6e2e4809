"""Publishes the events of stacks to the topics that their NotificationARNs name.

Owns how far each stack's events have been published; at least once, in order. What cannot be published (a topic
that is not there) is logged and left out: it never holds up the stack.
"""

from __future__ import annotations

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.serialise import iso
from portside.cloud.services.calls import Calls
from portside.cloud.services.cloudformation import rows
from portside.cloud.services.cloudformation.records import Event, Stack
from portside.cloud.services.cloudformation.session import caller_of

SUBJECT = "AWS CloudFormation Notification"
AT_ONCE = 100
MIGRATIONS = ("CREATE TABLE cfn_notified (stack_id TEXT PRIMARY KEY, number INTEGER NOT NULL);",)


class NoticesLoop:
    """Keys are the ids of stacks."""

    def __init__(self, *, database: Database, clock: Clock, calls: Calls, log: Log) -> None:
        database.migrate("cloudformation-notices", MIGRATIONS)
        self._db = database
        self._calls = calls
        self._log = log.bind(service="cloudformation")
        self.loop = Loop("cloudformation.notices", self.turn, clock, log, workers=4)

    def resume(self) -> None:
        for row in self._db.read("SELECT stack_id FROM cfn_notified"):
            self.loop.wake(row["stack_id"])

    def noted(self, tx: Transaction, stack: Stack) -> None:
        """An event of the stack has been written in this transaction."""
        if stack.spec.notifications:
            tx.execute(
                "INSERT OR IGNORE INTO cfn_notified SELECT ?, max(number) - 1 FROM cfn_event WHERE stack_id = ?",
                (stack.id, stack.id),
            )
            tx.after_commit(lambda: self.loop.wake(stack.id))

    async def turn(self, stack_id: str) -> TurnResult:
        stack = rows.stack_by_id(self._db, stack_id)
        done = self._db.one("SELECT number FROM cfn_notified WHERE stack_id = ?", (stack_id,))
        if stack is None or done is None:
            return Done()
        new = rows.events_after(self._db, stack_id, done["number"], AT_ONCE)
        for number, event in new:
            for topic in stack.spec.notifications:
                await self._publish(stack, topic, event)
            with self._db.write() as tx:
                tx.execute("UPDATE cfn_notified SET number = ? WHERE stack_id = ?", (number, stack_id))
        return After(0.0) if len(new) == AT_ONCE else Done()

    async def _publish(self, stack: Stack, topic: str, event: Event) -> None:
        params = {"TopicArn": topic, "Subject": SUBJECT, "Message": message(stack, event)}
        try:
            await self._calls("sns", "Publish", params, caller_of(stack))
        except AwsError as error:
            self._log.warning("event not published", topic=topic, stack=stack.name, error=error.message)


def message(stack: Stack, event: Event) -> str:
    """As AWS writes it: one `Name='value'` a line."""
    fields = {
        "StackId": event.stack_id,
        "Timestamp": iso(event.time),
        "EventId": event.id,
        "LogicalResourceId": event.logical_id,
        "Namespace": stack.account,
        "PhysicalResourceId": event.physical_id,
        "ResourceProperties": event.properties or "null",
        "ResourceStatus": event.status,
        "ResourceStatusReason": event.reason,
        "ResourceType": event.type,
        "StackName": event.stack_name,
        "ClientRequestToken": event.token or "null",
    }
    return "".join(f"{name}='{value}'\n" for name, value in fields.items())

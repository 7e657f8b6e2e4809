"""How a message of an Auto Scaling group reaches whom it is for: a topic, a queue, or the rules of a bus."""

from __future__ import annotations

import json

from portside.cloud.services.autoscaling.group_records import Key
from portside.cloud.services.calls import Caller, Calls, Params, Roles

PRINCIPAL = "autoscaling.amazonaws.com"
SESSION = "AutoScaling"


def bus(region: str, account: str) -> str:
    """The target whose messages are events of the account's own bus."""
    return f"arn:aws:events:{region}:{account}:event-bus/default"


async def deliver(
    calls: Calls, roles: Roles | None, key: Key, target: str, subject: str, message: str, role: str = ""
) -> None:
    """Raises AwsError: of status 400 if the target or the role is not there or does not allow it."""
    account = target.split(":")[4] if target.count(":") > 4 else ""
    caller = Caller.root(account, key.region)
    if role and roles is not None:
        caller = (await roles.assume(role, SESSION, PRINCIPAL, caller)).caller(key.region)
    match target.split(":")[2:3]:
        case ["sqs"]:
            named = {"QueueName": target.rpartition(":")[2], "QueueOwnerAWSAccountId": account}
            # Asked for in the account's own name: a role that may send need not be allowed to look.
            found = await calls("sqs", "GetQueueUrl", named, Caller.root(account, key.region))
            params: Params = {"QueueUrl": found["QueueUrl"], "MessageBody": message}
            await calls("sqs", "SendMessage", params, caller)
        case ["events"]:
            await calls("events", "PutEvents", {"Entries": [json.loads(message)]}, caller)
        case _:
            params = {"TopicArn": target, "Subject": subject[:100], "Message": message}
            await calls("sns", "Publish", params, caller)

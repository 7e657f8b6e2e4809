"""The events of a service, in AWS's words.

Pure texts, and the one function that writes them: repeated complaints are suppressed while nothing else has
happened, as ECS does for six hours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.ecs import store
from portside.cloud.services.ecs.desired import Member
from portside.cloud.services.ecs.names import last
from portside.cloud.services.ecs.records import Event, Service

MORE = "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
SUPPRESSED_SECONDS = 6 * 3600.0


def started(name: str, tasks: Sequence[str]) -> str:
    return f"(service {name}) has started {len(tasks)} tasks: {_list(tasks)}."


def stopped(name: str, tasks: Sequence[str]) -> str:
    return f"(service {name}) has stopped {len(tasks)} running tasks: {_list(tasks)}."


def registered(name: str, count: int, group: str) -> str:
    return f"(service {name}) registered {count} targets in (target-group {group})"


def deregistered(name: str, count: int, group: str) -> str:
    return f"(service {name}) deregistered {count} targets in (target-group {group})"


def not_registered(name: str, task: str, group: str, reason: str) -> str:
    return f"(service {name}) failed to register (task {last(task)}) in (target-group {group}): {reason}"


def not_discovered(name: str, task: str, registry: str, reason: str) -> str:
    return f"(service {name}) failed to register (task {last(task)}) in (service-registry {registry}): {reason}"


def draining(name: str, deployment: str, count: int) -> str:
    return f"(service {name}, taskSet {deployment}) has begun draining connections on {count} tasks."


def unhealthy(name: str, instance: str, port: int, group: str, reason: str) -> str:
    return (
        f"(service {name}) (instance {instance}) (port {port}) is unhealthy in (target-group {group}) "
        f"due to (reason {reason})."
    )


def completed(name: str, deployment: str) -> str:
    return f"(service {name}) (deployment {deployment}) deployment completed."


def failed(name: str, deployment: str, reason: str) -> str:
    why = reason.rpartition(": ")[2]
    return f"(service {name}) (deployment {deployment}) deployment failed: {why}"


def rolling_back(name: str, deployment: str) -> str:
    return f"(service {name}) rolling back to (deployment {deployment})."


def steady(name: str) -> str:
    return f"(service {name}) has reached a steady state."


def no_room(name: str, reason: str) -> str:
    return (
        f"(service {name}) was unable to place a task because no container instance met all of its requirements. "
        f"{reason} {MORE}"
    )


def rebalancing(name: str, members: Sequence[Member], roomy: Collection[str]) -> str:
    counts = Counter(each.zone for each in members)
    shown = ", ".join(f"{counts[zone]} tasks in {zone}" for zone in sorted({*counts, *roomy}))
    return f"(service {name}) is not AZ balanced with {shown}. AZ Rebalancing in progress."


def no_capacity(name: str, reason: str) -> str:
    return f"(service {name}) was unable to place a task. Reason: {reason}."


def impaired(name: str) -> str:
    return f"(service {name}) is unable to consistently start tasks successfully. {MORE}"


def blocked(name: str) -> str:
    return (
        f"(service {name}) was unable to stop or start tasks during a deployment because of the service "
        "deployment configuration. Update the minimumHealthyPercent or maximumPercent value and try again."
    )


def task_waits(name: str, task: str, reason: str) -> str:
    return f"(service {name}) (task {last(task)}) waits for the container engine: {reason}."


def announce(
    tx: Transaction, ids: Ids, service: Service, message: str, now: float, *, complaint: bool = False
) -> None:
    """Store an event. A complaint is left out if it was made before and the service was not steady since."""
    if complaint:
        for event in store.events_of(tx, service.arn):
            if event.message == steady(service.name) or now - event.at > SUPPRESSED_SECONDS:
                break
            if event.message == message:
                return
    store.add_event(tx, Event(ids.uuid(), service.arn, now, message))


def _list(tasks: Sequence[str]) -> str:
    return " ".join(f"(task {last(task)})" for task in tasks)

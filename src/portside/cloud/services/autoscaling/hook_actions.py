"""Lifecycle actions begin and end here, each in the transaction of what brings it about.

Whoever is to be told of an action is told by `notifications_loop.py`: the message is written down in the same
transaction.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.services.autoscaling import (
    deliveries,
    group_records,
    group_view,
    hook_records,
    notices,
    notification_records,
)
from portside.cloud.services.autoscaling.group_records import Key, Leaving
from portside.cloud.services.autoscaling.hook_records import Action, Arrival, Stage
from portside.cloud.services.autoscaling.hook_rules import ABANDON, LAUNCHING, TERMINATING, Hook
from portside.cloud.services.autoscaling.notifications_loop import NotificationsLoop
from portside.cloud.services.autoscaling.records import Reader
from portside.cloud.services.calls import Params

TIMED_OUT = "Heartbeat Timeout"
ANSWERED = "Lifecycle Action Completed with ABANDON Result"


class HookActions:
    """`telling` publishes what is written down here."""

    def __init__(self, ids: Ids, clock: Clock, telling: NotificationsLoop) -> None:
        self._ids = ids
        self._clock = clock
        self._telling = telling

    def arrive(self, tx: Transaction, key: Key, group: Params, instance: str) -> None:
        """An instance has been launched: it waits for every hook at once."""
        hook_records.save_arrival(tx, Arrival(key.region, instance, key.name, self._clock.now(), Stage.WAITING))
        self._begin(tx, key, group, instance, LAUNCHING)

    def leave(self, tx: Transaction, group: Params, leaving: Leaving) -> None:
        """An instance is to go: whatever it still waited for is over, and the hooks for its end begin."""
        key = Key(leaving.region, leaving.name)
        served = not group_view.unserved(tx, key)(leaving.instance)
        group_records.save_leaving(tx, replace(leaving, served=served))
        hook_records.forget_arrival(tx, key, leaving.instance)
        hook_records.forget_actions(tx, key, leaving.instance)
        self._begin(tx, key, group, leaving.instance, TERMINATING)

    def _begin(self, tx: Transaction, key: Key, group: Params, instance: str, transition: str) -> None:
        now = self._clock.now()
        for hook in hook_records.hooks(tx, key, transition):
            action = Action(
                key.region,
                instance,
                hook.name,
                key.name,
                transition,
                self._ids.uuid(),
                now,
                now + hook.timeout,
                now + hook.limit,
                hook.timeout,
                hook.result,
            )
            hook_records.save_action(tx, action)
            self._tell(tx, key, group, hook, action)

    def _tell(self, tx: Transaction, key: Key, group: Params, hook: Hook, action: Action) -> None:
        arn = group["AutoScalingGroupARN"]
        account = arn.split(":")[4]
        said = notices.lifecycle(
            token=action.token,
            group=key.name,
            hook=hook.name,
            instance=action.instance,
            transition=action.transition,
            metadata=hook.metadata,
        )
        now = self._clock.now()
        event = notices.lifecycle_event(action.transition, arn, said, now)
        notification_records.add(tx, key, deliveries.bus(key.region, account), "", event)
        if hook.target:
            text = notices.lifecycle_message(account, self._ids.uuid(), said, now)
            subject = notices.lifecycle_subject(action.transition, action.instance)
            notification_records.add(tx, key, hook.target, subject, text, hook.role)
        tx.after_commit(lambda: self._telling.wake(key))

    def finish(self, tx: Transaction, action: Action, result: str, reason: str = ANSWERED) -> None:
        """An action ends. An instance that is abandoned waits for no other hook."""
        key = Key(action.region, action.name)
        if result == ABANDON:
            hook_records.forget_actions(tx, key, action.instance)
        else:
            hook_records.forget_action(tx, action)
        arrival = hook_records.arrivals(tx, key).get(action.instance)
        if action.transition != LAUNCHING or arrival is None:
            return
        if result == ABANDON:
            why = notices.abandoned(action.token, reason)
            hook_records.save_arrival(tx, replace(arrival, stage=Stage.ABANDONED, reason=why))
        elif not hook_records.actions(tx, key, action.instance):
            self.serve(tx, key, arrival)

    def serve(self, tx: Transaction, key: Key, arrival: Arrival) -> None:
        """An instance has come into service: the next failure is the first one again."""
        hook_records.save_arrival(tx, replace(arrival, stage=Stage.SERVING))
        hook_records.save_owed(tx, replace(hook_records.owed(tx, key), failures=0))
        tx.after_commit(lambda: self._telling.wake(key))

    def expire(self, tx: Transaction, key: Key, instance: str) -> None:
        """End the actions of an instance that nobody has answered in time."""
        now = self._clock.now()
        for action in hook_records.actions(tx, key, instance):
            if action.deadline <= now and action in hook_records.actions(tx, key, instance):
                self.finish(tx, action, action.result, TIMED_OUT)

    def waiting(self, reader: Reader, key: Key, instance: str) -> float | None:
        """Seconds until the next action of an instance is over; None if it waits for none."""
        found = hook_records.actions(reader, key, instance)
        return min(each.deadline for each in found) - self._clock.now() if found else None

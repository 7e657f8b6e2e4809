"""Scheduled actions of Auto Scaling groups: putting, showing and deleting them, and doing what they say in time.

One key per action. The next time is committed after the group was changed; the change sets sizes, so
that doing it twice is doing it once. Schedules are the user's own times: no pace shortens them. One that fell
into a time without the cloud is made up for once. The sizes are set by the public UpdateAutoScalingGroup.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.autoscaling import scheduled_records as records
from portside.cloud.services.autoscaling.scheduled_records import ScheduledAction
from portside.cloud.services.calls import Caller, Calls, Params, operation
from portside.cloud.services.scaling.schedules import ScheduleError

LONGEST_WAIT = 3600.0  # a clock may be set
SIZES = ("MinSize", "MaxSize", "DesiredCapacity")
PROCESS = "ScheduledActions"


class ScheduledActions:
    """`calls` reaches the groups. Keys of the loop are those of `ScheduledAction`."""

    def __init__(self, *, database: Database, ids: Ids, clock: Clock, calls: Calls, log: Log) -> None:
        database.migrate("autoscaling-scheduled", records.MIGRATIONS)
        self._db = database
        self._ids = ids
        self._clock = clock
        self._calls = calls
        self._log = log.bind(service="autoscaling")
        self.loop = Loop("autoscaling.scheduled", self.turn, clock, log)

    def resume(self) -> None:
        for each in records.every(self._db):
            self.loop.wake(each.key)

    # Operations

    @operation("PutScheduledUpdateGroupAction")
    async def put_scheduled_update_group_action(self, caller: Caller, params: Params) -> Params:
        group = await self._group(caller, params["AutoScalingGroupName"])
        if group is None:
            raise _invalid(f"AutoScalingGroup name not found - null: {params['AutoScalingGroupName']}")
        self._put(caller, group, params)
        return {}

    @operation("BatchPutScheduledUpdateGroupAction")
    async def batch_put_scheduled_update_group_action(self, caller: Caller, params: Params) -> Params:
        group = await self._group(caller, params["AutoScalingGroupName"])
        if group is None:
            raise _invalid(f"AutoScalingGroup name not found - null: {params['AutoScalingGroupName']}")
        failed = []
        for each in params["ScheduledUpdateGroupActions"]:
            try:
                self._put(caller, group, each)
            except AwsError as error:
                failed.append(_failure(each["ScheduledActionName"], error))
        return {"FailedScheduledUpdateGroupActions": failed}

    def _put(self, caller: Caller, group: Params, params: Params) -> None:
        now, name = self._clock.now(), params["ScheduledActionName"]
        start = params.get("StartTime", params.get("Time"))
        spec: Params = {
            key: params[key] for key in (*SIZES, "Recurrence", "TimeZone") if params.get(key) is not None
        }
        for key, value in (("StartTime", start), ("EndTime", params.get("EndTime"))):
            if value is not None:
                spec[key] = _seconds(value)
        _check(spec, now)
        try:
            due = records.next_run(spec, now)
        except ScheduleError as error:
            raise _invalid(str(error)) from None
        if "Recurrence" not in spec and due is None:
            raise _invalid("Either StartTime or Recurrence must be given, and the start time must lie ahead.")
        key = records.key_of(caller.region, group["AutoScalingGroupName"], name)
        before = records.one(self._db, key)
        arn = before.arn if before is not None else self._arn(caller, group["AutoScalingGroupName"], name)
        made = ScheduledAction(
            key,
            caller.region,
            caller.account,
            group["AutoScalingGroupName"],
            group["AutoScalingGroupARN"],
            name,
            arn,
            spec,
            due,
        )
        with self._db.write() as tx:
            records.save(tx, made)
            tx.after_commit(lambda: self.loop.wake(key))

    def _arn(self, caller: Caller, group: str, name: str) -> str:
        return (
            f"arn:aws:autoscaling:{caller.region}:{caller.account}:scheduledUpdateGroupAction:{self._ids.uuid()}"
            f":autoScalingGroupName/{group}:scheduledActionName/{name}"
        )

    @operation("DescribeScheduledActions")
    async def describe_scheduled_actions(self, caller: Caller, params: Params) -> Params:
        group, names = params.get("AutoScalingGroupName"), params.get("ScheduledActionNames")
        low, high = params.get("StartTime"), params.get("EndTime")
        arns = await self._groups(caller)
        shown = []
        for each in records.every(self._db):
            if each.region != caller.region or arns.get(each.group_name) != each.group_arn:
                continue
            if (group and each.group_name != group) or (names and not {each.name, each.arn} & set(names)):
                continue
            due = each.due
            # The times of the request are for those who do not name actions.
            if not names and low is not None and (due is None or due < _seconds(low)):
                continue
            if not names and high is not None and (due is None or due > _seconds(high)):
                continue
            shown.append(_described(each))
        return {"ScheduledUpdateGroupActions": shown}

    @operation("DeleteScheduledAction")
    async def delete_scheduled_action(self, caller: Caller, params: Params) -> Params:
        self._delete(caller, params["AutoScalingGroupName"], params["ScheduledActionName"])
        return {}

    @operation("BatchDeleteScheduledAction")
    async def batch_delete_scheduled_action(self, caller: Caller, params: Params) -> Params:
        failed = []
        for name in params["ScheduledActionNames"]:
            try:
                self._delete(caller, params["AutoScalingGroupName"], name)
            except AwsError as error:
                failed.append(_failure(name, error))
        return {"FailedScheduledActions": failed}

    def _delete(self, caller: Caller, group: str, name: str) -> None:
        key = records.key_of(caller.region, group, name)
        if records.one(self._db, key) is None:
            raise _invalid(f"Scheduled action name not found: {name}")
        with self._db.write() as tx:
            records.forget(tx, key)
            tx.after_commit(lambda: self.loop.wake(key))

    # What the schedules say

    async def turn(self, key: str) -> TurnResult:
        action = records.one(self._db, key)
        if action is None or action.due is None:
            return Done()
        now = self._clock.now()
        if now < action.due:
            return After(min(action.due - now, LONGEST_WAIT))
        caller = Caller.root(action.account, action.region)
        group = await self._group(caller, action.group_name)
        if group is None or group["AutoScalingGroupARN"] != action.group_arn:
            with self._db.write() as tx:
                if records.one(tx, key) == action:
                    records.forget(tx, key)
            return After(0.0)
        await self._apply(action, group, caller)
        with self._db.write() as tx:
            if records.one(tx, key) != action:
                return After(0.0)
            due = records.next_run(action.spec, now)
            if due is None:
                # What happens once is gone when it has happened.
                records.forget(tx, key)
                return Done()
            records.save(tx, replace(action, due=due))
        return After(min(max(due - self._clock.now(), 0.0), LONGEST_WAIT))

    async def _apply(self, action: ScheduledAction, group: Params, caller: Caller) -> None:
        suspended = {each["ProcessName"] for each in group.get("SuspendedProcesses") or ()}
        if PROCESS in suspended:
            return
        sizes = {key: int(action.spec[key]) for key in SIZES if key in action.spec}
        try:
            await self._calls(
                "autoscaling",
                "UpdateAutoScalingGroup",
                {"AutoScalingGroupName": action.group_name} | sizes,
                caller,
            )
        except AwsError as error:
            if error.status >= 500:
                raise
            self._log.warning("scheduled action without effect", action=action.name, reason=error.message)

    async def _group(self, caller: Caller, name: str) -> Params | None:
        asked = {"AutoScalingGroupNames": [name]}
        answer = await self._calls("autoscaling", "DescribeAutoScalingGroups", asked, caller)
        found: list[Params] = answer.get("AutoScalingGroups") or []
        return found[0] if found else None

    async def _groups(self, caller: Caller) -> dict[str, str]:
        arns: dict[str, str] = {}
        params: Params = {}
        while True:
            answer = await self._calls("autoscaling", "DescribeAutoScalingGroups", params, caller)
            for each in answer.get("AutoScalingGroups") or []:
                arns[each["AutoScalingGroupName"]] = each["AutoScalingGroupARN"]
            if not answer.get("NextToken"):
                return arns
            params = {"NextToken": answer["NextToken"]}


def _check(spec: Params, now: float) -> None:
    if not any(key in spec for key in SIZES):
        raise _invalid("At least one of MinSize, MaxSize and DesiredCapacity must be given.")
    least, most = spec.get("MinSize"), spec.get("MaxSize")
    if least is not None and most is not None and int(least) > int(most):
        raise _invalid("Min size must not be greater than max size.")
    start, end = spec.get("StartTime"), spec.get("EndTime")
    if start is not None and start < now:
        raise _invalid("Given start time is in the past")
    if end is not None and end < (start if start is not None else now):
        raise _invalid("End time must lie after the start time.")


def _seconds(value: object) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, (int, float)):
        return float(value)
    read = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _described(action: ScheduledAction) -> Params:
    found: Params = {
        "AutoScalingGroupName": action.group_name,
        "ScheduledActionName": action.name,
        "ScheduledActionARN": action.arn,
    }
    found |= action.spec
    start = action.due if action.due is not None else action.spec.get("StartTime")
    if start is not None:
        # Of one that recurs, AWS shows the next time here.
        found |= {"StartTime": start, "Time": start}
    return found


def _failure(name: str, error: AwsError) -> Params:
    return {"ScheduledActionName": name, "ErrorCode": error.code, "ErrorMessage": error.message}


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)

"""Carries out the rolling update of an Auto Scaling group, one stage a look.

What is to be done next is noted in the step's progress before it is done, and every call is one that may be
repeated, so that an update goes on where it was after a restart. How many, and in what words, is `rolling.py`;
when a look happens, `waits.py` and `steps.py` decide.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from portside.cloud.kernel.clock import Clock, Pace
from portside.cloud.kernel.database import Database
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Calls, Params
from portside.cloud.services.cloudformation import rolling, signals
from portside.cloud.services.cloudformation.instances import Instances
from portside.cloud.services.cloudformation.outcome import Outcome
from portside.cloud.services.cloudformation.policies import RollingUpdate, rolling_update
from portside.cloud.services.cloudformation.records import Resource, Stack, Step
from portside.cloud.services.cloudformation.rolling import Batch, Sizes
from portside.cloud.services.cloudformation.session import Callers

SERVICE = "autoscaling"
POLL = 2.0


class Roller:
    """`progress` holds: `stage`, `sizes` of the group before, the `obsolete` instances, the present `capacity`,
    the instances `seen` so far, the `batch` under way, when it began (`since`), and signals (`good`, `bad`)."""

    def __init__(
        self, *, database: Database, clock: Clock, calls: Calls, pace: Pace, callers: Callers, instances: Instances
    ) -> None:
        self._db = database
        self._clock = clock
        self._calls = calls
        self._pace = pace
        self._callers = callers
        self._instances = instances

    async def advance(self, stack: Stack, resource: Resource, step: Step) -> Outcome:
        policy = rolling_update(step.target.update_policy)
        if policy is None:
            return Outcome()
        caller = await self._callers.of(stack, resource.type)
        group = await self._group(step.target.physical_id, caller)
        if group is None:
            return Outcome()
        progress = dict(step.progress)
        match progress.get("stage", ""):
            case "":
                return await self._start(resource, step, policy, group, caller)
            case "resize":
                return await self._resize(policy, group, progress, caller)
            case "added":
                return self._added(policy, group, progress)
            case "signals":
                return await self._signals(stack, resource, step, policy, progress)
            case "terminate":
                return self._choose(policy, group, progress)
            case "terminating":
                return await self._terminate(group, progress, caller)
        return await self._finish(policy, group, progress, caller)

    async def _group(self, name: str, caller: Caller) -> Params | None:
        params = {"AutoScalingGroupNames": [name]}
        answer = await self._calls(SERVICE, "DescribeAutoScalingGroups", params, caller)
        found: list[Params] = answer.get("AutoScalingGroups") or []
        return found[0] if found else None

    async def _start(
        self, resource: Resource, step: Step, policy: RollingUpdate, group: Params, caller: Caller
    ) -> Outcome:
        version = await self._version(group, caller)
        moved = resource.applied.properties.get("VPCZoneIdentifier") != step.target.properties.get(
            "VPCZoneIdentifier"
        )
        obsolete = [
            str(each["InstanceId"])
            for each in group.get("Instances") or []
            if moved or rolling.outdated(group, each, version)
        ]
        if not obsolete:
            return Outcome()
        sizes = Sizes(int(group["MinSize"]), int(group["MaxSize"]), int(group["DesiredCapacity"]))
        before = step.progress.get("sizes")
        if before is not None:
            # An update that was broken off had widened the group.
            sizes = Sizes(sizes.least, sizes.most, min(sizes.most, max(sizes.least, before["desired"])))
        trouble = rolling.impossible(policy, sizes)
        if trouble:
            return Outcome(failed=trouble)
        progress: Params = {
            "stage": "resize",
            "sizes": asdict(sizes),
            "obsolete": obsolete,
            "capacity": rolling.widened(policy, sizes, len(obsolete)),
            "seen": [each["InstanceId"] for each in group.get("Instances") or []],
            "good": 0,
            "bad": 0,
        }
        return self._on(progress, rolling.initiated(policy, len(obsolete)))

    async def _version(self, group: Params, caller: Caller) -> str:
        """The number behind `$Latest` and `$Default`."""
        named = rolling.template_of(group)
        version = str(named.get("Version") or "$Default")
        if not named or not version.startswith("$"):
            return version
        by_id = named.get("LaunchTemplateId")
        params: Params = (
            {"LaunchTemplateIds": [by_id]} if by_id else {"LaunchTemplateNames": [named.get("LaunchTemplateName")]}
        )
        answer = await self._calls("ec2", "DescribeLaunchTemplates", params, caller)
        found = (answer.get("LaunchTemplates") or [{}])[0]
        key = "LatestVersionNumber" if version == "$Latest" else "DefaultVersionNumber"
        return str(found.get(key, ""))

    async def _resize(self, policy: RollingUpdate, group: Params, progress: Params, caller: Caller) -> Outcome:
        name = {"AutoScalingGroupName": group["AutoScalingGroupName"]}
        if policy.suspended:
            params = name | {"ScalingProcesses": list(policy.suspended)}
            await self._calls(SERVICE, "SuspendProcesses", params, caller)
        capacity = progress["capacity"]
        sizes = {"MinSize": capacity, "DesiredCapacity": capacity}
        await self._calls(SERVICE, "UpdateAutoScalingGroup", name | sizes, caller)
        return self._on(progress | {"stage": "added"}, rolling.resized(capacity))

    def _added(self, policy: RollingUpdate, group: Params, progress: Params) -> Outcome:
        """Wait until as many serve as should, then for what the new ones have to say."""
        serving = _serving(group)
        if len(serving) < progress["capacity"]:
            return self._wait(progress)
        new = [each for each in serving if each not in progress["seen"]]
        progress |= {"seen": progress["seen"] + new, "batch": new, "since": self._clock.now()}
        if not new or not (policy.waits or policy.pause):
            return self._on(progress | {"stage": "terminate"})
        return self._on(progress | {"stage": "signals"}, rolling.added(policy, len(new)))

    async def _signals(
        self, stack: Stack, resource: Resource, step: Step, policy: RollingUpdate, progress: Params
    ) -> Outcome:
        deadline = progress["since"] + self._pace.wait(policy.pause)
        over = self._clock.now() >= deadline
        if not policy.waits:
            return self._on(progress | {"stage": "terminate"}) if over else self._wait(progress, deadline)
        known = signals.received(self._db, step.token)
        silent = set(known) | set(progress["obsolete"])
        await self._instances.report(stack, resource.logical_id, step.target.physical_id, silent)
        found = signals.received(self._db, step.token)
        mine = [found[each].status for each in progress["batch"] if each in found]
        missing = len(progress["batch"]) - len(mine)
        if missing and not over:
            return self._wait(progress, deadline)
        good = progress["good"] + mine.count(signals.SUCCESS)
        bad = progress["bad"] + mine.count(signals.FAILURE) + missing
        progress |= {"good": good, "bad": bad}
        notes = [rolling.missed(missing)] if missing else []
        total = len(progress["obsolete"])
        if not rolling.enough(policy, bad, total):
            text = rolling.unsatisfied(policy, good, bad, total)
            return self._on(progress | {"stage": "finish", "failed": text}, *notes)
        return self._on(progress | {"stage": "terminate"}, *notes)

    def _choose(self, policy: RollingUpdate, group: Params, progress: Params) -> Outcome:
        here = {str(each["InstanceId"]) for each in group.get("Instances") or []}
        obsolete = [each for each in progress["obsolete"] if each in here]
        if not obsolete:
            return self._on(progress | {"stage": "finish"})
        serving = _serving(group)
        renewed = len([each for each in here if each not in progress["obsolete"]])
        batch = rolling.next_batch(policy, Sizes(**progress["sizes"]), obsolete, len(serving), renewed)
        if batch is None:
            return self._wait(progress)
        progress |= {"stage": "terminating", "batch": list(batch.instances), "fewer": batch.fewer}
        return self._on(progress, rolling.terminating(batch))

    async def _terminate(self, group: Params, progress: Params, caller: Caller) -> Outcome:
        batch = Batch(tuple(progress["batch"]), len(progress["batch"]) - progress["fewer"])
        capacity = progress["capacity"] - batch.fewer
        here = {str(each["InstanceId"]): each for each in group.get("Instances") or []}
        left = [each for each in batch.instances if each in here]
        if not left:
            total = len(progress["obsolete"])
            gone = total - len([each for each in progress["obsolete"] if each in here])
            progress |= {"stage": "added", "capacity": capacity}
            return self._on(progress, rolling.terminated(batch.instances, gone, total))
        if batch.fewer and int(group["MinSize"]) > capacity:
            params = {"AutoScalingGroupName": group["AutoScalingGroupName"], "MinSize": capacity}
            await self._calls(SERVICE, "UpdateAutoScalingGroup", params, caller)
        for number, each in enumerate(batch.instances):
            if each in here and not str(here[each].get("LifecycleState", "")).startswith("Terminating"):
                params = {"InstanceId": each, "ShouldDecrementDesiredCapacity": number < batch.fewer}
                try:
                    await self._calls(SERVICE, "TerminateInstanceInAutoScalingGroup", params, caller)
                except AwsError as error:
                    if "not found" not in error.message.lower():
                        raise
        return Outcome(done=False, progress=progress, deadline=self._clock.now() + 0.1)

    async def _finish(self, policy: RollingUpdate, group: Params, progress: Params, caller: Caller) -> Outcome:
        name = {"AutoScalingGroupName": group["AutoScalingGroupName"]}
        sizes = Sizes(**progress["sizes"])
        wanted = {"MinSize": sizes.least, "DesiredCapacity": sizes.desired}
        await self._calls(SERVICE, "UpdateAutoScalingGroup", name | wanted, caller)
        if policy.suspended:
            params = name | {"ScalingProcesses": list(policy.suspended)}
            await self._calls(SERVICE, "ResumeProcesses", params, caller)
        return Outcome(done=not progress.get("failed"), failed=progress.get("failed", ""))

    def _on(self, progress: Params, *notes: str) -> Outcome:
        """The next stage, at once."""
        return Outcome(done=False, progress=progress, notes=notes, deadline=self._clock.now())

    def _wait(self, progress: Params, deadline: float = 0.0) -> Outcome:
        soon = self._clock.now() + POLL
        return Outcome(done=False, progress=progress, deadline=min(soon, deadline) if deadline else soon)


def _serving(group: Params) -> list[Any]:
    return [
        each["InstanceId"] for each in group.get("Instances") or [] if each.get("LifecycleState") == "InService"
    ]

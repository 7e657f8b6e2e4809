"""The loop that looks for drift: one detection a key, resource by resource, each finding committed.

Owns how a detection goes on, how often a look is tried, and where it ends; what drift is, is said in `drift.py`. A
detection that a crash has broken off goes on where it was.
"""

from __future__ import annotations

import json
from typing import Any

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult, backoff
from portside.cloud.kernel.record import replace
from portside.cloud.services.calls import Calls
from portside.cloud.services.cloudformation import drift, drift_rows, rows, secrecy
from portside.cloud.services.cloudformation.differences import plain
from portside.cloud.services.cloudformation.drift import Status
from portside.cloud.services.cloudformation.drift_rows import Detection, Finding
from portside.cloud.services.cloudformation.jobs import Jobs
from portside.cloud.services.cloudformation.records import Kind, Phase, Resource, Stack, StackStatus, Step
from portside.cloud.services.cloudformation.resources import live, registry
from portside.cloud.services.cloudformation.session import Callers

ATTEMPTS = 4
SOME_FAILED = "Failed to detect drift on resource"


class Detections:
    """Keys of the loop are the ids of detections."""

    def __init__(
        self, *, database: Database, ids: Ids, clock: Clock, calls: Calls, callers: Callers, log: Log
    ) -> None:
        database.migrate("cloudformation-drift", drift_rows.MIGRATIONS)
        self._db = database
        self._ids = ids
        self._clock = clock
        self._jobs = Jobs(calls, callers, database)
        self._log = log.bind(service="cloudformation")
        self.loop = Loop("cloudformation.drift", self.turn, clock, self._log, workers=4)

    def resume(self) -> None:
        for each in drift_rows.running(self._db):
            self.loop.wake(each)

    async def turn(self, detection_id: str) -> TurnResult:
        found = drift_rows.detection(self._db, detection_id)
        if found is None or found.status != drift_rows.IN_PROGRESS:
            return Done()
        stack = rows.stack_by_id(self._db, found.stack_id)
        if stack is None or stack.status is StackStatus.DELETE_COMPLETE:
            return self._end(replace(found, status=drift_rows.FAILED, reason="The stack was deleted."))
        if stack.operation != found.operation:
            reason = "The stack was changed while its drift was detected."
            return self._end(replace(found, status=drift_rows.FAILED, reason=reason))
        for each in self.resources(stack, found.only):
            if each.logical_id in found.done or not live.checked(each.type):
                continue
            try:
                finding = await self.look(stack, each)
            except Exception as error:
                if found.attempts + 1 < ATTEMPTS:
                    with self._db.write() as tx:
                        drift_rows.save_detection(tx, replace(found, attempts=found.attempts + 1))
                    return After(backoff(found.attempts + 1))
                self._log.warning("drift not detected", resource=each.logical_id, error=repr(error))
                reason = found.reason or f"{SOME_FAILED} [{each.logical_id}]: {error}"
                found = replace(found, failed=(*found.failed, each.logical_id), reason=reason)
                finding = Finding(
                    stack.id, each.logical_id, stack.operation, Status.UNKNOWN, self._clock.now(),
                    each.applied.physical_id, each.type,
                )  # fmt: skip
            found = replace(found, done=(*found.done, each.logical_id), attempts=0)
            with self._db.write() as tx:
                drift_rows.save_finding(tx, finding)
                drift_rows.save_detection(tx, found)
        return self._finish(stack, found)

    def resources(self, stack: Stack, only: tuple[str, ...]) -> list[Resource]:
        present = rows.resources(self._db, stack.id).values()
        return [
            each
            for each in present
            if not each.status.gone and each.applied.physical_id and (not only or each.logical_id in only)
        ]

    def _finish(self, stack: Stack, found: Detection) -> TurnResult:
        findings = drift_rows.findings(self._db, stack)
        counted = [each for name, each in findings.items() if name in found.done]
        drifted = sum(each.status in (Status.MODIFIED, Status.DELETED) for each in counted)
        outcome = Status.DRIFTED if drifted else Status.UNKNOWN if found.failed else Status.IN_SYNC
        status = drift_rows.FAILED if found.failed else drift_rows.COMPLETE
        return self._end(replace(found, status=status, drifted=drifted, outcome=outcome.value))

    def _end(self, found: Detection) -> TurnResult:
        with self._db.write() as tx:
            drift_rows.save_detection(tx, found)
        return Done()

    async def look(self, stack: Stack, each: Resource) -> Finding:
        """Compare one resource with its template. Raises what its service raises."""
        applied = each.applied
        step = Step(Kind.UPDATE, Phase.CHECK, applied, self._ids.uuid(), self._clock.now())
        work = await self._jobs.removal(stack, each.logical_id, each.type, step)
        actual = await live.read(each.type, work)
        finding = Finding(
            stack.id, each.logical_id, stack.operation, Status.IN_SYNC, self._clock.now(), applied.physical_id,
            each.type,
        )  # fmt: skip
        secrets = secrecy.of_spec(stack.spec) + secrecy.of_stack(self._db, stack.id)
        if actual is None:
            expected = _shown(applied.properties, secrets)
            return replace(finding, status=Status.DELETED, expected=expected)
        known = registry.facts(each.type).schema
        own = {tag["Key"] for tag in _own_tags(applied.properties.get(known.tag_property))}
        ours = {key for key, _ in applied.tags} - own
        found = drift.compare(known, applied.properties, actual, ours)
        return replace(
            finding,
            status=Status.MODIFIED if found.differences else Status.IN_SYNC,
            expected=_shown(found.expected, secrets),
            actual=_shown(found.actual, secrets),
            differences=tuple(
                {name: secrecy.covered(value, secrets) for name, value in one.items()} for one in found.differences
            ),
        )


def _own_tags(tags: Any) -> list[Any]:
    return [each for each in tags if isinstance(each, dict) and "Key" in each] if isinstance(tags, list) else []


def _shown(properties: Any, secrets: list[str]) -> str:
    return secrecy.covered(json.dumps(plain(properties), separators=(",", ":")), secrets)

"""Starts pipelines by what changes outside: pushes, objects, images.

Pushes are handed over by the watch of the repositories, inside its own transaction (`pushed`). Objects and
images are looked at here, one key per pipeline: S3 wakes the loop, images are polled. Where nobody is to poll,
an EventBridge rule with the pipeline as its target decides, as on AWS.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Protocol

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database, Transaction
from portside.cloud.kernel.log import Log
from portside.cloud.kernel.loop import After, Done, Loop, TurnResult
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Calls, Params
from portside.cloud.services.codepipeline import events, rows, triggers
from portside.cloud.services.codepipeline.intents import Intents
from portside.cloud.services.codepipeline.records import Override, Pipeline
from portside.cloud.services.codepipeline.sessions import Sessions
from portside.cloud.services.codepipeline.structure import Action, Structure
from portside.cloud.services.codepipeline.triggers import GIT, Start

IMAGES_EVERY = 1.0
# S3 tells when something may have changed; this is for an endpoint that does not.
OBJECTS_EVERY = 60.0


class Pushed(Protocol):
    """What the watch of the repositories tells: a reference moved."""

    @property
    def repository(self) -> str: ...
    @property
    def ref(self) -> str: ...
    @property
    def commit(self) -> str: ...
    @property
    def files(self) -> tuple[str, ...] | None: ...


class SourceLoop:
    def __init__(
        self, *, database: Database, clock: Clock, log: Log, calls: Calls, sessions: Sessions, intents: Intents
    ) -> None:
        self._db = database
        self._log = log.bind(service="codepipeline")
        self._calls = calls
        self._sessions = sessions
        self._intents = intents
        self.loop = Loop("codepipeline-sources", self.turn, clock, log)

    def wake(self, region: str | None = None) -> None:
        for each in rows.pipelines(self._db, region):
            self.loop.wake(each.key)

    # Pushes

    def repositories(self) -> set[str]:
        """The names of the repositories that pipelines read."""
        found: set[str] = set()
        for each in rows.pipelines(self._db):
            found |= triggers.repositories(self._intents.structure(self._db, each))
        return found

    def pushed(self, tx: Transaction, pushes: Iterable[Pushed]) -> None:
        """Start what the pushes start; one execution a push and pipeline."""
        for pipeline in rows.pipelines(tx):
            structure = self._intents.structure(tx, pipeline)
            webhooks = rows.webhooks(tx, pipeline.region)
            for push in pushes:
                starts = triggers.pushed(structure, push.repository, push.ref, push.files, webhooks)
                if starts:
                    found = Override("COMMIT_ID", push.commit, push.ref)
                    self._start(tx, pipeline, starts[0], {each.action: found for each in starts})
                else:
                    self._leave_to_rules(tx, pipeline, structure, push)

    def _leave_to_rules(self, tx: Transaction, pipeline: Pipeline, structure: Structure, push: Pushed) -> None:
        """Asking for rules takes calls, so that is left to a turn of this loop."""
        for action in structure.sources:
            if action.provider != "CodeCommit" or triggers.detects(action):
                continue
            if action.configuration["RepositoryName"].lower() == push.repository.lower():
                source = f"push/{action.name}"
                left = json.loads(rows.cursor(tx, pipeline.region, pipeline.name, source) or "[]")
                note = json.dumps([*left, [push.ref, push.commit]])
                rows.save_cursor(tx, pipeline.region, pipeline.name, source, note)
                tx.after_commit(lambda key=pipeline.key: self.loop.wake(key))  # type: ignore[misc]

    def _start(
        self, tx: Transaction, pipeline: Pipeline, start: Start, overrides: dict[str, Override] | None = None
    ) -> None:
        try:
            made = self._intents.start(tx, pipeline, start.kind, start.detail, overrides=overrides)
        except AwsError as error:
            self._log.warning("pipeline not started", pipeline=pipeline.name, error=error.message)
            return
        self._log.info("pipeline started", pipeline=pipeline.name, trigger=start.kind, execution=made.id)

    # Objects, images and rules

    async def turn(self, key: str) -> TurnResult:
        region, _, name = key.partition("/")
        pipeline = rows.pipeline(self._db, region, name)
        if pipeline is None:
            return Done()
        structure = self._intents.structure(self._db, pipeline)
        again: list[float] = []
        for action in structure.sources:
            try:
                if action.provider == "S3":
                    await self._object(pipeline, action)
                    again.append(OBJECTS_EVERY)
                elif action.provider == "ECR":
                    await self._image(pipeline, action)
                    again.append(IMAGES_EVERY)
                elif action.provider in GIT:
                    await self._left_pushes(pipeline, action)
            except AwsError as error:
                if error.code == "NotImplemented":
                    raise
                again.append(OBJECTS_EVERY if action.provider == "S3" else IMAGES_EVERY)
        return After(min(again)) if again else Done()

    async def _object(self, pipeline: Pipeline, action: Action) -> None:
        bucket, key = action.configuration["S3Bucket"], action.configuration["S3ObjectKey"]
        caller = self._sessions.account(pipeline)
        try:
            found = await self._calls("s3", "HeadObject", {"Bucket": bucket, "Key": key}, caller)
        except AwsError as error:
            if error.status not in (403, 404):
                raise
            self._seen(pipeline, action, "")
            return
        version = str(found.get("VersionId") or found.get("ETag") or "")
        if not self._changed(pipeline, action, version):
            return
        start = Start(action.name, "PollForSourceChanges", action.name)
        if not triggers.detects(action):
            by_rule = await self._by_rule(pipeline, action, triggers.object_events(bucket, key, version))
            if by_rule is None:
                self._seen(pipeline, action, version)
                return
            start = by_rule
        self._begin(pipeline, action, version, start)

    async def _image(self, pipeline: Pipeline, action: Action) -> None:
        repository = action.configuration["RepositoryName"]
        tag = action.configuration.get("ImageTag") or "latest"
        caller = self._sessions.account(pipeline)
        params: Params = {"repositoryName": repository, "imageIds": [{"imageTag": tag}]}
        try:
            found = await self._calls("ecr", "DescribeImages", params, caller)
        except AwsError as error:
            if error.code not in ("ImageNotFoundException", "RepositoryNotFoundException"):
                raise
            self._seen(pipeline, action, "")
            return
        digest = str(found["imageDetails"][0]["imageDigest"])
        if not self._changed(pipeline, action, digest):
            return
        start = await self._by_rule(pipeline, action, [triggers.image_event(repository, tag, digest)])
        if start is None:
            self._seen(pipeline, action, digest)
        else:
            self._begin(pipeline, action, digest, start)

    async def _left_pushes(self, pipeline: Pipeline, action: Action) -> None:
        source = f"push/{action.name}"
        left = rows.cursor(self._db, pipeline.region, pipeline.name, source)
        if not left or left == "[]":
            return
        name = action.configuration["RepositoryName"]
        arn = f"arn:aws:codecommit:{pipeline.region}:{pipeline.account}:{name}"
        starts = []
        for ref, commit in json.loads(left):
            found = [triggers.commit_event(arn, ref, commit, name, new=new) for new in (False, True)]
            start = await self._by_rule(pipeline, action, found)
            if start is not None:
                starts.append((start, Override("COMMIT_ID", commit, ref)))
        with self._db.write() as tx:
            if rows.cursor(tx, pipeline.region, pipeline.name, source) != left:
                # More has come meanwhile, and wakes this loop.
                return
            rows.save_cursor(tx, pipeline.region, pipeline.name, source, "")
            for start, override in starts:
                self._start(tx, pipeline, start, {action.name: override})

    def _changed(self, pipeline: Pipeline, action: Action, revision: str) -> bool:
        """Whether there is something new; what is there when a pipeline is new is not."""
        before = rows.cursor(self._db, pipeline.region, pipeline.name, action.name)
        if before is None:
            self._seen(pipeline, action, revision)
        return before is not None and before != revision

    def _seen(self, pipeline: Pipeline, action: Action, revision: str) -> None:
        if rows.cursor(self._db, pipeline.region, pipeline.name, action.name) == revision:
            return
        with self._db.write() as tx:
            if rows.pipeline(tx, pipeline.region, pipeline.name) is not None:
                rows.save_cursor(tx, pipeline.region, pipeline.name, action.name, revision)

    def _begin(self, pipeline: Pipeline, action: Action, revision: str, start: Start) -> None:
        with self._db.write() as tx:
            present = rows.pipeline(tx, pipeline.region, pipeline.name)
            if present is not None:
                rows.save_cursor(tx, pipeline.region, pipeline.name, action.name, revision)
                self._start(tx, present, start)

    async def _by_rule(self, pipeline: Pipeline, action: Action, happened: list[Params]) -> Start | None:
        """The start that a rule with this pipeline as target causes, if one matches."""
        caller = self._sessions.account(pipeline)
        params: Params = {"TargetArn": pipeline.arn}
        while True:
            answer = await self._calls("events", "ListRuleNamesByTarget", params, caller)
            for name in answer.get("RuleNames") or ():
                rule = await self._calls("events", "DescribeRule", {"Name": name}, caller)
                pattern = json.loads(rule.get("EventPattern") or "null")
                if str(rule.get("State") or "ENABLED").startswith("ENABLED") and any(
                    events.matches(pattern, _complete(event, pipeline)) for event in happened
                ):
                    arn = rule.get("Arn") or f"arn:aws:events:{pipeline.region}:{pipeline.account}:rule/{name}"
                    return Start(action.name, "CloudWatchEvent", str(arn))
            if not answer.get("NextToken"):
                return None
            params["NextToken"] = answer["NextToken"]


def _complete(event: Params, pipeline: Pipeline) -> Params:
    return event | {"account": pipeline.account, "region": pipeline.region}

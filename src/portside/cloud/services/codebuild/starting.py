"""How builds come to be: one that is asked for, and one that is tried again because the one before it failed.

Owns what a new build's record holds. Both are written in the transaction of whoever decides about them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Transaction
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Params
from portside.cloud.services.codebuild import records, specs
from portside.cloud.services.codebuild.records import Build, PhaseRecord, Project, Status

DIRECTORY_DIGITS = 9


class Starter:
    """Writes new builds."""

    def __init__(self, *, ids: Ids, clock: Clock) -> None:
        self._ids = ids
        self._clock = clock

    def start(self, tx: Transaction, project: Project, account: str, spec: Params, **more: Any) -> Build:
        """The next build of a project. `more` are further members of its record."""
        now, uuid = self._clock.now(), self._ids.uuid()
        counted = replace(project, builds=project.builds + 1)
        records.save_project(tx, counted)
        build = Build(
            id=f"{project.name}:{uuid}",
            arn=f"arn:aws:codebuild:{project.region}:{account}:build/{project.name}:{uuid}",
            region=project.region,
            project=project.name,
            number=counted.builds,
            spec=spec,
            nonce=f"portside-{self._ids.hex(32)}",
            directory=f"/codebuild/output/src{self._ids.digits(DIRECTORY_DIGITS)}/src",
            started_at=now,
            phases=(PhaseRecord("SUBMITTED", now, now, Status.SUCCEEDED), PhaseRecord("QUEUED", now)),
            **more,
        )
        records.save_build(tx, build)
        return build

    def again(self, tx: Transaction, failed: Build) -> Build | None:
        """The build that retries a failed one, as RetryBuild would; None if there is to be none."""
        limit = int(failed.spec.get("autoRetryLimit") or 0)
        if failed.status is not Status.FAILED or failed.pipeline is not None or failed.retries >= limit:
            return None
        project = records.project(tx, failed.region, failed.project)
        if project is None:
            return None
        try:
            spec = specs.build_spec(project, dict(failed.overrides))
        except AwsError:
            # The project has become one that cannot be built this way any more.
            return None
        return self.start(
            tx,
            project,
            failed.account,
            spec | {"autoRetryLimit": limit},
            initiator=failed.initiator,
            source_version=str(spec.get("sourceVersion") or ""),
            overrides=failed.overrides,
            retries=failed.retries + 1,
            retry_of=failed.arn,
        )

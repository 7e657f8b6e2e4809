"""The CodeBuild API: projects, builds, report groups and reports.

The operations are in `project_operations.py`, `build_operations.py` and `report_operations.py`.
Webhooks, batches, fleets and sandboxes are not offered. What happens to a build is `build_loop.py`'s business.
"""

from __future__ import annotations

from collections.abc import Callable

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.kernel.ids import Ids
from portside.cloud.protocol.errors import AwsError
from portside.cloud.protocol.shapes import Violation, describe
from portside.cloud.services.calls import Service, operations_of
from portside.cloud.services.codebuild import records
from portside.cloud.services.codebuild.build_operations import BuildOperations
from portside.cloud.services.codebuild.report_operations import ReportOperations


class CodeBuildApi(BuildOperations, ReportOperations):
    """`wake` tells the build loop of a build."""

    def __init__(self, *, database: Database, ids: Ids, clock: Clock, wake: Callable[[str], None]) -> None:
        database.migrate("codebuild", records.MIGRATIONS)
        self._database = database
        self._ids = ids
        self._clock = clock
        self._wake = wake

    def service(self) -> Service:
        return Service("codebuild", operations_of(self), _invalid)


def _invalid(found: list[Violation]) -> AwsError:
    return AwsError("InvalidInputException", describe(found))

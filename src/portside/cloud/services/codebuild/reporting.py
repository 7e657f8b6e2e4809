"""Reads the test reports that a build wrote, and keeps them as reports of the API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.services.calls import Params
from portside.cloud.services.codebuild import junit, records
from portside.cloud.services.codebuild.buildspec import Buildspec, ReportSpec
from portside.cloud.services.codebuild.collecting import Collector, Contents, Found
from portside.cloud.services.codebuild.records import Build, Report, ReportGroup
from portside.cloud.services.codebuild.selection import select

KEPT_SECONDS = 30 * 86_400.0


class Reporting:
    """`say` writes a line into the build's log."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def read(
        self, build: Build, spec: Buildspec, collector: Collector, say: Callable[[str], None]
    ) -> tuple[str, ...]:
        """Reads every report of the build specification; the ARNs of what was found. A report that cannot be read
        fails nothing, as on AWS: the log says so."""
        made: list[str] = []
        for index, wanted in enumerate(spec.reports):
            arn = await self._one(build, wanted, index, collector, say)
            if arn:
                made.append(arn)
        return tuple(made)

    async def _one(
        self, build: Build, wanted: ReportSpec, index: int, collector: Collector, say: Callable[[str], None]
    ) -> str:
        say(f"Preparing to copy {wanted.group} report")

        def text(part: str, written: str) -> str:
            return build.values.get(f"report{index}.{part}", written)

        base = text("base", wanted.base_directory)
        files = [text(f"file{number}", each) for number, each in enumerate(wanted.files)]
        found = await collector.find(select(build.values["source"], base, files))
        if not found:
            say(f"No matching report paths found for {wanted.group}")
            return ""
        cases, unreadable = await asyncio.to_thread(_cases, found)
        for reason in unreadable:
            say(f"Error processing the report {wanted.group}: {reason}")
        if not cases:
            return ""
        group = self._group(build, wanted.group)
        now = self._clock.now()
        arn = f"{group.arn.replace(':report-group/', ':report/')}:{build.uuid}"
        report = Report(
            arn=arn,
            group=group.arn,
            region=build.region,
            name=build.uuid,
            build=build.arn,
            status=junit.verdict(cases),
            created=now,
            expires=now + KEPT_SECONDS,
            summary=junit.summary(cases),
            truncated=len(cases) > junit.MOST_CASES,
        )
        kept = [case | {"expired": report.expires} for case in cases[: junit.MOST_CASES]]
        with self._database.write() as tx:
            if records.report_group(tx, group.arn) is None:
                records.save_report_group(tx, group)
            records.save_report(tx, report, kept)
        say(f"Report {arn}: {report.status}, {len(cases)} test case(s)")
        return arn

    def _group(self, build: Build, given: str) -> ReportGroup:
        """The group of that ARN or name; a name gets the project's before it, and a group of its own."""
        if given.startswith("arn:"):
            found = records.report_group(self._database, given)
            if found is not None:
                return found
            given = given.rpartition("/")[2]
            name = given
        else:
            name = f"{build.project}-{given}"
        arn = f"arn:aws:codebuild:{build.region}:{build.account}:report-group/{name}"
        now = self._clock.now()
        spec: Params = {"type": "TEST", "exportConfig": {"exportConfigType": "NO_EXPORT"}}
        return records.report_group(self._database, arn) or ReportGroup(arn, build.region, name, spec, now, now)


def _cases(found: list[Found]) -> tuple[list[Params], list[str]]:
    cases: list[Params] = []
    unreadable: list[str] = []
    with Contents() as contents:
        for each in found:
            try:
                cases += junit.cases(contents.open(each).read(), each.path)
            except junit.ReportUnreadable as error:
                unreadable.append(str(error))
    return cases, unreadable
